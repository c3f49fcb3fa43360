"""The arithmetic of GPUArrays: which kernel PyCUDA would launch, with which types, and what it must not be asked."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from trtprep_worker.device_link import connect

if TYPE_CHECKING:
    from ._array import GPUArray
    from ._driver import Stream

#: PyCUDA's kernels know no other types; complex ones are left out here.
_TYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
_CONTIGUOUS = "only contiguous arrays may be used as arguments to this operation"


def launch(
    kernel: str,
    out: GPUArray,
    arrays: list[GPUArray] | None = None,
    scalars: tuple[Any, ...] = (),
    stream: Stream | None = None,
    scalar_dtype: Any = None,
) -> GPUArray:
    """``out``, which the kernel will fill. Raises ValueError for dtypes that PyCUDA has no kernels for."""
    from ._driver import _handle

    arrays = arrays or []
    for array in (out, *arrays):
        need_kernel_dtype(array.dtype)
        need_contiguous(array)
    orders = {(a.flags.c_contiguous, a.flags.f_contiguous) for a in (out, *arrays) if a.shape}
    if len(orders) > 1:
        raise ValueError("arrays in C and in Fortran order: PyCUDA would pair other elements than NumPy does")
    if not out.size:
        raise struct.error("required argument is not an integer: an empty GPUArray has no memory to give to a kernel")
    given = [(a.ptr, a.size, a.dtype.name) for a in arrays]
    kind = np.dtype(scalar_dtype or out.dtype)
    data = [_scalar(value, kind).tobytes() for value in scalars]
    where = () if stream is None else (_handle(stream),)
    connect().cuda("elementwise", kernel, (out.ptr, out.size), out.dtype.name, given, data, *where)
    return out


def need_contiguous(array: GPUArray) -> None:
    if not array.flags.forc:
        raise RuntimeError(_CONTIGUOUS)


def need_kernel_dtype(dtype: np.dtype) -> None:
    if dtype.name not in _TYPES or not dtype.isnative:
        raise ValueError(f"unable to map dtype '{dtype}': PyCUDA has no kernels for it (copies alone need none)")


def _scalar(value: Any, dtype: np.dtype) -> Any:
    """``value`` as a kernel's argument. Raises TypeError or OverflowError for what the type does not hold."""
    array = np.asarray(value)
    if array.shape or array.dtype.kind not in "biuf":
        raise TypeError(f"a number is needed, not {type(value).__name__}")
    if dtype.kind in "iu" and array.dtype.kind == "f":
        raise TypeError(f"required argument is not an integer: {value!r} for an array of {dtype}")
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= int(array) <= np.iinfo(dtype).max:
        raise OverflowError(f"{value!r} is no {dtype}")
    return array.astype(dtype)[()]


def _common(x: GPUArray, other: Any) -> np.dtype:
    """The result's dtype, by NumPy's rules for an array with a scalar or another array."""
    mine = np.zeros(1, x.dtype)
    return (mine + (np.zeros(1, other.dtype) if _is_array(other) else other)).dtype


def _is_number(value: Any) -> bool:
    return bool(np.isscalar(value)) and not isinstance(value, (str, bytes))


def _is_array(value: Any) -> bool:
    from ._array import GPUArray

    return isinstance(value, GPUArray)


def _need_like_types(x: GPUArray, y: GPUArray, what: str) -> None:
    if x.dtype.kind != y.dtype.kind:
        raise NotImplementedError(f"the twin has no {what} of {x.dtype} and {y.dtype} arrays: use astype first")


def _need_numbers(what: str, *arrays: GPUArray, kinds: str = "fiu") -> None:
    for array in arrays:
        if array.dtype.kind not in kinds:
            problem = f"the twin has no {what} of {array.dtype} GPUArrays, since C's rules are others than NumPy's"
            raise NotImplementedError(f"{problem}: use astype first")


def _result(x: GPUArray, y: GPUArray) -> GPUArray:
    """For two arrays of one shape, or one of no dimension."""
    if x.shape != y.shape and x.shape and y.shape:
        raise NotImplementedError(f"Broadcasting binary operator with shapes: {x.shape}, {y.shape}.")
    return (x if x.shape else y)._like(_common(x, y))


def _need_out(out: GPUArray, *arrays: GPUArray) -> None:
    """PyCUDA asserts that an array changed in place has the other's shape."""
    assert all(array.shape in ((), out.shape) for array in arrays), "an operand has another shape than the result"
    _need_like_types(out, arrays[0], "result")


