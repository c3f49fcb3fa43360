"""The thin end of the twin in a candidate's process: sends commands to the device, raises its errors.

It decides only what the host alone can see: whether a buffer is pinned, and whether it changed while it
was copied.  A candidate may patch all of it: what counts for a mark is the device's log, which the
grader reads from the device itself.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import sysconfig
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from . import wire
from .lookout import Lookout
from .poison import poison

FD_VARIABLE = "TRTPREP_DEVICE_FD"
_OURS = str(Path(__file__).resolve().parents[1]) + os.sep
_LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Error(Exception):
    """Base of PyCUDA's errors (`pycuda.driver.Error`)."""

    _code = 1  # cudaErrorInvalidValue


class LogicError(Error):
    """`pycuda.driver.LogicError`: a call that CUDA refuses, or that a GPU would not survive.

    ``_code`` is the `cudaError_t` of it, as in all of these.
    """


class MemoryError(Error):  # noqa: A001 (PyCUDA's name)
    """`pycuda.driver.MemoryError`: the device has no such memory left."""


_ERRORS: dict[str, type[Exception]] = {
    "NotImplementedError": NotImplementedError,
    "IndexError": IndexError,
    "AttributeError": AttributeError,
    "TypeError": TypeError,
    "ValueError": ValueError,
    "RuntimeError": RuntimeError,
}


