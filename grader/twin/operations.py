"""One piece of work on a stream, and what makes two of them a race."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from .memory import Span
from .misuse import Misuse


@dataclass(frozen=True)
class HostEnd:
    """The end of a copy that lies in the candidate's process.

    Attributes:
        number: what the client calls the copy.
        size: bytes.
        brings: whether it writes to the host.
        again: makes the same copy anew from the bytes that the host has now and a new number.
    """

    number: int
    size: int
    brings: bool
    again: Callable[[bytes, int], Operation]


@dataclass
class Operation:
    """One asynchronous command: ``run`` does it; ``reads`` and ``writes`` are the bytes it touches."""

    what: str
    line: str
    run: Callable[[], None]
    reads: tuple[Span, ...] = ()
    writes: tuple[Span, ...] = ()
    stream: int = 0
    number: int = 0
    clock: dict[int, int] = field(default_factory=dict)
    quiet: bool = False  #: a program may end without waiting for it
    captured: bool = False  #: written down in a capture, not queued
    host: HostEnd | None = None
    result: np.ndarray | None = None  #: the bytes that a copy to the host brought, once it ran

    def clashes(self, other: Operation) -> Span | None:
        for mine, theirs in ((self.writes, other.reads + other.writes), (self.reads, other.writes)):
            for a in mine:
                for b in theirs:
                    if a.overlaps(b):
                        return a
        return None

    def refuse_race(self, stream: int, clock: dict[int, int], earlier: Iterable[Operation]) -> None:
        """Raise Misuse when this, on ``stream`` after ``clock``, clashes with earlier work that nothing orders."""
        for other in earlier:
            if other.stream == stream or clock.get(other.stream, 0) >= other.number:
                continue
            span = self.clashes(other)
            if span is not None:
                raise Misuse(
                    "race",
                    f"{self.what} and {other.what} ({other.line}) touch {span.allocation.describe()} on two"
                    " streams with nothing that orders them: let this stream wait for an event that the other"
                    " records, or synchronize",
                )

    def of_graph(self, line: str) -> Operation:
        """The same work on the same bytes, as a graph's launch at ``line`` asks for it."""
        return Operation(f"{self.what} of a graph", line, self.run, self.reads, self.writes, quiet=self.quiet)

    def again(self, line: str, data: bytes = b"", number: int = 0) -> Operation:
        """As `of_graph`, ready to run: a copy that ends on the host gets its bytes and a new number."""
        if self.host is None:
            return self.of_graph(line)
        made = self.host.again(data, number)
        made.what, made.line = f"{self.what} of a graph", line
        return made


def merge(clock: dict[int, int], other: dict[int, int]) -> None:
    for handle, number in other.items():
        clock[handle] = max(clock.get(handle, 0), number)
