"""What is said of an engine that is not the Caffe network's, and of errors that do not help."""

from dataclasses import replace

import numpy as np
import pytest

from grader.engines.interface import EngineError, Inspection, Kernel, Tensor
from grader.fixtures.private import caffe_damage
from grader.fixtures.private.caffe_damage import Damaged
from grader.fixtures.private.caffe_layers import Network
from grader.fixtures.private.caffe_reference import forward
from grader.fixtures.private.caffe_writer import Files
from grader.judging.caffe import CaffeJudge, refused
from grader.judging.judge import CheckFailed
from grader.processes.candidate import CallFailed, Evidence, Raised, Returned
from grader.tiers import Tier
from grader.twin.plan import digest

PLAN, BATCHES = b"a plan", [1, 2, 5]
FILES = Files("", b"")


class FakeRunner:
    """Runs the network itself, but for what a test changes."""

    def __init__(self, network: Network) -> None:
        self.network = network
        shapes = (tuple((batch, *network.shape) for batch in BATCHES),)
        (output,) = network.outputs
        self.inspection = Inspection(
            (
                Tensor(network.input, "FLOAT", (-1, *network.shape), True, shapes),
                Tensor(output, "FLOAT", (-1, 7), False, ()),
            ),
            (),
        )
        self.change = lambda outputs: outputs

    def inspect(self, plan: bytes) -> Inspection:
        if plan != PLAN:
            raise EngineError("it is cut off")
        return self.inspection

    def run(self, plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = forward(self.network, inputs[self.network.input])
        return self.change({name: value.astype(np.float32) for name, value in outputs.items()})


@pytest.fixture
def network() -> Network:
    return caffe_damage.network(np.random.default_rng(1))


@pytest.fixture
def runner(network: Network) -> FakeRunner:
    return FakeRunner(network)


def returned(value: object = PLAN, *, flags: tuple[str, ...] = (), plan: str = digest(PLAN)) -> Returned:
    return Returned(value, Evidence(known=True, configs=({"plan": plan, "flags": list(flags)},)), "", 0.1)


def judged(runner: FakeRunner, answer: Returned, meaning: dict[str, str] | None = None) -> None:
    tier = Tier("twin", "1.7.1.116")
    CaffeJudge(runner, tier, np.random.default_rng(2)).right(answer, runner.network, BATCHES, meaning)  # type: ignore[arg-type]


def test_the_right_engine_passes(runner: FakeRunner) -> None:
    judged(runner, returned())
    judged(runner, Returned(PLAN, Evidence(known=False), "", 0.1))  # a tier that tells nothing of the call


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (returned(None), "must return the plan as bytes, not None"),
        (returned(b"something"), "not a plan that can be loaded: it is cut off"),
        (returned(plan="another"), "was not built in this call"),
        (returned(flags=("TF32",)), "TF32"),
    ],
)
def test_what_is_no_engine_of_this_call_fails(runner: FakeRunner, answer: Returned, words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        judged(runner, answer)


def test_what_came_out_of_a_parser_fails(runner: FakeRunner) -> None:
    kernel = Kernel("gemm", "kernel", ("Conv_0",), (), ())
    runner.inspection = replace(runner.inspection, kernels=(replace(kernel, layers=()), kernel))
    with pytest.raises(CheckFailed, match=r"came out of an ONNX parser \(node 'Conv_0'\)"):
        judged(runner, returned())


@pytest.mark.parametrize(
    ("index", "changes", "words"),
    [
        (0, {"name": "x"}, r"input is 'x'; the model calls it 'data_"),
        (0, {"shape": (-1, 10, 13, 3)}, r"channels stand in another place"),
        (0, {"shape": (1, 3, 10, 13)}, r"takes batches of 1 and no other"),
        (0, {"profiles": (((1, 3, 10, 13),) * 3,)}, r"profile has the batches \[1, 1, 1\]"),
        (1, {"name": "(Unnamed Layer* 9) [Softmax]_output"}, r"outputs are '\(Unnamed Layer\* 9\)"),
    ],
)
def test_names_and_profiles_are_held_to_caffes(runner: FakeRunner, index: int, changes: dict, words: str) -> None:
    tensors = list(runner.inspection.tensors)
    tensors[index] = replace(tensors[index], **changes)
    runner.inspection = replace(runner.inspection, tensors=tuple(tensors))
    with pytest.raises(CheckFailed, match=words):
        judged(runner, returned())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y: y * np.float32(1.001), r"for a batch of 1, the softmax \(output 'softmax.*'\) is off by 0\.001"),
        (lambda y: y[:, :-1], r"is float32 \[1, 6\], Caffe's is float32 \[1, 7\]"),
        (lambda y: y.astype(np.float16), r"is float16 \[1, 7\], Caffe's is float32"),
        (lambda y: y * np.float32("nan"), r"holds NaN or infinity"),
    ],
)
def test_what_an_output_shows_is_said_where_it_is_wrong(runner: FakeRunner, change, words: str) -> None:
    (name,) = runner.network.outputs
    runner.change = lambda outputs: {key: change(value) for key, value in outputs.items()}
    with pytest.raises(CheckFailed, match=words):
        judged(runner, returned(), {name: "the softmax"})


def test_rounding_is_allowed(runner: FakeRunner) -> None:
    runner.change = lambda outputs: {key: value * np.float32(1.00005) for key, value in outputs.items()}
    judged(runner, returned())


def test_an_engine_that_does_not_run_fails(runner: FakeRunner) -> None:
    def change(outputs: dict) -> dict:
        raise EngineError("no such shape")

    runner.change = change
    with pytest.raises(CheckFailed, match="does not run for a batch of 1: no such shape"):
        judged(runner, returned())


def raising(message: str, kind: str = "ModelError") -> CallFailed:
    raised = Raised(kind, (kind, "ValueError", "Exception", "object"), message, "stub.py:9", "")
    return CallFailed("raised", str(raised), raised=raised)


def test_an_error_with_all_the_words_is_taken() -> None:
    with refused(Damaged("this", FILES, ("conv1", ("V1", "layers")))):
        raise raising("layer conv1 is among the layers of the old form")


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        ("something is wrong", "ModelError", "this: the ModelError should name 'conv1'; it says 'something is wrong'"),
        ("conv1", "ModelError", "should name 'V1'"),
        ("", "ModelError", "has no message"),
        ("conv1 V1", "KeyError", "expected a ModelError, but your code raised KeyError"),
    ],
)
def test_an_error_without_them_is_not(message: str, kind: str, words: str) -> None:
    with pytest.raises(CheckFailed, match=words), refused(Damaged("this", FILES, ("conv1", ("V1", "layers")))):
        raise raising(message, kind)


def test_no_error_at_all_fails() -> None:
    with (
        pytest.raises(CheckFailed, match="this: expected a ModelError, but your code returned"),
        refused(Damaged("this", FILES)),
    ):
        pass
