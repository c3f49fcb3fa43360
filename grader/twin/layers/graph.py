"""The ONNX graph that a walk writes, and the table of layer translations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import tensorrt_rtx as trt
from onnx import TensorProto, helper, numpy_helper

#: ONNX Runtime 1.23, the newest for Python 3.10, knows opset 23 and IR 11; these need less.
OPSET = 20
IR_VERSION = 9

ELEMENT_TYPE = {
    trt.DataType.FLOAT: TensorProto.FLOAT,
    trt.DataType.HALF: TensorProto.FLOAT16,
    trt.DataType.BF16: TensorProto.FLOAT,  # ONNX Runtime's CPU has hardly a kernel for it: see Graph._rounded
    trt.DataType.INT8: TensorProto.INT8,
    trt.DataType.INT32: TensorProto.INT32,
    trt.DataType.INT64: TensorProto.INT64,
    trt.DataType.BOOL: TensorProto.BOOL,
    trt.DataType.UINT8: TensorProto.UINT8,
    # Within a network these stand for numbers, which a wider type holds.
    trt.DataType.INT4: TensorProto.INT8,
    trt.DataType.FP8: TensorProto.FLOAT,
    trt.DataType.FP4: TensorProto.FLOAT,
    trt.DataType.E8M0: TensorProto.FLOAT,
}

#: The types of `ELEMENT_TYPE` that no input or output of a network can have here.
INSIDE_ONLY = (trt.DataType.INT4, trt.DataType.FP8, trt.DataType.FP4, trt.DataType.E8M0)

#: The NumPy type of a constant of each TensorRT type.
NUMPY_TYPE = {ours: helper.tensor_dtype_to_np_dtype(onnx_type) for ours, onnx_type in ELEMENT_TYPE.items()}

FLOATS = (trt.DataType.FLOAT, trt.DataType.HALF, trt.DataType.BF16)

Translator = Callable[[Any, "Graph"], None]
LAYERS: dict[trt.LayerType, Translator] = {}


class Unsupported(NotImplementedError):  # noqa: N818 (a word, as in NotImplemented)
    """A layer, or a use of one, that the twin cannot execute; the text names the layer."""


def translates(name: str) -> Callable[[Translator], Translator]:
    """Register a function as the translation of ``trt.LayerType.<name>``."""

    def register(function: Translator) -> Translator:
        LAYERS[trt.LayerType.__members__[name]] = function
        return function

    return register


@dataclass(frozen=True)
class Body:
    """What is written of a subgraph: the body of a loop, or a branch of a conditional."""

    nodes: list[onnx.NodeProto]
    types: dict[str, onnx.ValueInfoProto]


class Graph:
    """Nodes, constants and types of the network being written."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._values: dict[str, np.ndarray] = {}
        self._types: dict[str, onnx.ValueInfoProto] = {}
        self._fresh = 0

    # -- what translations use

    def input(self, layer: trt.ILayer, index: int = 0) -> str:
        """Name of the layer's input; "" where it has none at ``index``."""
        tensor = input_tensor(layer, index)
        return tensor.name if tensor is not None else ""

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        layer: trt.ILayer | None = None,
        *,
        outputs: Sequence[str] = (),
        **attributes: Any,
    ) -> str:
        """Add a node and return its first output's name.

        The outputs are those of ``layer`` when given, ``outputs`` when given, else one fresh name.
        Attributes that are None are left out.
        """
        if layer is not None:
            outputs = [layer.get_output(i).name for i in range(layer.num_outputs)]
        names = list(outputs) or [self.fresh()]
        kept = {key: value for key, value in attributes.items() if value is not None}
        self._nodes.append(helper.make_node(op, list(inputs), names, **kept))
        return names[0]

    def add(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Add nodes that are made already."""
        self._nodes.extend(nodes)

    def node_in(
        self,
        dtype: trt.DataType,
        op: str,
        inputs: Sequence[str],
        layer: trt.ILayer,
        *,
        data: Sequence[int] = (0,),
        **attributes: Any,
    ) -> str:
        """Like ``node`` for a layer of one output, with the inputs ``data`` in ``dtype`` and the result cast back.

        For the types that ONNX Runtime's CPU kernels lack; it casts FP16 by itself.
        """
        given = [self.cast(name, dtype) if index in data else name for index, name in enumerate(inputs)]
        return self.cast(self.node(op, given, **attributes), layer.get_output(0).dtype, layer)

    def constant(self, value: np.ndarray, name: str = "") -> str:
        """A constant; the array is copied, since TensorRT's weights alias the builder's memory."""
        name = name or self.fresh()
        self._values[name] = np.array(value, order="C")
        self._constants.append(numpy_helper.from_array(self._values[name], name))
        return name

    def scalar(self, value: float, dtype: trt.DataType) -> str:
        """A constant of rank 0; where the type cannot hold ``value``, the nearest that it can (FP16: infinity)."""
        numpy_type = np.dtype(NUMPY_TYPE[dtype])
        if numpy_type.kind in "iu":
            limits = np.iinfo(numpy_type)
            value = min(max(value, limits.min), limits.max)
        with np.errstate(over="ignore"):
            return self.constant(np.array(value, np.float64 if numpy_type.kind == "f" else None).astype(numpy_type))

    def value(self, name: str) -> np.ndarray | None:
        """What a tensor holds, where that is a constant of the network; else None."""
        return self._values.get(name)

    def int64(self, *values: int) -> str:
        """A 1-D int64 constant."""
        return self.constant(np.array(values, np.int64))

    def cast(self, name: str, dtype: trt.DataType, layer: trt.ILayer | None = None) -> str:
        return self.node("Cast", [name], layer, to=element_type(dtype, layer))

    def fresh(self) -> str:
        return f"(twin) {self.number()}"

    def number(self) -> int:
        """Another one each time."""
        self._fresh += 1
        return self._fresh

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Around what goes to a subgraph. It sees everything outside; its constants are the whole model's."""
        outer = self._nodes, self._types
        body = Body([], {})
        self._nodes, self._types = body.nodes, body.types
        try:
            yield body
        finally:
            self._nodes, self._types = outer

    def subgraph(
        self, name: str, body: Body, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.GraphProto:
        """The subgraph that was written as ``body``."""
        known = {info.name for info in (*inputs, *outputs)}
        types = [info for key, info in body.types.items() if key not in known and key not in self._values]
        return helper.make_graph(body.nodes, name, inputs, outputs, value_info=types)

    # -- what the walk uses

    def declare(self, layer: trt.ILayer) -> None:
        """Hold the translation to TensorRT's types: ONNX Runtime refuses a tensor that turns out otherwise."""
        for index in range(layer.num_outputs):
            tensor = layer.get_output(index)
            if tensor.dtype == trt.DataType.BF16:
                self._rounded(tensor.name)
            self._types[tensor.name] = helper.make_tensor_value_info(
                tensor.name, element_type(tensor.dtype, layer), None
            )

    def _rounded(self, name: str) -> None:
        """Let ``name`` be what was computed under it in FP32, rounded to BF16: the nearest, of two the even one."""
        for node in reversed(self._nodes):
            if name in node.output:
                computed = self.fresh()
                node.output[list(node.output).index(name)] = computed
                rounded = self.node("Cast", [computed], to=TensorProto.BFLOAT16)
                self.node("Cast", [rounded], outputs=[name], to=TensorProto.FLOAT)
                return

    def model(self, name: str, inputs: Sequence[trt.ITensor], outputs: Sequence[trt.ITensor]) -> onnx.ModelProto:
        results = {tensor.name: _value(tensor) for tensor in outputs}
        graph = helper.make_graph(
            self._nodes,
            name or "network",
            [_value(t) for t in inputs],
            list(results.values()),
            self._constants,
            value_info=[info for name, info in self._types.items() if name not in results and name not in self._values],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="trtprep twin")
        model.ir_version = IR_VERSION
        halves = [tensor.name for tensor in (*inputs, *outputs) if tensor.dtype == trt.DataType.BF16]
        helper.set_model_props(model, {"BF16": json.dumps(halves)})  # the executor takes and gives their bits
        return model


def element_type(dtype: trt.DataType, layer: trt.ILayer | None = None) -> int:
    """ONNX's number for ``dtype``. Raises Unsupported."""
    if dtype not in ELEMENT_TYPE:
        where = f" (layer {layer.name!r})" if layer is not None else ""
        raise Unsupported(f"the twin cannot run tensors of type {dtype.name}{where}")
    return ELEMENT_TYPE[dtype]


def axes_of(mask: int) -> list[int]:
    """The axes in a TensorRT bit mask, ascending."""
    return [axis for axis in range(32) if mask >> axis & 1]


def input_tensor(layer: trt.ILayer, index: int = 0) -> trt.ITensor | None:
    """The layer's input, None where it has none at ``index``."""
    return layer.get_input(index) if index < layer.num_inputs else None


def layer_type(layer: trt.ILayer) -> trt.LayerType:
    """The layer's type, also where its class has a ``type`` of its own (activation, pooling)."""
    return trt.ILayer.type.fget(layer)


def refuse(layer: trt.ILayer, what: str) -> Unsupported:
    """The error for a use of ``layer`` that has no translation yet."""
    return Unsupported(f"the twin cannot run layer {layer.name!r} ({layer_type(layer).name}): {what}")


def _value(tensor: trt.ITensor) -> onnx.ValueInfoProto:
    if tensor.dtype in INSIDE_ONLY:
        raise Unsupported(f"the twin has no inputs or outputs of type {tensor.dtype.name} (tensor {tensor.name!r})")
    shape = [None if d < 0 else d for d in tensor.shape] if tensor.is_network_input else None
    return helper.make_tensor_value_info(tensor.name, element_type(tensor.dtype), shape)
