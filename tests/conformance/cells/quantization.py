"""Quantization: what is stored in INT8 goes in and out of a float of the cell's type."""

from __future__ import annotations

from typing import Any

import numpy as np

from .entry import X, entry

_CHANNELS = np.array([0.5, 0.25, 0.125])


def _scales(net: Any, per: str) -> Any:
    blocks = {"tensor": 0.5, "channel": _CHANNELS, "block": [[0.5, 0.25], [0.125, 0.5]]}
    return net.constant(blocks[per])


def _wide(per: str) -> Any:
    return {"tensor": 0.5, "channel": _CHANNELS, "block": np.repeat([[0.5, 0.25], [0.125, 0.5]], 16, axis=1)}[per]


def _quantize(per: str) -> Any:
    def write(net: Any, x: Any) -> Any:
        layer = net.add_quantize(x, _scales(net, per), net.trt.DataType.INT8)
        return net.put(layer, axis=1) if per == "channel" else layer

    return write


def _dequantize(per: str) -> Any:
    def write(net: Any, x: Any) -> Any:
        layer = net.add_dequantize(x, _scales(net, per), net.type())
        return net.put(layer, axis=1) if per == "channel" else layer

    return write


for _per in ("tensor", "channel", "block"):
    _shape = (2, 32) if _per == "block" else (2, 3)
    _free = None if _per == "block" else 0
    entry(
        "QUANTIZE", [X(_shape, low=-3, high=3, free=_free)], _quantize(_per),
        lambda x, p=_per: np.clip(np.rint(x / _wide(p)), -128, 127).astype(np.int64), f"by {_per}",
    )  # fmt: skip
    entry(
        "DEQUANTIZE", [X(_shape, "INT8", low=-40, high=40, free=_free)], _dequantize(_per),
        lambda x, p=_per: x * _wide(p), f"by {_per}",
    )  # fmt: skip


def _dynamic(net: Any, x: Any) -> Any:
    trt = net.trt
    layer = net.add_dynamic_quantize(x, 1, 32, trt.DataType.FP8, trt.DataType.E8M0)
    return net.add_dequantize(layer.get_output(0), layer.get_output(1), net.type())


#: Powers of two, and a largest of 448 * 2^k in the block: exact in FP8 with a scale that is a power of two.
_EXACT = np.resize([448, 1, -2, 4, 0, 64, -128, 256], (2, 32)) / 64
entry("DYNAMIC_QUANTIZE", [X((2, 32), values=_EXACT, free=None)], _dynamic, lambda x: x)
