"""Grades each submission in a fork of a process that has the grader's libraries loaded.

The pre-started process (`serve`) has imported pytest, the checks' libraries and the grader's own modules, and has made
no thread and no session of ONNX Runtime, which would not survive a fork. For each submission it forks a child that
grades as ``trtprep run`` does, and ends. So nothing of one submission is left for the next, but for what
`grader.fixtures.remembered` keeps: trusted plans and expected values, which the same seed asks for again.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from grader import tiers
from grader.fixtures.remembered import Memory, use
from grader.inside.trtprep_worker import wire
from grader.processes import templates
from grader.processes.places import KEEP_MEMORY

from .graders import GRADER, Task, _end_group, _failed
from .one import die_with, graded

#: What imports more when it is first used.
_LIBRARIES = ("cv2", "onnx", "onnx.reference", "onnx.shape_inference", "onnxruntime", "numpy.random", "psutil")
_REMEMBERED_BYTES = 512 << 20
_START_S = 120.0
_LAST_WORDS_S = 30.0  # for a child that has told its result
_SLACK_S = 60.0  # beyond a submission's own limit, for a pre-started process that does not answer


class PrestartedGrader:
    """A `grader.batch.graders.Grader` whose submissions are graded in forks of one process."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._closed = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process; what keeps it from starting is said by each `grade`."""
        try:
            self._started()
        except (OSError, wire.WireError, _EndedError):
            self._end()

    def grade(self, folder: Path, person: str) -> dict[str, Any]:
        """See `grader.batch.graders.Grader`."""
        try:
            channel = self._started()
            channel.settimeout(self._task.limit_s + _SLACK_S)
            wire.send(channel, {"folder": str(folder), "limit_s": self._task.limit_s})
            told = wire.receive(channel)
        except (OSError, wire.WireError, _EndedError) as error:  # a timeout is an OSError too
            self._end()
            return _failed("stopped" if self._closed else f"the pre-started grader is gone: {error}")
        return {name: told[name] for name in ("result", "error", "peak_bytes")}

    def close(self) -> None:
        """See `grader.batch.graders.Grader`."""
        self._closed = True
        self._end()

    def _started(self) -> socket.socket:
        with self._lock:
            if self._closed:
                raise _EndedError("it was closed")
            if self._channel is not None:
                return self._channel
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    (sys.executable, "-m", "grader.batch.prestarted", str(theirs.fileno())),
                    cwd=GRADER.parent, env=os.environ | KEEP_MEMORY,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),), start_new_session=True,  # Ctrl-C is for us: we end it
                )  # fmt: skip
            self._channel = ours
        ours.settimeout(_START_S)
        task = self._task
        wire.send(ours, {"exercises": list(task.exercises), "tier": task.tier, "seed": task.seed})
        if error := wire.receive(ours)["error"]:
            raise _EndedError(error)
        return ours

    def _end(self) -> None:
        with self._lock:
            process, channel = self._process, self._channel
            self._process = self._channel = None
        if process is not None:
            _end_group(process.pid)
            process.wait()
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for an answer
            channel.close()


class _EndedError(Exception):
    """The pre-started process cannot be used; the text says why."""


# -- in the pre-started process


def serve(channel: socket.socket) -> None:
    """Until the channel is closed. The first message says what is the same for all submissions."""
    task = wire.receive(channel)
    memory = Memory(_REMEMBERED_BYTES)
    use(memory)
    try:
        _load(task)
    except Exception as error:  # noqa: BLE001 (said in one line by whoever asked)
        wire.send(channel, {"error": f"{type(error).__name__}: {error}"})
        return
    wire.send(channel, {"error": None})
    while True:
        request = wire.receive(channel)
        if not templates.all_alive():
            templates.close()
            templates.start(tiers.choose(task["tier"]))
        wire.send(channel, _grade(task | request, channel, memory))


def _load(task: dict[str, Any]) -> None:
    """Import and look up once what every submission needs; no thread may be left running."""
    from grader import course, run
    from grader.fixtures import prepare
    from grader.processes import sandbox

    for name in _LIBRARIES:
        importlib.import_module(name)
    importlib.import_module("grader.plugin")
    sandbox.probe()
    tier = tiers.choose(task["tier"])
    run.environment(tier)  # asks the system for its name, once
    templates.start(tier)
    exercises = [course.find(name) for name in task["exercises"]]
    prepare(name for exercise in exercises for name in exercise.fixtures)  # their hashes, once for all
    for path in (path for exercise in exercises for path in exercise.checks):
        spec = importlib.util.spec_from_file_location(f"_loaded_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of marks: pytest, which knows them, imports it again
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
    gc.collect()
    gc.freeze()  # collecting in a child would copy every page that these lie in


def _grade(wish: dict[str, Any], channel: socket.socket, memory: Memory) -> dict[str, Any]:
    deadline = time.monotonic() + wish["limit_s"]
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryFile() as printed:
        server, pid = os.getpid(), os.fork()
        if not pid:
            _be_the_child(wish, theirs, printed, server, memory, (channel, ours))
        theirs.close()
        outcome: dict[str, Any] | None = None
        try:
            outcome = _heard(ours, channel, deadline)
            ours.settimeout(_LAST_WORDS_S)
            while True:
                memory.learn(wire.receive(ours))
        except (wire.Closed, wire.WireError):
            pass  # it has ended
        except TimeoutError:
            outcome = outcome or _failed(f"grading was not done after {wish['limit_s']:g} s and was stopped")
        _end_group(pid)
        with contextlib.suppress(ProcessLookupError):  # before it led a group
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        if outcome is None:
            outcome = _failed(_how_it_ended(os.waitstatus_to_exitcode(status), printed))
        return outcome | {"peak_bytes": usage.ru_maxrss * 1024}


def _heard(child: socket.socket, channel: socket.socket, deadline: float) -> dict[str, Any]:
    """The child's result. Raises TimeoutError, and ends this process when nobody waits for it any more."""
    poller = select.poll()
    poller.register(child, select.POLLIN)
    poller.register(channel, select.POLLIN)  # nothing is asked meanwhile: it can only end
    ready = [handle for handle, _ in poller.poll(max(0.0, deadline - time.monotonic()) * 1000)]
    if channel.fileno() in ready:
        os._exit(1)  # the child ends with us
    if not ready:
        raise TimeoutError
    child.settimeout(_LAST_WORDS_S)
    return wire.receive(child)


def _be_the_child(
    wish: dict[str, Any], told: socket.socket, printed: IO[bytes], server: int, memory: Memory,
    not_ours: tuple[socket.socket, ...],
) -> None:  # fmt: skip
    status = 1
    try:
        os.setsid()
        die_with(server)
        for channel in not_ours:
            channel.close()
        for standard in (1, 2):
            os.dup2(printed.fileno(), standard)
        wire.send(told, graded(wish))
        for answers in _sendable(memory.learnt()):
            wire.send(told, answers)
        status = 0
    except BaseException:  # noqa: BLE001 (what goes beyond this would run the parent's code)
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _sendable(answers: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in answers.items():
        with contextlib.suppress(wire.WireError):  # of a type that has no place in a message: asked for again
            wire.pack(value)
            yield {key: value}


def _how_it_ended(status: int, printed: IO[bytes]) -> str:
    printed.seek(0)
    lines = printed.read().decode("utf-8", "replace").strip().splitlines()
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"the grading process {how}{f': {lines[-1]}' if lines else ''}"


if __name__ == "__main__":
    with contextlib.suppress(wire.Closed):
        serve(socket.socket(fileno=int(sys.argv[1])))
