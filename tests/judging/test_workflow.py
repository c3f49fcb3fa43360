"""What q3_workflow's answers are held against: each failure is one sentence that names what came instead."""

from __future__ import annotations

import numpy as np
import pytest

from grader import tiers
from grader.engines.interface import EngineError, Inspection, Tensor
from grader.fixtures.private import workflow_cases as cases
from grader.fixtures.private.dynamic_networks import DynamicNetwork, Profile
from grader.fixtures.private.messy_models import MessyModel
from grader.judging.judge import CheckFailed
from grader.judging.workflow import PlanJudge, refused
from grader.processes.candidate import CallFailed, Evidence, Finding, Raised

TWIN = tiers.Tier("twin", "1.0")
LEAK = Finding("leak", "12 bytes were never freed", "answer.py:1")


def _raised(*bases: str, message: str, findings: tuple[Finding, ...] = ()) -> CallFailed:
    raised = Raised(bases[0], bases, message, "answer.py:3", "")
    return CallFailed("raised", str(raised), raised=raised, evidence=Evidence(True, findings))


# -- errors


@pytest.mark.parametrize("bases", [("WorkflowError", "Exception"), ("LoadError", "WorkflowError", "ValueError")])
def test_the_one_exception_with_stage_and_words_is_what_was_wanted(bases: tuple[str, ...]) -> None:
    with refused("load", "load of something", "10.1", "GPU"):
        raise _raised(*bases, message="load: built by 10.1 on a GPU")


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (_raised("ValueError", message="load: 10.1"), "expected a WorkflowError, but your code raised ValueError"),
        (_raised("WorkflowError", message=""), "has no message"),
        (_raised("WorkflowError", message="cannot load 10.1"), "must start with 'load:'"),
        (_raised("WorkflowError", message="run: 10.1"), "must start with 'load:'"),
        (_raised("WorkflowError", message="load: it failed"), "should name '10.1'"),
        (_raised("WorkflowError", message="load: 10.1", findings=(LEAK,)), "12 bytes were never freed"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_it_is(failure: CallFailed, says: str) -> None:
    with pytest.raises(CheckFailed) as caught, refused("load", "load of something", "10.1"):
        raise failure
    assert says in str(caught.value)


def test_what_ends_as_if_all_were_well_is_refused() -> None:
    with pytest.raises(CheckFailed, match="as if all were well"), refused("load", "load of something"):
        pass


def test_a_process_that_ended_is_told_as_such() -> None:
    with pytest.raises(CallFailed, match="crashed"), refused("load", "load of something"):
        raise CallFailed("signal", "your code crashed")


# -- plans


class _Runner:
    """An engine runner that tells of one engine, and computes what it was told to."""

    def __init__(self, tensors: tuple[Tensor, ...] | None, outputs: dict[str, np.ndarray] | None = None) -> None:
        self._tensors, self._outputs = tensors, outputs

    def build(self, onnx: bytes, profiles: object) -> bytes:
        if not onnx:
            raise EngineError("the network does not parse")
        return b"plan"

    def inspect(self, plan: bytes) -> Inspection:
        if self._tensors is None:
            raise EngineError("the plan cannot be loaded")
        return Inspection(self._tensors, ())

    def run(self, plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._outputs is None:
            raise EngineError("out of memory")
        return self._outputs


def _judge(runner: _Runner, seed: int = 0) -> PlanJudge:
    return PlanJudge(runner, TWIN, np.random.default_rng(seed))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def network() -> DynamicNetwork:
    return DynamicNetwork.draw(np.random.default_rng(1))


@pytest.fixture(scope="module")
def profile(network: DynamicNetwork) -> Profile:
    return network.profile((1, 8, 8), (2, 8, 8), (3, 9, 9))


def _tensors(network: DynamicNetwork, *profiles: Profile) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(name, "FLOAT", (-1,) * 4, True, tuple(profile[name] for profile in profiles))
        for name in (network.image, network.gain)
    )


def test_a_plan_with_its_profiles_and_numbers_is_right(network: DynamicNetwork, profile: Profile) -> None:
    config = {"profiles": [cases.plain(profile)]}
    want = network.expected(network.inputs(np.random.default_rng(0), 3, 9, 9))

    _judge(_Runner(_tensors(network, profile), {network.output: want})).right(b"plan", network, config)


def test_a_plan_that_is_none_or_another_is_told(network: DynamicNetwork, profile: Profile) -> None:
    config = {"profiles": [cases.plain(profile)]}
    want = network.expected(network.inputs(np.random.default_rng(0), 3, 9, 9))
    tensors = _tensors(network, profile)
    for runner, says in (
        (_Runner(None), "what came back as a plan is none: the plan cannot be loaded"),
        (_Runner(_tensors(network)), "has the profiles none, asked for were [1, 3, 8, 8]"),
        (_Runner(_tensors(network, profile, profile)), "has the profiles"),
        (_Runner(tensors), "the plan does not run: out of memory"),
        (_Runner(tensors, {}), "the engine's output is not a NumPy array but None"),
        (_Runner(tensors, {network.output: want + 1}), "the engine's output is off by"),
        (_Runner(tensors, {network.output: want[:1]}), "expected float32"),
    ):
        with pytest.raises(CheckFailed) as caught:
            _judge(runner).right(b"plan", network, config)
        assert says in str(caught.value)


def test_a_prepared_model_with_other_names_or_shapes_is_told() -> None:
    messy = MessyModel.draw(np.random.default_rng(0))
    shape = (-1, messy.channels, 8, 8)
    source, target = Tensor(messy.input, "FLOAT", shape, True, ()), Tensor(messy.output, "FLOAT", (-1, 3), False, ())
    fixed = Tensor(messy.input, "FLOAT", (1, *shape[1:]), True, ())

    assert _judge(_Runner((source, target))).built_from(b"onnx", messy, shape, None) == b"plan"
    for tensors, prepared, says in (
        ((source, target), b"", "TensorRT cannot build the model that prepare returned: the network does not parse"),
        ((target,), b"onnx", "the prepared model's inputs are none"),
        ((source, source, target), b"onnx", "the prepared model's inputs are"),
        ((source, Tensor("other", "FLOAT", (-1, 3), False, ())), b"onnx", "the prepared model's outputs are other"),
        ((fixed, target), b"onnx", "the prepared model's input is [1, "),
    ):  # fmt: skip
        with pytest.raises(CheckFailed) as caught:
            _judge(_Runner(tensors)).built_from(prepared, messy, shape, None)
        assert says in str(caught.value)
