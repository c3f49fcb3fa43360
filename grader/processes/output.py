"""Keeps the beginning and the end of what a process prints, and counts the rest."""

from __future__ import annotations

import threading


class KeptOutput:
    """Bounded memory of an unbounded stream; safe to use from two threads."""

    def __init__(self, kept_bytes: int) -> None:
        """Keep at most `kept_bytes` bytes between one `take` and the next."""
        self._half = max(1, kept_bytes // 2)
        self._lock = threading.Lock()
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0
        self.total = 0

    def add(self, data: bytes) -> None:
        """Take in the next bytes of the stream."""
        with self._lock:
            self.total += len(data)
            room = self._half - len(self._head)
            self._head += data[:room]
            self._tail += data[room:]
            surplus = len(self._tail) - self._half
            if surplus > 0:
                del self._tail[:surplus]
                self._left_out += surplus

    def take(self) -> str:
        """Return what came since the last call, with a note where the middle was left out."""
        with self._lock:
            note = f"\n[... {self._left_out} bytes left out ...]\n".encode() if self._left_out else b""
            text = (self._head + note + self._tail).decode("utf-8", errors="replace")
            self._head.clear()
            self._tail.clear()
            self._left_out = 0
        return text
