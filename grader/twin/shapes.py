"""Output shapes of a walked network for given input shapes, without running it where that is possible."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import shape_inference
from onnx.reference import ReferenceEvaluator

from .executor import ExecutionError, Executor
from .flat import CHOICE, flattened, has_control

_SMALL = 1024  # constants up to this many elements may be shapes or indices that inference must see
_MOST_KNOWN = 256


class ShapeRules:
    """Shape inference over one network, with its large weights left out so that it is quick."""

    def __init__(self, network: bytes, executor: Executor) -> None:
        model = onnx.load_from_string(network)
        self._measured: Executor | None = executor
        self._flat = b""
        if has_control(model):  # its loops might not end when it is filled with zeros
            model = flattened(model)
            self._measured, self._flat = None, model.SerializeToString()
        self._choices = [i.name for i in model.graph.input if i.name.startswith(CHOICE)]
        self._types = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
        large = [c for c in model.graph.initializer if math.prod(c.dims) > _SMALL]
        for constant in large:
            model.graph.initializer.remove(constant)
            model.graph.input.append(
                onnx.helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims)
            )
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        _fold_casts(model)
        self._model = model
        self._known: dict[tuple, dict[str, tuple[int, ...]]] = {}

    def outputs(self, inputs: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shapes by output name, for shapes by input name (all of them, none negative).

        A dimension that depends on the inputs' values, not on their shapes, is -1.
        """
        key = tuple(sorted(inputs.items()))
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._infer(inputs) or self._measure(inputs)
        return self._known[key]

    def _infer(self, inputs: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]] | None:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for value in model.graph.input:
            if value.name in inputs:
                value.CopyFrom(
                    onnx.helper.make_tensor_value_info(value.name, self._types[value.name], inputs[value.name])
                )
        try:
            inferred = shape_inference.infer_shapes(model, data_prop=True)
        except shape_inference.InferenceError:
            return None
        found = {}
        for output in inferred.graph.output:
            tensor = output.type.tensor_type
            dims = tensor.shape.dim
            if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in dims):
                return None
            found[output.name] = tuple(d.dim_value for d in dims)
        return found

    def _measure(self, inputs: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Runs the network on two fillings: where the results' shapes differ, they depend on the values."""
        zeros = self._shapes_when_filled(inputs, 0, False)
        try:
            ones = self._shapes_when_filled(inputs, 1, True)
        except ExecutionError:  # ones are no good as indices, say; zeros are the safer guess
            ones = self._shapes_when_filled(inputs, 0, True) if self._choices else zeros
        return {
            name: tuple(a if a == b else -1 for a, b in zip(zeros[name], ones[name], strict=True)) for name in zeros
        }

    def _shapes_when_filled(
        self, inputs: dict[str, tuple[int, ...]], fill: int, choice: bool
    ) -> dict[str, tuple[int, ...]]:
        """``choice``: which branch is taken where values would decide it."""
        filled = {n: np.full(s, fill, onnx.helper.tensor_dtype_to_np_dtype(self._types[n])) for n, s in inputs.items()}
        filled |= {name: np.array(choice) for name in self._choices}
        if self._measured is None:
            self._measured = Executor(self._flat)
        return {name: array.shape for name, array in self._measured.run(filled).items()}


def _fold_casts(model: onnx.ModelProto) -> None:
    """Small constants that are cast become constants: inference looks through no cast for axes and shapes."""
    graph = model.graph
    small = {c.name: c for c in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.input[0] in small]:
        name = node.output[0]
        alone = onnx.helper.make_graph([node], "cast", [], [onnx.ValueInfoProto(name=name)], [small[node.input[0]]])
        cast = onnx.helper.make_model(alone, opset_imports=model.opset_import, ir_version=model.ir_version)
        (value,) = ReferenceEvaluator(cast).run(None, {})  # type: ignore[misc]  # declared as a dict
        small[name] = onnx.numpy_helper.from_array(np.asarray(value), name)
        graph.initializer.append(small[name])
        graph.node.remove(node)
    told = [v for v in graph.value_info if v.name not in small]  # an entry without a shape would hide the constant's
    del graph.value_info[:]
    graph.value_info.extend(told)