class Link:
    """One connection to a device process. Threads may share it; finalizers may run at any moment."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel, self._lookout = channel, Lookout(channel)
        self._lock = threading.Lock()
        self._threads = threading.local()
        self._thread_numbers = itertools.count(1)
        self._broken = False
        self._dropped: list[int] = []
        self._later: list[dict[str, Any]] = []  # what finalizers asked for while a command was under way
        self._copies: dict[int, _Copy] = {}
        self._captured: dict[int, Pinned] = {}  # the host ends of copies that captures wrote down
        self._graphs: dict[int, list[tuple[int, bool]]] = {}  # those of each executable graph, and whether they bring
        self._numbers = itertools.count(1)
        self.log: Callable[[int, str], None] = lambda severity, text: None

    def request(self, do: str, **fields: Any) -> Any:
        """Send one command, deliver what the reply carries, return its value or raise its error."""
        self._settle()
        try:
            return self._perform(self._command(do, **fields))
        finally:
            self._settle()

    def cuda(self, name: str, *args: Any, runtime: bool = False) -> Any:
        """``runtime``: as the runtime API does it, with the primary context where none is current."""
        return self.request("cuda", name=name, args=list(args), runtime=runtime)

    def cuda_at_exit(self, name: str, *args: Any) -> None:
        """For finalizers: as `cuda`, but without errors, and put off while a command is under way."""
        command = self._command("cuda", name=name, args=list(args))
        if self._lock.locked():
            self._later.append(command)
            return
        self._later.append(command)
        self._settle()

    def _settle(self) -> None:
        """Do what finalizers asked for while a command was under way; doing it may bring more."""
        while self._later:
            with contextlib.suppress(Error, OSError):  # the device has it in its findings, or is gone already
                self._perform(self._later.pop(0))

    def drop(self, handle: int) -> None:
        """Say with the next command that an object is no longer used (called by finalizers)."""
        self._dropped.append(handle)

    def _command(self, do: str, **fields: Any) -> dict[str, Any]:
        if not hasattr(self._threads, "number"):
            self._threads.number = next(self._thread_numbers)
        return {"do": do, "line": candidate_line(), "thread": self._threads.number, **fields}

    def _perform(self, command: dict[str, Any]) -> Any:
        reply = self._exchange(command)
        misuses = [self._deliver(copy) for copy in reply.get("copies", ())]
        for severity, text in reply.get("log", ()):
            self.log(severity, text)
        for kind, message in filter(None, misuses):
            self.cuda("host_misuse", kind, message)
            raise LogicError(message)
        error = reply.get("error")
        if error is not None:
            raise _exception(error)
        return reply["value"]

    def _exchange(self, command: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._broken:
                raise wire.Closed(
                    "the connection to the twin's device process is broken: an earlier command was interrupted"
                )
            dropped, self._dropped = self._dropped, []
            if dropped:
                command["release"] = dropped
            packed = wire.pack(command)  # raises for what cannot cross, with nothing sent
            self._broken = True
            wire.send_packed(self._channel, *packed)
            self._lookout.wait()
            reply = wire.receive(self._channel)
            self._broken = False
        return reply

    # -- asynchronous copies: their host ends live in this process

    def copy_to_device(
        self, dest: int, pinned: Pinned, dtype: str, stream: int, *, runtime: bool = False, mapped: bool = False
    ) -> None:
        """``mapped``: no copy that was asked for, but what a run will read of mapped host memory."""
        data = pinned.bytes().tobytes()
        number = self._start(self._sending(pinned, data))
        arguments = dest, data, dtype, number, pinned.host(), stream, mapped
        self._enqueue(number, "memcpy_htod_async", *arguments, runtime=runtime)

    def copy_to_host(
        self, pinned: Pinned, dtype: str, src: int, stream: int, *, runtime: bool = False, mapped: bool = False
    ) -> None:
        number = self._start(_Copy(pinned, None, True))
        arguments = src, pinned.size, dtype, number, pinned.host(), stream, mapped
        if self._enqueue(number, "memcpy_dtoh_async", *arguments, runtime=runtime):
            self._hide(pinned)

    def keep_graph(self, executable: int, copies: list[tuple[int, bool]]) -> None:
        """Remember the copies of an executable graph that end in this process."""
        self._graphs[executable] = copies

    def launch(self, executable: int, stream: int) -> None:
        """Launch a graph: its copies read the host's memory as it is now, and hide what they will write."""
        copies: list[tuple[int, int, bytes]] = []
        try:
            for captured, brings in self._graphs.get(executable, []):
                pinned = self._captured[captured]
                if pinned.gone:
                    message = "the graph was launched after a pinned buffer of its copies was gone"
                    message = f"{message}: keep the buffer as long as the graph, or capture again"
                    self.cuda("host_misuse", "host-freed", message)
                    raise LogicError(message)
                data = b"" if brings else pinned.bytes().tobytes()
                copy = _Copy(pinned, None, True) if brings else self._sending(pinned, data)
                copies.append((captured, self._start(copy), data))
            self.cuda("graph_launch", executable, stream, copies, runtime=True)
        except BaseException:
            for _, number, _ in copies:
                self._copies.pop(number, None)
            raise
        for captured, brings in self._graphs.get(executable, []):
            if brings:
                self._hide(self._captured[captured])

    def _sending(self, pinned: Pinned, data: bytes) -> _Copy:
        # Where another copy has yet to bring bytes, this buffer will change and that is as it should be.
        brought = any(copy.brings and copy.pinned.overlaps(pinned) for copy in self._copies.values())
        return _Copy(pinned, None if brought else data, False)

    def _hide(self, pinned: Pinned) -> None:
        """Make the buffer read as NaN until the copy to it was waited for."""
        sending = [c for c in self._copies.values() if not c.brings and c.pinned.overlaps(pinned) and c.unchanged()]
        fill_with_poison(pinned.bytes())
        for copy in sending:
            copy.sent = copy.pinned.bytes().tobytes()

    def _start(self, copy: _Copy) -> int:
        number = next(self._numbers)
        self._copies[number] = copy
        return number

    def _enqueue(self, number: int, name: str, *args: Any, runtime: bool) -> bool:
        """Whether the copy is under way; if not, a capture wrote it down, and it runs with the graph."""
        try:
            captured = self.cuda(name, *args, runtime=runtime)
        except BaseException:
            self._copies.pop(number, None)
            raise
        if captured:
            self._captured[number] = self._copies.pop(number).pinned
        return not captured

    def _deliver(self, told: dict[str, Any]) -> tuple[str, str] | None:
        """The host's end of a copy that has run; a misuse, as (kind, message), where there was one."""
        copy = self._copies.pop(told["id"], None)
        if copy is None or told["late"]:
            return None
        if copy.pinned.gone:
            message = f"the pinned buffer of an asynchronous copy ({copy.line}) was gone before the copy was waited for"
            return "host-freed", f"{message}: keep the array until its stream was synchronized"
        if told["data"] is not None:
            copy.pinned.bytes()[:] = told["data"]
        elif copy.sent is not None and not copy.unchanged():
            message = (
                f"the pinned buffer of memcpy_htod_async ({copy.line}) was changed before its stream was synchronized"
            )
            return "host-changed", f"{message}: use a second buffer, or synchronize first"
        return None


