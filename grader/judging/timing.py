"""Timings that can be believed: ratios within one run, interleaved, with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from .judge import Inconclusive

ROUNDS = 7
_TRIES = 3


@dataclass(frozen=True)
class Comparison:
    """One way of doing something against another; each round timed both, one right after the other.

    ``ours`` and ``theirs`` are seconds; the ratios are ours / theirs, round by round.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        return sorted(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile of the ratios."""
        first, _, third = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return first, third

    def __str__(self) -> str:
        low, high = self.spread
        ours, theirs = (1e3 * statistics.median(seconds) for seconds in (self.ours, self.theirs))
        return f"{self.ratio:.2f} ({low:.2f} to {high:.2f}): {ours:.3g} ms against {theirs:.3g} ms"


def interleaved(ours: Callable[[], float], theirs: Callable[[], float], rounds: int = ROUNDS) -> Comparison:
    """Time both in turns, so that a machine that grows slower or faster does so for both. Each gives seconds."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return Comparison(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def at_most(limit: float, ours: Callable[[], float], theirs: Callable[[], float], rounds: int = ROUNDS) -> Comparison:
    """A comparison that settles on which side of ``limit`` the ratio lies.

    Measured again while the limit lies within the spread. Raises Inconclusive when it still does in the end.
    """
    for _ in range(_TRIES):
        found = interleaved(ours, theirs, rounds)
        low, high = found.spread
        if high <= limit or low > limit:
            return found
    raise Inconclusive(
        f"measured {_TRIES} times, and each time the limit of {limit:g} lay within the spread: {found}; is anything"
        " else running on this GPU?"
    )


def per_pass(timed: Callable[[int], object], few: int, many: int) -> float:
    """Seconds that one pass takes: the difference between a call of ``many`` passes and one of ``few``.

    By the caller's own clock, so that it need not believe the one who is timed; what a call costs in itself drops out.
    """
    seconds = []
    for passes in (few, many):
        started = time.perf_counter()
        timed(passes)
        seconds.append(time.perf_counter() - started)
    return max(seconds[1] - seconds[0], 1e-9) / (many - few)
