"""Host memory of `cuda.bindings.runtime`: pointers are numbers, or objects with a buffer."""

from __future__ import annotations

import collections
import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycuda._host import PinnedMemory, aligned_empty, dtype_name, pinned_at
from trtprep_worker.addresses import on_device
from trtprep_worker.device_link import LogicError, Pinned, connect, fill_with_poison

_allocated: dict[int, PinnedMemory] = {}
_registered: dict[int, PinnedMemory] = {}
#: The last ones freed are kept, full of NaN: whoever still reads them meets that, and no crash.
_freed: collections.deque[np.ndarray] = collections.deque(maxlen=16)


@dataclass(frozen=True)
class Pointer:
    """What a caller gave as an address. ``size`` is None where nothing says how much is there."""

    address: int
    size: int | None = None
    dtype: str = ""
    keeps: Any = None  #: what the address is in

    @property
    def on_device(self) -> bool:
        return on_device(self.address)


def pointer(value: Any) -> Pointer:
    """As the real package takes it: None, an int, or an object with the buffer protocol."""
    if value is None:
        return Pointer(0)
    if isinstance(value, int):
        return Pointer(value)
    try:
        array = value if isinstance(value, np.ndarray) else np.frombuffer(value, np.uint8)
    except (TypeError, ValueError, BufferError):
        problem = f"Provided argument is of type {type(value)} but expected Type {type(None)}, {int} or object with"
        raise TypeError(f"{problem} Buffer Protocol") from None
    if not array.flags.forc:
        raise RuntimeError("Failed to retrieve buffer through Buffer Protocol")
    return Pointer(array.ctypes.data, array.nbytes, dtype_name(value), array)


def need_host(end: Pointer, size: int, what: str) -> None:
    """Raises LogicError, after telling the device, for what cannot be host memory of that size."""
    if end.on_device:
        refuse("address", f"{what}: {end.address:#x} is device memory; the copy's kind says host memory", 21)
    if end.address == 0 and size:
        refuse("address", f"{what}: the host address is null")
    if end.size is not None and size > end.size:
        refuse("too-small", f"{what}: {size} bytes, but the host buffer has {end.size}")


def need_device(end: Pointer, what: str) -> int:
    if not end.on_device and pinned_at(end.address, 1) is not None:
        refuse("address", f"{what}: {end.address:#x} is host memory; the copy's kind says device memory", 21)
    return end.address


def need_pinned(end: Pointer, size: int, what: str) -> Pinned:
    pinned = pinned_at(end.address, size)
    if pinned is None:
        problem = "the host memory is pageable, or not all of it is pinned"
        refuse("pageable", f"{what}: {problem}; an asynchronous copy needs pinned memory (cudaMallocHost)")
        raise AssertionError("refuse raises")
    return pinned


def refuse(kind: str, message: str, code: int = 1) -> None:
    connect().cuda("host_misuse", kind, message, runtime=True)
    error = LogicError(message)
    error._code = code
    raise error


def read(end: Pointer, size: int) -> bytes:
    return ctypes.string_at(end.address, size) if size else b""


def write(end: Pointer, data: bytes) -> None:
    ctypes.memmove(end.address, data, len(data))


# -- pinned memory


def allocate(size: int, *, mapped: bool = False) -> int:
    if size < 0:
        raise OverflowError("can't convert negative value to size_t")
    connect().cuda("host_alloc", runtime=True)
    if size == 0:
        return 0
    memory = aligned_empty(size, np.uint8)
    fill_with_poison(memory)
    owner = PinnedMemory(memory, mapped)
    _allocated[owner.address] = owner
    return owner.address


def free(end: Pointer) -> None:
    connect().cuda("host_free", runtime=True)
    if end.address == 0:
        return
    owner = _allocated.pop(end.address, None)
    if owner is None or owner.memory is None:
        refuse("free", f"cudaFreeHost of {end.address:#x}, which cudaMallocHost did not return, or which was freed")
        return
    _freed.append(owner.memory)
    fill_with_poison(owner.memory)
    owner.give_back()


def device_pointer(end: Pointer) -> int:
    """The device's address of mapped memory."""
    pinned = pinned_at(end.address, 1)
    if pinned is None:
        refuse("address", f"cudaHostGetDevicePointer: {end.address:#x} is not pinned memory")
        raise AssertionError("refuse raises")
    return pinned.device_pointer()


def register(end: Pointer, size: int, *, mapped: bool = False) -> None:
    connect().cuda("host_alloc", runtime=True)
    need_host(end, size, "cudaHostRegister")
    memory = np.frombuffer(memoryview((ctypes.c_ubyte * size).from_address(end.address)).cast("B"), np.uint8)
    _registered[end.address] = PinnedMemory(memory, mapped)


def unregister(end: Pointer) -> None:
    connect().cuda("host_free", runtime=True)
    owner = _registered.pop(end.address, None)
    if owner is None:
        refuse("free", f"cudaHostUnregister of {end.address:#x}, which is not registered")
        return
    owner.give_back()
