"""Marks: what each status earns, and what is taken out of the possible."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from grader.score import SCHEMA, ExerciseResult, RunResult, Status, TaskResult


def _task(status: Status, points: int = 10) -> TaskResult:
    return TaskResult("id", "title", points, status)


def _run(*statuses: Status) -> RunResult:
    exercises = [ExerciseResult(f"e{i}", "", [_task(s, 2**i)]) for i, s in enumerate(statuses)]
    return RunResult("twin", 1, "here", {}, {}, exercises)


@pytest.mark.parametrize(
    ("status", "earned", "not_run"),
    [
        (Status.PASSED, 10, 0),
        (Status.FAILED, 0, 0),
        (Status.BLOCKED, 0, 0),
        (Status.NOT_RUN, 0, 10),
        (Status.INCONCLUSIVE, 0, 10),
    ],
)
def test_only_a_pass_earns_and_what_could_not_be_judged_does_not_count(
    status: Status, earned: int, not_run: int
) -> None:
    assert (_task(status).earned, _task(status).not_run) == (earned, not_run)


def test_marks_add_up_over_tasks_and_exercises() -> None:
    run = _run(Status.PASSED, Status.FAILED, Status.NOT_RUN, Status.INCONCLUSIVE, Status.PASSED, Status.BLOCKED)

    assert (run.earned, run.possible, run.not_run) == (1 + 16, 63, 4 + 8)
    assert [e.earned for e in run.exercises] == [1, 0, 0, 0, 16, 0]
    assert [t.points for t in run.tasks()] == [1, 2, 4, 8, 16, 32]


def test_a_task_that_was_never_begun_is_not_run() -> None:
    assert TaskResult("id", "title", 5).status is Status.NOT_RUN


ORDER = (Status.FAILED, Status.BLOCKED, Status.INCONCLUSIVE, Status.NOT_RUN, Status.PASSED)


@pytest.mark.parametrize(("first", "second"), [*itertools.product(ORDER, ORDER)])
def test_the_worst_check_decides_in_any_order(first: Status, second: Status) -> None:
    task = TaskResult("id", "title", 5)
    task.add("a", first, f"{first.value} a", 1.0)
    task.add("b", second, f"{second.value} b", 0.5)

    worst, by = min(((first, "a"), (second, "b")), key=lambda pair: ORDER.index(pair[0]))
    assert (task.status, task.message) == (worst, f"{worst.value} {by}")
    assert task.seconds == 1.5
    assert task.checks == {"a": first, "b": second}


def test_a_check_with_parameters_is_as_bad_as_its_worst_case() -> None:
    task = TaskResult("id", "title", 5)
    for status in (Status.PASSED, Status.FAILED, Status.PASSED):
        task.add("a", status, "", 0)
    assert task.checks == {"a": Status.FAILED}


def test_figures_become_plain_json_whatever_numpy_they_were() -> None:
    figures = {
        "half": np.float16(0.5), "count": np.int64(3), "flag": np.bool_(True), "row": np.array([1.5, np.nan]),
        "nothing": None, "endless": float("inf"), "text": "fast", "times": (1.0, float("nan")), "odd": {1},
    }  # fmt: skip
    run = _run(Status.PASSED)
    next(iter(run.tasks())).figures = figures

    told = run.as_data()["exercises"][0]["tasks"][0]["figures"]

    assert told == {
        "half": 0.5, "count": 3, "flag": True, "row": [1.5, None], "nothing": None, "endless": None, "text": "fast",
        "times": [1.0, None], "odd": "{1}",
    }  # fmt: skip
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_the_schema_is_the_first() -> None:
    assert SCHEMA == _run().as_data()["schema"] == 1
