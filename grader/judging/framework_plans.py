"""What the plans of q2_frameworks are held against: a model's own names, shapes and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grader.engines.interface import EngineError, Tensor
from grader.judging.judge import array, close, fail, kind_of
from grader.processes.candidate import Returned
from grader.processes.runner import Runner
from grader.tiers import Tier
from grader.twin.plan import digest


@dataclass(frozen=True)
class Asked:
    """The engine that was asked for."""

    image: str  #: the input's name
    shape: tuple[int, ...]  #: the input's, without the batch
    outputs: tuple[str, ...]
    batches: tuple[int, ...]  #: smallest, usual, largest


def within(tier: Tier) -> float:
    """Error allowed in float32 against a framework, which sums in an order of its own: max|a-b| / max|b|."""
    return 1e-4 if tier.name == "twin" else 1e-3


def plan_of(returned: Returned, function: str) -> bytes:
    """The plan that came back. Raises CheckFailed where it is no bytes."""
    if not isinstance(returned.value, bytes) or not returned.value:
        fail(f"{function} must return the plan as bytes, not {kind_of(returned.value)}")
    return returned.value


def loads(returned: Returned, function: str, runner: Runner) -> None:
    """What came back is a plan, right or not: a task of its own judges that."""
    _tensors(plan_of(returned, function), function, runner)


def built_as_asked(returned: Returned, function: str, runner: Runner, asked: Asked) -> None:
    """Names, layout, dynamic batch and profile, and the builder's TF32 flag where there is a device that tells."""
    plan = plan_of(returned, function)
    tensors = _tensors(plan, function, runner)
    inputs, outputs = ([t for t in tensors if t.is_input == kind] for kind in (True, False))
    if [t.name for t in inputs] != [asked.image]:
        fail(f"the engine's input is {_named(inputs)}; the model calls it {asked.image!r}")
    if sorted(t.name for t in outputs) != sorted(asked.outputs):
        fail(
            f"the engine's outputs are {_named(outputs)}; the model calls them {' and '.join(map(repr, asked.outputs))}"
        )
    got = inputs[0].shape
    if got[1:] != asked.shape:
        turned = len(asked.shape) == 3 and got[1:] in (_nchw(asked.shape), _nhwc(asked.shape))
        advice = ": channels stand in another place there" if turned else ""
        fail(f"the engine's input is {list(got)}, asked for was {[-1, *asked.shape]}{advice}")
    if got[0] != -1:
        fail(f"the engine takes batches of {got[0]} and no other: was the batch dynamic when the model was exported?")
    want = tuple((size, *asked.shape) for size in asked.batches)
    if inputs[0].profiles != (want,):
        found = "; ".join(str([shape[0] for shape in profile]) for profile in inputs[0].profiles)
        fail(f"the engine's profile has the batches {found}, asked for were {list(asked.batches)} (min, opt, max)")
    for config in returned.evidence.configs:
        if config["plan"] == digest(plan) and "TF32" in config["flags"]:
            fail("the engine was built with BuilderFlag.TF32, which is set by default: ten bits of a float32's 23")


def answers_agree(
    plan: bytes, runner: Runner, tier: Tier, asked: Asked, images: np.ndarray, expected: Mapping[str, np.ndarray]
) -> None:
    """At the smallest batch, one between, and the largest. ``images`` are as the engine takes them, enough for all."""
    low, usual, high = asked.batches
    for size in sorted({low, (low + high) // 2, usual, high}):
        batch = np.ascontiguousarray(images[:size])
        try:
            found = runner.run(plan, {asked.image: batch})
        except EngineError as error:
            fail(f"the engine does not run on a batch of {size}: {error}")
        for name, want in expected.items():
            what = f"the engine's {name!r} for a batch of {size}"
            if name not in found:
                fail(f"the engine has no output {name!r}")
            got = array(found[name], what, dtype="float32", shape=want[:size].shape)
            close(got, want[:size], what, within=within(tier), advice="the framework answers something else")


def _tensors(plan: bytes, function: str, runner: Runner) -> tuple[Tensor, ...]:
    try:
        return runner.inspect(plan).tensors
    except EngineError as error:
        fail(f"what {function} returned is not a plan that can be loaded: {error}")


def _named(tensors: Sequence[Tensor]) -> str:
    return " and ".join(repr(tensor.name) for tensor in tensors) or "missing"


def _nchw(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[2], shape[0], shape[1])


def _nhwc(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[1], shape[2], shape[0])
