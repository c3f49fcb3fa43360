"""`similarity.csv`: a row for each pair of answers that are alike, the most alike first.

``alike`` is the larger share; ``share`` and ``other_share`` say how much of each one's code the other has too, 0 to 1,
``tokens`` how much that is, ``lines`` and ``other_lines`` where. ``other_kind`` tells the published solution from a
person of that name. Texts are written as in `grades.csv`: no spreadsheet computes them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from grader.reports.files import write_file
from grader.reports.grades_csv import plain

if TYPE_CHECKING:
    from grader.similarity.compare import Answer, Lines, Pair

COLUMNS = (
    "assignment", "student_id", "other", "other_kind", "alike", "share", "other_share", "tokens", "lines",
    "other_lines",
)  # fmt: skip


def write_similarity_csv(pairs: Iterable[Pair], path: Path) -> None:
    """Raises ReportError."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(COLUMNS)
    for pair in pairs:
        writer.writerow([plain(cell) if isinstance(cell, str) else cell for cell in _row(pair)])
    write_file(path, text.getvalue().encode())


def _row(pair: Pair) -> list[str | float]:
    kind = "solution" if pair.other.is_solution else "submission"
    figures = [round(share, 3) for share in (pair.alike, *pair.shares)]
    return [
        pair.one.exercise, pair.one.person, pair.other.person, kind, *figures, pair.tokens,
        spans(pair.one, pair.lines[0]), spans(pair.other, pair.lines[1]),
    ]  # fmt: skip


def spans(answer: Answer, lines: Iterable[Lines]) -> str:
    """``stub.py 12-20 31-33; helpers.py 4-9``."""
    found: dict[int, list[str]] = {}
    for span in lines:
        found.setdefault(span.file, []).append(f"{span.first}-{span.last}")
    return "; ".join(f"{answer.files[file][0]} {' '.join(numbers)}" for file, numbers in found.items())
