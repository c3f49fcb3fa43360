"""Exercises are read from their manifests, and answers found where a submission keeps them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grader import course, extras
from grader.course import CourseError, Exercise, FollowUp, Task

MANIFEST = """\
title = "A title"
question = "A question?"
fixtures = ["a_model"]

[[tasks]]
id = "first"
title = "The first"
points = 3
function = "begin"
hints = ["one", "two"]

[[tasks]]
id = "second"
title = "The second"
points = 4
function = "end"
hints = []

[[follow_ups]]
question = "And then?"
answer = "Nothing."
"""


@pytest.fixture
def exercise(tmp_path: Path) -> Exercise:
    return _read(tmp_path / "x1_of_tests", MANIFEST)


def _read(folder: Path, text: str) -> Exercise:
    folder.mkdir(parents=True)
    (folder / course.MANIFEST).write_text(text, encoding="utf-8")
    return course._read(folder / course.MANIFEST)


def _write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path.resolve()


def test_a_manifest_becomes_an_exercise(exercise: Exercise) -> None:
    assert exercise == Exercise(
        "x1_of_tests", "A title", "A question?", ("a_model",),
        (Task("first", "The first", 3, "begin", ("one", "two")), Task("second", "The second", 4, "end", ())),
        (FollowUp("And then?", "Nothing."),),
    )  # fmt: skip
    assert (exercise.short, exercise.points) == ("x1", 7)


def test_a_task_says_what_it_lacks_here_and_how_to_mend_that(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"tensorflow"}
    monkeypatch.setattr(extras, "missing", lambda names: tuple(n for n in names if n not in there))
    task = Task("a", "A", 1, "f", (), ("gpu",), ("torch", "tensorflow"))

    assert task.why_not_on("gpu") == "torch is not installed: pip install -e '.[frameworks]'"
    assert task.why_not_on("twin") == "only the tier gpu can judge this: it needs a GPU"
    there.clear()
    assert task.why_not_on("gpu") == "torch and tensorflow are not installed: pip install -e '.[frameworks]'"
    there |= {"torch", "tensorflow"}
    assert task.why_not_on("gpu") == ""


def test_what_a_task_needs_is_in_the_manifest(tmp_path: Path) -> None:
    found = _read(tmp_path / "x", MANIFEST.replace('function = "end"', 'function = "end"\nneeds = ["torch"]'))
    assert [task.needs for task in found.tasks] == [(), ("torch",)]


def test_the_checks_are_a_file_named_after_the_exercise_or_several(
    exercise: Exercise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "CHECKS", tmp_path)
    names = ["test_x1_of_tests.py", "test_x1_of_tests_a.py", "test_x1_of_tests_b.py"]
    for name in [*names, "test_x1_of_testsuites.py", "test_x1.py", "x1_of_tests.py"]:
        (tmp_path / name).touch()
    assert exercise.checks == tuple(tmp_path / name for name in names)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('title = "A title"', "title ="),
        ('question = "A question?"', ""),
        ("points = 3", ""),
        ('hints = ["one", "two"]', "hints = 7"),
        (MANIFEST, 'title = "t"\nquestion = "q"\ntasks = ["no table"]\n'),
        (MANIFEST, 'title = "t"\nquestion = "q"\ntasks = 3\n'),
    ],
    ids=["syntax", "no question", "no points", "hints", "tasks of text", "tasks of a number"],
)
def test_a_broken_manifest_is_named(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(CourseError, match=r"x1_of_tests.exercise\.toml is not a manifest") as caught:
        _read(tmp_path / "x1_of_tests", MANIFEST.replace(old, new))
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / course.MANIFEST
    path.write_bytes(b'title = "\xff"')
    with pytest.raises(CourseError, match="is not a manifest"):
        course._read(path)


def test_a_task_is_found_by_its_id_and_others_are_listed_for_a_wrong_one(exercise: Exercise) -> None:
    assert exercise.task("second").title == "The second"
    with pytest.raises(CourseError, match="x1 has no task 'third': it has first, second"):
        exercise.task("third")


def test_every_exercise_is_found_by_either_name() -> None:
    assert course.exercises()
    for exercise in course.exercises():
        assert course.find(exercise.id) is exercise
        assert course.find(exercise.short) is exercise


@pytest.mark.parametrize("name", ["", "c", "c1_image", "C1", "nothing"])
def test_a_name_that_is_no_exercise_is_an_error_with_those_there_are(name: str) -> None:
    with pytest.raises(CourseError, match=rf"no such exercise: {name} \(there are .*c1.*trtprep list"):
        course.find(name)


def test_every_exercise_has_its_parts() -> None:
    for exercise in course.exercises():
        assert exercise.checks
        assert len({task.id for task in exercise.tasks}) == len(exercise.tasks)
        assert all(task.points > 0 and task.title and all(task.hints) for task in exercise.tasks)
        assert exercise.answer(course.EXERCISES).name == "stub.py"
        assert exercise.answer(course.SOLUTIONS).name == "solution.py"


@pytest.mark.parametrize("name", ["stub.py", "solution.py"])
def test_an_answer_is_found_in_the_exercises_folder_of_a_submission(
    exercise: Exercise, tmp_path: Path, name: str
) -> None:
    path = _write(tmp_path / "mine" / "x1_of_tests" / name)

    assert exercise.answer(tmp_path / "mine") == path
    assert exercise.answer(tmp_path / "mine" / "x1_of_tests") == path
    assert exercise.answer(path) == path


def test_a_stub_comes_before_a_solution_beside_it(exercise: Exercise, tmp_path: Path) -> None:
    _write(tmp_path / "x1_of_tests" / "solution.py")
    stub = _write(tmp_path / "x1_of_tests" / "stub.py")
    assert exercise.answer(tmp_path) == stub


def test_the_folder_that_one_stands_in_is_an_answer_too(
    exercise: Exercise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "x1_of_tests" / "stub.py")
    monkeypatch.chdir(path.parent)
    assert exercise.answer(Path(".")) == path
    monkeypatch.chdir(tmp_path)
    assert exercise.answer(Path(os.curdir)) == path


def test_an_answer_in_another_exercises_folder_does_not_count(exercise: Exercise, tmp_path: Path) -> None:
    _write(tmp_path / "x2_another" / "stub.py")
    _write(tmp_path / "stub.py")
    for folder in (tmp_path, tmp_path / "x2_another"):
        with pytest.raises(CourseError, match=r"no answer to x1 in .*: expected x1_of_tests/stub\.py there"):
            exercise.answer(folder)


def test_a_submission_that_is_not_there_is_named(exercise: Exercise, tmp_path: Path) -> None:
    with pytest.raises(CourseError, match=r"there is no submission .*nowhere: give a folder with --submission"):
        exercise.answer(tmp_path / "nowhere")