class Pinned:
    """A contiguous part of a pinned allocation, held weakly: a pending copy keeps no buffer alive on a GPU either.

    ``owner`` has an attribute ``memory``, a contiguous array, and a ``number`` of its own; ``offset``
    and ``size`` are in bytes.
    """

    def __init__(self, owner: Any, offset: int, size: int) -> None:
        self._owner: Callable[[], Any] = weakref.ref(owner)
        self.offset, self.size = offset, size

    @property
    def gone(self) -> bool:
        owner = self._owner()
        return owner is None or owner.memory is None

    def bytes(self) -> np.ndarray:
        """The bytes themselves, as uint8; only while not `gone`."""
        return bytes_of(self._owner().memory)[self.offset : self.offset + self.size]

    def host(self) -> tuple[int, int, int]:
        """What the device is told of it: number and size of the allocation, and the offset in it."""
        owner = self._owner()
        return owner.number, owner.memory.nbytes, self.offset

    def device_pointer(self) -> int:
        """The address on the device of mapped memory; its owner raises LogicError where it is not mapped."""
        return self._owner().get_device_pointer() + self.offset

    def overlaps(self, other: Pinned) -> bool:
        same = self._owner() is other._owner() and not self.gone
        return same and self.offset < other.offset + other.size and other.offset < self.offset + self.size


class _Copy:
    """A copy under way: ``brings`` says which way, ``sent`` what a sent buffer must still hold (None: anything)."""

    def __init__(self, pinned: Pinned, sent: bytes | None, brings: bool) -> None:
        self.pinned, self.sent, self.brings, self.line = pinned, sent, brings, candidate_line()

    def unchanged(self) -> bool:
        if self.pinned.gone or self.sent is None:
            return False
        return np.array_equal(self.pinned.bytes(), np.frombuffer(self.sent, np.uint8))


def bytes_of(array: np.ndarray) -> np.ndarray:
    """The contiguous array's own memory as uint8, whichever its order."""
    return array.reshape(-1, order="A").view(np.uint8)


def fill_with_poison(array: np.ndarray) -> None:
    bytes_of(array)[:] = poison(array.nbytes)


def candidate_line() -> str:
    """``file.py:12`` of the innermost caller that is neither ours nor a library's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    nearest = frame
    while frame is not None and frame.f_code.co_filename.startswith(("<frozen", *_LIBRARIES)):
        frame = frame.f_back
    frame = frame or nearest
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else ""


def _exception(error: dict[str, Any]) -> Exception:
    if error["type"] != "Misuse":
        return _ERRORS[error["type"]](error["message"])
    kind = MemoryError if "out of memory" in error["cuda"] else LogicError
    made = kind(f"{error['cuda']}: {error['message']}" if error["cuda"] else error["message"])
    made._code = error["code"]
    return made


_link: Link | None = None


def connect(channel: socket.socket | None = None) -> Link:
    """This process's link. Raises ImportError where no device process was started for it."""
    global _link
    if _link is None:
        if channel is None:
            number = os.environ.get(FD_VARIABLE)
            if number is None:
                raise ImportError("the twin needs its device process: run the file with `trtprep python FILE`")
            channel = socket.socket(fileno=int(number))
        _link = Link(channel)
    return _link
