"""Answers that were handed in as notebooks: which file it is, and the source that is graded of it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from grader.course import Exercise

from .trees import FILE, Refused

MOST_BYTES = 16 << 20  #: of one notebook: its outputs, pictures too, are in it
_SUFFIX = ".ipynb"


def choose(exercise: Exercise, entries: Mapping[str, str]) -> str | None:
    """The notebook of an assignment's folder: the one named as the exercise, or the only one."""
    found = [name for name, kind in sorted(entries.items()) if kind == FILE and name.endswith(_SUFFIX)]
    named = f"{exercise.id}{_SUFFIX}"
    return named if named in found else found[0] if len(found) == 1 else None


def source(exercise: Exercise, data: bytes) -> bytes:
    """The text of the answer that a notebook holds. Raises Refused."""
    from grader.notebooks import extract

    with tempfile.TemporaryDirectory(prefix="trtprep-") as folder:
        path = Path(folder) / f"{exercise.id}{_SUFFIX}"
        path.write_bytes(data)
        try:
            return extract(path, exercise).encode()
        except ValueError as error:  # CourseError, or text that is none
            raise Refused(str(error)) from error
