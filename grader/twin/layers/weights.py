"""The numbers of a layer's own weights, and of the types that NumPy lacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorrt_rtx as trt

from grader.inside.trtprep_worker.weight_bytes import raw_bytes


def widened(bits: np.ndarray) -> np.ndarray:
    """float32 of the same shape, for uint16 that are the bits of BF16: the upper half of a float32's."""
    wide = np.left_shift(bits.reshape(-1), 16, dtype=np.uint32)
    return wide.view(np.float32).reshape(bits.shape)


def narrowed(array: np.ndarray) -> np.ndarray:
    """The bits, as uint16 of the same shape, of float32 that BF16 can hold."""
    wide = np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint32)
    return (wide >> 16).astype(np.uint16).reshape(array.shape)


def _pairs(data: np.ndarray) -> np.ndarray:
    """Numbers of four bits, of which two share a byte: the first in the lower half."""
    return np.stack([data & 15, data >> 4], axis=-1).reshape(-1)


def _fp8(data: np.ndarray) -> np.ndarray:
    """E4M3: a sign, four bits of exponent with bias 7, three of mantissa; all ones are NaN, nothing is infinite."""
    exponent, mantissa = (data >> 3 & 15).astype(np.int32), (data & 7) / 8
    size = np.where(exponent > 0, np.ldexp(1 + mantissa, exponent - 7), np.ldexp(mantissa, -6))
    size = np.where(data & 127 == 127, np.nan, size)
    return np.where(data > 127, -size, size).astype(np.float32)


def _fp4(data: np.ndarray) -> np.ndarray:
    """E2M1: a sign, two bits of exponent with bias 1, one of mantissa."""
    codes = _pairs(data)
    size = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)[codes & 7]
    return np.where(codes > 7, -size, size)


def _e8m0(data: np.ndarray) -> np.ndarray:
    """Powers of two with bias 127; 255 is NaN."""
    with np.errstate(over="ignore"):
        return np.where(data == 255, np.nan, np.ldexp(1.0, data.astype(np.int32) - 127)).astype(np.float32)


_READ: dict[trt.DataType, Callable[[np.ndarray], np.ndarray]] = {
    trt.DataType.BF16: lambda data: widened(data.view(np.uint16)),
    trt.DataType.INT4: lambda data: ((_pairs(data) ^ 8).astype(np.int8) - 8).astype(np.int8),
    trt.DataType.FP8: _fp8,
    trt.DataType.FP4: _fp4,
    trt.DataType.E8M0: _e8m0,
}


def values(weights: trt.Weights | np.ndarray) -> np.ndarray:
    """The weights as a new array of one dimension: INT4 as int8, types of floats that NumPy lacks as float32."""
    if isinstance(weights, np.ndarray):
        return np.array(weights).reshape(-1)
    if weights.dtype in _READ:
        return _READ[weights.dtype](np.frombuffer(raw_bytes(weights), np.uint8))[: weights.size]
    return np.array(weights.numpy()).reshape(-1)
