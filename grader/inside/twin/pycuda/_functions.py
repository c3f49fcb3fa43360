"""What `pycuda.driver` has in Python, over what it has from C++: as in PyCUDA's ``driver.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
from trtprep_worker.device_link import connect

from ._driver import DeviceAllocation, mem_alloc, memcpy_dtoh
from ._host import aligned_empty, dtype_name, pagelocked_empty


def pagelocked_zeros(shape: Any, dtype: Any, order: Any = "C", mem_flags: int = 0) -> np.ndarray:
    result = pagelocked_empty(shape, dtype, order, mem_flags)
    result.fill(0)
    return result


def pagelocked_empty_like(array: np.ndarray, mem_flags: int = 0) -> np.ndarray:
    return pagelocked_empty(array.shape, array.dtype, _order(array), mem_flags)


def pagelocked_zeros_like(array: np.ndarray, mem_flags: int = 0) -> np.ndarray:
    result = pagelocked_empty_like(array, mem_flags)
    result.fill(0)
    return result


def aligned_zeros(shape: Any, dtype: Any, order: Any = "C", alignment: int = 4096) -> np.ndarray:
    result = aligned_empty(shape, dtype, order, alignment)
    result.fill(0)
    return result


def _order(array: np.ndarray) -> str:
    if array.flags.c_contiguous:
        return "C"
    if array.flags.f_contiguous:
        return "F"
    raise ValueError("could not detect array order")


def mem_alloc_like(ary: Any) -> DeviceAllocation:
    return mem_alloc(ary.nbytes)


def to_device(bf_obj: Any) -> DeviceAllocation:
    """The bytes in C order, whatever the array's; PyCUDA makes such a copy."""
    data = memoryview(bf_obj).tobytes()
    memory = mem_alloc(len(data))
    connect().cuda("memcpy_htod", int(memory), data, dtype_name(bf_obj))
    return memory


def from_device(devptr: Any, shape: Any, dtype: Any, order: Any = "C") -> np.ndarray:
    result = np.empty(shape, dtype, order)
    memcpy_dtoh(result, devptr)
    return result


def from_device_like(devptr: Any, other_ary: Any) -> np.ndarray:
    """In the order of ``other_ary``, as np.empty_like makes it."""
    result = np.empty_like(other_ary)
    memcpy_dtoh(result, devptr)
    return result
