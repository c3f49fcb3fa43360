"""What `pycuda.driver` has from C++: contexts, memory, copies, streams and events, as in ``wrap_cudadrv.cpp``.

The signatures are PyCUDA 2026.1's, without the ``pycudaboost::python::api::`` before ``object``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from trtprep_worker.device_link import Error, Link, LogicError, bytes_of, connect

from . import _attributes
from ._attributes import device_attribute
from ._boost import NotInstantiable, exposed, from_cpp, need
from ._host import PagelockedHostAllocation, dtype_name, host_array, pinned_part

exposed("pycuda::pagelocked_host_allocation")(PagelockedHostAllocation)
exposed("pycuda::host_pointer")(PagelockedHostAllocation)


class LaunchError(Error):
    """What PyCUDA raises for kernels that fail; here nothing does."""


class RuntimeError(Error):  # noqa: A001 (PyCUDA's name)
    """What PyCUDA raises for errors of other kinds; here nothing does."""


# -- devices and contexts


@from_cpp("init(unsigned int flags=0)")
def init(flags: int) -> None:
    if flags:
        raise LogicError("cuInit failed: invalid argument: its flags are 0")
    _device().cuda("init")


@from_cpp("get_version()")
def get_version() -> tuple[int, int, int]:
    return (13, 0, 0)


@from_cpp("get_driver_version()")
def get_driver_version() -> int:
    return 13000


@exposed("pycuda::device")
class Device:
    """The twin's one device."""

    @from_cpp("__init__(object, std::string)", "__init__(object, int)", name="Device.__init__")
    def __init__(self, ordinal: int | str) -> None:
        if isinstance(ordinal, str):
            raise LogicError(
                "cuDeviceGetByPCIBusId failed: invalid argument: the twin's device is on no bus: Device(0)"
            )
        if ordinal != 0:
            raise LogicError("cuDeviceGet failed: invalid device ordinal (the twin has one device, number 0)")

    @staticmethod
    @from_cpp("count()", name="Device.count")
    def count() -> int:
        return 1

    @from_cpp("name(pycuda::device {lvalue})", name="Device.name")
    def name(self) -> str:
        return _attributes.NAME

    @from_cpp("compute_capability(pycuda::device {lvalue})", name="Device.compute_capability")
    def compute_capability(self) -> tuple[int, int]:
        return _attributes.CAPABILITY

    @from_cpp("total_memory(pycuda::device {lvalue})", name="Device.total_memory")
    def total_memory(self) -> int:
        return _attributes.TOTAL_BYTES

    @from_cpp("get_attribute(pycuda::device, CUdevice_attribute_enum)", name="Device.get_attribute")
    def get_attribute(self, attr: int) -> int:
        if attr not in _attributes.VALUES:
            raise LogicError(f"cuDeviceGetAttribute failed: invalid argument: the twin's device has no {attr!r}")
        return _attributes.VALUES[attr]

    def get_attributes(self) -> dict[Any, int]:
        return {attribute: _attributes.VALUES[attribute] for attribute in device_attribute.names.values()}

    def __getattr__(self, name: str) -> int:
        """Attributes by their names in small letters, as PyCUDA has them."""
        if name.upper() not in device_attribute.names:
            raise AttributeError(f"the twin's device has no attribute {name!r}")
        return _attributes.VALUES[device_attribute.names[name.upper()]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device)

    def __hash__(self) -> int:
        return 0

    @from_cpp("make_context(pycuda::device {lvalue} self, unsigned int flags=0)", name="Device.make_context")
    def make_context(self, flags: int) -> Context:
        if flags & ~0x1F or flags & 7 not in (0, 1, 2, 4):
            raise LogicError(f"cuCtxCreate failed: invalid argument: no ctx_flags have the value {flags}")
        return Context._of(_device().cuda("make_context"))

    def _make_minded_context(self) -> Context:
        """For `pycuda.autoinit`, which pops it when the process ends."""
        return Context._of(_device().cuda("make_context", True))

    @from_cpp("retain_primary_context(pycuda::device {lvalue} self)", name="Device.retain_primary_context")
    def retain_primary_context(self) -> Context:
        return Context._of(_device().cuda("retain_primary_context"))


