"""`grades.csv`: the columns of nbgrader's CSV export, and behind them ours, one row per person and exercise.

``raw_score`` and ``score`` are the points earned, ``max_score`` the possible ones less those not run, as every grade
of trtprep is. An exercise that was not handed in has 0 points, as in nbgrader's export; where nothing of a person's
could be graded the scores are empty, since that is no mark, and ``error`` says why. When something was handed in, and
the rest of what nbgrader knows of a person, is not known here: those cells are empty.

A spreadsheet takes a cell for a formula that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line's end. Texts that
do, at their beginning or behind a separator in them, get an apostrophe there; control characters are shown as escapes.
Texts are quoted and numbers are not. The file is UTF-8.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grader.reports.class_results import ClassResults, Person, possible
from grader.reports.files import write_file
from grader.reports.terminal import shown

Row = dict[str, Any]  # texts and numbers
#: Those of nbgrader's CsvExportPlugin, in its order.
NBGRADER = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
    "late_submission_penalty", "score", "max_score",
)  # fmt: skip
COLUMNS = (*NBGRADER, "earned", "possible", "not_run", "tier", "seed", "error")
NOT_HANDED_IN = "not handed in"
#: The wide forms are what spreadsheets in East Asia take for the same signs.
_FORMULA = re.compile("(^|[;,|\t\r\n\"'])(?=[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")


def write_grades_csv(results: ClassResults, path: Path) -> None:
    """Raises ReportError."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="", quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writeheader()
    for row in _rows(results):
        writer.writerow({column: plain(cell) if isinstance(cell, str) else cell for column, cell in row.items()})
    write_file(path, text.getvalue().encode())


def plain(text: str) -> str:
    """Text as no spreadsheet computes it."""
    return shown(_FORMULA.sub(r"\1'", text)).replace("\n", "\\n")


def _rows(results: ClassResults) -> Iterator[Row]:
    for person in results.people:
        for exercise_id in results.exercises:
            yield {"assignment": exercise_id, "student_id": person.name} | _marks(results, person, exercise_id)


def _marks(results: ClassResults, person: Person, exercise_id: str) -> Row:
    made_with: Row = {"tier": results.tier, "seed": person.seed}
    points = possible(results, exercise_id)
    if person.result is None:
        return made_with | {"max_score": float(points), "possible": points, "error": person.error}
    made_with["tier"] = person.result.tier
    found = person.exercise(exercise_id)
    if found is None:
        earned, points, not_run, error = 0, points, 0, NOT_HANDED_IN
    else:
        earned, points, not_run, error = found.earned, found.possible, found.not_run, ""
    scores = {"raw_score": float(earned), "late_submission_penalty": 0.0, "score": float(earned)}
    marks = {"earned": earned, "possible": points, "not_run": not_run, "error": error}
    return made_with | scores | marks | {"max_score": float(points - not_run)}
