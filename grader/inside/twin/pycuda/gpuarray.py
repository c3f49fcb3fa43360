"""`pycuda.gpuarray` over the twin: arrays in device memory, their transfer, and elementwise arithmetic.

Names, arguments and results are PyCUDA's.  Where PyCUDA's kernels would give something else than NumPy without an
error (integers divided, arrays of different order or of mixed types added) this refuses, and says what to do.
"""

from __future__ import annotations

import warnings
from math import ceil
from typing import Any

import numpy as np

from . import driver as _cuda
from ._array import GPUArray
from ._array_kernels import launch, need_kernel_dtype

__all__ = [
    "GPUArray", "arange", "empty", "empty_like", "ones", "ones_like", "to_gpu", "to_gpu_async", "zeros", "zeros_like",
]  # fmt: skip
empty = GPUArray


def zeros(shape: Any, dtype: Any = np.float64, allocator: Any = _cuda.mem_alloc, order: str = "C") -> GPUArray:
    need_kernel_dtype(np.dtype(dtype))
    return GPUArray(shape, dtype, allocator, order=order).fill(0)


def ones(shape: Any, dtype: Any = np.float64, allocator: Any = _cuda.mem_alloc, order: str = "C") -> GPUArray:
    need_kernel_dtype(np.dtype(dtype))
    return GPUArray(shape, dtype, allocator, order=order).fill(1)


def empty_like(other_ary: Any, dtype: Any = None, order: str = "K") -> GPUArray:
    if order in ("A", "K"):
        order = "C" if other_ary.flags.c_contiguous or not other_ary.flags.f_contiguous else "F"
    elif order not in ("C", "F"):
        raise ValueError(f"Unsupported order: {order!r}")
    return GPUArray(other_ary.shape, other_ary.dtype if dtype is None else dtype, other_ary.allocator, order=order)


def zeros_like(other_ary: Any, dtype: Any = None, order: str = "K") -> GPUArray:
    return empty_like(other_ary, dtype, order).fill(0)


def ones_like(other_ary: Any, dtype: Any = None, order: str = "K") -> GPUArray:
    return empty_like(other_ary, dtype, order).fill(1)


def to_gpu(ary: np.ndarray, allocator: Any = _cuda.mem_alloc) -> GPUArray:
    made = _shaped(ary, allocator)
    made.set(ary)
    return made


def to_gpu_async(ary: np.ndarray, allocator: Any = _cuda.mem_alloc, stream: Any = None) -> GPUArray:
    """``ary`` is pinned."""
    made = _shaped(ary, allocator)
    made.set_async(ary, stream)
    return made


def _shaped(ary: np.ndarray, allocator: Any) -> GPUArray:
    if not ary.flags.forc:
        raise NotImplementedError("the twin takes contiguous arrays only: np.ascontiguousarray makes it so")
    return GPUArray(ary.shape, ary.dtype, allocator, order="C" if ary.flags.c_contiguous else "F")


def arange(*args: Any, dtype: Any = None, stream: Any = None, **named: Any) -> GPUArray:
    """``arange(stop)``, ``(start, stop)`` or ``(start, stop, step)``, and the dtype last or by name."""
    if args and isinstance(args[-1], np.dtype):
        if dtype is not None:
            raise ValueError("may not specify 'dtype' by position and keyword")
        *given, dtype = args
    else:
        given = list(args)
    if len(given) > 3:
        raise ValueError("too many arguments")
    names = ("stop",) if len(given) == 1 else ("start", "stop", "step")
    values = dict(zip(names, given, strict=False))
    for name, value in named.items():
        if name not in ("start", "stop", "step"):
            raise ValueError(f"unexpected keyword argument '{name}'")
        if name in values:
            raise ValueError(f"may not specify '{name}' by position and keyword")
        values[name] = value
    if "stop" not in values:
        raise ValueError("stop argument required")
    start, stop, step = values.get("start", 0), values["stop"], values.get("step", 1)
    guessed = np.array([start, stop, step]).dtype
    if dtype is None and guessed != np.float32:
        message = "behavior change: arange guessed dtype other than float32. suggest specifying explicit dtype."
        warnings.warn(message, stacklevel=2)
    kind = np.dtype(guessed if dtype is None else dtype)
    first, last, by = (kind.type(value) for value in (start, stop, step))
    made = GPUArray((ceil((last - first) / by),), kind)
    launch("arange", made, scalars=(first, by), stream=stream)
    return made


def __getattr__(name: str) -> Any:
    raise AttributeError(f"the twin's pycuda.gpuarray has no {name!r}: docs/twin.md says what it has")
