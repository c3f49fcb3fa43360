"""What is said of a model that a candidate's code returned."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from grader.engines.interface import EngineError
from grader.judging.exported import ExportedModel, ModelJudge
from grader.judging.judge import CheckFailed

FLOAT, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE


def _model(
    nodes: list[onnx.NodeProto] | None = None, *, opset: int = 17, ir: int = 8, batch: object = "batch",
    kind: int = FLOAT, weights: list[onnx.TensorProto] | None = None, answer: str = "output",
) -> onnx.ModelProto:  # fmt: skip
    source = helper.make_tensor_value_info("input", kind, [batch, 3])
    target = helper.make_tensor_value_info(answer, FLOAT, [batch, 3])
    nodes = nodes or [helper.make_node("Relu", ["input"], ["output"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [source], [target], weights or []), opset_imports=[helper.make_opsetid("", opset)]
    )
    model.ir_version = ir
    return model


def _exported(model: onnx.ModelProto) -> ExportedModel:
    return ExportedModel(model.SerializeToString(), "from_it")


def _all_is_asked_of(model: onnx.ModelProto) -> None:
    exported = _exported(model)
    exported.is_of_opset_17()
    exported.is_of_ir_version_8()
    exported.has_names("input", "output")
    exported.is_in_float32()
    exported.takes((3,))


def test_a_right_model_passes() -> None:
    _all_is_asked_of(_model())


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "must return the bytes of an ONNX model, not NoneType"),
        (b"", "must return the bytes"),
        (b"\xff" * 40, "these bytes are not an ONNX model"),
        (np.zeros(3), "not ndarray"),
    ],
)
def test_what_is_no_model_is_told_as_such(value: object, says: str) -> None:
    with pytest.raises(CheckFailed, match=says):
        ExportedModel(value, "from_it")


def _if() -> onnx.NodeProto:
    inner = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["o"])], "i", [], [helper.make_tensor_value_info("o", FLOAT, None)]
    )
    return helper.make_node("If", ["input"], ["output"], then_branch=inner, else_branch=inner, name="branch")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (_model(opset=18), "opset 18, asked for is 17"),
        (_model([helper.make_node("Gelu", ["input"], ["output"])]), "says opset 17, which has no operator Gelu"),
        (_model([helper.make_node("ReduceMax", ["input", "a"], ["output"])]), "ReduceMax has 1 inputs .* at most"),
        (
            _model([helper.make_node("Split", ["input"], ["output"], num_outputs=1)]),
            "Split has no attribute 'num_outputs'",
        ),
        (_model(ir=10), "IR version is 10, asked for is 8"),
        (_model(answer="y"), "input and output are 'input' and 'y', asked for are 'input' and 'output'"),
        (_model(kind=DOUBLE), "'input' is DOUBLE, expected FLOAT"),
        (_model(kind=999), r"'input' is of an unknown type \(999\), expected FLOAT"),
        (_model(weights=[numpy_helper.from_array(np.zeros(3), "w")]), "weights 'w' are DOUBLE still"),
        (_model([helper.make_node("Cast", ["input"], ["output"], to=DOUBLE)]), "'to' of a Cast is DOUBLE still"),
        (_model(batch=4), r"the batch of the model's 'input' is fixed: its shape is \[4, 3\]"),
        (_model([_if()]), "the If node 'branch' has a graph inside"),
    ],
)
def test_each_fault_is_told(model: onnx.ModelProto, says: str) -> None:
    with pytest.raises(CheckFailed, match=says):
        _all_is_asked_of(model)


def test_several_inputs_are_not_taken() -> None:
    model = _model()
    model.graph.input.append(helper.make_tensor_value_info("more", FLOAT, [1]))
    with pytest.raises(CheckFailed, match="2 inputs and 1 outputs, expected one of each"):
        _exported(model)


class _Runner:
    """Gives answers that are made up."""

    def __init__(self, answer: np.ndarray | None) -> None:
        self.answer, self.built = answer, []

    def build(self, model: bytes, profiles: dict) -> bytes:
        self.built.append(profiles)
        return b"plan"

    def run(self, plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.answer is None:
            raise EngineError("no kernel")
        return {"output": self.answer[: len(inputs["input"])]}


BATCHES = [np.ones((size, 3), np.float32) for size in (2, 1, 4)]
WANTED = [np.full((size, 3), 2, np.float32) for size in (2, 1, 4)]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (np.full((4, 3), 2.0005, np.float32), "a batch of 2 is off by 0.00025 .*: advised"),
        (np.full((4, 2), 2, np.float32), r"a batch of 2 is float32 \[2, 2\], expected float32 \[2, 3\]"),
        (np.full((4, 3), np.nan, np.float32), "holds NaN"),
        (None, "does not run on a batch of 2: no kernel"),
    ],
)
def test_a_wrong_answer_is_told(answer: np.ndarray | None, says: str) -> None:
    judge = ModelJudge(_Runner(answer), 1e-4)  # type: ignore[arg-type]
    with pytest.raises(CheckFailed, match=says):
        judge.answers_as(_exported(_model()), BATCHES, WANTED, advice="advised")


def test_right_answers_pass_and_the_profile_has_room_for_all_batches() -> None:
    runner = _Runner(np.full((4, 3), 2.0001, np.float32))
    ModelJudge(runner, 1e-4).answers_as(_exported(_model()), BATCHES, WANTED)  # type: ignore[arg-type]
    assert runner.built == [{"input": [(1, 3), (2, 3), (4, 3)]}]


def test_a_fixed_batch_takes_no_other() -> None:
    judge = ModelJudge(_Runner(WANTED[2]), 1e-4)  # type: ignore[arg-type]
    judge.answers_as(_exported(_model(batch=2)), BATCHES[:1], WANTED[:1])
    with pytest.raises(CheckFailed, match="takes batches of 2 alone, and not of 1"):
        judge.answers_as(_exported(_model(batch=2)), BATCHES, WANTED)
