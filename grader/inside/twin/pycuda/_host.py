"""Host memory of `pycuda.driver`: pinned arrays, and what a copy may take."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np
from trtprep_worker.device_link import LogicError, Pinned, connect, fill_with_poison

from ._boost import NotInstantiable, from_cpp, need_long

_pinned_numbers = itertools.count(1)
_all_pinned: weakref.WeakValueDictionary[int, PinnedMemory] = weakref.WeakValueDictionary()
#: Of mapped memory, by its address on the device.
_mapped: weakref.WeakValueDictionary[int, PinnedMemory] = weakref.WeakValueDictionary()
_DEVICEMAP, _ALL_FLAGS = 2, 7


class PinnedMemory:
    """Pinned host memory, whoever made it. ``memory`` is None once it was given back."""

    def __init__(self, memory: np.ndarray, mapped: bool = False) -> None:
        self.memory: np.ndarray | None = memory
        self.device_address = 0
        self.number = next(_pinned_numbers)
        self.address = memory.ctypes.data
        _all_pinned[self.number] = self
        if mapped and memory.nbytes:
            self.device_address = connect().cuda("map_host", memory.nbytes)
            _mapped[self.device_address] = self

    def get_device_pointer(self) -> int:
        if not self.device_address or self.memory is None:
            problem = "this host memory is not mapped: ask for it with host_alloc_flags.DEVICEMAP"
            raise LogicError(f"cuMemHostGetDevicePointer failed: invalid argument: {problem}")
        return self.device_address

    def __del__(self) -> None:
        if getattr(self, "device_address", 0):
            connect().cuda_at_exit("unmap_host", self.device_address)

    def give_back(self) -> None:
        if self.memory is None:
            raise LogicError("cuMemFreeHost failed: this host memory was given back before")
        if self.device_address:
            connect().cuda("unmap_host", self.device_address)
            self.device_address = 0
        self._kept, self.memory = self.memory, None  # arrays over it must go on being safe to touch


class PagelockedHostAllocation(NotInstantiable):
    """The ``base`` of the arrays made by `pagelocked_empty`."""

    _pinned: PinnedMemory

    @from_cpp("free(pycuda::pagelocked_host_allocation {lvalue})", name="PagelockedHostAllocation.free")
    def free(self) -> None:
        self._pinned.give_back()

    @from_cpp("get_device_pointer(pycuda::host_pointer {lvalue})", name="HostPointer.get_device_pointer")
    def get_device_pointer(self) -> int:
        """The address by which a run's tensors may lie in this memory, where it was made with DEVICEMAP."""
        return self._pinned.get_device_pointer()

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._interface  # type: ignore[attr-defined]


def _shape(shape: Any) -> tuple[int, ...]:
    """As C++ reads it: a Python int, or what has ``__iter__`` (`trt.Dims` has not) and gives Python ints."""
    if isinstance(shape, int):
        return (int(shape),)
    if not hasattr(shape, "__iter__"):
        wanted = "tuple(...)" if hasattr(shape, "__len__") else "int(...)"
        raise AttributeError(
            f"{type(shape).__name__!r} object has no attribute '__iter__' (PyCUDA needs {wanted} of it)"
        )
    try:
        return tuple(need_long(size) for size in shape)
    except TypeError as error:
        raise TypeError(f"{error}; tuple(int(d) for d in shape) makes such a shape") from None


def _memory_of(shape: Any, dtype: Any, order: Any) -> np.ndarray:
    kind, dims = np.dtype(dtype), _shape(shape)
    if kind.hasobject:
        raise TypeError("host memory for copies cannot hold Python objects")
    order = "C" if order is None else str(order).upper()
    if order not in ("C", "F"):
        raise LogicError(f"numpy_empty failed: invalid argument - unrecognized order specifier {order!r}")
    return np.empty(dims, kind, order)  # type: ignore[call-overload]


@from_cpp("pagelocked_empty(object shape, object dtype, object order='C', unsigned int mem_flags=0)")
def pagelocked_empty(shape: Any, dtype: Any, order: Any, mem_flags: int) -> np.ndarray:
    """Unlike a GPU's it is full of NaN, so that reading it too early shows."""
    if mem_flags & ~_ALL_FLAGS:
        raise LogicError(f"cuMemHostAlloc failed: invalid argument: no host_alloc_flags have the value {mem_flags}")
    memory = _memory_of(shape, dtype, order)
    connect().cuda("host_alloc")
    fill_with_poison(memory)
    made: Any = object.__new__(PagelockedHostAllocation)
    made._pinned, made._interface = PinnedMemory(memory, bool(mem_flags & _DEVICEMAP)), memory.__array_interface__
    return np.asarray(made)


@from_cpp("aligned_empty(object shape, object dtype, object order='C', unsigned int alignment=4096)")
def aligned_empty(shape: Any, dtype: Any, order: Any, alignment: int) -> np.ndarray:
    if alignment < 1 or alignment & (alignment - 1):
        raise LogicError("aligned_malloc failed: invalid argument - alignment must be a power of two")
    memory = _memory_of(shape, dtype, order)
    raw = np.empty(memory.nbytes + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    found = "F" if memory.flags.f_contiguous and not memory.flags.c_contiguous else "C"
    return raw[start : start + memory.nbytes].view(memory.dtype).reshape(memory.shape, order=found)  # type: ignore[call-overload]


@from_cpp("register_host_memory(object ary, unsigned int flags=0)")
def register_host_memory(ary: Any, flags: int) -> np.ndarray:
    """Raises LogicError, always: see the message."""
    what = "register_host_memory failed: invalid argument"
    if not isinstance(ary, np.ndarray):
        raise LogicError(f"{what} - ary argument is not a numpy array")
    if not ary.flags.c_contiguous:
        raise LogicError(f"{what} - ary argument is not contiguous")
    problem = (
        "register_host_memory: PyCUDA ends the process here (SIGSEGV), whatever the array: it gives the result a "
        "second base, which NumPy refuses, and goes on with what was freed. Make the array with pagelocked_empty, or "
        "pin its memory with cudaHostRegister(array.ctypes.data, array.nbytes, 0) of cuda.bindings.runtime"
    )
    connect().cuda("host_misuse", "crash", problem)
    raise LogicError(problem)


# -- arguments of copies


def host_array(value: Any, what: str, *, write: bool = False) -> np.ndarray:
    """The contiguous array over the caller's buffer."""
    if isinstance(value, np.generic) and not write:
        value = np.asarray(value)
    array = value if isinstance(value, np.ndarray) else np.frombuffer(value, np.uint8)
    if write and array is not value and not array.flags.writeable:
        raise BufferError(f"{what}: Object is not writable.")
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
    pinned = owner._pinned if isinstance(owner, PagelockedHostAllocation) else None
    if pinned is not None and pinned.memory is None:
        problem = "the host buffer is no longer pinned: it was freed"
    elif pinned is not None:
        return Pinned(pinned, array.ctypes.data - pinned.address, array.nbytes)
    else:
        part = pinned_at(array.ctypes.data, array.nbytes)
        if part is not None:  # cudaHostRegister's, or cudaMallocHost's
            return part
        problem = "the host buffer is pageable; an asynchronous copy needs pinned memory (pagelocked_empty)"
    connect().cuda("host_misuse", "pageable", f"{what}: {problem}")
    raise LogicError(f"{what}: {problem}")
