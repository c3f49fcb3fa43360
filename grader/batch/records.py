"""What a batch keeps: ``batch.json``, written once, and ``results.jsonl``, a line for each submission as it ends.

A line is appended with one write and on the disk before the next submission counts as graded. Whatever cuts a run
short (kill -9, a full disk, a power cut) leaves whole lines and at most one broken one at the end, which is cut off.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
BATCH, RESULTS, LOCK = "batch.json", "results.jsonl", ".lock"
#: What of the environment may change between a run and its going on: the kernel's version makes no mark.
_FREE = frozenset({"system"})


class BatchError(RuntimeError):
    """A batch cannot begin, go on or keep its results; the text says why and what to do, in one line."""


@dataclass(frozen=True)
class Batch:
    """What all submissions of a batch are graded with.

    ``environment`` holds versions by their names, ``protections`` whether each is on, ``began`` is a time in UTC (ISO).
    """

    seed: int
    tier: str
    exercises: tuple[str, ...]
    environment: dict[str, str]
    protections: dict[str, bool]
    began: str

    def difference(self, other: Batch) -> str:
        """What would give another batch's submissions other marks, for a person; "" when nothing would."""
        pairs = [("seed", self.seed, other.seed), ("tier", self.tier, other.tier)]
        pairs.append(("exercises", " ".join(self.exercises), " ".join(other.exercises)))
        for name in sorted((set(self.environment) | set(other.environment)) - _FREE):
            pairs.append((name, self.environment.get(name, "none"), other.environment.get(name, "none")))
        return ", ".join(f"{name} {ours} instead of {theirs}" for name, ours, theirs in pairs if ours != theirs)


@dataclass(frozen=True)
class Record:
    """How one submission ended: ``result`` is `RunResult.as_data`, or None with the reason in ``error``.

    ``seconds`` is wall time, ``peak_bytes`` the most memory that the grading process or one that it started had.
    ``left_out`` names the submission's files that were not taken. All text but the digest is untrusted.
    """

    person: str
    source: str
    digest: str
    seed: int
    seconds: float
    peak_bytes: int
    result: dict[str, Any] | None
    error: str | None
    left_out: tuple[str, ...] = ()


class Records:
    """The records of one folder, which one run at a time may write to; as a context manager it lets go of them.

    Attributes:
        graded: the digest of what was graded, by the persons who had a result when this was opened.
        empty: no submission had ended by then.
    """

    def __init__(self, out: Path) -> None:
        """Open the folder's records, after cutting off what a run that was killed has left. Raises BatchError."""
        self.out = out
        self._handles: list[int] = []
        try:
            with _spoken(out):
                out.mkdir(parents=True, exist_ok=True)
                self._lock()
                self._results = self._open(RESULTS, os.O_RDWR | os.O_APPEND | os.O_CREAT)
                self._cut_off()
                latest = _latest(_lines(out / RESULTS))
                self.graded = {name: record.digest for name, record in latest.items() if record.result is not None}
                self.empty = not latest
        except BaseException:
            self.close()
            raise

    def batch(self) -> Batch | None:
        """What the folder's batch was begun with; None where none was. Raises BatchError."""
        return read_batch(self.out)

    def begin(self, batch: Batch) -> None:
        """Keep what the batch is graded with. Raises BatchError."""
        with _spoken(self.out):
            _write_whole(self.out / BATCH, json.dumps({"schema": SCHEMA, **asdict(batch)}, indent=2).encode() + b"\n")

    def append(self, record: Record) -> None:
        """Keep one record: it is on the disk when this returns. Raises BatchError, and nothing half is left."""
        line = json.dumps({"schema": SCHEMA, **asdict(record)}, allow_nan=False).encode() + b"\n"
        with _spoken(self.out):
            length = os.fstat(self._results).st_size
            try:
                if os.write(self._results, line) != len(line):
                    os.fsync(self._results)  # the write that is cut short does not say why: this may
                    raise OSError(28, os.strerror(28))
                os.fsync(self._results)
            except OSError:
                os.ftruncate(self._results, length)
                raise

    def close(self) -> None:
        while self._handles:
            os.close(self._handles.pop())

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, name: str, flags: int) -> int:
        handle = os.open(self.out / name, flags | os.O_CLOEXEC, 0o644)
        self._handles.append(handle)
        return handle

    def _lock(self) -> None:
        handle = self._open(LOCK, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BatchError(f"another batch is writing to {self.out}: wait for it, or give another --out") from None

    def _cut_off(self) -> None:
        """Remove a last line without an end: appending to it would spoil the next one too."""
        data = (self.out / RESULTS).read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(self._results, whole)
            os.fsync(self._results)


def read_batch(out: Path) -> Batch | None:
    """What a folder's batch was begun with; None where none was. Raises BatchError."""
    path = out / BATCH
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("schema") != SCHEMA:
            raise BatchError(f"{path} is of another version of this program: grade into another folder")
        return Batch(**data | {"exercises": tuple(data["exercises"])})
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BatchError(f"cannot read {path} ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BatchError(f"{path} is not what a batch has written: grade into another folder") from error


def read_records(out: Path) -> list[Record]:
    """Each person's last record, in the order of their names. Raises BatchError."""
    with _spoken(out):
        return sorted(_latest(_lines(out / RESULTS)).values(), key=lambda record: record.person)


def _latest(lines: Iterator[bytes]) -> dict[str, Record]:
    found = {}
    for line in lines:
        try:
            data = json.loads(line)
            if data.pop("schema") != SCHEMA:
                continue
            record = Record(**data | {"left_out": tuple(data.get("left_out", ()))})
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # damaged on the disk: that submission is graded again
        found[record.person] = record
    return found


def _lines(path: Path) -> Iterator[bytes]:
    """The whole lines of the results."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def _write_whole(path: Path, data: bytes) -> None:
    """All or nothing, and on the disk."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(handle, 0o644)
            os.fsync(handle)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _spoken(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BatchError(
            f"cannot keep results in {out} ({error.strerror}): what was kept is whole; go on with --resume after that"
        ) from error
