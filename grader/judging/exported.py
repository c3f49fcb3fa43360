"""What q2_frameworks holds an ONNX model against that came from a candidate's code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from grader.engines.interface import EngineError
from grader.judging.clean_graphs import NotAModel, read_plain
from grader.judging.judge import array, close, fail
from grader.processes.runner import Runner

OPSET, IR = 17, 8


class ExportedModel:
    """A returned model that has one input and one output, and nothing in it that could not be looked at.

    Every method raises CheckFailed.
    """

    def __init__(self, value: Any, function: str) -> None:
        if not isinstance(value, bytes) or not value:
            fail(f"{function} must return the bytes of an ONNX model, not {type(value).__name__}")
        try:
            self.model = read_plain(value)
        except NotAModel as error:
            fail(f"what {function} returned is not taken: {error}")
        self.onnx, self._function = value, function
        weights = {tensor.name for tensor in self.model.graph.initializer}
        inputs = [tensor for tensor in self.model.graph.input if tensor.name not in weights]
        if len(inputs) != 1 or len(self.model.graph.output) != 1:
            got = f"{len(inputs)} inputs and {len(self.model.graph.output)} outputs"
            fail(f"the model of {function} has {got}, expected one of each")
        (self.input,), (self.output,) = inputs, self.model.graph.output

    @property
    def opset(self) -> int:
        return max((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), default=0)

    def is_of_opset_17(self) -> None:
        """By its number, and each node by the form that it had then."""
        if self.opset != OPSET:
            fail(f"the model of {self._function} has opset {self.opset}, asked for is {OPSET}")
        for node in self.model.graph.node:
            try:
                form = onnx.defs.get_schema(node.op_type, OPSET)
            except onnx.defs.SchemaError:
                fail(f"the model says opset {OPSET}, which has no operator {node.op_type}")
            if len(node.input) > form.max_input or len(node.output) > form.max_output:
                most = f"{form.max_input} inputs and {form.max_output} outputs at most"
                fail(f"the model says opset {OPSET}, in which {node.op_type} has {most}: a node has more")
            for attribute in node.attribute:
                if attribute.name not in form.attributes:
                    fail(f"the model says opset {OPSET}, in which {node.op_type} has no attribute {attribute.name!r}")

    def is_of_ir_version_8(self) -> None:
        if self.model.ir_version > IR:
            fail(f"the model's IR version is {self.model.ir_version}, asked for is {IR} at most")

    def has_names(self, given: str, answer: str) -> None:
        got = (self.input.name, self.output.name)
        if got != (given, answer):
            fail(f"the model's input and output are {got[0]!r} and {got[1]!r}, asked for are {given!r} and {answer!r}")

    def is_in_float32(self) -> None:
        """Its input and its output are, and nothing in between is float64."""
        for tensor in (self.input, self.output):
            kind = tensor.type.tensor_type.elem_type
            if kind != onnx.TensorProto.FLOAT:
                fail(f"the model's {tensor.name!r} is {_kind(kind)}, expected FLOAT")
        for tensor in self.model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.DOUBLE:
                fail(f"the weights {tensor.name!r} are DOUBLE still")
        for node in self.model.graph.node:
            for a in node.attribute:
                if onnx.TensorProto.DOUBLE in (a.t.data_type, a.i if a.name in ("to", "dtype") else None):
                    fail(f"the attribute {a.name!r} of a {node.op_type} is DOUBLE still")

    def takes(self, shape: tuple[int, ...]) -> None:
        """[any batch, *shape]."""
        sizes = _sizes(self.input)
        if tuple(sizes[1:]) != shape:
            fail(f"the model's input is {sizes}, expected [-1, {', '.join(map(str, shape))}]")
        for tensor in (self.input, self.output):
            if _sizes(tensor)[:1] != [-1]:
                fail(f"the batch of the model's {tensor.name!r} is fixed: its shape is {_sizes(tensor)}")


class ModelJudge:
    """Builds engines from models and runs them, in the engine runner. Every method raises CheckFailed."""

    def __init__(self, runner: Runner, within: float) -> None:
        """``within``: the error that is allowed."""
        self._runner, self._within = runner, within

    def answers_as(
        self, model: ExportedModel, batches: Sequence[np.ndarray], wanted: Sequence[np.ndarray], *, advice: str = ""
    ) -> None:
        """An engine of the model gives what is wanted for each of the batches."""
        sizes = _sizes(model.input)
        fixed = sizes[0] if sizes and sizes[0] != -1 else 0
        for batch in batches:
            if fixed and len(batch) != fixed:
                fail(f"the model takes batches of {fixed} alone, and not of {len(batch)}")
        shapes = [(n, *batches[0].shape[1:]) for n in (1, len(batches[0]), max(map(len, batches)))]
        try:
            plan = self._runner.build(model.onnx, {} if fixed else {model.input.name: shapes})
        except EngineError as error:
            fail(f"TensorRT cannot build an engine from the model: {error}")
        for batch, want in zip(batches, wanted, strict=True):
            what = f"the answer to a batch of {len(batch)}"
            try:
                got = self._runner.run(plan, {model.input.name: batch}).get(model.output.name)
            except EngineError as error:
                fail(f"the engine does not run on a batch of {len(batch)}: {error}")
            got = array(got, what, dtype="float32", shape=want.shape)
            close(got, want, what, within=self._within, advice=advice)


def _kind(number: int) -> str:
    named = number in onnx.TensorProto.DataType.values()
    return onnx.TensorProto.DataType.Name(number) if named else f"of an unknown type ({number})"


def _sizes(tensor: onnx.ValueInfoProto) -> list[int]:
    """A tensor's shape as the model tells it, with -1 for what is open."""
    dims = tensor.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else -1 for d in dims]