def add(
    x: GPUArray,
    other: Any,
    factors: tuple[Any, Any] = (1, 1),
    *,
    minus: bool = False,
    out: GPUArray | None = None,
    stream: Stream | None = None,
) -> Any:
    """``factors[0] * x + factors[1] * other``; ``minus``: the other is taken away."""
    if _is_array(other):
        _need_like_types(x, other, "sum")
        _need_numbers("difference" if minus else "sum", x, other, kinds="fi" if minus else "fiu")
        made = _result(x, other) if out is None else out
        _need_out(made, x, other)
        return launch("axpbyz", made, [x, other], (factors[0], -1 if minus else factors[1]), stream)
    if not _is_number(other):
        return NotImplemented
    if out is None and other == 0:
        return x.copy()
    return scale_and_shift(x, 1, -other if minus else other, out)


def scale_and_shift(x: GPUArray, factor: Any, shift: Any, out: GPUArray | None = None) -> Any:
    """``factor * x + shift``."""
    if not _is_number(shift) or not _is_number(factor):
        return NotImplemented
    number = shift if factor in (1, -1) else factor
    made = x._like(_common(x, number)) if out is None else out
    _need_numbers("sum or product", x)
    return launch("axpbz", made, [x], (factor, shift))


def multiply(x: GPUArray, other: Any, out: GPUArray | None = None) -> Any:
    if _is_array(other):
        _need_like_types(x, other, "product")
        _need_numbers("product", x, other)
        made = _result(x, other) if out is None else out
        _need_out(made, x, other)
        return launch("multiply", made, [x, other])
    if not _is_number(other):
        return NotImplemented
    _need_numbers("product", x)
    made = x._like(_common(x, other)) if out is None else out
    return launch("axpbz", made, [x], (other, 0))


def divide(x: GPUArray, other: Any, out: GPUArray | None = None) -> Any:
    """By a number it is a product with its inverse, as in PyCUDA."""
    if _is_array(other):
        _need_numbers("quotient", x, other, kinds="f")
        made = _result(x, other) if out is None else out
        _need_out(made, x, other)
        return launch("divide", made, [x, other])
    if not _is_number(other):
        return NotImplemented
    if other == 1:
        return x.copy() if out is None else out
    made = x._like(_common(x, other)) if out is None else out
    _need_numbers("quotient", made, kinds="f")
    return launch("axpbz", made, [x], (1 / other, 0))


def divide_scalar_by(x: GPUArray, other: Any) -> Any:
    if not _is_number(other):
        return NotImplemented
    _need_numbers("quotient", x, kinds="f")
    return launch("rdivide", x._like(_common(x, other)), [x], (other,))


def power(x: GPUArray, other: Any, *, reverse: bool = False, out: GPUArray | None = None) -> Any:
    _need_numbers("power", x, kinds="f")
    if _is_array(other):
        _need_numbers("power", other, kinds="f")
        assert other.shape == x.shape, "an operand has another shape than the result"
        made = x._like(_common(x, other)) if out is None else out
        return launch("power", made, [other, x] if reverse else [x, other])
    if not _is_number(other):
        return NotImplemented
    made = x._like(_common(x, other)) if out is None else out
    return launch("rpower_scalar" if reverse else "power_scalar", made, [x], (other,))


def absolute(x: GPUArray) -> Any:
    _need_numbers("absolute value", x, kinds="fi")
    return launch("absolute", x._like(x.dtype), [x])


def fill_with(x: GPUArray, value: Any, stream: Stream | None) -> None:
    launch("fill", x, scalars=(value,), stream=stream)


def compare(kernel: str, x: GPUArray, other: Any) -> Any:
    """1 and 0 in the dtype of ``x``, or for two arrays in their common one, as in PyCUDA."""
    if _is_array(other):
        _need_like_types(x, other, "comparison")
        return launch(kernel, _result(x, other), [x, other])
    if not _is_number(other):
        raise AssertionError(f"a GPUArray is compared with a GPUArray or a number, not with a {type(other).__name__}")
    if x.dtype.itemsize == 8 and x.dtype.kind in "iu":
        raise NotImplementedError(f"the twin compares no {x.dtype} GPUArrays with numbers: use astype first")
    return launch(f"{kernel}_scalar", x._like(x.dtype), [x], (other,), scalar_dtype=np.float64)