@exposed("pycuda::context")
class Context(NotInstantiable):
    """A CUDA context; static calls act on the current one."""

    _number: int

    @classmethod
    def _of(cls, number: int) -> Context:
        made = object.__new__(cls)
        made._number = number
        return made

    @from_cpp("push(pycuda::context)", name="Context.push")
    def push(self) -> None:
        _device().cuda("push_context", self._number)

    def _push_minded(self) -> None:
        """For `pycuda.autoprimaryctx`, which pops it when the process ends."""
        _device().cuda("push_context", self._number, True)

    @staticmethod
    @from_cpp("pop()", name="Context.pop")
    def pop() -> None:
        _device().cuda("pop_context")

    @from_cpp("detach(pycuda::context {lvalue})", name="Context.detach")
    def detach(self) -> None:
        """Ends the context and frees its memory; where it is current, it is popped as well, as in PyCUDA."""
        _device().cuda("detach_context", self._number)

    @staticmethod
    @from_cpp("synchronize()", name="Context.synchronize")
    def synchronize() -> None:
        _device().cuda("context_synchronize")

    @staticmethod
    @from_cpp("get_device()", name="Context.get_device")
    def get_device() -> Device:
        _device().cuda("current_context_number")  # there must be one
        return Device(0)

    @staticmethod
    @from_cpp("get_current()", name="Context.get_current")
    def get_current() -> Context:
        return Context._of(_device().cuda("current_context_number"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Context) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)


# -- memory


@exposed("pycuda::device_allocation")
class DeviceAllocation(NotInstantiable):
    """Device memory that is freed when this object goes, or by ``free()``; its address stays what it was."""

    _address = 0
    _owned = False

    @classmethod
    def _of(cls, size: int) -> DeviceAllocation:
        made = object.__new__(cls)
        made._address = _device().cuda("mem_alloc", size)
        made._owned = True
        return made

    @from_cpp("free(pycuda::device_allocation {lvalue})", name="DeviceAllocation.free")
    def free(self) -> None:
        self._owned = False
        _device().cuda("mem_free", self._address)

    def __int__(self) -> int:
        return self._address

    __index__ = __long__ = __int__

    def __del__(self) -> None:
        if self._owned:
            _device().cuda_at_exit("mem_free", self._address, True)


@from_cpp("mem_alloc(unsigned long)")
def mem_alloc(size: int) -> DeviceAllocation:
    return DeviceAllocation._of(size)


@from_cpp("mem_get_info()")
def mem_get_info() -> tuple[int, int]:
    free, total = _device().cuda("mem_get_info")
    return free, total


# -- copies


@from_cpp("memcpy_htod(unsigned long long dest, object src)")
def memcpy_htod(dest: int, src: Any) -> None:
    array = host_array(src, "memcpy_htod")
    _device().cuda("memcpy_htod", dest, bytes_of(array).tobytes(), dtype_name(src))


@from_cpp("memcpy_dtoh(object dest, unsigned long long src)")
def memcpy_dtoh(dest: Any, src: int) -> None:
    array = host_array(dest, "memcpy_dtoh", write=True)
    data = _device().cuda("memcpy_dtoh", src, array.nbytes, dtype_name(dest))
    bytes_of(array)[:] = np.frombuffer(data, np.uint8)


@from_cpp("memcpy_htod_async(unsigned long long dest, object src, object stream=None)")
def memcpy_htod_async(dest: int, src: Any, stream: Any) -> None:
    array, handle = host_array(src, "memcpy_htod_async"), _handle(stream)
    _device().copy_to_device(dest, pinned_part(array, "memcpy_htod_async"), dtype_name(src), handle)


@from_cpp("memcpy_dtoh_async(object dest, unsigned long long src, object stream=None)")
def memcpy_dtoh_async(dest: Any, src: int, stream: Any) -> None:
    array, handle = host_array(dest, "memcpy_dtoh_async", write=True), _handle(stream)
    _device().copy_to_host(pinned_part(array, "memcpy_dtoh_async"), dtype_name(dest), src, handle)


@from_cpp("memcpy_dtod(unsigned long long dest, unsigned long long src, unsigned long size)")
def memcpy_dtod(dest: int, src: int, size: int) -> None:
    _device().cuda("memcpy_dtod", dest, src, size)


@from_cpp("memcpy_dtod_async(unsigned long long dest, unsigned long long src, unsigned long size, object stream=None)")
def memcpy_dtod_async(dest: int, src: int, size: int, stream: Any) -> None:
    _device().cuda("memcpy_dtod", dest, src, size, _handle(stream))


@from_cpp("memset_d8(unsigned long long dest, unsigned char data, unsigned long size)")
def memset_d8(dest: int, data: int, size: int) -> None:
    _memset(dest, data, 1, size)


