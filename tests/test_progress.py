"""What `trtprep list` knows of earlier runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader import cli, course, progress
from grader.score import ExerciseResult, RunResult, Status, TaskResult


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTPREP_CACHE", str(tmp_path))
    return tmp_path


def _result(exercise_id: str, *passed: str) -> RunResult:
    tasks = [TaskResult(name, name, 1, Status.PASSED if name in passed else Status.FAILED) for name in ("a", "b")]
    return RunResult("twin", 1, "exercises", {}, {}, [ExerciseResult(exercise_id, "title", tasks)])


def test_nothing_passed_before_the_first_run() -> None:
    assert progress.passed("c1") == frozenset()


def test_the_last_run_counts() -> None:
    progress.remember(_result("c1", "a"))
    assert progress.passed("c1") == {"a"}
    progress.remember(_result("c1", "b"))
    assert progress.passed("c1") == {"b"}


def test_a_task_that_was_not_run_keeps_what_it_had() -> None:
    progress.remember(_result("c1", "a"))
    tasks = [TaskResult("a", "a", 1, Status.NOT_RUN), TaskResult("b", "b", 1, Status.PASSED)]
    progress.remember(RunResult("twin", 1, "exercises", {}, {}, [ExerciseResult("c1", "title", tasks)]))
    assert progress.passed("c1") == {"a", "b"}


def test_exercises_do_not_touch_each_others_progress() -> None:
    progress.remember(_result("c1", "a"))
    progress.remember(_result("q1", "b"))
    assert (progress.passed("c1"), progress.passed("q1")) == ({"a"}, {"b"})


def test_checkouts_do_not_touch_each_others_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress.remember(_result("c1", "a"))
    monkeypatch.setattr(course, "EXERCISES", tmp_path / "elsewhere")
    assert progress.passed("c1") == frozenset()


@pytest.mark.parametrize("damage", ["", "{", "[]", "3"])
def test_a_damaged_file_is_as_none(cache: Path, damage: str) -> None:
    (cache / "progress.json").write_text(damage)
    assert progress.passed("c1") == frozenset()
    progress.remember(_result("c1", "a"))
    assert progress.passed("c1") == {"a"}


def test_the_list_marks_what_passed_and_counts_its_points(capsys: pytest.CaptureFixture[str]) -> None:
    exercise = course.exercises()[0]
    done, rest = exercise.tasks[0], exercise.tasks[1:]
    tasks = [TaskResult(t.id, t.title, t.points, Status.PASSED if t is done else Status.FAILED) for t in exercise.tasks]
    progress.remember(RunResult("twin", 1, "exercises", {}, {}, [ExerciseResult(exercise.id, exercise.title, tasks)]))
    cli.list_exercises()
    lines = capsys.readouterr().out.splitlines()
    assert f"{done.points} of {exercise.points} points" in lines[0]
    assert any("✓" in line and done.title in line for line in lines)
    assert not any("✓" in line and task.title in line for line in lines for task in rest)
