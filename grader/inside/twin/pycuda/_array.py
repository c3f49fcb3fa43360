"""`GPUArray`: transfer, views and the operators. `pycuda.gpuarray` makes them."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from . import _driver as _cuda
from ._array_kernels import (
    absolute,
    add,
    compare,
    divide,
    divide_scalar_by,
    fill_with,
    launch,
    multiply,
    need_contiguous,
    power,
    scale_and_shift,
)
from ._host import pagelocked_empty


class _Flags:
    def __init__(self, array: GPUArray) -> None:
        self.c_contiguous = _packed(array, range(array.ndim - 1, -1, -1))
        self.f_contiguous = _packed(array, range(array.ndim))
        self.forc = self.c_contiguous or self.f_contiguous


def _packed(array: GPUArray, axes: Any) -> bool:
    stride = array.itemsize
    for axis in axes:
        if array.shape[axis] != 1 and array.strides[axis] != stride:
            return not array.size
        stride *= array.shape[axis]
    return True


class GPUArray:
    """An array in device memory; a view of another keeps that one alive."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        shape: Any,
        dtype: Any,
        allocator: Callable[[int], Any] = _cuda.mem_alloc,
        base: Any = None,
        gpudata: Any = None,
        strides: Any = None,
        order: str = "C",
    ) -> None:
        if isinstance(shape, np.ndarray) and not shape.shape:
            shape = shape.item()
        if isinstance(shape, numbers.Integral):
            shape = (shape,)
        sizes = tuple(shape)
        for size in sizes:
            if not isinstance(size, numbers.Integral):
                raise TypeError(f"a shape is of integers: {size!r} is a {type(size).__name__}")
        self.shape = tuple(int(d) for d in sizes)
        self.dtype = np.dtype(dtype)
        if order not in ("C", "F"):
            raise ValueError(f"invalid order: {order}")
        if strides is None:
            dims = [max(1, d) for d in (self.shape if order == "F" else self.shape[::-1])]
            steps = [self.dtype.itemsize * prod(dims[:i]) for i in range(len(dims))]
            strides = steps if order == "F" else steps[::-1]
        self.strides = tuple(int(s) for s in strides)
        self.itemsize = self.dtype.itemsize
        self.size = self.mem_size = prod(self.shape)
        self.nbytes = self.itemsize * self.size
        self.allocator, self.base = allocator, base
        self.gpudata = gpudata
        if gpudata is None:
            assert base is None, "a base without its gpudata"
            if self.size:
                self.gpudata = allocator(self.nbytes)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def flags(self) -> _Flags:
        return _Flags(self)

    @property
    def ptr(self) -> int:
        return self.gpudata.__int__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        data = (0 if self.gpudata is None else self.ptr, False)
        told = {"shape": self.shape, "strides": self.strides, "data": data, "typestr": self.dtype.str}
        return told | {"stream": None, "version": 3}

    # -- transfer

    def set(self, ary: np.ndarray, async_: bool = False, stream: Any = None) -> None:
        if ary.size != self.size:
            raise ValueError("ary and self must be the same size")
        if ary.shape != self.shape:
            warnings.warn("Setting array from one with different shape.", stacklevel=2)
            ary = ary.reshape(self.shape)
        if ary.dtype != self.dtype:
            raise ValueError("ary and self must have the same dtype")
        if self.size:
            _need_ndarray(ary, "src")
            _need_same_order(self, ary)
            if async_:
                _cuda.memcpy_htod_async(self.gpudata, ary, stream)
            else:
                _cuda.memcpy_htod(self.gpudata, ary)

    def set_async(self, ary: np.ndarray, stream: Any = None) -> None:
        self.set(ary, async_=True, stream=stream)

    def get(
        self, ary: np.ndarray | None = None, pagelocked: bool = False, async_: bool = False, stream: Any = None
    ) -> np.ndarray:
        """The array on the host; ``async_`` needs a pinned one, ``ary`` or that of ``pagelocked``."""
        if ary is None:
            order = "C" if self.flags.c_contiguous else "F"
            make: Callable[..., np.ndarray] = pagelocked_empty if pagelocked else np.empty
            ary = make(self.shape, self.dtype, order)
        elif ary.size != self.size:
            raise ValueError("self and ary must be the same size")
        elif ary.dtype != self.dtype:
            raise TypeError("self and ary must have the same dtype")
        elif ary.shape != self.shape:
            message = "get() between arrays of different shape is deprecated and will be removed in PyCUDA 2017.x"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            ary = ary.reshape(self.shape)
        if self.size:
            _need_ndarray(ary, "dst")
            _need_same_order(self, ary)
            if async_:
                _cuda.memcpy_dtoh_async(ary, self.gpudata, stream)
            else:
                _cuda.memcpy_dtoh(ary, self.gpudata)
        return ary

    def get_async(self, stream: Any = None, ary: np.ndarray | None = None) -> np.ndarray:
        return self.get(ary=ary, async_=True, stream=stream)

    def copy(self) -> GPUArray:
        made = GPUArray(self.shape, self.dtype, self.allocator, strides=self.strides)
        _copy(made, self)
        return made

    def astype(self, dtype: Any, stream: Any = None) -> GPUArray:
        need_contiguous(self)
        if np.dtype(dtype) == self.dtype:
            return self.copy()
        made = self._like(np.dtype(dtype))
        launch("copy", made, [self], stream=stream)
        return made

    def fill(self, value: Any, stream: Any = None) -> GPUArray:
        need_contiguous(self)
        fill_with(self, value, stream)
        return self

    # -- views

    def reshape(self, *shape: Any, order: str = "C") -> GPUArray:
        need_contiguous(self)
        wanted = tuple(shape[0]) if isinstance(shape[0], (tuple, list)) else shape
        if wanted.count(-1) > 1:
            raise ValueError("can only specify one unknown dimension")
        if -1 in wanted:
            known = prod(d for d in wanted if d != -1)
            wanted = tuple((self.size // known if known else 0) if d == -1 else d for d in wanted)
        if prod(wanted) != self.size:
            raise ValueError("total size of new array must be unchanged")
        if not (self.flags.c_contiguous if order == "C" else self.flags.f_contiguous):
            raise ValueError(f"reshape: the array is not in order {order}: copy it on the host first")
        return self if wanted == self.shape else self._view(wanted, None, order=order)

    def ravel(self) -> GPUArray:
        return self.reshape(self.size, order="C" if self.flags.c_contiguous else "F")

    def squeeze(self) -> GPUArray:
        kept = [(d, s) for d, s in zip(self.shape, self.strides, strict=True) if d > 1]
        return self._view(tuple(d for d, _ in kept), tuple(s for _, s in kept))

    def view(self, dtype: Any = None) -> GPUArray:
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        if not self.flags.c_contiguous or not self.shape:
            raise NotImplementedError("the twin's GPUArray.view takes an array in C order with a dimension")
        if self.shape[-1] * self.itemsize % dtype.itemsize:
            raise ValueError("new type not compatible with array")
        shape = (*self.shape[:-1], self.shape[-1] * self.itemsize // dtype.itemsize)
        return GPUArray(shape, dtype, self.allocator, base=self, gpudata=int(self.gpudata))

    def transpose(self, axes: Any = None) -> GPUArray:
        axes = range(self.ndim - 1, -1, -1) if axes is None else axes
        if len(axes) != self.ndim:
            raise ValueError("axes don't match array")
        return self._view(tuple(self.shape[a] for a in axes), tuple(self.strides[a] for a in axes))

    @property
    def T(self) -> GPUArray:  # noqa: N802 (PyCUDA's name)
        return self.transpose()

    def __getitem__(self, index: Any) -> GPUArray:
        """A view. NumPy's own rules for basic indexing, applied to an array of no memory."""
        entries = index if isinstance(index, tuple) else (index,)
        for axis, entry in enumerate(entries):
            number = isinstance(entry, (int, np.integer)) and not isinstance(entry, bool)
            if not (entry is None or entry is Ellipsis or number or isinstance(entry, slice)):
                raise IndexError(f"invalid subindex in axis {axis}")
        if not self.size:
            raise NotImplementedError("the twin takes no parts of an empty GPUArray")
        whole = np.lib.stride_tricks.as_strided(np.empty(1, self.dtype), self.shape, self.strides, writeable=False)
        part = whole[(*entries, Ellipsis) if Ellipsis not in entries else entries]
        if not part.size:
            raise NotImplementedError(
                "the twin takes no empty parts of a GPUArray: PyCUDA's have other shapes than NumPy's"
            )
        offset = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        at: Any = self.ptr + offset
        if any(isinstance(entry, np.integer) for entry in entries):
            at = np.int64(at)  # PyCUDA's sum of strides, too: its copies then refuse the address, its kernels take it
        return self._view(part.shape, part.strides, at)

    def __setitem__(self, index: Any, value: Any) -> None:
        part = self[index]
        if np.isscalar(value):
            part.fill(value)
        elif isinstance(value, GPUArray):
            _copy(part, value)
        elif not isinstance(value, np.ndarray):
            raise TypeError("src must be GPUArray or ndarray")
        elif value.shape != part.shape:
            raise ValueError("src and dst must be same shape")
        elif value.dtype != part.dtype:
            raise TypeError("src and dst must have same dtype")
        else:
            part.set(value)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous.")
        return bool(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    # -- arithmetic

    def __add__(self, other: Any) -> Any:
        return add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return add(self, other, minus=True)

    def __rsub__(self, other: Any) -> Any:
        return scale_and_shift(self, -1, other)

    def __mul__(self, other: Any) -> Any:
        return multiply(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return divide_scalar_by(self, other)

    def __pow__(self, other: Any) -> Any:
        return power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return power(self, other, reverse=True)

    def __iadd__(self, other: Any) -> Any:
        return add(self, other, out=self)

    def __isub__(self, other: Any) -> Any:
        return add(self, other, minus=True, out=self)

    def __imul__(self, other: Any) -> Any:
        return multiply(self, other, out=self)

    def __itruediv__(self, other: Any) -> Any:
        return divide(self, other, out=self)

    def __ipow__(self, other: Any) -> Any:
        return power(self, other, out=self)

    def __pos__(self) -> GPUArray:
        return self

    def __neg__(self) -> Any:
        return scale_and_shift(self, -1, 0)

    def __abs__(self) -> Any:
        return absolute(self)

    def mul_add(
        self, selffac: Any, other: Any, otherfac: Any, add_timer: Any = None, stream: Any = None, out: Any = None
    ) -> Any:
        """``selffac * self + otherfac * other``."""
        if add_timer is not None:
            raise NotImplementedError("the twin's GPUArray.mul_add has no timer")
        return add(self, other, (selffac, otherfac), out=out, stream=stream)

    def __eq__(self, other: object) -> Any:
        return compare("equal", self, other)

    def __ne__(self, other: object) -> Any:
        return compare("not_equal", self, other)

    def __lt__(self, other: Any) -> Any:
        return compare("less", self, other)

    def __le__(self, other: Any) -> Any:
        return compare("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return compare("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return compare("greater_equal", self, other)

    # -- inner

    def _like(self, dtype: np.dtype) -> GPUArray:
        """Of another dtype it is in C order, whatever this one's is: `launch` refuses the two together."""
        return GPUArray(self.shape, dtype, self.allocator, strides=self.strides if dtype == self.dtype else None)

    def _view(self, shape: tuple[int, ...], strides: Any, at: Any = None, order: str = "C") -> GPUArray:
        """Raises TypeError for an empty array, of which PyCUDA makes no views."""
        where = int(self.gpudata) if at is None else at
        return GPUArray(shape, self.dtype, self.allocator, self, where, strides, order)


def _need_same_order(array: GPUArray, other: Any) -> None:
    """Raises for what the twin does not copy; PyCUDA copies bytes of another order as if they were of the same."""
    if not array.flags.forc or not other.flags.forc:
        raise NotImplementedError("the twin copies contiguous GPUArrays only: copy rows one by one, or on the host")
    flat = sum(d != 1 for d in array.shape) < 2
    if not flat and (array.flags.c_contiguous, array.flags.f_contiguous) != (
        other.flags.c_contiguous,
        other.flags.f_contiguous,
    ):
        raise ValueError("src and dst must have same order")


def _need_ndarray(value: Any, what: str) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{what} must be GPUArray or ndarray, not {type(value).__name__}")


def _copy(to: GPUArray, of: GPUArray) -> None:
    if to.shape != of.shape:
        raise ValueError("src and dst must be same shape")
    if to.dtype != of.dtype:
        raise TypeError("src and dst must have same dtype")
    _need_same_order(to, of)
    _cuda.memcpy_dtod(to.gpudata, of.gpudata, of.nbytes)  # refuses those of empty arrays, which are None
