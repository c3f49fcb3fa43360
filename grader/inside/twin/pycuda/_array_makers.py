"""What makes GPUArrays: the functions of `pycuda.gpuarray`.

Names, arguments and results are PyCUDA's.  Where PyCUDA's kernels would give something else than NumPy without an
error (integers divided, arrays of different order or of mixed types added) this refuses, and says what to do.
"""

from __future__ import annotations

import warnings
from math import ceil
from typing import Any

import numpy as np

from . import _driver as _cuda
from ._array import GPUArray
from ._array_kernels import launch, need_kernel_dtype

empty = GPUArray


def zeros(shape: Any, dtype: Any = np.float64, allocator: Any = _cuda.mem_alloc, order: str = "C") -> GPUArray:
    need_kernel_dtype(np.dtype(dtype))
    return GPUArray(shape, dtype, allocator, order=order).fill(0)


def ones(shape: Any, dtype: Any = np.float64, allocator: Any = _cuda.mem_alloc, order: str = "C") -> GPUArray:
    need_kernel_dtype(np.dtype(dtype))
    return GPUArray(shape, dtype, allocator, order=order).fill(1)


def empty_like(other_ary: Any, dtype: Any = None, order: str = "K") -> GPUArray:
    if order in ("A", "K"):
        if order == "K" and not other_ary.flags.forc and other_ary.ndim > 1:
            raise NotImplementedError("the twin makes no arrays like those that are not contiguous")
        order = "F" if other_ary.flags.f_contiguous and not other_ary.flags.c_contiguous else "C"
    elif order not in ("C", "F"):
        raise ValueError(f"Unsupported order: {order!r}")
    dtype = other_ary.dtype if dtype is None else dtype
    return GPUArray(other_ary.shape, dtype, other_ary.allocator, order=order)


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


def arange(*args: Any, **named: Any) -> GPUArray:
    """``arange(stop)``, ``(start, stop)`` or ``(start, stop, step)``, and the dtype last or by name."""
    if not args:
        raise IndexError("tuple index out of range: arange needs an argument without a name")
    *given, dtype = args if isinstance(args[-1], np.dtype) else (*args, None)
    if not given:
        raise ValueError("stop argument required")
    if len(given) > 3:
        raise ValueError("too many arguments")
    names = ("stop",) if len(given) == 1 else ("start", "stop", "step")
    values = dict(zip(names, given, strict=False)) | ({} if dtype is None else {"dtype": dtype})
    for name, value in named.items():
        if name not in ("start", "stop", "step", "dtype"):
            raise ValueError(f"unexpected keyword argument '{name}'")
        if values.get(name) is not None:
            raise ValueError(f"may not specify '{name}' by position and keyword")
        values[name] = value
    start, stop, step = values.get("start", 0), values["stop"], values.get("step", 1)
    dtype, guessed = values.get("dtype"), np.array([start, stop, step]).dtype
    if dtype is None and guessed != np.float32:
        message = "behavior change: arange guessed dtype other than float32. suggest specifying explicit dtype."
        warnings.warn(message, stacklevel=2)
    kind = np.dtype(guessed if dtype is None else dtype)
    first, last, by = (kind.type(value) for value in (start, stop, step))
    made = GPUArray((ceil((last - first) / by),), kind)
    launch("arange", made, scalars=(first, by))
    return made
