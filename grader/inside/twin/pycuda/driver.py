"""`pycuda.driver` over the twin: contexts, memory, copies, streams and events, under PyCUDA's names.

Kernels cannot be compiled here.  Source of names and behaviour: PyCUDA's documentation, "Device
Interface Reference".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from trtprep_worker.device_link import Error, Link, LogicError, MemoryError, Pinned, bytes_of, connect

__all__ = [
    "Context", "Device", "DeviceAllocation", "Error", "Event", "LogicError", "MemoryError", "PagelockedHostAllocation",
    "Stream", "event_flags", "from_device", "from_device_like", "host_alloc_flags", "init", "mem_alloc", "mem_alloc_like",
    "mem_get_info", "memcpy_dtod", "memcpy_dtod_async", "memcpy_dtoh", "memcpy_dtoh_async", "memcpy_htod",
    "memcpy_htod_async", "memset_d8", "memset_d16", "memset_d32", "pagelocked_empty", "pagelocked_empty_like",
    "pagelocked_zeros", "pagelocked_zeros_like", "stream_flags", "to_device",
]  # fmt: skip


class stream_flags:  # noqa: N801 (PyCUDA's names)
    DEFAULT = 0
    NON_BLOCKING = 1


class event_flags:  # noqa: N801
    DEFAULT = 0
    BLOCKING_SYNC = 1
    DISABLE_TIMING = 2


class host_alloc_flags:  # noqa: N801
    PORTABLE = 1
    DEVICEMAP = 2
    WRITECOMBINED = 4


# -- devices and contexts


def init(flags: int = 0) -> None:
    _device().cuda("init")


def get_version() -> tuple[int, int, int]:
    return (13, 0, 0)


class Device:
    """The twin's one device."""

    def __init__(self, number: int) -> None:
        if number != 0:
            raise LogicError("cuDeviceGet failed: invalid device ordinal (the twin has one device, number 0)")

    @staticmethod
    def count() -> int:
        return 1

    def name(self) -> str:
        return "trtprep CPU twin"

    def compute_capability(self) -> tuple[int, int]:
        return (8, 6)

    def total_memory(self) -> int:
        return 16 << 30

    def make_context(self, flags: int = 0) -> Context:
        return Context(_device().cuda("make_context"))

    def retain_primary_context(self) -> Context:
        return Context(0)


class Context:
    """A CUDA context; static calls act on the current one."""

    def __init__(self, number: int) -> None:
        self._number = number

    def push(self) -> None:
        _device().cuda("push_context", self._number)

    @staticmethod
    def pop() -> None:
        _device().cuda("pop_context")

    def detach(self) -> None:
        """Ends the context; where it is current, that is popped as well, as in PyCUDA."""
        if _device().cuda("context_depth"):
            _device().cuda("pop_context")

    @staticmethod
    def synchronize() -> None:
        _device().cuda("context_synchronize")

    @staticmethod
    def get_device() -> Device:
        return Device(0)


# -- memory


class DeviceAllocation:
    """Device memory that is freed when this object goes, or by ``free()``."""

    def __init__(self, size: int) -> None:
        self._address = 0
        self._size = size
        self._address = _device().cuda("mem_alloc", size)

    def free(self) -> None:
        if not self._address:
            raise LogicError("cuMemFree failed: this DeviceAllocation was freed before")
        address, self._address = self._address, 0
        _device().cuda("mem_free", address)

    def __int__(self) -> int:
        return self._address

    __index__ = __int__

    def __hash__(self) -> int:
        return hash(self._address)

    def __del__(self) -> None:
        if self._address:
            _device().cuda_at_exit("mem_free", self._address)


def mem_alloc(bytes: int) -> DeviceAllocation:  # noqa: A002 (PyCUDA's name)
    return DeviceAllocation(_index(bytes))


def mem_alloc_like(array: np.ndarray) -> DeviceAllocation:
    return mem_alloc(array.nbytes)


def mem_get_info() -> tuple[int, int]:
    free, total = _device().cuda("mem_get_info")
    return free, total


def to_device(array: np.ndarray) -> DeviceAllocation:
    memory = mem_alloc_like(array)
    memcpy_htod(memory, array)
    return memory


def from_device(devptr: Any, shape: Any, dtype: Any, order: str = "C") -> np.ndarray:
    array = np.empty(shape, dtype, order)
    memcpy_dtoh(array, devptr)
    return array


def from_device_like(devptr: Any, other: np.ndarray) -> np.ndarray:
    return from_device(devptr, other.shape, other.dtype)


