"""Layers that slide a window, or sample between elements."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .entry import X, entry

_KERNEL = np.random.default_rng(3).integers(-2, 3, (2, 2, 2, 3)).astype(float)  # maps, channels, height, width
_BIAS = np.array([1.0, -2.0])
_IMAGE = X((2, 2, 4, 5))


def _convolved(x: np.ndarray) -> np.ndarray:
    """Stride 2 and 1, a row of zeros above and below."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    rows, columns = range(0, padded.shape[2] - 1, 2), range(padded.shape[3] - 2)
    out = np.zeros((len(x), 2, len(rows), len(columns)), x.dtype)
    for (i, row), (j, column), m in itertools.product(enumerate(rows), enumerate(columns), range(2)):
        seen = padded[:, :, row : row + 2, column : column + 3]
        out[:, m, i, j] = (seen * _KERNEL[m]).sum(axis=(1, 2, 3)) + _BIAS[m]
    return out


def _convolution(net: Any, x: Any) -> Any:
    layer = net.add_convolution_nd(x, 2, (2, 3), net.weights(_KERNEL), net.weights(_BIAS))
    return net.put(layer, stride_nd=(2, 1), padding_nd=(1, 0))


entry("CONVOLUTION", [_IMAGE], _convolution, _convolved)


def _deconvolved(x: np.ndarray) -> np.ndarray:
    """Each element adds a scaled kernel (channels, maps, height, width); stride 2."""
    count, channels, height, width = x.shape
    out = np.zeros((count, 2, (height - 1) * 2 + 2, (width - 1) * 2 + 3), x.dtype)
    for c, i, j in itertools.product(range(channels), range(height), range(width)):
        part = (x[:, c, i, j].reshape(-1, 1, 1, 1) * _KERNEL[c]).astype(x.dtype)
        out[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 3] += part
    return out + _BIAS.astype(x.dtype).reshape(2, 1, 1)


def _deconvolution(net: Any, x: Any) -> Any:
    layer = net.add_deconvolution_nd(x, 2, (2, 3), net.weights(_KERNEL), net.weights(_BIAS))
    return net.put(layer, stride_nd=(2, 2))


entry("DECONVOLUTION", [_IMAGE], _deconvolution, _deconvolved)


def _pooled(x: np.ndarray, share: float) -> np.ndarray:
    """Windows of 2x3 at every second column; ``share`` is the average's."""
    rows, columns = range(x.shape[2] - 1), range(0, x.shape[3] - 2, 2)
    out = np.zeros((*x.shape[:2], len(rows), len(columns)), x.dtype)
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        seen = x[:, :, row : row + 2, column : column + 3].reshape(*x.shape[:2], 6)
        average = seen.mean(axis=-1) if share else 0
        out[:, :, i, j] = (1 - share) * seen.max(axis=-1) + share * average
    return out


def _pooling(kind: str, **attributes: Any) -> Any:
    def write(net: Any, x: Any) -> Any:
        layer = net.add_pooling_nd(x, getattr(net.trt.PoolingType, kind), (2, 3))
        return net.put(layer, stride_nd=(1, 2), **attributes)

    return write


for _kind, _share, _attributes in (
    ("MAX", 0.0, {}), ("AVERAGE", 1.0, {}), ("MAX_AVERAGE_BLEND", 0.25, {"blend_factor": 0.25}),
):  # fmt: skip
    entry("POOLING", [_IMAGE], _pooling(_kind, **_attributes), lambda x, s=_share: _pooled(x, s), _kind)

entry(
    "PADDING", [_IMAGE],
    lambda net, x: net.add_padding_nd(x, (1, -1), (0, 2)),
    lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 2)))[:, :, :, 1:],
)  # fmt: skip


def _padded_maximum(net: Any, x: Any) -> Any:
    """The zeros count, unlike those of a pooling's own padding."""
    padded = net.add_padding_nd(x, (1, 0), (1, 0)).get_output(0)
    return net.put(net.add_pooling_nd(padded, net.trt.PoolingType.MAX, (2, 3)), stride_nd=(1, 2))


entry(
    "PADDING", [X((2, 2, 4, 5), low=-2, high=-0.5)], _padded_maximum,
    lambda x: _pooled(np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0))), 0.0), "before a largest",
)  # fmt: skip


def _resized(x: np.ndarray, mode: str) -> np.ndarray:
    """The last axis from 3 to 6: nearest of i / 2, or linear or cubic (a = -0.75) around (i + 0.5) / 2 - 0.5."""
    size = x.shape[-1]
    columns = []
    for i in range(2 * size):
        if mode == "NEAREST":
            columns.append(x[..., i // 2])
            continue
        place = (i + 0.5) / 2 - 0.5
        low = int(np.floor(place))
        part = place - low
        shares = _CUBIC(part) if mode == "CUBIC" else {0: 1 - part, 1: part}
        columns.append(sum(x[..., min(max(low + step, 0), size - 1)] * share for step, share in shares.items()))
    return np.stack(columns, axis=-1)


def _CUBIC(part: float) -> dict[int, float]:  # noqa: N802
    """Keys' cubic convolution."""
    a = -0.75

    def weight(d: float) -> float:
        d = abs(d)
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a

    return {step: weight(part - step) for step in (-1, 0, 1, 2)}


def _resize(mode: str) -> Any:
    def write(net: Any, x: Any) -> Any:
        trt = net.trt
        coordinates = "ASYMMETRIC" if mode == "NEAREST" else "HALF_PIXEL"
        return net.put(
            net.add_resize(x), resize_mode=getattr(trt.InterpolationMode, mode), scales=(1.0, 1.0, 1.0, 2.0),
            coordinate_transformation=getattr(trt.ResizeCoordinateTransformation, coordinates),
            nearest_rounding=trt.ResizeRoundMode.FLOOR,
        )  # fmt: skip

    return write


for _kind in ("NEAREST", "LINEAR", "CUBIC"):
    entry("RESIZE", [X((2, 1, 2, 3))], _resize(_kind), lambda x, m=_kind: _resized(x, m), _kind)


def _sampled(x: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Linear, zeros outside; -1 and 1 are the outer edges of the corner elements (ONNX's align_corners = 0)."""
    count, channels, height, width = x.shape
    out = np.zeros((count, channels, *grid.shape[1:3]))
    for n, i, j in itertools.product(range(count), *map(range, grid.shape[1:3])):
        column, row = ((grid[n, i, j] + 1) * (width, height) - 1) / 2
        for r, c in itertools.product(
            (int(np.floor(row)), int(np.floor(row)) + 1), (int(np.floor(column)), int(np.floor(column)) + 1)
        ):
            if 0 <= r < height and 0 <= c < width:
                out[n, :, i, j] += x[n, :, r, c] * (1 - abs(row - r)) * (1 - abs(column - c))
    return out


entry(
    "GRID_SAMPLE", [X((2, 2, 3, 4)), X((2, 2, 3, 2), low=-1.1, high=1.1)],
    lambda net, x, grid: net.add_grid_sample(x, grid), _sampled,
)  # fmt: skip
