"""The audit's runs: a large input that stays the same is kept and told once, and comes back whole."""

from __future__ import annotations

import numpy as np
import pytest

from grader.processes.candidate import whole_runs
from grader.twin import world as worlds
from grader.twin.world import Run, World

LARGE = 1 << 18  # float32 numbers: as many bytes as make an input large


@pytest.fixture
def world() -> World:
    return World(None, None, b"", None)  # type: ignore[arg-type]  # runs are kept without any of them


def record(world: World, *inputs: np.ndarray) -> None:
    for given in inputs:
        world.record(Run("plan", {"x": given.copy(), "n": np.ones(1)}, {}, "line"))


def test_what_stays_the_same_is_told_once_and_comes_back(world):
    same, other = np.zeros(LARGE, np.float32), np.ones(LARGE, np.float32)
    given = [same, same, other, other, same]
    record(world, *given)

    told = world.told_runs()

    assert [run["as_before"] for run in told] == [[], ["x"], [], ["x"], []]
    assert ["x" in run["inputs"] for run in told] == [True, False, True, False, True]
    whole = whole_runs(told)
    assert all(np.array_equal(run["inputs"]["x"], want) for run, want in zip(whole, given, strict=True))
    assert all("as_before" not in run and "n" in run["inputs"] for run in whole)


def test_another_type_or_shape_or_a_small_input_is_told(world):
    zeros = np.zeros(LARGE, np.float32)
    record(world, zeros, zeros.astype(np.int32), zeros.reshape(2, -1).astype(np.int32), zeros[:8], zeros[:8])
    assert [run["as_before"] for run in world.told_runs()] == [[]] * 5


def test_the_first_run_that_is_kept_is_told_whole(world, monkeypatch):
    monkeypatch.setattr(worlds, "MOST_RUNS", 2)
    record(world, *[np.zeros(LARGE, np.float32)] * 3)
    told = world.told_runs()
    assert world.dropped_runs == 1
    assert [run["as_before"] for run in told] == [[], ["x"]]


def test_an_input_that_is_kept_once_counts_once(world, monkeypatch):
    monkeypatch.setattr(worlds, "MOST_RUN_BYTES", 3 * 4 * LARGE)
    record(world, *[np.zeros(LARGE, np.float32)] * 10)
    assert world.dropped_runs == 0
    record(world, *[np.full(LARGE, value, np.float32) for value in range(10)])
    assert world.dropped_runs > 0