class PagelockedHostAllocation:
    """Pinned host memory: the ``base`` of the arrays made by `pagelocked_empty`."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.memory = np.empty(shape, dtype)
        self.__array_interface__ = self.memory.__array_interface__


def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> np.ndarray:
    if order != "C":
        raise NotImplementedError("the twin pins C-ordered arrays only")
    dims = tuple(map(_index, shape)) if isinstance(shape, (tuple, list)) or hasattr(shape, "__len__") else (_index(shape),)
    return np.asarray(PagelockedHostAllocation(dims, np.dtype(dtype)))


def pagelocked_zeros(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> np.ndarray:
    array = pagelocked_empty(shape, dtype, order, mem_flags)
    array.fill(0)
    return array


def pagelocked_empty_like(array: np.ndarray, mem_flags: int = 0) -> np.ndarray:
    return pagelocked_empty(array.shape, array.dtype, "C", mem_flags)


def pagelocked_zeros_like(array: np.ndarray, mem_flags: int = 0) -> np.ndarray:
    return pagelocked_zeros(array.shape, array.dtype, "C", mem_flags)


# -- copies


def memcpy_htod(dest: Any, src: Any) -> None:
    array = _host(src, "memcpy_htod")
    _device().cuda("memcpy_htod", _index(dest), array.tobytes(), _dtype(src))


def memcpy_dtoh(dest: Any, src: Any) -> None:
    array = _host(dest, "memcpy_dtoh", write=True)
    data = _device().cuda("memcpy_dtoh", _index(src), array.nbytes, _dtype(dest))
    bytes_of(array)[:] = np.frombuffer(data, np.uint8)


def memcpy_htod_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    array = _host(src, "memcpy_htod_async")
    pinned = _pinned(array, "memcpy_htod_async")
    _device().copy_to_device(_index(dest), pinned, array.dtype.name, _handle(stream))


def memcpy_dtoh_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    array = _host(dest, "memcpy_dtoh_async", write=True)
    pinned = _pinned(array, "memcpy_dtoh_async")
    _device().copy_to_host(pinned, array.dtype.name, _index(src), _handle(stream))


def memcpy_dtod(dest: Any, src: Any, size: int) -> None:
    _device().cuda("memcpy_dtod", _index(dest), _index(src), size)


def memcpy_dtod_async(dest: Any, src: Any, size: int, stream: Stream | None = None) -> None:
    _device().cuda("memcpy_dtod", _index(dest), _index(src), size, _handle(stream))


def memset_d8(dest: Any, data: int, count: int) -> None:
    _device().cuda("memset", _index(dest), _index(data).to_bytes(1, "little"), count)


def memset_d16(dest: Any, data: int, count: int) -> None:
    _device().cuda("memset", _index(dest), _index(data).to_bytes(2, "little"), count)


def memset_d32(dest: Any, data: int, count: int) -> None:
    _device().cuda("memset", _index(dest), _index(data).to_bytes(4, "little"), count)


# -- streams and events


class Stream:
    """A CUDA stream; by default one that the legacy default stream waits for, as in PyCUDA."""

    def __init__(self, flags: int = 0) -> None:
        self.handle = 0
        self.handle = _device().cuda("stream_create", flags)

    def synchronize(self) -> None:
        _device().cuda("stream_synchronize", self.handle)

    def is_done(self) -> bool:
        return _device().cuda("stream_query", self.handle)

    def wait_for_event(self, event: Event) -> None:
        _device().cuda("stream_wait_event", self.handle, event.handle)

    def __del__(self) -> None:
        if self.handle:
            _device().cuda_at_exit("stream_destroy", self.handle)


class Event:
    """A CUDA event. Times between events mean nothing on the twin."""

    def __init__(self, flags: int = 0) -> None:
        self.handle = _device().cuda("event_create")

    def record(self, stream: Stream | None = None) -> Event:
        _device().cuda("event_record", self.handle, _handle(stream))
        return self

    def synchronize(self) -> Event:
        _device().cuda("event_synchronize", self.handle)
        return self

    def query(self) -> bool:
        return _device().cuda("event_query", self.handle)

    def time_since(self, event: Event) -> float:
        return _device().cuda("event_elapsed", event.handle, self.handle)

    def time_till(self, event: Event) -> float:
        return _device().cuda("event_elapsed", self.handle, event.handle)


# -- arguments


def _device() -> Link:
    return connect()


def _handle(stream: Stream | None) -> int:
    return 0 if stream is None else stream.handle


def _index(value: Any) -> int:
    if not hasattr(value, "__index__"):
        raise TypeError(f"an integer or a DeviceAllocation is needed, not {type(value).__name__}")
    return value.__index__()


def _host(value: Any, what: str, *, write: bool = False) -> np.ndarray:
    """The contiguous array over the caller's buffer."""
    array = value if isinstance(value, np.ndarray) else np.frombuffer(value, np.uint8)
    if not array.flags.c_contiguous:
        raise ValueError(f"{what}: the host array is not contiguous (np.ascontiguousarray makes it so)")
    if write and not array.flags.writeable:
        raise ValueError(f"{what}: the host array is read-only")
    return array


def _dtype(value: Any) -> str:
    return value.dtype.name if isinstance(value, np.ndarray) else ""


def _pinned(array: np.ndarray, what: str) -> Pinned:
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if not isinstance(owner, PagelockedHostAllocation):
        message = f"{what}: the host buffer is pageable; an asynchronous copy needs pinned memory (pagelocked_empty)"
        _device().cuda("host_misuse", "pageable", message)
        raise LogicError(message)
    return Pinned(owner, array.ctypes.data - owner.memory.ctypes.data, array.nbytes)
