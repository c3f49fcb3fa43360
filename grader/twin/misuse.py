"""What host code did wrong, in words: every finding of the twin is one of these."""

from __future__ import annotations

from dataclasses import dataclass


class Misuse(Exception):
    """Host code that a GPU would answer with garbage, an error or a crash.

    Args:
        kind: a stable short name of the mistake, for tests and tables.
        message: one sentence that names the tensor or buffer.
        error: the CUDA or TensorRT text that a GPU box would show, where there is one.
    """

    def __init__(self, kind: str, message: str, error: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.error = error


@dataclass(frozen=True)
class Finding:
    """A misuse and the candidate's line it happened on (``file.py:12``)."""

    kind: str
    message: str
    line: str

    def as_data(self) -> dict[str, str]:
        return {"kind": self.kind, "message": self.message, "line": self.line}
