"""Pairs of answers with the same code beyond the stub, by copydetect's fingerprints.

A fingerprint is a run of `RUN` tokens. The stub's lines, and runs of tokens that the stub has too (its signatures, laid
out otherwise), are taken out first and leave one mark.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, groupby
from typing import TYPE_CHECKING, NamedTuple

from grader.similarity.reader import Tokens

if TYPE_CHECKING:
    from copydetect import CodeFingerprint

RUN = 16  #: tokens, some two lines: the shortest that counts as the same
LEAST_TOKENS = 60  #: of a pair, some eight lines: fewer are the same in any two right answers
_STUB = chr(0x10FFFD)
_MOST_STARTS = 50  # places of the other answer that a passage is tried at


class Place(NamedTuple):
    """A line, from 1, of one of an answer's files."""

    file: int
    line: int


class Lines(NamedTuple):
    """Lines of one file, the last included."""

    file: int
    first: int
    last: int


@dataclass(frozen=True)
class Answer:
    """What one person wrote for an exercise, less the stub. All texts are untrusted.

    ``code`` has a character per token, ``places`` the place of each; ``files`` are names and lines.
    """

    exercise: str
    person: str
    files: tuple[tuple[str, tuple[str, ...]], ...]
    code: str
    places: tuple[Place, ...]
    is_solution: bool = False


@dataclass(frozen=True)
class Pair:
    """Two answers to one exercise. ``shares``: how much of each one's code the other has too, 0 to 1."""

    one: Answer
    other: Answer
    shares: tuple[float, float]
    tokens: int
    lines: tuple[tuple[Lines, ...], tuple[Lines, ...]]

    @property
    def alike(self) -> float:
        return max(self.shares)

    @cached_property
    def passages(self) -> tuple[tuple[tuple[Lines, ...], tuple[Lines, ...]], ...]:
        """Lines of the one and the same code's of the other, in the order of the one's files."""
        return tuple(
            (_lines(self.one, first, first + count), _lines(self.other, second, second + count))
            for first, second, count in _runs(self.one.code, self.other.code)
        )


class Stub:
    """What everybody was given."""

    def __init__(self, given: Tokens) -> None:
        self._lines = {line.strip() for line in given.text}
        self._runs = {given.code[at : at + RUN] for at in range(len(given.code) - RUN + 1)}

    def within(self, tokens: Tokens) -> list[bool]:
        """For each token, whether it is the stub's."""
        found = [tokens.text[line - 1].strip() in self._lines for line in tokens.lines]
        for at in range(len(tokens.code) - RUN + 1):
            if tokens.code[at : at + RUN] in self._runs:
                found[at : at + RUN] = [True] * RUN
        return found


def answer(
    exercise: str, person: str, files: Sequence[tuple[str, Tokens]], stub: Stub, *, is_solution: bool = False
) -> Answer:
    """An answer's files as one, less the stub."""
    code: list[str] = []
    places: list[Place] = []
    for number, (_, tokens) in enumerate(files):
        theirs = zip(stub.within(tokens), tokens.code, tokens.lines, strict=True)
        for is_stub, group in groupby(theirs, key=lambda token: token[0]):
            for _, character, line in group:
                code.append(_STUB if is_stub else character)
                places.append(Place(number, line))
                if is_stub:
                    break
    texts = tuple((name, tokens.text) for name, tokens in files)
    return Answer(exercise, person, texts, "".join(code), tuple(places), is_solution)


def pairs(answers: Sequence[Answer], least: float) -> Iterator[Pair | None]:
    """Every two of one exercise's answers: as a pair where they are alike by `least` (0 to 1), else None."""
    from copydetect import compare_files

    prints = _Fingerprints()
    known: dict[tuple[str, str], tuple[int, tuple[float, float], tuple]] = {}
    for one, other in combinations(answers, 2):
        key = one.code, other.code  # in a class many are the same
        if key not in known:
            count, shares, slices = compare_files(prints.of(one.code), prints.of(other.code))
            known[key] = int(count), (float(shares[0]), float(shares[1])), slices
        count, shares, slices = known[key]
        if count < LEAST_TOKENS or max(shares) < least:
            yield None
        else:
            first, second = (
                tuple(lines for start, end in zip(*found, strict=True) for lines in _lines(whose, start, end))
                for whose, found in zip((one, other), slices, strict=True)
            )
            yield Pair(one, other, shares, count, (first, second))


def sorted_pairs(found: Iterable[Pair]) -> list[Pair]:
    """The most alike first."""
    return sorted(found, key=lambda p: (-p.alike, -p.tokens, p.one.exercise, p.one.person, p.other.person))


class _Fingerprints:
    def __init__(self) -> None:
        self._known: dict[str, CodeFingerprint] = {}

    def of(self, code: str) -> CodeFingerprint:
        """All runs of a code. A window of 1 leaves none out: Python's hashes, which a wider one chooses by, vary."""
        from copydetect import CodeFingerprint

        if code not in self._known:
            self._known[code] = CodeFingerprint("", k=RUN, win_size=1, filter=False, fp=io.StringIO(code))
        return self._known[code]


def _lines(whose: Answer, start: int, end: int) -> tuple[Lines, ...]:
    """The lines of tokens `start` to `end`, for each file."""
    own = [whose.places[at] for at in range(int(start), int(end)) if whose.code[at] != _STUB]
    lines = [(file, [place.line for place in group]) for file, group in groupby(own, key=lambda place: place.file)]
    return tuple(Lines(file, numbers[0], numbers[-1]) for file, numbers in lines)


def _runs(one: str, other: str) -> Iterator[tuple[int, int, int]]:
    """(start, start in the other, tokens) of the same code, each the longest from its start on."""
    starts: dict[str, list[int]] = {}
    for at in range(len(other) - RUN + 1):
        starts.setdefault(other[at : at + RUN], []).append(at)
    at = 0
    while at + RUN <= len(one):
        found = starts.get(one[at : at + RUN], [])[:_MOST_STARTS]
        if not found:
            at += 1
            continue
        count, start = max((_same(one, at, other, start), -start) for start in found)
        yield at, -start, count
        at += count


def _same(one: str, at: int, other: str, start: int) -> int:
    count = RUN
    while at + count < len(one) and start + count < len(other) and one[at + count] == other[start + count]:
        count += 1
    return count
