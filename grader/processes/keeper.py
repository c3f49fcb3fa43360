"""The thread behind one sandboxed process: starts it, reads what it prints, watches it and buries it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from grader.processes.output import KeptOutput
from grader.processes.sandbox import Limits
from grader.processes.templates import Template, TemplateError, holder_of
from grader.processes.watchdog import Tree, Usage, folder_bytes

POLL_S = 0.02
DISK_POLL_S = 0.2  # walking a folder costs more than looking at a process
CHUNK_BYTES = 256 * 1024
START_S = 60.0  # a cold disk and a busy machine; a healthy start takes a twentieth of a second
#: Stands in bwrap's namespaces until the process that was forked into them has ended, and ends as it did.
_HOLD = 'echo; read -r status; exit "$status"'


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        reason: "exit", "signal", "wall", "cpu", "memory", "processes", "disk" or "output".
        detail: one line for a person. A program that exits by itself with status 128 + N cannot be told
            from one that was killed by signal N.
    """

    reason: str
    detail: str


@dataclass(frozen=True)
class Program:
    """Everything that is needed to start a process.

    Attributes:
        argv, env, pass_fds: as for `subprocess.Popen`.
        scratch: its scratch folder if that lies on the host: it is removed in the end.
        scratch_bytes: how much that folder may hold.
        helpers, spared: as for `watchdog.Tree`.
        watched: false to let it run without the watchdog.
        forked: how to fork it from a template instead: then `argv` is bwrap without a program.
    """

    argv: list[str]
    env: dict[str, str]
    pass_fds: tuple[int, ...]
    scratch: Path | None
    scratch_bytes: int
    helpers: int
    spared: int
    watched: bool
    forked: Forked | None = None


@dataclass(frozen=True)
class Forked:
    """A process that a template forks into the namespaces that bwrap has made.

    Attributes:
        template: what forks it.
        argv: a Python file and its arguments.
        folder: where it starts, as it sees it.
        fds: descriptors that it inherits, by the same numbers.
    """

    template: Template
    argv: list[str]
    folder: str
    fds: tuple[int, ...]


@dataclass
class _Running:
    """A started process: the one to wait for, what it prints, the roots of its tree, and what to close in the end."""

    process: subprocess.Popen[bytes]
    pipe: int
    roots: tuple[int, ...]
    told: socket.socket | None = None


