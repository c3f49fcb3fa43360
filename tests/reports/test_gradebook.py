"""A class's marks in nbgrader's gradebook, read back through nbgrader's own API and export."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from classes import FORMULA, MARKUP, one_exercise, record, write_class
from results import result

from grader import extras
from grader.batch.names import safe_name
from grader.reports.class_results import read_class
from grader.reports.files import ReportError
from grader.reports.gradebook import COURSE, check_gradebook, student_id, write_gradebook
from grader.reports.grades_csv import write_grades_csv
from grader.score import Status, TaskResult

needs_nbgrader = pytest.mark.notebooks


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'gradebook.db'}"


def _open(folder: Path) -> Any:
    from nbgrader.api import Gradebook

    return Gradebook(_url(folder), COURSE)


def _grades(folder: Path, assignment: str, student: str) -> dict[str, tuple[float | None, bool]]:
    """By graded cell: what the autograder gave, and whether a person is to look at it."""
    with _open(folder) as gradebook:
        (notebook,) = gradebook.find_submission(assignment, student).notebooks
        return {grade.name: (grade.auto_score, grade.needs_manual_grade) for grade in notebook.grades}


@needs_nbgrader
def test_each_task_is_a_graded_cell_with_its_points(tmp_path: Path) -> None:
    out = write_class(tmp_path / "out", [record("Ada", result()), record("Bo", error="x")])

    assert write_gradebook(out, _url(tmp_path)) == 2
    assert _grades(tmp_path, "x1_one", "Ada") == {
        "check-a": (10.0, False), "check-b": (0.0, False), "check-c": (0.0, False)
    }  # fmt: skip
    assert _grades(tmp_path, "x2_two", "Ada") == {
        "check-d": (None, True), "check-e": (None, True), "check-f": (4.0, False)
    }  # fmt: skip
    with _open(tmp_path) as gradebook:
        assert [(a.name, a.course_id, a.max_score) for a in gradebook.assignments] == [
            ("x1_one", COURSE, 35.0),
            ("x2_two", COURSE, 4.0),  # nobody's d and e were run
        ]
        assert gradebook.find_submission("x1_one", "Ada").score == 10.0
        assert [student.id for student in gradebook.students] == ["Ada"]


@needs_nbgrader
def test_writing_again_changes_nothing_and_a_regrade_changes_the_marks(tmp_path: Path) -> None:
    for score in (0.0, 0.0, 10.0):
        status = Status.PASSED if score else Status.FAILED
        out = write_class(tmp_path / "out", [record("Ada", one_exercise(TaskResult("a", "A", 10, status)))])
        assert write_gradebook(out, _url(tmp_path)) == 1
        assert _grades(tmp_path, "x1_one", "Ada") == {"check-a": (score, False)}
        with _open(tmp_path) as gradebook:
            assert (len(gradebook.assignments), len(gradebook.students)) == (1, 1)


@needs_nbgrader
@pytest.mark.filterwarnings("ignore:Object of type")  # nbgrader's own, when it adds a submission
def test_what_the_gradebook_knows_already_stays(tmp_path: Path) -> None:
    with _open_after_alembic(tmp_path) as gradebook:
        gradebook.add_assignment("x1_one", duedate="2026-05-01 12:00:00 UTC")
        gradebook.add_notebook("x1_one", "x1_one")
        for name, most in (("check-a", 10), ("check-b", 20), ("talk", 5)):
            gradebook.add_grade_cell(name, "x1_one", "x1_one", max_score=most, cell_type="markdown")
        gradebook.add_student("Ada", first_name="Ada", last_name="Lovelace")
        gradebook.add_submission("x1_one", "Ada")
        gradebook.find_grade("check-b", "x1_one", "x1_one", "Ada").manual_score = 15.0
        gradebook.find_grade("talk", "x1_one", "x1_one", "Ada").manual_score = 3.0
        gradebook.db.commit()

    write_gradebook(write_class(tmp_path / "out", [record("Ada", result())]), _url(tmp_path))

    assert _grades(tmp_path, "x1_one", "Ada") == {
        "check-a": (10.0, False), "check-b": (0.0, True), "check-c": (0.0, False), "talk": (None, True)
    }  # fmt: skip
    with _open(tmp_path) as gradebook:
        assert gradebook.find_submission("x1_one", "Ada").score == 10 + 15 + 3
        assert gradebook.find_assignment("x1_one").max_score == 10 + 20 + 5 + 5
        assert gradebook.find_assignment("x1_one").duedate is not None
        assert gradebook.find_student("Ada").last_name == "Lovelace"


@needs_nbgrader
def test_nbgraders_own_export_has_the_same_marks(tmp_path: Path) -> None:
    from nbgrader.plugins import CsvExportPlugin

    people = [record(name, result()) for name in ("Ada", "Bo Li", FORMULA, MARKUP, "x,y\n=1")]
    out = write_class(tmp_path / "out", people)
    write_gradebook(out, _url(tmp_path))
    with _open(tmp_path) as gradebook:
        CsvExportPlugin(to=str(tmp_path / "theirs.csv")).export(gradebook)
    write_grades_csv(read_class(out), tmp_path / "ours.csv")

    theirs, ours = _marks(tmp_path / "theirs.csv"), _marks(tmp_path / "ours.csv")
    assert len(theirs) == len(ours) == 2 * len(people)
    assert sorted(theirs.values()) == sorted(ours.values())
    for key in (("Ada", "x1_one"), ("Bo Li", "x2_two")):
        assert theirs[key] == ours[key]
    assert not {student[0] for student, _ in theirs} & set("=<,")


def _marks(path: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ("raw_score", "late_submission_penalty", "score", "max_score")
    return {(row["student_id"], row["assignment"]): tuple(row[name] for name in names) for row in rows}


@needs_nbgrader
@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/gradebook.db", "gradebook.db", ""])
def test_a_database_that_cannot_be_written_is_told_in_one_line(tmp_path: Path, url: str) -> None:
    out = write_class(tmp_path / "out", [record("Ada", result())])
    for attempt in (lambda: check_gradebook(url), lambda: write_gradebook(out, url)):
        with pytest.raises(ReportError, match=r"cannot write the gradebook .*: give sqlite:///") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_without_nbgrader_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "missing", lambda names: tuple(names))
    with pytest.raises(ReportError, match=r"needs nbgrader: pip install -e '\.\[notebooks\]'"):
        check_gradebook(_url(tmp_path))


@pytest.mark.parametrize("person", [FORMULA, MARKUP, "a,b", "a\nb", "-x", "@x", "", "x" * 129, "a/b", "a'b", "a;=b"])
def test_a_student_has_an_id_that_nbgrader_can_show(person: str) -> None:
    assert student_id(person) == safe_name(person)


@pytest.mark.parametrize("person", ["ada", "Bo Li", "c.d@example.org", "Dvořáková", "007", "a-b_c"])
def test_a_plain_name_is_the_students_id(person: str) -> None:
    assert student_id(person) == person


def _open_after_alembic(folder: Path) -> Any:
    """A new gradebook, as `nbgrader` makes it."""
    write_gradebook(write_class(folder / "nobody", []), _url(folder))
    return _open(folder)
