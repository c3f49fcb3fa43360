"""`pycuda.driver` over the twin: contexts, memory, copies, streams and events, under PyCUDA's names.

Kernels cannot be compiled here.  Source of names and behaviour: PyCUDA's documentation, "Device
Interface Reference".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from trtprep_worker.device_link import Error, Link, LogicError, MemoryError, bytes_of, connect  # noqa: A004

from . import _attributes
from ._attributes import device_attribute
from ._host import (
    PagelockedHostAllocation,
    RegisteredHostMemory,
    aligned_empty,
    aligned_zeros,
    dtype_name,
    host_array,
    index,
    pagelocked_empty,
    pagelocked_empty_like,
    pagelocked_zeros,
    pagelocked_zeros_like,
    pinned_part,
    register_host_memory,
)

__all__ = [
    "Context", "Device", "DeviceAllocation", "Error", "Event", "LaunchError", "LogicError", "Memcpy2D", "MemoryError",
    "PagelockedHostAllocation", "RegisteredHostMemory", "RuntimeError", "Stream", "aligned_empty", "aligned_zeros",
    "ctx_flags", "device_attribute", "event_flags", "from_device", "from_device_like", "get_driver_version",
    "get_version", "host_alloc_flags", "init", "mem_alloc", "mem_alloc_like", "mem_alloc_pitch", "mem_get_info",
    "mem_host_register_flags", "memcpy_dtod", "memcpy_dtod_async", "memcpy_dtoh", "memcpy_dtoh_async", "memcpy_htod",
    "memcpy_htod_async", "memset_d8", "memset_d8_async", "memset_d16", "memset_d16_async", "memset_d32",
    "memset_d32_async", "pagelocked_empty", "pagelocked_empty_like", "pagelocked_zeros", "pagelocked_zeros_like",
    "register_host_memory", "to_device",
]  # fmt: skip


class LaunchError(Error):
    """What PyCUDA raises for kernels that fail; here nothing does."""


class RuntimeError(Error):  # noqa: A001 (PyCUDA's name)
    """What PyCUDA raises for errors of other kinds; here nothing does."""


class ctx_flags:  # noqa: N801 (PyCUDA's names)
    SCHED_AUTO = 0
    SCHED_SPIN = 1
    SCHED_YIELD = 2
    SCHED_BLOCKING_SYNC = 4
    MAP_HOST = 8


class event_flags:  # noqa: N801
    DEFAULT = 0
    BLOCKING_SYNC = 1
    DISABLE_TIMING = 2


class host_alloc_flags:  # noqa: N801
    PORTABLE = 1
    DEVICEMAP = 2
    WRITECOMBINED = 4


class mem_host_register_flags:  # noqa: N801
    PORTABLE = 1
    DEVICEMAP = 2


# -- devices and contexts


def init(flags: int = 0) -> None:
    _device().cuda("init")


def get_version() -> tuple[int, int, int]:
    return (13, 0, 0)


def get_driver_version() -> int:
    return 13000


class Device:
    """The twin's one device."""

    def __init__(self, number: int) -> None:
        if number != 0:
            raise LogicError("cuDeviceGet failed: invalid device ordinal (the twin has one device, number 0)")

    @staticmethod
    def count() -> int:
        return 1

    def name(self) -> str:
        return _attributes.NAME

    def compute_capability(self) -> tuple[int, int]:
        return _attributes.CAPABILITY

    def total_memory(self) -> int:
        return _attributes.TOTAL_BYTES

    def get_attribute(self, attr: device_attribute) -> int:
        return _attributes.VALUES[attr]

    def get_attributes(self) -> dict[device_attribute, int]:
        return {device_attribute(number): value for number, value in _attributes.VALUES.items()}

    def __getattr__(self, name: str) -> int:
        """Attributes by their names in small letters, as PyCUDA has them."""
        if name.upper() not in device_attribute.__members__:
            raise AttributeError(f"the twin's device has no attribute {name!r}")
        return _attributes.VALUES[device_attribute[name.upper()]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device)

    def __hash__(self) -> int:
        return 0

    def make_context(self, flags: int = 0) -> Context:
        return Context(_device().cuda("make_context"))

    def _make_minded_context(self) -> Context:
        """For `pycuda.autoinit`, which pops it when the process ends."""
        return Context(_device().cuda("make_context", True))

    def retain_primary_context(self) -> Context:
        return Context(_device().cuda("retain_primary_context"))


class Context:
    """A CUDA context; static calls act on the current one."""

    def __init__(self, number: int) -> None:
        self._number = number

    def push(self) -> None:
        _device().cuda("push_context", self._number)

    def _push_minded(self) -> None:
        """For `pycuda.autoprimaryctx`, which pops it when the process ends."""
        _device().cuda("push_context", self._number, True)

    @staticmethod
    def pop() -> None:
        _device().cuda("pop_context")

    def detach(self) -> None:
        """Ends the context and frees its memory; where it is current, it is popped as well, as in PyCUDA."""
        _device().cuda("detach_context", self._number)

    @staticmethod
    def synchronize() -> None:
        _device().cuda("context_synchronize")

    @staticmethod
    def get_device() -> Device:
        _device().cuda("current_context_number")  # there must be one
        return Device(0)

    @staticmethod
    def get_current() -> Context:
        return Context(_device().cuda("current_context_number"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Context) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)


# -- memory


