"""The bytes of TensorRT's weights in the types that NumPy lacks.

`trt.Weights.numpy()` gives the weights themselves back for those, and nothing else tells where they lie. This
reads `nvinfer1::Weights`, which the Python object holds: its type, the address of its values, their count.
"""

from __future__ import annotations

import ctypes
from typing import Any

#: Of each `trt.DataType` that NumPy has no type for. `Weights.nbytes` is wrong for those of four bits.
_BITS = {"BF16": 16, "FP8": 8, "E8M0": 8, "INT4": 4, "FP4": 4}
_HEADER = object.__basicsize__  # of a Python object; behind it pybind11 keeps the address of what it wraps


class _Weights(ctypes.Structure):
    """`nvinfer1::Weights`, of NvInferRuntimeBase.h."""

    _fields_ = (("type", ctypes.c_int32), ("values", ctypes.c_void_p), ("count", ctypes.c_int64))


def raw_bytes(weights: Any) -> bytes:
    """A copy of the bytes of a `trt.Weights` whose type NumPy lacks; two values of four bits share one.

    Raises TypeError for other types, and when the bytes cannot be found.
    """
    kind = weights.dtype.name
    if kind not in _BITS:
        raise TypeError(f"weights of type {kind} are read with numpy()")
    if not weights.size:
        return b""
    held = ctypes.c_void_p.from_address(id(weights) + _HEADER).value
    inside = _Weights.from_address(held) if held else _Weights()
    if (inside.type, inside.count) != (int(weights.dtype), weights.size) or not inside.values:
        raise TypeError(f"the weights of type {kind} cannot be found in this version of TensorRT's Python classes")
    return ctypes.string_at(inside.values, (weights.size * _BITS[kind] + 7) // 8)
