"""What is asked of an answer to q2_frameworks: models that other exporters wrote."""

from __future__ import annotations

import numpy as np
import pytest

from grader.fixtures.private.foreign_models import ForeignModel
from grader.judging.exported import ExportedModel, ModelJudge
from grader.judging.judge import expect_raises, fp32
from grader.plugin import Call
from grader.processes.runner import Runner
from grader.tiers import Tier


@pytest.fixture
def models(runner: Runner, tier: Tier) -> ModelJudge:
    return ModelJudge(runner, fp32(tier))


@pytest.mark.task("onnx")
@pytest.mark.parametrize("gelu", ["none", "tanh"])
def test_a_newer_opset_becomes_17_and_computes_the_same(call: Call, models: ModelJudge, rng, gelu: str) -> None:
    foreign = ForeignModel.newer(rng, gelu)
    model = _repaired(call, foreign)
    model.is_of_opset_17()
    model.is_of_ir_version_8()
    _computes_the_same(models, model, foreign, rng, (1, 5))


@pytest.mark.task("onnx")
def test_a_model_for_one_batch_becomes_one_for_any(call: Call, models: ModelJudge, rng) -> None:
    foreign = ForeignModel.for_one_batch(rng)
    model = _repaired(call, foreign)
    model.takes(foreign.shape)
    _computes_the_same(models, model, foreign, rng, (1, 4, 7))


@pytest.mark.task("onnx")
def test_a_model_in_float64_becomes_one_in_float32(call: Call, models: ModelJudge, rng) -> None:
    foreign = ForeignModel.in_double(rng)
    model = _repaired(call, foreign)
    model.is_in_float32()
    _computes_the_same(models, model, foreign, rng, (1, 5))


@pytest.mark.task("onnx")
def test_a_file_that_cannot_be_repaired_is_told_as_such(call: Call, rng) -> None:
    foreign = ForeignModel.for_one_batch(rng)
    _repaired(call, foreign)
    for what, file, name in foreign.bad_files(rng):
        with expect_raises("ModelError", f"repair_onnx of {what}", name):
            call("repair_onnx", file)


def _repaired(call: Call, foreign: ForeignModel) -> ExportedModel:
    model = ExportedModel(call("repair_onnx", foreign.given).value, "repair_onnx")
    model.has_names(foreign.input, foreign.output)
    return model


def _computes_the_same(
    models: ModelJudge, model: ExportedModel, foreign: ForeignModel, rng: np.random.Generator, sizes: tuple[int, ...]
) -> None:
    batches = [foreign.inputs(rng, size) for size in sizes]
    models.answers_as(model, batches, [foreign.expected(batch) for batch in batches])