class DeviceAllocation:
    """Device memory that is freed when this object goes, or by ``free()``; its address stays what it was."""

    def __init__(self, size: int) -> None:
        self._owned = False
        self._address = _device().cuda("mem_alloc", size)
        self._owned = True

    def free(self) -> None:
        self._owned = False
        _device().cuda("mem_free", self._address)

    def __int__(self) -> int:
        return self._address

    __index__ = __int__

    def __hash__(self) -> int:
        return hash(self._address)

    def __del__(self) -> None:
        if self._owned:
            _device().cuda_at_exit("mem_free", self._address, True)


def mem_alloc(bytes: int) -> DeviceAllocation:  # noqa: A002 (PyCUDA's name)
    return DeviceAllocation(index(bytes))


def mem_alloc_like(ary: np.ndarray) -> DeviceAllocation:
    return mem_alloc(ary.nbytes)


def mem_get_info() -> tuple[int, int]:
    free, total = _device().cuda("mem_get_info")
    return free, total


def to_device(bf_obj: Any) -> DeviceAllocation:
    array = host_array(bf_obj, "to_device")
    memory = mem_alloc(array.nbytes)
    memcpy_htod(memory, array)
    return memory


def from_device(devptr: Any, shape: Any, dtype: Any, order: Any = "C") -> np.ndarray:
    array = np.empty(shape, dtype, order)
    memcpy_dtoh(array, devptr)
    return array


def from_device_like(devptr: Any, other_ary: np.ndarray) -> np.ndarray:
    return from_device(devptr, other_ary.shape, other_ary.dtype)


# -- copies


def memcpy_htod(dest: Any, src: Any) -> None:
    array = host_array(src, "memcpy_htod")
    _device().cuda("memcpy_htod", index(dest), bytes_of(array).tobytes(), dtype_name(src))


def memcpy_dtoh(dest: Any, src: Any) -> None:
    array = host_array(dest, "memcpy_dtoh", write=True)
    data = _device().cuda("memcpy_dtoh", index(src), array.nbytes, dtype_name(dest))
    bytes_of(array)[:] = np.frombuffer(data, np.uint8)


def memcpy_htod_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    array = host_array(src, "memcpy_htod_async")
    pinned = pinned_part(array, "memcpy_htod_async")
    _device().copy_to_device(index(dest), pinned, dtype_name(src), _handle(stream))


def memcpy_dtoh_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    array = host_array(dest, "memcpy_dtoh_async", write=True)
    pinned = pinned_part(array, "memcpy_dtoh_async")
    _device().copy_to_host(pinned, dtype_name(dest), index(src), _handle(stream))


def memcpy_dtod(dest: Any, src: Any, size: int) -> None:
    _device().cuda("memcpy_dtod", index(dest), index(src), index(size))


def memcpy_dtod_async(dest: Any, src: Any, size: int, stream: Stream | None = None) -> None:
    _device().cuda("memcpy_dtod", index(dest), index(src), index(size), _handle(stream))


def memset_d8(dest: Any, data: int, count: int) -> None:
    _memset(dest, data, 1, count)


def memset_d16(dest: Any, data: int, count: int) -> None:
    _memset(dest, data, 2, count)


def memset_d32(dest: Any, data: int, count: int) -> None:
    _memset(dest, data, 4, count)


def memset_d8_async(dest: Any, data: int, count: int, stream: Stream | None = None) -> None:
    _memset(dest, data, 1, count, _handle(stream))


def memset_d16_async(dest: Any, data: int, count: int, stream: Stream | None = None) -> None:
    _memset(dest, data, 2, count, _handle(stream))


def memset_d32_async(dest: Any, data: int, count: int, stream: Stream | None = None) -> None:
    _memset(dest, data, 4, count, _handle(stream))


def _memset(dest: Any, data: int, width: int, count: int, *stream: int) -> None:
    _device().cuda("memset", index(dest), index(data).to_bytes(width, "little"), index(count), *stream)


# -- streams and events


class Stream:
    """A CUDA stream; by default one that the legacy default stream waits for, as in PyCUDA."""

    def __init__(self, flags: int = 0) -> None:
        self.handle = 0
        self.handle = _device().cuda("stream_create", index(flags))

    def synchronize(self) -> None:
        _device().cuda("stream_synchronize", self.handle)

    def is_done(self) -> bool:
        return _device().cuda("stream_query", self.handle)

    def wait_for_event(self, event: Event) -> None:
        _device().cuda("stream_wait_event", self.handle, event.handle)

    def __del__(self) -> None:
        if self.handle:
            _device().cuda_at_exit("stream_destroy", self.handle, True)


class Event:
    """A CUDA event. Times between events mean nothing on the twin."""

    def __init__(self, flags: int = 0) -> None:
        self.handle = 0
        self.handle = _device().cuda("event_create", index(flags))

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

    def __del__(self) -> None:
        if self.handle:
            _device().cuda_at_exit("event_destroy", self.handle, True)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"the twin's pycuda.driver has no {name!r}: docs/twin.md says what it has")


# -- arguments


def _device() -> Link:
    return connect()


def _handle(stream: Stream | None) -> int:
    if stream is None:
        return 0
    if not isinstance(stream, Stream):
        raise TypeError(f"a pycuda.driver.Stream is needed, not {type(stream).__name__}")
    return stream.handle


from ._copies import Memcpy2D, mem_alloc_pitch  # noqa: E402 (their module needs this one)
