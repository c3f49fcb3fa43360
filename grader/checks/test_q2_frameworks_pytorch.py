"""What is asked of an answer to q2_frameworks: models of PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from grader.fixtures.private.torch_modules import TorchModule
from grader.judging.exported import ExportedModel, ModelJudge
from grader.judging.framework_plans import within
from grader.plugin import Call, Recorder
from grader.processes.candidate import GivenTensor
from grader.processes.runner import Runner
from grader.tiers import Tier

IMPORT_S = 90  #: for a call that may be the first to import PyTorch
BATCHES = (3, 1, 6)  #: the first is the example's


@dataclass(frozen=True)
class Asked:
    """A module, and batches with PyTorch's own answers to them."""

    module: TorchModule
    batches: list[np.ndarray]
    answers: list[np.ndarray]


@pytest.fixture
def models(runner: Runner, tier: Tier) -> ModelJudge:
    return ModelJudge(runner, within(tier))


@pytest.fixture(scope="module")
def photos(recorder: Recorder) -> Asked:
    """Batches of BATCHES' sizes below the limit, and then of the same above it."""
    rng = np.random.default_rng([recorder.seed, 1])
    module = TorchModule.photos(rng)
    peaks = [module.options["limit"] * rng.uniform(*times) for times in ((0.5, 0.9),) * 3 + ((1.5, 3),) * 3]
    batches = [module.inputs(rng, size, peak) for size, peak in zip(BATCHES * 2, peaks, strict=True)]
    return Asked(module, batches, module.answers(batches))


@pytest.fixture(scope="module")
def textures(recorder: Recorder) -> Asked:
    rng = np.random.default_rng([recorder.seed, 2])
    module = TorchModule.textures(rng)
    batches = [module.inputs(rng, size, rng.uniform(1, 4)) for size in BATCHES]
    return Asked(module, batches, module.answers(batches))


@pytest.mark.task("pytorch")
def test_a_module_becomes_a_model_in_the_form_that_is_asked_for(call: Call, photos: Asked) -> None:
    model = _exported(call, photos, 0)
    model.is_of_opset_17()
    model.has_names("input", "output")
    model.is_in_float32()
    model.takes(photos.module.shape)


@pytest.mark.task("pytorch")
def test_batches_of_any_size_get_the_modules_own_answers(call: Call, photos: Asked, models: ModelJudge) -> None:
    model = _exported(call, photos, 0)
    advice = "is the module in eval mode, and does nothing depend on how many images the example has?"
    models.answers_as(model, photos.batches[:3], photos.answers[:3], advice=advice)


@pytest.mark.task("pytorch")
@pytest.mark.parametrize("example", [0, 3], ids=["an example below the limit", "an example above the limit"])
def test_both_sides_of_a_branch_are_in_the_model(call: Call, photos: Asked, models: ModelJudge, example: int) -> None:
    model = _exported(call, photos, example)
    advice = "a tracer keeps the side of a branch that its example took, and this input takes the other one"
    for side in (example, 3 - example):
        models.answers_as(model, photos.batches[side : side + 1], photos.answers[side : side + 1], advice=advice)


@pytest.mark.task("pytorch-rejected")
def test_an_operator_that_tensorrt_lacks_is_replaced_by_an_equivalent(
    call: Call, textures: Asked, models: ModelJudge
) -> None:
    model = _exported(call, textures, 0)
    advice = "what took the rejected operator's place must compute the same"
    models.answers_as(model, textures.batches, textures.answers, advice=advice)


def _exported(call: Call, asked: Asked, example: int) -> ExportedModel:
    given = (asked.module.given, GivenTensor(asked.batches[example]))
    return ExportedModel(call("from_pytorch", *given, seconds=IMPORT_S).value, "from_pytorch")
