"""`Memcpy2D` of `pycuda.driver`: a rectangle of bytes, copied row by row; and memory with room after each row."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import driver as _cuda
from ._host import host_array, index

_PITCH = 512  # what current devices round a row to


def mem_alloc_pitch(width: Any, height: Any, access_size: Any) -> tuple[Any, int]:
    """Memory for ``height`` rows of ``width`` bytes, and the distance in bytes from each row to the next."""
    if index(access_size) not in (4, 8, 16):
        raise _cuda.LogicError("cuMemAllocPitch failed: invalid argument: an access size is 4, 8 or 16")
    pitch = -(-index(width) // _PITCH) * _PITCH
    return _cuda.mem_alloc(pitch * index(height)), pitch


class Memcpy2D:
    """Set the ends, the pitches, ``width_in_bytes`` and ``height``; then call it, for asynchronous with a stream."""

    def __init__(self) -> None:
        self.src_x_in_bytes = self.src_y = self.dst_x_in_bytes = self.dst_y = 0
        self.src_pitch = self.dst_pitch = self.width_in_bytes = self.height = 0
        self._src: Any = None
        self._dst: Any = None

    def set_src_host(self, buffer: Any) -> None:
        self._src = host_array(buffer, "Memcpy2D")

    def set_src_device(self, devptr: Any) -> None:
        self._src = index(devptr)

    def set_dst_host(self, buffer: Any) -> None:
        self._dst = host_array(buffer, "Memcpy2D", write=True)

    def set_dst_device(self, devptr: Any) -> None:
        self._dst = index(devptr)

    def __call__(self, stream: Any = None, *, aligned: bool = False) -> None:
        """PyCUDA's forms: ``copy(aligned=True)`` or ``copy(True)`` waits, ``copy(stream)`` does not."""
        if self._src is None or self._dst is None:
            raise _cuda.LogicError("cuMemcpy2D failed: invalid argument: it needs a source and a destination")
        if max(self.src_x_in_bytes, self.dst_x_in_bytes) < 0 or min(self.width_in_bytes, self.height) < 0:
            raise _cuda.LogicError("cuMemcpy2D failed: invalid argument: a negative size")
        rows = range(self.height)
        for x, pitch in ((self.src_x_in_bytes, self.src_pitch), (self.dst_x_in_bytes, self.dst_pitch)):
            if self.height > 1 and pitch < x + self.width_in_bytes:
                raise _cuda.LogicError("cuMemcpy2D failed: invalid argument: rows are wider than their pitch")
        waits = stream is None or isinstance(stream, bool)
        if self.width_in_bytes:
            for row in rows:
                source = self._row(self._src, row + self.src_y, self.src_pitch, self.src_x_in_bytes)
                target = self._row(self._dst, row + self.dst_y, self.dst_pitch, self.dst_x_in_bytes)
                self._copy(target, source, () if waits else (stream,))

    def _row(self, end: Any, row: int, pitch: int, x: int) -> Any:
        """Where a row begins on the device, or its bytes on the host."""
        start = row * pitch + x
        if not isinstance(end, np.ndarray):
            return end + start
        flat = end.reshape(-1, order="A").view(np.uint8)
        if start + self.width_in_bytes > flat.size:
            raise _cuda.LogicError("cuMemcpy2D failed: invalid argument: the host buffer is too small")
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
