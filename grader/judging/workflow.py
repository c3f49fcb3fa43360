"""What q3_workflow's checks hold a prepared model, a plan and an error against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from grader.engines.interface import EngineError
from grader.fixtures.private.dynamic_networks import DynamicNetwork
from grader.fixtures.private.messy_models import MessyModel
from grader.judging.judge import array, close, expect_raises, fail, fp32, no_misuse
from grader.processes.runner import Runner
from grader.tiers import Tier


@contextmanager
def refused(stage: str, situation: str, *words: str) -> Iterator[None]:
    """The block must end in a WorkflowError of this stage whose text has all the words, and leave nothing behind."""
    with expect_raises("WorkflowError", situation, *words) as caught:
        yield
    no_misuse(caught[0].evidence)
    message = caught[0].raised.message if caught[0].raised is not None else ""
    if not message.startswith(f"{stage}:"):
        fail(f"{situation}: the WorkflowError must start with {stage + ':'!r}; it says {message[:300]!r}")


class PlanJudge:
    """Looks into plans and runs them, in the engine runner. Every method raises CheckFailed."""

    def __init__(self, runner: Runner, tier: Tier, rng: np.random.Generator) -> None:
        self._runner, self._tier, self._rng = runner, tier, rng

    def right(self, plan: bytes, network: DynamicNetwork, config: dict[str, Any]) -> None:
        """The plan has the config's profiles, in their order, and computes the network in each of them."""
        try:
            tensors = self._runner.inspect(plan).tensors
        except EngineError as error:
            fail(f"what came back as a plan is none: {error}")
        for tensor in (tensor for tensor in tensors if tensor.is_input):
            want = tuple(tuple(map(tuple, profile[tensor.name])) for profile in config["profiles"])
            if tensor.profiles != want:
                got, asked = map(_in_words, (tensor.profiles, want))
                fail(f"input {tensor.name!r} has the profiles {got}, asked for were {asked}")
        for profile in config["profiles"]:
            batch, _, height, width = profile[network.image][2]
            inputs = network.inputs(self._rng, batch, height, width)
            self._computes(plan, inputs, network.output, network.expected(inputs), "the engine's output")

    def built_from(self, prepared: bytes, messy: MessyModel, shape: tuple[int, ...], profile: Any) -> bytes:
        """A trusted plan of the prepared model, whose inputs and outputs are the exported one's."""
        try:
            plan = self._runner.build(prepared, {messy.input: profile} if profile else {})
        except EngineError as error:
            fail(f"TensorRT cannot build the model that prepare returned: {error}")
        tensors = self._runner.inspect(plan).tensors
        for kind, is_input, name in (("input", True, messy.input), ("output", False, messy.output)):
            names = [tensor.name for tensor in tensors if tensor.is_input == is_input]
            if names != [name]:
                fail(f"the prepared model's {kind}s are {', '.join(names) or 'none'}; the exported one's was {name}")
        (got,) = (tensor.shape for tensor in tensors if tensor.is_input)
        if got != shape:
            fail(f"the prepared model's input is {list(got)}, asked for was {list(shape)} (-1: as dynamic as before)")
        return plan

    def computes_the_same(self, plan: bytes, messy: MessyModel, size: tuple[int, int, int]) -> None:
        """For one private batch of this (batch, height, width)."""
        batch = messy.inputs(self._rng, *size)
        self._computes(plan, {messy.input: batch}, messy.output, messy.expected(batch), "the prepared model's output")

    def _computes(self, plan: bytes, inputs: dict[str, np.ndarray], output: str, want: np.ndarray, what: str) -> None:
        try:
            got = self._runner.run(plan, inputs).get(output)
        except EngineError as error:
            fail(f"the plan does not run: {error}")
        close(array(got, what, dtype="float32", shape=want.shape), want, what, within=fp32(self._tier))


def _in_words(profiles: tuple[tuple[tuple[int, ...], ...], ...]) -> str:
    return "; ".join(" ".join(str(list(shape)) for shape in profile) for profile in profiles) or "none"
