"""The thin end of the twin in a candidate's process: sends commands to the device, raises its errors.

Nothing here decides anything.  A candidate may patch all of it and would only harm their own
program: what counts is the device's log, which the grader reads from the device itself.
"""

from __future__ import annotations

import os
import socket
import sys
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import wire

FD_VARIABLE = "TRTPREP_DEVICE_FD"
_OURS = str(Path(__file__).resolve().parents[1]) + os.sep
_POISON = b"\xb5\xff"  # as in grader/twin/memory.py, which this process cannot read


class Error(Exception):
    """Base of PyCUDA's errors (`pycuda.driver.Error`)."""


class LogicError(Error):
    """`pycuda.driver.LogicError`: a call that CUDA refuses, or that a GPU would not survive."""


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
    """One connection to a device process."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._dropped: list[int] = []
        self._copies: dict[int, _Copy] = {}
        self._number = 0
        self.log: Callable[[int, str], None] = lambda severity, text: None

    def request(self, do: str, **fields: Any) -> Any:
        """Send one command, deliver what the reply carries, return its value or raise its error."""
        dropped, self._dropped = self._dropped, []
        wire.send(self._channel, {"do": do, "line": candidate_line(), "release": dropped, **fields})
        reply = wire.receive(self._channel)
        for copy in reply["copies"]:
            self._deliver(copy["id"], copy["data"])
        for severity, text in reply["log"]:
            self.log(severity, text)
        error = reply.get("error")
        if error is not None:
            raise _exception(error)
        return reply["value"]

    def cuda(self, name: str, *args: Any) -> Any:
        return self.request("cuda", name=name, args=list(args))

    def cuda_at_exit(self, name: str, *args: Any) -> None:
        """For finalizers: as `cuda`, but silent when the device process is gone already."""
        try:
            self.cuda(name, *args)
        except wire.Closed:
            pass

    def drop(self, handle: int) -> None:
        """Say with the next command that an object is no longer used (called by finalizers)."""
        self._dropped.append(handle)

    # -- asynchronous copies: their host ends live in this process

    def copy_to_device(self, dest: int, pinned: Pinned, dtype: str, stream: int) -> None:
        data = pinned.bytes().tobytes()
        copy = self._start(pinned, zlib.crc32(data))
        self.cuda("memcpy_htod_async", dest, data, dtype, copy, stream)

    def copy_to_host(self, pinned: Pinned, dtype: str, src: int, stream: int) -> None:
        sending = any(copy.checksum is not None and copy.pinned.overlaps(pinned) for copy in self._copies.values())
        copy = self._start(pinned, None)
        self.cuda("memcpy_dtoh_async", src, pinned.size, dtype, copy, stream)
        if not sending and copy in self._copies:  # reads as NaN until the copy was waited for
            pinned.bytes()[:] = np.frombuffer((_POISON * (pinned.size // 2 + 1))[: pinned.size], np.uint8)

    def _start(self, pinned: Pinned, checksum: int | None) -> int:
        self._number += 1
        self._copies[self._number] = _Copy(pinned, checksum, candidate_line())
        return self._number

    def _deliver(self, number: int, data: np.ndarray | None) -> None:
        copy = self._copies.pop(number)
        if copy.pinned.gone:
            self._misuse("host-freed", f"the host buffer of an asynchronous copy ({copy.line}) was gone before it was waited for")
        elif data is not None:
            copy.pinned.bytes()[:] = data
        elif zlib.crc32(copy.pinned.bytes()) != copy.checksum:
            self._misuse(
                "host-changed", f"the host buffer of memcpy_htod_async ({copy.line}) was changed before its stream was synchronized"
            )

    def _misuse(self, kind: str, message: str) -> None:
        self.cuda("host_misuse", kind, message)
        raise LogicError(message)


class Pinned:
    """A contiguous part of a pinned allocation, held weakly: a pending copy keeps no buffer alive on a GPU either.

    ``owner`` has an attribute ``memory``, a contiguous array; ``offset`` and ``size`` are in bytes.
    """

    def __init__(self, owner: Any, offset: int, size: int) -> None:
        self._owner = weakref.ref(owner)
        self.offset, self.size = offset, size

    @property
    def gone(self) -> bool:
        return self._owner() is None

    def bytes(self) -> np.ndarray:
        """The bytes themselves, as uint8; only while not `gone`."""
        return bytes_of(self._owner().memory)[self.offset : self.offset + self.size]

    def overlaps(self, other: Pinned) -> bool:
        same = self._owner() is other._owner()
        return same and self.offset < other.offset + other.size and other.offset < self.offset + self.size


class _Copy:
    def __init__(self, pinned: Pinned, checksum: int | None, line: str) -> None:
        self.pinned, self.checksum, self.line = pinned, checksum, line


def bytes_of(array: np.ndarray) -> np.ndarray:
    """The contiguous array's own memory as uint8."""
    return array.reshape(-1).view(np.uint8)


def candidate_line() -> str:
    """``file.py:12`` of the innermost caller that is not ours."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else ""


def _exception(error: dict[str, str]) -> Exception:
    if error["type"] != "Misuse":
        return _ERRORS[error["type"]](error["message"])
    kind = MemoryError if "out of memory" in error["cuda"] else LogicError
    return kind(f"{error['cuda']}: {error['message']}" if error["cuda"] else error["message"])


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