@from_cpp("memset_d16(unsigned long long dest, unsigned short data, unsigned long size)")
def memset_d16(dest: int, data: int, size: int) -> None:
    _memset(dest, data, 2, size)


@from_cpp("memset_d32(unsigned long long dest, unsigned int data, unsigned long size)")
def memset_d32(dest: int, data: int, size: int) -> None:
    _memset(dest, data, 4, size)


@from_cpp("memset_d8_async(unsigned long long dest, unsigned char data, unsigned long size, object stream=None)")
def memset_d8_async(dest: int, data: int, size: int, stream: Any) -> None:
    _memset(dest, data, 1, size, _handle(stream))


@from_cpp("memset_d16_async(unsigned long long dest, unsigned short data, unsigned long size, object stream=None)")
def memset_d16_async(dest: int, data: int, size: int, stream: Any) -> None:
    _memset(dest, data, 2, size, _handle(stream))


@from_cpp("memset_d32_async(unsigned long long dest, unsigned int data, unsigned long size, object stream=None)")
def memset_d32_async(dest: int, data: int, size: int, stream: Any) -> None:
    _memset(dest, data, 4, size, _handle(stream))


def _memset(dest: int, data: int, width: int, size: int, *stream: int) -> None:
    _device().cuda("memset", dest, data.to_bytes(width, "little"), size, *stream)


# -- streams and events


@exposed("pycuda::stream")
class Stream:
    """A CUDA stream; by default one that the legacy default stream waits for, as in PyCUDA."""

    _number = 0

    @from_cpp("__init__(object, unsigned int flags=0)", name="Stream.__init__")
    def __init__(self, flags: int) -> None:
        if flags & ~1:
            raise LogicError(
                f"cuStreamCreate failed: invalid argument: the flags are 0 or 1 (non-blocking), not {flags}"
            )
        self._number = _device().cuda("stream_create", flags)

    @property
    def handle(self) -> int:
        return self._number

    @from_cpp("synchronize(pycuda::stream {lvalue})", name="Stream.synchronize")
    def synchronize(self) -> None:
        _device().cuda("stream_synchronize", self._number)

    @from_cpp("is_done(pycuda::stream {lvalue})", name="Stream.is_done")
    def is_done(self) -> bool:
        return _device().cuda("stream_query", self._number)

    @from_cpp("wait_for_event(pycuda::stream {lvalue}, pycuda::event)", name="Stream.wait_for_event")
    def wait_for_event(self, event: Event) -> None:
        _device().cuda("stream_wait_event", self._number, event._number)

    def __del__(self) -> None:
        if self._number:
            _device().cuda_at_exit("stream_destroy", self._number, True)


@exposed("pycuda::event")
class Event:
    """A CUDA event. Times between events mean nothing on the twin."""

    _number = 0

    @from_cpp("__init__(object, unsigned int flags=0)", name="Event.__init__")
    def __init__(self, flags: int) -> None:
        if flags & ~3:
            raise LogicError(f"cuEventCreate failed: invalid argument: the twin's event_flags are 0 to 3, not {flags}")
        self._number = _device().cuda("event_create", flags)

    @from_cpp("record(pycuda::event {lvalue}, object stream=None)", name="Event.record")
    def record(self, stream: Any) -> Event:
        _device().cuda("event_record", self._number, _handle(stream))
        return self

    @from_cpp("synchronize(pycuda::event {lvalue})", name="Event.synchronize")
    def synchronize(self) -> Event:
        _device().cuda("event_synchronize", self._number)
        return self

    @from_cpp("query(pycuda::event {lvalue})", name="Event.query")
    def query(self) -> bool:
        return _device().cuda("event_query", self._number)

    @from_cpp("time_since(pycuda::event {lvalue}, pycuda::event)", name="Event.time_since")
    def time_since(self, event: Event) -> float:
        return _device().cuda("event_elapsed", event._number, self._number)

    @from_cpp("time_till(pycuda::event {lvalue}, pycuda::event)", name="Event.time_till")
    def time_till(self, event: Event) -> float:
        return _device().cuda("event_elapsed", self._number, event._number)

    def __del__(self) -> None:
        if self._number:
            _device().cuda_at_exit("event_destroy", self._number, True)


# -- arguments


def _device() -> Link:
    return connect()


def _handle(stream: Any) -> int:
    return 0 if stream is None else need(stream, "pycuda::stream")._number