class Keeper(threading.Thread):
    """Owns a process from its start to its end, and the output that it prints.

    The process is told to die with the thread that started it (the kernel knows no parents, only parent
    threads), so it is started from here rather than from whichever thread of the grader asked for it.
    """

    def __init__(self, program: Program, limits: Limits) -> None:
        """Prepare; `start` starts the thread, and `started` is set once the process exists or cannot."""
        super().__init__(name="sandbox-keeper", daemon=True)
        self.started = threading.Event()
        self.finished = threading.Event()
        self.failure: OSError | None = None
        self.pid = 0
        self.ended: Ended | None = None
        self.output = KeptOutput(limits.kept_output_bytes)
        self._program = program
        self._limits = limits
        self._stopping = False
        self._deadline: float | None = None
        self._wall_s = 0.0
        self._next_disk_look = 0.0
        self._pipe: int | None = None
        self._reading = threading.Lock()  # of the pipe, and of closing it

    def deadline(self, seconds: float | None) -> None:
        """Stop the process after so many seconds from now; None: never."""
        self._wall_s = seconds or 0.0
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def stop(self) -> None:
        """End the process and everything below it, and wait until that is done."""
        self._stopping = True
        if self.is_alive() and threading.current_thread() is not self:
            self.join()

    def catch_up(self) -> None:
        """Take in what was printed until now, without waiting for the thread to come round to it."""
        if self._pipe is not None:
            self._read_some()  # a pipe holds less than one chunk

    def run(self) -> None:
        """Thread body."""
        try:
            running = self._started_plainly() if self._program.forked is None else self._started_by_fork()
        except OSError as error:
            self.failure = error
        else:
            self.pid = running.process.pid
            self.started.set()
            self.ended = self._keep(running)
        finally:
            self._remove_scratch()
            self.started.set()
            self.finished.set()

    def _started_plainly(self) -> _Running:
        reader, writer = os.pipe()
        try:
            process = self._popen(self._program.argv, self._program.pass_fds, subprocess.DEVNULL, writer, writer)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return _Running(process, reader, (process.pid,))

    def _started_by_fork(self) -> _Running:
        """Start bwrap with a shell that ends as the forked process does, and have that one forked beside it."""
        forked = self._program.forked
        assert forked is not None
        (reader, writer), (status, tell), (ready, say) = os.pipe(), os.pipe(), os.pipe()
        try:
            try:
                argv = [*self._program.argv, "/bin/sh", "-c", _HOLD]
                process = self._popen(argv, self._program.pass_fds, status, say, writer)
            finally:
                os.close(status)
                os.close(say)
            try:
                if not select.select([ready], [], [], START_S)[0] or not os.read(ready, 1):
                    printed = select.select([reader], [], [], 0)[0] and os.read(reader, CHUNK_BYTES)
                    words = (printed or b"").decode(errors="replace").strip()
                    raise TemplateError(f"bubblewrap made no namespaces to fork into: {words or 'it said nothing'}")
                env, folder = self._program.env, forked.folder
                holder = holder_of(process.pid)
                parent, told = forked.template.fork(holder, forked.argv, env, folder, tell, writer, forked.fds)
            except OSError:
                process.kill()
                process.wait()
                raise
        except OSError:
            os.close(reader)
            raise
        finally:
            for fd in (writer, tell, ready):
                os.close(fd)
        return _Running(process, reader, (process.pid, parent), told)

    def _popen(
        self, argv: list[str], fds: tuple[int, ...], stdin: int, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv, env=self._program.env, pass_fds=fds, cwd=self._program.scratch or "/", stdin=stdin, stdout=stdout,
            stderr=stderr, start_new_session=True,
        )  # fmt: skip

    def _keep(self, running: _Running) -> Ended:
        process, pipe = running.process, running.pipe
        os.set_blocking(pipe, False)
        self._pipe = pipe
        tree = Tree(*running.roots, helpers=self._program.helpers, spared=self._program.spared)
        verdict = self._watch(process, pipe, tree)
        if verdict:
            tree.kill()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if running.told is not None:
            running.told.close()
        self._read(pipe)
        with self._reading:
            self._pipe = None
            os.close(pipe)
        return verdict or self._over_output() or _natural_end(process.returncode)

    def _watch(self, process: subprocess.Popen[bytes], pipe: int, tree: Tree) -> Ended | None:
        """Return why the process has to be stopped, or None when it ended by itself."""
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        look = time.monotonic()
        while process.poll() is None:
            wait_s = max(0.0, look + POLL_S - time.monotonic())
            if poller.poll(wait_s * 1000) and not self._read_some():
                poller.unregister(pipe)
            if self._stopping:
                return Ended("signal", "stopped by the grader (SIGKILL)")
            if self._program.watched and time.monotonic() >= look + POLL_S:
                look = time.monotonic()
                verdict = self._over_output() or self._over_time() or self._over_usage(tree) or self._over_disk()
                if verdict:
                    return verdict
            elif not self._program.watched:
                look = time.monotonic()
        return None

    def _read_some(self) -> bool:
        """Take in one chunk; return False at the end of the stream."""
        with self._reading:
            if self._pipe is None:
                return False
            try:
                data = os.read(self._pipe, CHUNK_BYTES)
            except BlockingIOError:
                return True
            self.output.add(data)
        return bool(data)

    def _read(self, pipe: int) -> None:
        """Take in what a dead process left in the pipe, which a stray one might still hold open."""
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        while poller.poll(0) and self._read_some() and self.output.total <= self._limits.output_bytes:
            pass

    def _over_output(self) -> Ended | None:
        most = self._limits.output_bytes
        if self._program.watched and self.output.total > most:
            return Ended("output", f"printed more than {size(most)} and was stopped")
        return None

    def _over_time(self) -> Ended | None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            return Ended("wall", f"was not done after {self._wall_s:g} s and was stopped")
        return None

    def _over_usage(self, tree: Tree) -> Ended | None:
        limits = self._limits
        usage: Usage = tree.usage(limits.processes, limits.memory_bytes)
        if usage.tasks > limits.processes:
            return Ended("processes", f"ran more than {limits.processes} processes and threads at once and was stopped")
        if usage.memory_bytes > limits.memory_bytes:
            return Ended("memory", f"used more than {size(limits.memory_bytes)} of memory and was stopped")
        if usage.cpu_s > limits.cpu_s:
            return _over_cpu(f"used more than {limits.cpu_s:g} s of CPU time")
        return None

    def _over_disk(self) -> Ended | None:
        folder, now = self._program.scratch, time.monotonic()
        if folder is None or now < self._next_disk_look:
            return None
        self._next_disk_look = now + DISK_POLL_S
        if folder_bytes(folder) > self._program.scratch_bytes:
            most = size(self._program.scratch_bytes)
            return Ended("disk", f"wrote more than {most} into its scratch folder and was stopped")
        return None

    def _remove_scratch(self) -> None:
        folder = self._program.scratch
        if folder is None:
            return
        # A program can nest folders deeper than Python can recurse, and lock itself out of them.
        subprocess.run(["rm", "-rf", "--", str(folder)], stderr=subprocess.DEVNULL, check=False)
        if folder.exists():
            subprocess.run(["chmod", "-R", "u+rwX", "--", str(folder)], stderr=subprocess.DEVNULL, check=False)
            subprocess.run(["rm", "-rf", "--", str(folder)], stderr=subprocess.DEVNULL, check=False)


def size(count: int) -> str:
    """Return a number of bytes as a person would write it: "2.0 GiB"."""
    value = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def _over_cpu(what: str) -> Ended:
    return Ended("cpu", f"{what} and was stopped")


def _natural_end(code: int) -> Ended:
    """Name an exit status as bwrap and the reaper give it: 128 + N for signal N."""
    number = -code if code < 0 else code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return Ended("exit", f"ended by itself with status {code}")
    if number == signal.SIGXCPU:
        return _over_cpu("used more CPU time than it was given")
    hint = {
        signal.SIGSEGV: " (it touched memory that is not its own)",
        signal.SIGABRT: " (it aborted itself: see what it printed)",
        signal.SIGKILL: " (from outside: the machine may have run out of memory)",
    }.get(signal.Signals(number), "")
    return Ended("signal", f"was killed by {name}{hint}")
