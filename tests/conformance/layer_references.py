"""What TensorRT's documentation says that each layer of the table computes: NumPy, float64, nothing of the twin's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Attributes = dict[str, Any]
Arrays = dict[str, np.ndarray]


def reference(kind: str, attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    """float64; NaN where nobody says what a window without any element of the input gives."""
    wide = [x.astype(np.float64) for x in inputs]
    weights = {name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in arrays.items()}
    return _KINDS[kind](attributes, wide, weights)


def _windows(
    size: int, span: int, stride: int, pre: int, post: int, mode: str
) -> tuple[int, int, int]:  # the class reference of PaddingMode
    """(windows, elements before, elements after) along one axis."""
    if mode == "EXPLICIT_ROUND_DOWN":
        return math.floor((size + pre + post - span) / stride) + 1, pre, post
    if mode == "EXPLICIT_ROUND_UP":
        return math.ceil((size + pre + post - span) / stride) + 1, pre, post
    count = math.ceil(size / stride)
    total = max((count - 1) * stride + span - size, 0)
    half = total // 2
    return (count, half, total - half) if mode == "SAME_UPPER" else (count, total - half, half)


def _plans(attributes: Attributes, sizes: tuple[int, ...], spans: list[int]) -> list[tuple[int, int, int]]:
    rank = len(spans)
    strides, pre, post = (
        attributes.get(name, [default] * rank)
        for name, default in (("stride_nd", 1), ("pre_padding", 0), ("post_padding", 0))
    )
    mode = attributes.get("padding_mode", "EXPLICIT_ROUND_DOWN")
    return [_windows(*axis, mode) for axis in zip(sizes, spans, strides, pre, post, strict=True)]


def _places(plans: list[tuple[int, int, int]]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(count) for count, _, _ in plans))


def _convolution(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    (x,), kernel = inputs, arrays["kernel"]
    maps, per_group, *size = kernel.shape
    groups, rank = attributes.get("num_groups", 1), len(size)
    dilations, strides = attributes.get("dilation_nd", [1] * rank), attributes.get("stride_nd", [1] * rank)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, size, strict=True)]
    plans = _plans(attributes, x.shape[2:], spans)
    padded = np.pad(
        x,
        [(0, 0), (0, 0), *((before, after + span + 9) for (_, before, after), span in zip(plans, spans, strict=True))],
    )
    out = np.zeros((len(x), maps, *(count for count, _, _ in plans)))
    for place in _places(plans):
        cut = tuple(slice(p * s, p * s + n, d) for p, s, n, d in zip(place, strides, spans, dilations, strict=True))
        for number in range(maps):
            first = number * groups // maps * per_group
            seen = padded[(slice(None), slice(first, first + per_group), *cut)]
            out[(slice(None), number, *place)] = (seen * kernel[number]).sum(axis=tuple(range(1, rank + 2)))
    return out + arrays.get("bias", np.zeros(maps)).reshape(-1, *(1,) * rank)


def _deconvolution(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    """Each element adds a scaled kernel to the output; then the padding is cut off."""
    (x,), kernel = inputs, arrays["kernel"]
    groups, (rows, columns) = attributes.get("num_groups", 1), attributes.get("stride_nd", [1, 1])
    channels, per_group, high, wide = kernel.shape
    out = np.zeros((len(x), per_group * groups, (x.shape[2] - 1) * rows + high, (x.shape[3] - 1) * columns + wide))
    for channel, i, j in itertools.product(*map(range, x.shape[1:])):
        first = channel * groups // channels * per_group
        place = (slice(None), slice(first, first + per_group), slice(i * rows, i * rows + high))
        part = out[(*place, slice(j * columns, j * columns + wide))]
        part += x[:, channel, i, j].reshape(-1, 1, 1, 1) * kernel[channel]
    top, left = attributes.get("pre_padding", [0, 0])
    bottom, right = attributes.get("post_padding", [0, 0])
    cut = out[:, :, top : out.shape[2] - bottom, left : out.shape[3] - right]
    return cut + arrays["bias"].reshape(-1, 1, 1)


def _pooling(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    """IPoolingLayer::setAverageCountExcludesPadding: the divisor is the window's overlap with the input, or, where that
    is not set, with the padded input."""
    (x,), window = inputs, attributes["window"]
    plans = _plans(attributes, x.shape[2:], window)
    strides = attributes.get("stride_nd", [1] * len(window))
    excludes, blend = attributes.get("average_count_excludes_padding", True), attributes.get("blend_factor", 0.0)
    share = {"MAX": 0.0, "AVERAGE": 1.0, "MAX_AVERAGE_BLEND": blend}[attributes["pooling"]]
    out = np.full((*x.shape[:2], *(count for count, _, _ in plans)), np.nan)
    for place in _places(plans):
        cut, padded = [], 1
        for p, (_, before, after), stride, span, size in zip(place, plans, strides, window, x.shape[2:], strict=True):
            low = p * stride - before
            cut.append(slice(max(low, 0), max(min(low + span, size), 0)))
            padded *= min(low + span, size + after) - low
        seen = x[(slice(None), slice(None), *cut)].reshape(*x.shape[:2], -1)
        if seen.shape[-1]:
            average = seen.sum(axis=-1) / (seen.shape[-1] if excludes else padded)
            out[(slice(None), slice(None), *place)] = (1 - share) * seen.max(axis=-1) + share * average
    return out


def _padding(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    pairs = list(zip(attributes["pre"], attributes["post"], strict=True))
    grown = np.pad(inputs[0], [(0, 0), (0, 0), *((max(p, 0), max(q, 0)) for p, q in pairs)])
    (top, bottom), (left, right) = [(max(-p, 0), max(-q, 0)) for p, q in pairs]
    return grown[:, :, top : grown.shape[2] - bottom, left : grown.shape[3] - right]


def _lrn(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    """x / (k + alpha / window * sum of squares) ^ beta, the sum over the window's channels around the element's."""
    (x,), window = inputs, attributes["window"]
    sums = np.zeros_like(x)
    for channel in range(x.shape[1]):
        first = channel - window // 2
        sums[:, channel] = (x[:, max(first, 0) : first + window] ** 2).sum(axis=1)
    return x / (attributes["k"] + attributes["alpha"] / window * sums) ** attributes["beta"]


def _scale(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    """(x * scale + shift) ^ power"""
    (x,), axis = inputs, attributes["axis"]
    shape = {"UNIFORM": (), "CHANNEL": (-1, *(1,) * (x.ndim - axis - 1)), "ELEMENTWISE": x.shape[axis:]}
    steps = {name: a.reshape(shape[attributes["mode"]]) for name, a in arrays.items()}
    return (x * steps.get("scale", 1.0) + steps.get("shift", 0.0)) ** steps.get("power", 1.0)


def _softmax(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    """ISoftMaxLayer::setAxes: without, the third axis from the end, or the first where there are fewer than four."""
    (x,) = inputs
    axis = int(math.log2(attributes["axes"])) if "axes" in attributes else max(0, x.ndim - 3)
    grown = np.exp(x - x.max(axis=axis, keepdims=True))
    return grown / grown.sum(axis=axis, keepdims=True)


def _product(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    left, right = inputs[0], arrays["right"] if "right" in arrays else inputs[1]
    operands = [
        np.swapaxes(a, -1, -2) if op == "TRANSPOSE" else a
        for a, op in ((left, attributes["op0"]), (right, attributes["op1"]))
    ]
    if attributes["op1"] == "VECTOR":
        return (operands[0] @ operands[1][..., None])[..., 0]
    return operands[0] @ operands[1]


def _elementwise(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    functions = {"SUM": np.add, "PROD": np.multiply, "MAX": np.maximum, "SUB": np.subtract, "DIV": np.divide}
    functions |= {"MIN": np.minimum, "POW": np.power}
    return functions[attributes["operation"]](inputs[0], arrays["right"] if "right" in arrays else inputs[1])


def _unary(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    return {"EXP": np.exp, "ABS": np.abs, "FLOOR": np.floor}[attributes["unary"]](inputs[0])


def _activation(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    """The formulas of the class reference of ActivationType."""
    (x,), a, b = inputs, attributes.get("alpha", 0.0), attributes.get("beta", 0.0)
    formulas: dict[str, Callable[[], np.ndarray]] = {
        "RELU": lambda: np.maximum(x, 0),
        "SIGMOID": lambda: 1 / (1 + np.exp(-x)),
        "TANH": lambda: np.tanh(x),
        "LEAKY_RELU": lambda: np.where(x >= 0, x, a * x),
        "ELU": lambda: np.where(x >= 0, x, a * (np.exp(x) - 1)),
        "SELU": lambda: b * np.where(x > 0, x, a * (np.exp(x) - 1)),
        "SOFTSIGN": lambda: x / (1 + np.abs(x)),
        "SOFTPLUS": lambda: a * np.log(np.exp(b * x) + 1),
        "CLIP": lambda: np.maximum(a, np.minimum(b, x)),
        "HARD_SIGMOID": lambda: np.clip(a * x + b, 0, 1),
        "SCALED_TANH": lambda: a * np.tanh(b * x),
        "THRESHOLDED_RELU": lambda: np.where(x > a, x, 0),
    }
    return formulas[attributes["activation"]]()


def _prelu(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    return np.where(inputs[0] < 0, inputs[0] * arrays["slopes"], inputs[0])


def _concatenation(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    return np.concatenate(inputs, axis=attributes["axis"])


def _reduce(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    functions = {"SUM": np.sum, "PROD": np.prod, "MAX": np.max, "MIN": np.min, "AVG": np.mean}
    return functions[attributes["reduction"]](inputs[0], axis=tuple(attributes["axes"]), keepdims=attributes["keep"])


def _shuffle(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    """Transpose, reshape, transpose; a 0 is the size of the same axis before the reshape."""
    x = inputs[0].transpose(attributes.get("first_transpose", range(inputs[0].ndim)))
    if "reshape_dims" in attributes:
        x = x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(attributes["reshape_dims"])])
    return x.transpose(attributes.get("second_transpose", range(x.ndim)))


def _slice(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    start, shape, stride = attributes["start"], attributes["shape"], attributes["stride"]
    places = [s + d * np.arange(n) for s, n, d in zip(start, shape, stride, strict=True)]
    return inputs[0][np.ix_(*places)]


def _cut(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    parts = [slice(s, s + n) for s, n in zip(attributes["start"], attributes["size"], strict=True)]
    return inputs[0][(slice(None), *parts)]


def _gather(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    return np.take(inputs[0], arrays["indices"], axis=attributes["axis"])


def _select(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    return np.maximum(*inputs)


def _resize(attributes: Attributes, inputs: list[np.ndarray], arrays: Arrays) -> np.ndarray:
    """Interpolation along each axis; places outside of the input are its edges."""
    (x,) = inputs
    kind = attributes.get("coordinate_transformation", "ASYMMETRIC")
    for axis, scale in enumerate(attributes["scales"]):
        size = int(x.shape[axis] * scale)
        i, ratio = np.arange(size), x.shape[axis] / size
        at = {"ASYMMETRIC": i * ratio, "HALF_PIXEL": (i + 0.5) * ratio - 0.5}
        at["ALIGN_CORNERS"] = i * (x.shape[axis] - 1) / max(size - 1, 1)
        place = np.clip(at[kind], 0, x.shape[axis] - 1)
        low = np.floor(place).astype(int)
        share = place - low if attributes.get("resize_mode") == "LINEAR" else np.zeros(size)
        share = share.reshape(-1, *(1,) * (x.ndim - axis - 1))
        high = np.minimum(low + 1, x.shape[axis] - 1)
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


_KINDS: dict[str, Callable[[Attributes, list[np.ndarray], Arrays], np.ndarray]] = {
    "convolution": _convolution,
    "deconvolution": _deconvolution,
    "pooling": _pooling,
    "padding": _padding,
    "lrn": _lrn,
    "scale": _scale,
    "softmax": _softmax,
    "product": _product,
    "elementwise": _elementwise,
    "unary": _unary,
    "activation": _activation,
    "prelu": _prelu,
    "concatenation": _concatenation,
    "reduce": _reduce,
    "shuffle": _shuffle,
    "slice": _slice,
    "cut": _cut,
    "gather": _gather,
    "select": _select,
    "resize": _resize,
}
