"""`Memcpy2D` of `pycuda.driver`: a rectangle of bytes, copied row by row; and memory with room after each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from trtprep_worker.device_link import LogicError

from . import _driver as _cuda
from ._boost import exposed, from_cpp
from ._host import host_array

_PITCH = 512  # what current devices round a row to
_NUMBERS = (
    "src_x_in_bytes", "src_y", "src_pitch", "dst_x_in_bytes", "dst_y", "dst_pitch", "width_in_bytes", "height",
)  # fmt: skip


@from_cpp("mem_alloc_pitch(unsigned long width, unsigned long height, unsigned int access_size)")
def mem_alloc_pitch(width: int, height: int, access_size: int) -> tuple[Any, int]:
    """Memory for ``height`` rows of ``width`` bytes, and the distance in bytes from each row to the next."""
    if access_size not in (4, 8, 16):
        raise LogicError("cuMemAllocPitch failed: invalid argument: an access size is 4, 8 or 16")
    pitch = -(-width // _PITCH) * _PITCH
    return _cuda.mem_alloc(pitch * height), pitch


def _number(name: str) -> property:
    """A ``size_t`` of the struct: a Python integer, never below 0."""

    @from_cpp(f"{name}(pycuda::memcpy_2d {{lvalue}}, unsigned long)", name=f"Memcpy2D.{name}")
    def put(self: Memcpy2D, value: int) -> None:
        self._numbers[name] = value

    return property(lambda self: self._numbers[name], put)


def _not_there(name: str) -> property:
    def refuse(self: Memcpy2D, *value: object) -> Any:
        raise NotImplementedError(
            f"the twin's Memcpy2D has no {name}: use set_{name[:3]}_device or set_{name[:3]}_host"
        )

    return property(refuse, refuse)


@exposed("pycuda::memcpy_2d")
class Memcpy2D:
    """Set the ends, the pitches, ``width_in_bytes`` and ``height``; then call it, for asynchronous with a stream."""

    src_x_in_bytes, src_y, src_pitch, dst_x_in_bytes, dst_y, dst_pitch, width_in_bytes, height = map(_number, _NUMBERS)
    src_device, dst_device, src_memory_type, dst_memory_type = map(
        _not_there, ("src_device", "dst_device", "src_memory_type", "dst_memory_type")
    )

    @from_cpp("__init__(object)", name="Memcpy2D.__init__")
    def __init__(self) -> None:
        self._numbers = dict.fromkeys(_NUMBERS, 0)
        self._src: Any = None
        self._dst: Any = None

    @from_cpp("set_src_host(pycuda::memcpy_2d {lvalue}, object)", name="Memcpy2D.set_src_host")
    def set_src_host(self, buffer: Any) -> None:
        self._src = host_array(buffer, "Memcpy2D")

    @from_cpp("set_src_device(pycuda::memcpy_2d {lvalue}, unsigned long long)", name="Memcpy2D.set_src_device")
    def set_src_device(self, devptr: int) -> None:
        self._src = devptr

    @from_cpp("set_dst_host(pycuda::memcpy_2d {lvalue}, object)", name="Memcpy2D.set_dst_host")
    def set_dst_host(self, buffer: Any) -> None:
        self._dst = host_array(buffer, "Memcpy2D", write=True)

    @from_cpp("set_dst_device(pycuda::memcpy_2d {lvalue}, unsigned long long)", name="Memcpy2D.set_dst_device")
    def set_dst_device(self, devptr: int) -> None:
        self._dst = devptr

    @from_cpp(
        "__call__(pycuda::memcpy_2d {lvalue}, pycuda::stream)",
        "__call__(pycuda::memcpy_2d {lvalue} self, bool aligned)",
        name="Memcpy2D.__call__",
    )
    def __call__(self, how: Any) -> None:
        """PyCUDA's forms: ``copy(aligned=True)`` or ``copy(True)`` waits, ``copy(stream)`` does not."""
        if self._src is None or self._dst is None:
            raise LogicError("cuMemcpy2D failed: invalid argument: it needs a source and a destination")
        for x, pitch in ((self.src_x_in_bytes, self.src_pitch), (self.dst_x_in_bytes, self.dst_pitch)):
            if self.height > 1 and pitch < x + self.width_in_bytes:
                raise LogicError("cuMemcpy2D failed: invalid argument: rows are wider than their pitch")
        if self.width_in_bytes:
            for row in range(self.height):
                source = self._row(self._src, row + self.src_y, self.src_pitch, self.src_x_in_bytes)
                target = self._row(self._dst, row + self.dst_y, self.dst_pitch, self.dst_x_in_bytes)
                self._copy(target, source, () if isinstance(how, bool) else (how,))

    def _row(self, end: Any, row: int, pitch: int, x: int) -> Any:
        """Where a row begins on the device, or its bytes on the host."""
        start = row * pitch + x
        if not isinstance(end, np.ndarray):
            return end + start
        flat = end.reshape(-1, order="A").view(np.uint8)
        if start + self.width_in_bytes > flat.size:
            raise LogicError("cuMemcpy2D failed: invalid argument: the host buffer is too small")
        return flat[start : start + self.width_in_bytes]

    def _copy(self, target: Any, source: Any, stream: tuple[Any, ...]) -> None:
        ends = isinstance(target, np.ndarray), isinstance(source, np.ndarray)
        if ends == (True, True):
            target[...] = source
        elif ends == (True, False):
            (_cuda.memcpy_dtoh_async if stream else _cuda.memcpy_dtoh)(target, source, *stream)
        elif ends == (False, True):
            (_cuda.memcpy_htod_async if stream else _cuda.memcpy_htod)(target, source, *stream)
        else:
            (_cuda.memcpy_dtod_async if stream else _cuda.memcpy_dtod)(target, source, self.width_in_bytes, *stream)
