"""The answer in a notebook that somebody handed in, read from its JSON. Nothing of it is run.

Only the cells count that the course made for answers, known by the ``grade_id`` that nbgrader gave them; where there
are several of one, the last, as for nbgrader. What else the notebook holds or says of itself changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grader import course
from grader.course import CourseError, Exercise
from grader.notebooks import cells

#: Bytes: of a notebook, whose pictures may be large, and of the code of one answer's cell.
MOST_BYTES, MOST_CODE = 32 << 20, 256 << 10
#: ``grade_id`` of a function's cell.
ANSWER_ID = "answer-{}"


class NotebookError(CourseError):
    """A file that is no notebook of this course; the text says why."""


def extract(path: Path, exercise: Exercise | None = None) -> str:
    """The source of the answer in a notebook: what `trtprep run` would find in a stub.py.

    Args:
        path: an .ipynb file from an untrusted hand.
        exercise: the exercise that it answers; by default the one that the file is named after.

    Raises:
        NotebookError: no such file, too large, or no notebook.
        CourseError: no such exercise.
    """
    return answer(_cells(Path(path)), exercise or course.find(Path(path).stem)).source


def answer(notebook_cells: Iterable[Any], exercise: Exercise) -> cells.Answer:
    """The answer in a notebook's cells, which are taken as they come: as from a stranger's JSON."""
    functions = {ANSWER_ID.format(name): name for name in cells.stub_cells(exercise)}
    given = {}
    for cell in notebook_cells:
        found = functions.get(_grade_id(cell))
        if found is not None:
            given[found] = _source(cell, found)
    return cells.assemble(exercise, given)


def _cells(path: Path) -> list[Any]:
    try:
        if not path.is_file():
            raise NotebookError(f"there is no notebook {path}")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise NotebookError(f"the notebook {path} cannot be read: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise NotebookError(f"the notebook {path.name} is larger than {MOST_BYTES >> 20} MB")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotebookError(f"{path.name} is not a notebook: it is not JSON") from error
    listed = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise NotebookError(f"{path.name} is not a notebook of format 4: it has no list of cells")
    return listed


def _grade_id(cell: Any) -> str:
    """The cell's type does not matter: nbgrader sets it right before it grades."""
    metadata = cell.get("metadata") if isinstance(cell, dict) else None
    ours = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    found = ours.get("grade_id") if isinstance(ours, dict) else None
    return found if isinstance(found, str) else ""


def _source(cell: Any, name: str) -> str:
    lines = cell.get("source", "")
    text = "".join(lines) if isinstance(lines, list) and all(isinstance(line, str) for line in lines) else lines
    if not isinstance(text, str):
        raise NotebookError(f"the cell of {name} holds no text")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise NotebookError(f"the cell of {name} holds characters that no file can") from error
    if size > MOST_CODE:
        raise NotebookError(f"the cell of {name} is larger than {MOST_CODE >> 10} kB")
    return text
