"""Randomly drawn networks agree with their own interpretation; and the comparison would notice if they did not."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from grader import tiers
from tests.conformance import random_networks
from tests.conformance.random_draw import draw
from tests.conformance.random_drawer import FLOATS, Network, Tensor
from tests.conformance.random_networks import LACKING_8, Result, judged, results
from tests.conformance.random_steps import INTERPRET, interpret

_SEEDS = range(100)
#: Of a hundred networks, so many may be ones that the builder's own compiler gives up on.
_MOST_REFUSED = 3


def _hold(found: list[Result]) -> None:
    assert [(r.seed, r.differs) for r in found if r.differs] == []
    assert len([r for r in found if r.refused]) <= _MOST_REFUSED, [(r.seed, r.refused) for r in found if r.refused]
    assert all(5 <= r.layers <= 30 for r in found)


def test_a_few_networks_agree_on_the_twin() -> None:
    found = list(results(tiers.choose("twin"), _SEEDS[:6]))
    _hold(found)
    assert len(found) == 6 and not any(r.refused for r in found)


def _agrees(seed: int) -> Result:
    return Result(seed, 5, "", 0.0)


def test_on_a_gpu_several_run_at_once_and_each_seed_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, levels = replace(tiers.choose("twin"), name="gpu"), set()

    def some(tier: tiers.Tier, seeds: Iterator[int]) -> Iterator[Result]:
        levels.add(str(tier.settings))
        yield from map(_agrees, seeds)

    monkeypatch.setattr(random_networks, "_results", some)
    assert sorted(result.seed for result in results(gpu, range(50))) == list(range(50))
    assert levels == {"{'optimization_level': 0}"}
    assert next(results(gpu, itertools.count())).seed >= 0  # and whoever has enough need not wait for all


def test_what_ends_one_of_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(tier: tiers.Tier, seeds: Iterator[int]) -> Iterator[Result]:
        yield _agrees(next(seeds))
        raise OSError("no space left")

    monkeypatch.setattr(random_networks, "_results", broken)
    with pytest.raises(OSError, match="no space"):
        list(results(replace(tiers.choose("twin"), name="gpu"), itertools.count()))


@pytest.mark.slow
def test_a_hundred_networks_agree_on_the_twin() -> None:
    found = list(results(tiers.choose("twin"), _SEEDS))
    assert len(found) == 100
    _hold(found)


@pytest.mark.gpu
def test_a_hundred_networks_agree_on_a_gpu() -> None:
    _hold(list(results(tiers.choose("gpu"), _SEEDS)))


def test_a_seed_is_one_network() -> None:
    one, same, other = draw(3), draw(3), draw(4)
    assert str(one.steps) == str(same.steps) != str(other.steps)
    assert all(np.array_equal(a, b) for a, b in zip(one.arrays, same.arrays, strict=True))


def test_the_hundred_show_every_step_type_and_kind_of_shape() -> None:
    networks = [draw(seed) for seed in _SEEDS]
    steps = Counter(step["op"] for network in networks for step in network.steps)
    assert steps.keys() == INTERPRET.keys() and min(steps.values()) >= 5, steps
    types = Counter(told["dtype"] for network in networks for told in network.inputs)
    assert types.keys() == {"FLOAT", "HALF", "INT32", "INT64", "BOOL"} and min(types.values()) >= 10
    assert 30 <= sum(network.inputs[0]["free"] for network in networks) <= 70
    assert all(5 <= sum(step["op"] != "constant" for step in network.steps) <= 30 for network in networks)


def test_what_eight_six_lacks_is_not_drawn_for_it() -> None:
    networks = [draw(seed, LACKING_8) for seed in range(30)]
    steps = {step["op"] for network in networks for step in network.steps}
    types = {told["dtype"] for network in networks for told in network.inputs}
    types |= {tensor.dtype for network in networks for tensor in network.expected}
    assert not LACKING_8 & (steps | (types - {"BOOL"})) and {"convolution", "cast"} <= steps
    unary = {step["dtype"] for network in networks for step in network.steps if step["op"] == "unary"}
    assert unary <= {"FLOAT", "HALF", "BOOL"}
    normal = [
        tensor for network in networks for tensor in network.expected if _made_by(network, tensor) == "normalization"
    ]
    assert normal and all(tensor.rough for tensor in normal)


def _made_by(network: Network, tensor: Tensor) -> str:
    place = next(n for n, t in zip(network.outputs, network.expected, strict=True) if t is tensor)
    return network.steps[place - len(network.inputs)]["op"]


@pytest.mark.parametrize("seed", range(12))
def test_each_output_that_is_off_is_noticed(seed: int) -> None:
    """A float by a twentieth of the largest, an integer or bool in one element, a shape by an axis."""
    network = draw(seed)
    carried = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_}
    right = [tensor.values.astype(carried[tensor.dtype]) for tensor in network.expected]
    assert judged(network, right).differs == ""
    for place, tensor in enumerate(network.expected):
        off = right[place].copy()
        index = np.unravel_index(np.abs(tensor.values.astype(float)).argmax(), off.shape)
        off[index] = off[index] * 1.05 if tensor.dtype in FLOATS else not off[index]
        assert judged(network, [*right[:place], off, *right[place + 1 :]]).differs
        wider = replace(tensor, values=tensor.values[None])
        alone = replace(network, outputs=[network.outputs[place]], expected=[wider])
        assert "shape" in judged(alone, [right[place]]).differs


@pytest.mark.parametrize(
    ("step", "arrays", "expected"),
    [
        ({"op": "cumulative", "axis": 0, "exclusive": True, "reverse": True}, [[1, 2, 4]], [6, 4, 0]),
        ({"op": "slice", "axis": 0, "start": 2, "stride": -1, "size": 2}, [[1, 2, 4]], [4, 2]),
        ({"op": "topk", "axis": 0, "kind": "MIN", "k": 2, "indices": True}, [[5, 1, 3]], [1, 2]),
        ({"op": "one_hot", "depth": 3}, [[2, 0]], [[-0.5, -0.5, 1.5], [1.5, -0.5, -0.5]]),
        ({"op": "quantized", "scale": 0.5}, [[0.6, -100.0, 1.1]], [0.5, -64.0, 1.0]),
        ({"op": "product", "transposed": True}, [[[1, 2]], [[3, 4], [5, 6]]], [[11, 17]]),
        ({"op": "shuffle", "first": [1, 0], "dims": [0, -1], "second": [1, 0]}, [[[1, 2], [3, 4]]], [[1, 2], [3, 4]]),
        ({"op": "cast", "to": "INT32"}, [[1.7, -1.7]], [1, -1]),
        ({"op": "softmax", "axis": 0}, [[0.0, 0.0]], [0.5, 0.5]),
    ],
)
def test_the_interpretation_of_small_steps(step: dict, arrays: list, expected: list) -> None:
    assert interpret(step, [np.array(a) for a in arrays]).tolist() == expected
