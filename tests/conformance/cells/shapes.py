"""Layers that change a tensor's shape, or tell it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .entry import X, entry


def _shuffle(net: Any, x: Any) -> Any:
    return net.put(net.add_shuffle(x), first_transpose=(1, 0, 2), reshape_dims=(3, -1), zero_is_placeholder=False)


entry(
    "SHUFFLE", [X((2, 3, 4), free=None)], _shuffle, lambda x: x.transpose(1, 0, 2).reshape(3, -1),
    "transpose, reshape with -1",
)  # fmt: skip
entry(
    "SHUFFLE", [X((2, 3, 4))],
    lambda net, x: net.put(net.add_shuffle(x), reshape_dims=(0, 12), second_transpose=(1, 0)),
    lambda x: x.reshape(len(x), 12).T, "0 as placeholder",
)  # fmt: skip
entry(
    "SHUFFLE", [X((2, 3, 4))], lambda net, x: _reshaped(net, x), lambda x: x.reshape(len(x), 4, 3),
    "reshaped by a tensor",
)  # fmt: skip


def _reshaped(net: Any, x: Any) -> Any:
    layer = net.add_shuffle(x)
    layer.set_input(1, net.sizes(x, {1: 4, 2: 3}))
    return net.put(layer, zero_is_placeholder=False)


def _slice(mode: str, start: tuple[int, int], size: int, stride: int) -> Any:
    """Of every row, ``size`` columns."""

    def write(net: Any, x: Any) -> Any:
        rows = x.shape[0]
        layer = net.add_slice(x, start, (max(rows, 0), size), (1, stride))
        if rows < 0:
            layer.set_input(2, net.sizes(x, {1: size}))
        layer.mode = getattr(net.trt.SampleMode, mode)
        if mode == "FILL":
            layer.set_input(4, net.constant(1))
        return layer

    return write


def _columns(x: np.ndarray, places: list[int]) -> np.ndarray:
    return x[:, places]


_ROWS = X((2, 5))
entry("SLICE", [_ROWS], _slice("STRICT_BOUNDS", (0, 4), 2, -2), lambda x: _columns(x, [4, 2]))
entry("SLICE", [_ROWS], _slice("WRAP", (0, -1), 7, 1), lambda x: _columns(x, [4, 0, 1, 2, 3, 4, 0]), "WRAP")
entry("SLICE", [_ROWS], _slice("CLAMP", (0, -1), 7, 1), lambda x: _columns(x, [0, 0, 1, 2, 3, 4, 4]), "CLAMP")
entry("SLICE", [_ROWS], _slice("REFLECT", (0, -2), 8, 1), lambda x: _columns(x, [2, 1, 0, 1, 2, 3, 4, 3]), "REFLECT")
entry(
    "SLICE", [_ROWS], _slice("FILL", (0, 3), 4, 1),
    lambda x: np.concatenate([x[:, 3:], np.ones((len(x), 2), x.dtype)], axis=1), "FILL",
)  # fmt: skip
entry(
    "CONCATENATION", [X((2, 3)), X((2, 3))],
    lambda net, a, b: net.put(net.add_concatenation([a, b]), axis=1), lambda a, b: np.concatenate([a, b], axis=1),
)  # fmt: skip
entry(
    "CONCATENATION", [X((2, 3)), X((1, 3), free=None)],
    lambda net, a, b: net.put(net.add_concatenation([a, b]), axis=0), lambda a, b: np.concatenate([a, b]),
    "along the free axis",
)  # fmt: skip
entry("SHAPE", [X((2, 3))], lambda net, x: net.add_shape(x), lambda x: np.array(x.shape))
entry(
    "SQUEEZE", [X((2, 1, 3))], lambda net, x: net.add_squeeze(x, net.constant([1], "INT64")), lambda x: x[:, 0],
)  # fmt: skip
entry(
    "UNSQUEEZE", [X((2, 3))], lambda net, x: net.add_unsqueeze(x, net.constant([1], "INT64")), lambda x: x[:, None],
)  # fmt: skip


def _reversed(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    out = x.copy()
    for row, length in enumerate(lengths):
        out[row, :length] = x[row, :length][::-1]
    return out


entry(
    "REVERSE_SEQUENCE", [X((2, 4)), X((2,), "INT64", values=[3, 2])],
    lambda net, x, lengths: net.put(net.add_reverse_sequence(x, lengths), batch_axis=0, sequence_axis=1), _reversed,
)  # fmt: skip
