"""What q2_frameworks holds an engine that was built from Caffe's files against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from grader.engines.interface import EngineError, Inspection
from grader.fixtures.private.caffe_damage import Damaged
from grader.fixtures.private.caffe_layers import Network
from grader.fixtures.private.caffe_reference import forward
from grader.judging.framework_plans import Asked, built_as_asked, plan_of, within
from grader.judging.judge import error_of, expect_raises, fail, no_misuse
from grader.processes.candidate import Returned
from grader.processes.runner import Runner
from grader.tiers import Tier
from grader.twin.plan import digest


class CaffeJudge:
    """Looks into plans and runs them, in the engine runner. Every method raises CheckFailed."""

    def __init__(self, runner: Runner, tier: Tier, rng: np.random.Generator) -> None:
        self._runner, self._rng, self._within = runner, rng, within(tier)

    def right(
        self, returned: Returned, network: Network, batches: Sequence[int], meaning: Mapping[str, str] | None = None
    ) -> None:
        """What came back is an engine of the network, for these batches, that gives Caffe's own answers.

        ``meaning``: what an output shows, in words, where one is to be told apart from the others.
        """
        asked = Asked(network.input, network.shape, tuple(network.outputs), tuple(batches))
        built_as_asked(returned, "from_caffe", self._runner, asked)
        plan = plan_of(returned, "from_caffe")
        _built_here(returned, self._runner.inspect(plan))
        low, _, high = batches
        for batch in (low, high, int(self._rng.integers(low, high + 1))):
            self._computes(plan, network, batch, meaning or {})

    def _computes(self, plan: bytes, network: Network, batch: int, meaning: Mapping[str, str]) -> None:
        images = network.inputs(self._rng, batch)
        try:
            outputs = self._runner.run(plan, {network.input: images})
        except EngineError as error:
            fail(f"the plan does not run for a batch of {batch}: {error}")
        wrong = []
        for name, want in forward(network, images).items():
            what = f"{meaning[name]} (output {name!r})" if name in meaning else f"output {name!r}"
            got = outputs[name]
            if got.dtype != np.float32 or got.shape != want.shape:
                wrong.append(f"{what} is {got.dtype.name} {list(got.shape)}, Caffe's is float32 {list(want.shape)}")
            elif not np.isfinite(got).all():
                wrong.append(f"{what} holds NaN or infinity")
            elif (off := error_of(got, want)) > self._within:
                wrong.append(f"{what} is off by {off:.2g}")
        if wrong:
            allowed = f"at most {self._within:g} of max|a-b| / max|b| is allowed"
            fail(f"for a batch of {batch}, {'; '.join(wrong[:6])}{' and more' * (len(wrong) > 6)} ({allowed})")


def _built_here(returned: Returned, found: Inspection) -> None:
    """The plan was built in the call and from no ONNX model, as far as this tier can tell."""
    evidence = returned.evidence
    if evidence.known and all(config["plan"] != digest(returned.value) for config in evidence.configs):
        fail("the plan that from_caffe returned was not built in this call")
    nodes = [node for kernel in found.kernels for node in kernel.layers]
    if nodes:
        fail(f"the network came out of an ONNX parser (node {nodes[0]!r}): build it layer by layer")


@contextmanager
def refused(damaged: Damaged) -> Iterator[None]:
    """The block must end in a ModelError whose text has the words of ``damaged``."""
    with expect_raises("ModelError", damaged.what, *damaged.words) as caught:
        yield
    no_misuse(caught[0].evidence)
