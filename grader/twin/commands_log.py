"""What the device was asked to do in one call, in order: for checks that count copies, waits and launches."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Together these keep the audit of a size that can be sent, whatever a client says its lines are.
MOST_ENTRIES, LONGEST_LINE = 20_000, 80


@dataclass
class CommandLog:
    """Entries are (do, stream, bytes, line, captured); of those after the first `MOST_ENTRIES` the number is kept.

    Where an event is recorded or waited for, its number stands in the place of the bytes.
    """

    entries: list[tuple[str, int, int, str, bool]] = field(default_factory=list)
    dropped: int = 0

    def add(self, do: str, stream: int, size: int, line: str, captured: bool) -> None:
        if len(self.entries) < MOST_ENTRIES:
            self.entries.append((do, stream, size, _plain(line), captured))
        else:
            self.dropped += 1

    def clear(self) -> None:
        self.entries.clear()
        self.dropped = 0


def _plain(line: str) -> str:
    if not (line.isascii() and line.isprintable()):
        line = "".join(c if c.isascii() and c.isprintable() else "?" for c in line)
    return line[:LONGEST_LINE]
