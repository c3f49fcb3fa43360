"""What q2_frameworks holds an engine that was built from Caffe's files against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from grader.engines.interface import EngineError, Inspection
from grader.fixtures.private.caffe_damage import Damaged
from grader.fixtures.private.caffe_layers import Network
from grader.fixtures.private.caffe_reference import forward
from grader.judging.judge import array, error_of, expect_raises, fail, no_misuse
from grader.processes.candidate import CallFailed, Returned
from grader.processes.runner import Runner
from grader.tiers import Tier
from grader.twin.plan import digest


class CaffeJudge:
    """Looks into plans and runs them, in the engine runner. Every method raises CheckFailed."""

    def __init__(self, runner: Runner, tier: Tier, rng: np.random.Generator) -> None:
        self._runner, self._rng = runner, rng
        self._within = 1e-4 if tier.name == "twin" else 1e-3  # float32 through some forty layers

    def right(
        self, returned: Returned, network: Network, batches: Sequence[int], meaning: Mapping[str, str] | None = None
    ) -> None:
        """What came back is an engine of the network, for these batches, that gives Caffe's own answers.

        ``meaning``: what an output shows, in words, where one is to be told apart from the others.
        """
        plan = returned.value
        if not isinstance(plan, bytes) or not plan:
            fail(f"from_caffe must return the plan's bytes, not {type(plan).__name__}")
        try:
            found = self._runner.inspect(plan)
        except EngineError as error:
            fail(f"what came back as a plan is none: {error}")
        _built_here(returned, found)
        _as_caffe_names_them(found, network, batches)
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
            if got.shape != want.shape:
                wrong.append(f"{what} is {list(got.shape)}, Caffe's is {list(want.shape)}")
            elif (off := error_of(array(got, what, dtype="float32", shape=want.shape), want)) > self._within:
                wrong.append(f"{what} is off by {off:.2g}")
        if wrong:
            allowed = f"at most {self._within:g} of max|a-b| / max|b| is allowed"
            fail(f"for a batch of {batch}, {'; '.join(wrong[:6])}{' and more' * (len(wrong) > 6)} ({allowed})")


def _built_here(returned: Returned, found: Inspection) -> None:
    """The plan was built in the call and from no ONNX model, as far as this tier can tell."""
    configs = [config for config in returned.evidence.configs if config["plan"] == digest(returned.value)]
    if returned.evidence.known and not configs:
        fail("the plan that from_caffe returned was not built in this call")
    for config in configs:
        if "TF32" in config["flags"]:
            fail("the engine may compute in TF32, which a GPU does by default: clear the flag in the builder's config")
    nodes = [node for kernel in found.kernels for node in kernel.layers]
    if nodes:
        fail(f"the network came out of an ONNX parser (node {nodes[0]!r}): build it layer by layer")


def _as_caffe_names_them(found: Inspection, network: Network, batches: Sequence[int]) -> None:
    inputs = {tensor.name: tensor for tensor in found.tensors if tensor.is_input}
    if list(inputs) != [network.input]:
        fail(f"the engine's inputs are {', '.join(inputs) or 'none'}; the network's is {network.input}")
    bounds = ((tuple((batch, *network.shape) for batch in batches)),)
    if (got := inputs[network.input].profiles) != bounds:
        told = "; ".join(" ".join(str(list(shape)) for shape in profile) for profile in got) or "none"
        fail(f"the input's profiles are {told}; asked for was one: {' '.join(str(list(s)) for s in bounds[0])}")
    outputs = sorted(tensor.name for tensor in found.tensors if not tensor.is_input)
    if outputs != sorted(network.outputs):
        fail(f"the engine's outputs are {outputs}; the tops that no layer takes are {sorted(network.outputs)}")


@contextmanager
def refused(damaged: Damaged) -> Iterator[None]:
    """The block must end in a ModelError whose text has the words of ``damaged``."""
    failures: list[CallFailed] = []
    with expect_raises("ModelError", damaged.what):
        try:
            yield
        except CallFailed as failure:
            failures.append(failure)
            raise
    no_misuse(failures[0].evidence)
    text = failures[0].raised.message if failures[0].raised is not None else ""
    for word in damaged.words:
        options = (word,) if isinstance(word, str) else word
        if not any(option in text for option in options):
            fail(f"{damaged.what}: the ModelError should name {options[0]!r}; it says {text[:300]!r}")
