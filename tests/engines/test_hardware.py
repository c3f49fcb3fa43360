"""The engine runner where there is a GPU: what it tells of an engine, and how long it says things take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from grader import tiers
from grader.engines.interface import EngineError
from grader.engines.measure import WAYS
from grader.fixtures.private.small_networks import SmallNetwork
from grader.processes.runner import Runner

pytestmark = pytest.mark.gpu
BATCH = 8


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(tiers.choose("gpu"), b"") as runner:
        yield runner


@pytest.fixture(scope="module")
def network() -> SmallNetwork:
    return SmallNetwork.draw(np.random.default_rng(0))


def test_convolutions_and_their_activations_are_kernels_once_each_however_many_profiles(
    runner: Runner, network: SmallNetwork
) -> None:
    one, two = (
        runner.inspect(runner.build(network.onnx, {network.input: network.profile}, contexts=n, seconds=200))
        for n in (1, 2)
    )

    assert [len(t.profiles) for t in two.tensors if t.is_input] == [2]
    assert [k.layers for k in one.kernels] == [k.layers for k in two.kernels]
    assert all(kernel.type not in ("NoOp", "Constant") for kernel in one.kernels)
    assert one.activation_bytes > 0


def test_each_way_of_running_takes_time_and_the_whole_takes_longer_than_its_parts(
    runner: Runner, network: SmallNetwork
) -> None:
    plan = runner.build(network.onnx, {network.input: network.profile}, seconds=200)
    inputs = {network.input: network.inputs(np.random.default_rng(1), BATCH)}

    seconds = {way: runner.measure(plan, way, inputs, 20, 20) for way in WAYS}

    assert all(0 < s < 1 for s in seconds.values())
    assert seconds["compute"] < seconds["enqueue"] < seconds["plain"]


def test_an_unknown_way_is_refused(runner: Runner, network: SmallNetwork) -> None:
    plan = runner.build(network.onnx, {network.input: network.profile}, seconds=200)

    with pytest.raises(EngineError, match="no way 'sideways'"):
        runner.measure(plan, "sideways", {}, 1, 1)
