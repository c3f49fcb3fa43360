"""What the page of similar answers tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course import find
from grader.reports.html import PAGE, write_page
from grader.reports.similarity_csv import spans

if TYPE_CHECKING:
    from grader.similarity.command import Similarity
    from grader.similarity.compare import Answer, Lines, Pair

MOST_PAIRS = 100  #: that are shown with their lines, of submissions and with the solution each
_MOST_LINES = 120  # of one side of a pair
_MOST_CHARACTERS = 200  # of a line


@dataclass(frozen=True)
class Side:
    """Lines of one answer: where, and the text with the lines' numbers."""

    where: str
    text: str


@dataclass(frozen=True)
class PairView:
    """A pair as it is shown; ``left_out`` are lines that were too many."""

    exercise: str
    one: Answer
    other: Answer
    alike: float
    shares: tuple[float, float]
    tokens: int
    passages: tuple[tuple[Side, Side], ...]
    left_out: int


def write_similarity_page(similarity: Similarity, path: Path) -> None:
    """Raises ReportError."""
    between = [pair for pair in similarity.pairs if not pair.other.is_solution]
    published = [pair for pair in similarity.pairs if pair.other.is_solution]
    page = {
        "similarity": similarity,
        "exercises": [find(exercise_id) for exercise_id in similarity.exercises],
        "sections": [
            ("between", "Pairs of submissions", len(between), [_view(pair) for pair in between[:MOST_PAIRS]]),
            ("published", "With the published solution", len(published), [_view(p) for p in published[:MOST_PAIRS]]),
        ],
        "class_page": PAGE if (path.parent / PAGE).is_file() else "",
    }
    write_page("similarity.html", path, page)


def _view(pair: Pair) -> PairView:
    passages: list[tuple[Side, Side]] = []
    room, left_out = _MOST_LINES, 0
    for ours, theirs in pair.passages:
        lines = max(_count(ours), _count(theirs))
        if lines <= room or not passages:
            passages.append((_side(pair.one, ours), _side(pair.other, theirs)))
        else:
            left_out += lines
        room -= lines
    short = pair.one.exercise.split("_")[0]
    return PairView(
        short, pair.one, pair.other, pair.alike, pair.shares, pair.tokens, tuple(passages), left_out
    )  # fmt: skip


def _count(lines: Iterable[Lines]) -> int:
    return sum(span.last - span.first + 1 for span in lines)


def _side(answer: Answer, lines: tuple[Lines, ...]) -> Side:
    told = list(_numbered(answer, lines))
    more = len(told) - _MOST_LINES
    text = "\n".join([*told[:_MOST_LINES], *([f"… {more} more lines"] if more > 0 else [])])
    return Side(spans(answer, lines), text)


def _numbered(answer: Answer, lines: Iterable[Lines]) -> Iterator[str]:
    for span in lines:
        for number in range(span.first, span.last + 1):
            line = answer.files[span.file][1][number - 1]
            yield f"{number:>4}  {line[:_MOST_CHARACTERS]}{'…' if len(line) > _MOST_CHARACTERS else ''}".rstrip()
