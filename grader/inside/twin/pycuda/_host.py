"""Host memory of `pycuda.driver`: pinned arrays, and what a copy may take."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np
from trtprep_worker.device_link import LogicError, Pinned, connect, fill_with_poison

_pinned_numbers = itertools.count(1)
_all_pinned: weakref.WeakValueDictionary[int, _Pinned] = weakref.WeakValueDictionary()
#: Of mapped memory, by its address on the device.
_mapped: weakref.WeakValueDictionary[int, _Pinned] = weakref.WeakValueDictionary()
_DEVICEMAP = 2


class _Pinned:
    """Pinned host memory. ``memory`` is None once it was given back."""

    def __init__(self, memory: np.ndarray, mapped: bool = False) -> None:
        self.memory: np.ndarray | None = memory
        self.device_address = 0
        self.number = next(_pinned_numbers)
        self.address = memory.ctypes.data
        _all_pinned[self.number] = self
        self._interface = memory.__array_interface__
        if mapped and memory.nbytes:
            self.device_address = connect().cuda("map_host", memory.nbytes)
            _mapped[self.device_address] = self

    def get_device_pointer(self) -> int:
        """The address by which a run's tensors may lie in this memory, where it was made with DEVICEMAP."""
        if not self.device_address or self.memory is None:
            problem = "this host memory is not mapped: ask for it with host_alloc_flags.DEVICEMAP"
            raise LogicError(f"cuMemHostGetDevicePointer failed: invalid argument: {problem}")
        return self.device_address

    def __del__(self) -> None:
        if getattr(self, "device_address", 0):
            connect().cuda_at_exit("unmap_host", self.device_address)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._interface

    def _give_back(self) -> None:
        if self.memory is None:
            raise LogicError("cuMemFreeHost failed: this host memory was given back before")
        if self.device_address:
            connect().cuda("unmap_host", self.device_address)
            self.device_address = 0
        self._kept, self.memory = self.memory, None  # arrays over it must go on being safe to touch


class PagelockedHostAllocation(_Pinned):
    """The ``base`` of the arrays made by `pagelocked_empty`."""

    def free(self) -> None:
        self._give_back()


class RegisteredHostMemory(_Pinned):
    """The ``base`` of the arrays made by `register_host_memory`."""

    def __init__(self, memory: np.ndarray, mapped: bool = False) -> None:
        super().__init__(memory, mapped)
        self.base = memory

    def unregister(self) -> None:
        self._give_back()


def pagelocked_empty(shape: Any, dtype: Any, order: Any = "C", mem_flags: int = 0) -> np.ndarray:
    """Unlike a GPU's it is full of NaN, so that reading it too early shows."""
    many = isinstance(shape, (tuple, list)) or getattr(shape, "ndim", 0) > 0
    dims = tuple(map(index, shape)) if many else (index(shape),)
    connect().cuda("host_alloc")
    memory = np.empty(dims, dtype, "F" if order == "F" else "C")
    fill_with_poison(memory)
    return np.asarray(PagelockedHostAllocation(memory, bool(index(mem_flags) & _DEVICEMAP)))


def pagelocked_zeros(shape: Any, dtype: Any, order: Any = "C", mem_flags: int = 0) -> np.ndarray:
    array = pagelocked_empty(shape, dtype, order, mem_flags)
    array.fill(0)
    return array


def pagelocked_empty_like(array: np.ndarray, mem_flags: int = 0) -> np.ndarray:
    return pagelocked_empty(array.shape, array.dtype, _order(array), mem_flags)


def pagelocked_zeros_like(array: np.ndarray, mem_flags: int = 0) -> np.ndarray:
    return pagelocked_zeros(array.shape, array.dtype, _order(array), mem_flags)


def aligned_empty(shape: Any, dtype: Any, order: Any = "C", alignment: int = 4096) -> np.ndarray:
    memory = np.empty(shape, dtype, order)
    raw = np.empty(memory.nbytes + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + memory.nbytes].view(memory.dtype).reshape(memory.shape, order=order)


def aligned_zeros(shape: Any, dtype: Any, order: Any = "C", alignment: int = 4096) -> np.ndarray:
    array = aligned_empty(shape, dtype, order, alignment)
    array.fill(0)
    return array


def register_host_memory(ary: np.ndarray, flags: int = 0) -> np.ndarray:
    """A pinned array over the memory of ``ary``, for as long as the result lives."""
    if not ary.flags.forc:
        raise ValueError("register_host_memory: the array is not contiguous")
    connect().cuda("host_alloc")
    return np.asarray(RegisteredHostMemory(ary, bool(index(flags) & _DEVICEMAP)))


def _order(array: np.ndarray) -> str:
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


# -- arguments of copies


def index(value: Any) -> int:
    """What PyCUDA takes for a number or an address. Raises TypeError."""
    if not hasattr(value, "__index__"):
        raise TypeError(f"an integer or a DeviceAllocation is needed, not {type(value).__name__}")
    return value.__index__()


def host_array(value: Any, what: str, *, write: bool = False) -> np.ndarray:
    """The contiguous array over the caller's buffer."""
    if isinstance(value, np.generic) and not write:
        value = np.asarray(value)
    array = value if isinstance(value, np.ndarray) else np.frombuffer(value, np.uint8)
    if not array.flags.forc:
        raise ValueError(f"{what}: the host array is not contiguous (np.ascontiguousarray makes it so)")
    if write and not array.flags.writeable:
        raise ValueError(f"{what}: the host array is read-only")
    return array


def dtype_name(value: Any) -> str:
    if not isinstance(value, (np.ndarray, np.generic)):
        return ""
    return value.dtype.name if value.dtype.isnative else f"byte-swapped {value.dtype.name}"


def pinned_at(address: int, size: int) -> Pinned | None:
    """The pinned memory, whoever made it, that holds all of these bytes."""
    for owner in list(_all_pinned.values()):
        memory = owner.memory
        if memory is not None and owner.address <= address and address + size <= owner.address + memory.nbytes:
            return Pinned(owner, address - owner.address, size)
    return None


def mapped_part(address: int, size: int) -> tuple[Pinned, str] | None:
    """The mapped host memory at this address of the device, and its dtype's name. None: it is no such address."""
    for start, owner in list(_mapped.items()):
        memory = owner.memory
        if memory is not None and start <= address and address + size <= start + memory.nbytes:
            return Pinned(owner, address - start, size), dtype_name(memory)
    return None


def has_mapped() -> bool:
    return bool(_mapped)


def pinned_part(array: np.ndarray, what: str) -> Pinned:
    owner: Any = array
    while isinstance(owner, (np.ndarray, memoryview)):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if not isinstance(owner, _Pinned):
        problem = "the host buffer is pageable; an asynchronous copy needs pinned memory (pagelocked_empty)"
    elif owner.memory is None:
        problem = "the host buffer is no longer pinned: it was freed or unregistered"
    else:
        return Pinned(owner, array.ctypes.data - owner.memory.ctypes.data, array.nbytes)
    connect().cuda("host_misuse", "pageable", f"{what}: {problem}")
    raise LogicError(f"{what}: {problem}")
