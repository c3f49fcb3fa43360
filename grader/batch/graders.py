"""What grades one submission after another for the pool, each in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

GRADER = Path(__file__).resolve().parents[1]
#: Started from the folder that holds this program, or `-m` would look for modules wherever the user happens to be.
COMMAND = (sys.executable, "-m", "grader.batch.one")
_MOST_BYTES = 64 << 20  # of a result
_LAST_WORDS = 2000
_POLL_S = 0.5
_END_S = 30.0  # for a process that has told its result to end by itself


@dataclass(frozen=True)
class Task:
    """What is the same for every submission of a batch. ``limit_s``: seconds of wall time for one submission."""

    exercises: tuple[str, ...]
    tier: str
    seed: int
    limit_s: float


class Grader(Protocol):
    """Grades one submission at a time; the pool has one for each job."""

    def start(self) -> None:
        """Whatever can be done ahead of the first submission."""

    def grade(self, folder: Path, person: str) -> dict[str, Any]:
        """Grade a private folder: {"result": schema 1 or None, "error": one line or None, "peak_bytes": int}.

        Raises nothing for what a submission may cause. ``person`` is for messages alone.
        """

    def close(self) -> None:
        """End it, from any thread: a `grade` that is under way returns within a second or two."""


class FreshGrader:
    """Starts a new Python for each submission."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def start(self) -> None:
        pass

    def grade(self, folder: Path, person: str) -> dict[str, Any]:
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb", buffering=0) as told, tempfile.TemporaryFile() as printed:
            try:
                with self._lock:
                    if self._closed:
                        return _failed("stopped")
                    process = self._process = self._started(folder, writer, printed)
            finally:
                os.close(writer)
            data, late = _all_of(told, time.monotonic() + self._task.limit_s)
            late = late or not _has_ended(process.pid, time.monotonic() + _END_S)
            with self._lock:  # it is not waited for yet, so its id is still its own
                _end_group(process.pid)
                _, status, usage = os.wait4(process.pid, 0)
                self._process = None
            process.returncode = os.waitstatus_to_exitcode(status)
            peak = usage.ru_maxrss * 1024
            if late:
                return _failed(f"grading was not done after {self._task.limit_s:g} s and was stopped", peak)
            return _outcome(data, process.returncode, printed, peak)

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._kill()

    def _started(self, folder: Path, writer: int, printed: IO[bytes]) -> subprocess.Popen[bytes]:
        wish = {
            "folder": str(folder), "exercises": self._task.exercises, "tier": self._task.tier,
            "seed": self._task.seed, "told": writer, "parent": os.getpid(),
        }  # fmt: skip
        with tempfile.TemporaryFile() as request:
            request.write(json.dumps(wish).encode())
            request.seek(0)
            return subprocess.Popen(
                COMMAND, cwd=GRADER.parent, stdin=request, stdout=printed, stderr=printed, pass_fds=(writer,),
                start_new_session=True,  # Ctrl-C is for us: we end it
            )  # fmt: skip

    def _kill(self) -> None:
        with self._lock:
            if self._process is not None:
                _end_group(self._process.pid)


def _end_group(leader: int) -> None:
    """End what leads a group and what is still in it; sandboxed processes end with those who started them."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _has_ended(pid: int, deadline: float) -> bool:
    """Whether a process ends by then; it stays to be waited for."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _all_of(pipe: IO[bytes], deadline: float) -> tuple[bytes, bool]:
    """What is written until the other end is closed, and whether that took too long."""
    data = bytearray()
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    while len(data) <= _MOST_BYTES:
        left = deadline - time.monotonic()
        if left <= 0:
            return bytes(data), True
        if poller.poll(min(left, _POLL_S) * 1000):
            piece = pipe.read(1 << 20)
            if not piece:
                break
            data += piece
    return bytes(data), False


def _outcome(data: bytes, status: int, printed: IO[bytes], peak: int) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except ValueError:
        told = None
    if status == 0 and isinstance(told, dict) and set(told) == {"result", "error"}:
        return told | {"peak_bytes": peak}
    printed.seek(max(0, printed.seek(0, os.SEEK_END) - _LAST_WORDS))
    lines = printed.read().decode("utf-8", "replace").strip().splitlines()
    how = f"ended with status {status}"
    if status < 0:
        name = signal.Signals(-status).name
        how = f"was killed by {name}" + (" (the machine may have run out of memory)" if name == "SIGKILL" else "")
    return _failed(f"the grading process {how}{f': {lines[-1]}' if lines else ''}", peak)


def _failed(error: str, peak: int = 0) -> dict[str, Any]:
    return {"result": None, "error": error, "peak_bytes": peak}
