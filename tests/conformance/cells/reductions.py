"""Layers that look along axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .entry import X, entry


def softmax(x: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    if not x.size:
        return x
    grown = np.exp(x - x.max(axis=axis, keepdims=True))
    return grown / grown.sum(axis=axis, keepdims=True)


entry("SOFTMAX", [X((2, 3))], lambda net, x: net.put(net.add_softmax(x), axes=1 << 1), lambda x: softmax(x, 1))
entry(
    "SOFTMAX", [X((2, 3, 2))], lambda net, x: net.put(net.add_softmax(x), axes=0b110), lambda x: softmax(x, (1, 2)),
    "two axes",
)  # fmt: skip


def _ragged(x: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Of each row the first so many; what lies behind is 0."""
    out = np.zeros_like(x)
    for row, length in enumerate(bounds.reshape(-1)):
        out[0, row, :length] = softmax(x[0, row, :length], 0)
    return out


entry(
    "RAGGED_SOFTMAX", [X((1, 2, 3), free=1), X((1, 2, 1), "INT32", values=[[[2], [3]]], free=1)],
    lambda net, x, bounds: net.add_ragged_softmax(x, bounds), _ragged,
)  # fmt: skip


def _average(x: np.ndarray, **how: Any) -> np.ndarray:
    """Of integers, without what is behind the point."""
    return x.mean(**how) if x.dtype.kind == "f" else np.trunc(x.mean(**how)).astype(np.int64)


_REDUCE = {"SUM": np.sum, "PROD": np.prod, "MAX": np.max, "MIN": np.min, "AVG": _average}

for _name, _function in _REDUCE.items():
    entry(
        "REDUCE", [X((2, 3, 2), low=-1, high=1)],
        lambda net, x, op=_name: net.add_reduce(x, getattr(net.trt.ReduceOperation, op), 1 << 1, True),
        lambda x, f=_function: f(x, axis=1, keepdims=True),
        _name,
    )  # fmt: skip


def _over_nothing(name: str, nothing: float) -> None:
    """A reduction over the axis that can be empty."""
    entry(
        "REDUCE", [X((2, 3), low=-1, high=1)],
        lambda net, x: net.add_reduce(x, getattr(net.trt.ReduceOperation, name), 1 << 0, False),
        lambda x: _REDUCE[name](x, axis=0) if len(x) else np.full(3, nothing, x.dtype),
        f"{name} over the free axis",
    )  # fmt: skip


_over_nothing("SUM", 0)
_over_nothing("PROD", 1)

_DISTINCT = [[3, 1, 2, 0], [5, 1, 2, 4]]


def _largest(x: np.ndarray, sign: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-sign * x, axis=1, kind="stable")[:, :2]
    return np.take_along_axis(x, order, 1), order


for _name, _sign in (("MAX", 1), ("MIN", -1)):
    entry(
        "TOPK", [X((2, 4), values=_DISTINCT)],
        lambda net, x, op=_name: net.add_topk(x, getattr(net.trt.TopKOperation, op), 2, 1 << 1),
        lambda x, s=_sign: _largest(x, s),
        _name,
    )  # fmt: skip

entry(
    "CUMULATIVE", [X((2, 3), low=-1, high=1)],
    lambda net, x: net.add_cumulative(x, net.constant(1, "INT32"), net.trt.CumulativeOperation.SUM, False, True),
    lambda x: np.cumsum(x[:, ::-1], axis=1)[:, ::-1],
)  # fmt: skip


def _unit(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + 1e-5)


_SCALE, _BIAS = np.array([1.5, 0.5, 2, 1]).reshape(1, 4, 1, 1), np.array([0.5, -1, 0, 1]).reshape(1, 4, 1, 1)


def _normalization(axes: int, method: str = "add_normalization_v2", groups: int = 1, shape: Any = (1, 4, 1, 1)) -> Any:
    def write(net: Any, x: Any) -> Any:
        count = int(np.prod(shape))
        scale, bias = (net.constant(np.resize(values, shape)[:count]) for values in (_SCALE, _BIAS))
        return net.put(getattr(net, method)(x, scale, bias, axes), num_groups=groups, epsilon=1e-5)

    return write


def _grouped(x: np.ndarray) -> np.ndarray:
    """Two groups of two channels, scaled channel by channel."""
    wide = x.reshape(x.shape[0], 2, 2, *x.shape[2:])
    return _unit(wide, (2, 3, 4)).reshape(x.shape) * _SCALE + _BIAS


_FEATURES = X((2, 4, 2, 3))
entry(
    "NORMALIZATION", [_FEATURES], _normalization(0b1100),
    lambda x: _unit(x, (2, 3)) * _SCALE + _BIAS, "instance",
)  # fmt: skip
entry(
    "NORMALIZATION", [_FEATURES], _normalization(0b1110),
    lambda x: _unit(x, (1, 2, 3)) * _SCALE + _BIAS, "layer",
)  # fmt: skip
entry("NORMALIZATION", [_FEATURES], _normalization(0b1100, groups=2), _grouped, "two groups")
entry(
    "NORMALIZATION", [_FEATURES], _normalization(0b1100, "add_normalization"),
    lambda x: _unit(x, (2, 3)) * _SCALE + _BIAS, "first version, instance",
)  # fmt: skip


def _lrn(x: np.ndarray) -> np.ndarray:
    """x / (k + alpha / window * the squares' sum over the window's channels) ^ beta"""
    sums = np.zeros_like(x)
    for channel in range(x.shape[1]):
        sums[:, channel] = (x[:, max(channel - 1, 0) : channel + 2] ** 2).sum(axis=1)
    return x / (2 + 0.5 / 3 * sums) ** 0.75


entry("LRN", [_FEATURES], lambda net, x: net.add_lrn(x, 3, 0.5, 0.75, 2.0), _lrn)
