"""A class's marks in nbgrader's gradebook, through nbgrader's own API: its formgrader and its export then show them.

An exercise is an assignment with one notebook, both named by the exercise's id, and a graded cell per task, as the
notebooks in `notebooks/` have them; a gradebook that knows those already gets the marks only. A task that was not run
gets none and waits for a person. Points that somebody gave by hand stay, and count; nbgrader then asks to look again.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from grader import extras
from grader.batch.names import safe_name
from grader.notebooks.build import check_id
from grader.reports.class_results import ClassResults, read_class
from grader.reports.files import ReportError
from grader.score import ExerciseResult, TaskResult

if TYPE_CHECKING:
    from nbgrader.api import Grade, Gradebook

COURSE = "trtprep"  #: of a gradebook that is made here; `notebooks/nbgrader_config.py` names it too
#: nbgrader's export writes a student's id into its CSV as it is, and its pages into HTML and links.
_PLAIN_ID = re.compile(r"\w[\w.@ -]{0,127}")


def check_gradebook(database_url: str) -> None:
    """Find out before a long run whether marks can be written there; makes the gradebook where there is none.

    Raises ReportError.
    """
    with _opened(database_url):
        pass


def write_gradebook(out: Path, database_url: str) -> int:
    """Write a batch's marks into a gradebook, which is made where there is none; returns how many submissions.

    Doing it again changes nothing. Who could not be graded has no submission in it, and so has an exercise that was not
    handed in: nbgrader counts those as 0.

    Args:
        out: the batch's folder.
        database_url: as nbgrader's ``--db``: ``sqlite:////absolute/path/gradebook.db``.

    Raises ReportError where nbgrader is missing or the database cannot be written, BatchError where the results cannot
    be read.
    """
    results = read_class(out)
    with _opened(database_url) as gradebook:
        return _write(results, gradebook)


@contextlib.contextmanager
def _opened(database_url: str) -> Iterator[Gradebook]:
    if absent := extras.missing(["nbgrader"]):
        raise ReportError(f"a gradebook needs nbgrader: {extras.mend(absent)}")
    from nbgrader.api import Gradebook, InvalidEntry, MissingEntry
    from sqlalchemy.exc import SAWarning, SQLAlchemyError

    try:
        with _own_programs(), warnings.catch_warnings(), Gradebook(database_url, COURSE) as gradebook:
            warnings.simplefilter("ignore", SAWarning)  # of how nbgrader itself adds a submission
            yield gradebook
    except (SQLAlchemyError, InvalidEntry, MissingEntry) as error:
        first = str(error).splitlines()[0]
        raise ReportError(
            f"cannot write the gradebook {database_url} ({first}): give sqlite:////absolute/path/gradebook.db"
        ) from error


def student_id(person: str) -> str:
    """The person's name, or where nbgrader could not show it as text everywhere, the name of their files."""
    return person if _PLAIN_ID.fullmatch(person) else safe_name(person)


@contextlib.contextmanager
def _own_programs() -> Iterator[None]:
    """nbgrader calls `alembic`, which is beside this Python; where its environment is not active nothing finds it."""
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _write(results: ClassResults, gradebook: Gradebook) -> int:
    written = 0
    for exercise_id in results.exercises:
        graded = [(person.name, result) for person in results.people if (result := person.exercise(exercise_id))]
        if graded:
            _assignment(gradebook, exercise_id, [result for _, result in graded])
        for name, result in graded:
            gradebook.update_or_create_student(student_id(name))
            _submission(gradebook, result, student_id(name))
            written += 1
    return written


def _assignment(gradebook: Gradebook, exercise_id: str, found: list[ExerciseResult]) -> None:
    """The assignment's cells. A task that was run for nobody counts nothing, unless the gradebook says more."""
    gradebook.update_or_create_assignment(exercise_id)
    notebook = gradebook.update_or_create_notebook(exercise_id, exercise_id)
    before = {cell.name: cell.max_score for cell in notebook.grade_cells}
    points: dict[str, float] = {}
    for task in (task for result in found for task in result.tasks):
        counted = 0.0 if task.not_run else float(task.points)
        points[task.id] = max(points.get(task.id, 0.0), counted)
    for task_id, most in points.items():
        cell = check_id(task_id)
        gradebook.update_or_create_grade_cell(
            cell, exercise_id, exercise_id, max_score=max(most, before.get(cell, 0.0)), cell_type="code"
        )


def _submission(gradebook: Gradebook, result: ExerciseResult, student: str) -> None:
    from nbgrader.api import Grade

    submission = gradebook.update_or_create_submission(result.id, student)
    (notebook,) = (n for n in submission.notebooks if n.name == result.id)
    cells = {cell.name: cell for cell in notebook.notebook.grade_cells}
    grades = {grade.cell_id: grade for grade in notebook.grades}
    for task in result.tasks:
        cell = cells[check_id(task.id)]
        if cell.id not in grades:  # a task that is newer than the submission
            grades[cell.id] = Grade(cell_id=cell.id, notebook=notebook)
            gradebook.db.add(grades[cell.id])
        _give(grades[cell.id], task)
    gradebook.db.commit()


def _give(grade: Grade, task: TaskResult) -> None:
    grade.auto_score = None if task.not_run else float(task.earned)
    grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
