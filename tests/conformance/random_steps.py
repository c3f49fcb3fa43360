"""What the steps of a randomly drawn network compute: NumPy on float64, int64 and bool, by TensorRT's class reference.

A step is plain data, which `random_program` turns into layers: ``{"op": a function below, "in": numbers, ...}``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

Step = dict[str, Any]
INTERPRET: dict[str, Callable[..., np.ndarray]] = {}


def interpreted(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    INTERPRET[function.__name__] = function
    return function


def interpret(step: Step, arrays: list[np.ndarray]) -> np.ndarray:
    """The step's result."""
    with np.errstate(all="ignore"):
        return INTERPRET[step["op"]](step, *arrays)


_ACTIVATIONS: dict[str, Callable[..., np.ndarray]] = {
    "RELU": lambda x, a, b: np.maximum(x, 0),
    "SIGMOID": lambda x, a, b: 1 / (1 + np.exp(-x)),
    "TANH": lambda x, a, b: np.tanh(x),
    "LEAKY_RELU": lambda x, a, b: np.where(x >= 0, x, a * x),
    "ELU": lambda x, a, b: np.where(x >= 0, x, a * (np.exp(x) - 1)),
    "SOFTSIGN": lambda x, a, b: x / (1 + np.abs(x)),
    "CLIP": lambda x, a, b: np.clip(x, a, b),
    "HARD_SIGMOID": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "SCALED_TANH": lambda x, a, b: a * np.tanh(b * x),
    "SOFTPLUS": lambda x, a, b: a * np.log(np.exp(b * x) + 1),
}
ACTIVATIONS = tuple(_ACTIVATIONS)

UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "EXP": np.exp, "LOG": np.log, "SQRT": np.sqrt, "RECIP": lambda x: 1 / x, "ABS": np.abs, "NEG": np.negative,
    "SIN": np.sin, "COS": np.cos, "ATAN": np.arctan, "FLOOR": np.floor, "CEIL": np.ceil, "ROUND": np.rint,
    "NOT": np.logical_not,
}  # fmt: skip

ELEMENTWISE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "SUM": np.add, "SUB": np.subtract, "PROD": np.multiply, "MAX": np.maximum, "MIN": np.minimum, "DIV": np.divide,
    "AND": np.logical_and, "OR": np.logical_or, "XOR": np.logical_xor,
    "EQUAL": np.equal, "GREATER": np.greater, "LESS": np.less,
}  # fmt: skip

REDUCE = {"SUM": np.sum, "AVG": np.mean, "MAX": np.max, "MIN": np.min}


@interpreted
def constant(step: Step) -> np.ndarray:
    return step["values"]


@interpreted
def activation(step: Step, x: np.ndarray) -> np.ndarray:
    return _ACTIVATIONS[step["kind"]](x, step["alpha"], step["beta"])


@interpreted
def unary(step: Step, x: np.ndarray) -> np.ndarray:
    return UNARY[step["kind"]](x)


@interpreted
def elementwise(step: Step, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ELEMENTWISE[step["kind"]](a, b)


@interpreted
def select(step: Step, condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(condition, a, b)


@interpreted
def cast(step: Step, x: np.ndarray) -> np.ndarray:
    if step["to"] in ("FLOAT", "HALF"):
        return x.astype(np.float64)
    return x != 0 if step["to"] == "BOOL" else np.trunc(x.astype(np.float64)).astype(np.int64)


@interpreted
def identity(step: Step, x: np.ndarray) -> np.ndarray:
    return x


@interpreted
def reduce(step: Step, x: np.ndarray) -> np.ndarray:
    return REDUCE[step["kind"]](x, axis=tuple(step["axes"]), keepdims=step["keep"])


@interpreted
def softmax(step: Step, x: np.ndarray) -> np.ndarray:
    grown = np.exp(x - x.max(axis=step["axis"], keepdims=True))
    return grown / grown.sum(axis=step["axis"], keepdims=True)


@interpreted
def cumulative(step: Step, x: np.ndarray) -> np.ndarray:
    axis = step["axis"]
    x = np.flip(x, axis) if step["reverse"] else x
    total = np.cumsum(x, axis) - (x if step["exclusive"] else 0)
    return np.flip(total, axis) if step["reverse"] else total


@interpreted
def normalization(step: Step, x: np.ndarray) -> np.ndarray:
    axes = tuple(step["axes"])
    centred = x - x.mean(axis=axes, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + step["epsilon"])
    return unit * step["scale"] + step["bias"]


@interpreted
def product(step: Step, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ (np.swapaxes(b, -1, -2) if step["transposed"] else b)


@interpreted
def convolution(step: Step, x: np.ndarray) -> np.ndarray:
    """Cross-correlation over the two inner axes, padded by zeros, in groups."""
    kernel, stride, pad, groups = step["kernel"], step["stride"], step["padding"], step["groups"]
    maps, per_group, height, width = kernel.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = range(0, padded.shape[2] - height + 1, stride)
    columns = range(0, padded.shape[3] - width + 1, stride)
    out = np.zeros((len(x), maps, len(rows), len(columns)))
    for m, (i, row), (j, column) in itertools.product(range(maps), enumerate(rows), enumerate(columns)):
        first = m // (maps // groups) * per_group
        seen = padded[:, first : first + per_group, row : row + height, column : column + width]
        out[:, m, i, j] = (seen * kernel[m]).sum(axis=(1, 2, 3)) + step["bias"][m]
    return out


@interpreted
def pooling(step: Step, x: np.ndarray) -> np.ndarray:
    size, stride = step["window"], step["stride"]
    rows, columns = range(0, x.shape[2] - size + 1, stride), range(0, x.shape[3] - size + 1, stride)
    out = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        seen = x[:, :, row : row + size, column : column + size]
        out[:, :, i, j] = seen.max(axis=(2, 3)) if step["kind"] == "MAX" else seen.mean(axis=(2, 3))
    return out


@interpreted
def resize(step: Step, x: np.ndarray) -> np.ndarray:
    """Twice the size along the inner axis: the nearest, rounded down."""
    return np.repeat(x, 2, axis=-1)


@interpreted
def padding(step: Step, x: np.ndarray) -> np.ndarray:
    (top, left), (bottom, right) = step["pre"], step["post"]
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))


@interpreted
def shuffle(step: Step, x: np.ndarray) -> np.ndarray:
    x = x.transpose(step["first"])
    sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(step["dims"])]
    return x.reshape(sizes).transpose(step["second"])


@interpreted
def slice(step: Step, x: np.ndarray) -> np.ndarray:  # noqa: A001 (the layer's name)
    axis = step["axis"]
    places = step["start"] + step["stride"] * np.arange(step["size"])
    return np.take(x, places, axis)


@interpreted
def concatenation(step: Step, *arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays, axis=step["axis"])


@interpreted
def gather(step: Step, x: np.ndarray) -> np.ndarray:
    return np.take(x, step["places"], axis=step["axis"])


@interpreted
def topk(step: Step, x: np.ndarray) -> np.ndarray:
    """The k largest or smallest, in order; or their places."""
    axis = step["axis"]
    order = np.argsort(-x if step["kind"] == "MAX" else x, axis=axis, kind="stable")
    order = np.take(order, np.arange(step["k"]), axis=axis)
    return order if step["indices"] else np.take_along_axis(x, order, axis)


@interpreted
def one_hot(step: Step, places: np.ndarray) -> np.ndarray:
    return np.where(places[..., None] == np.arange(step["depth"]), 1.5, -0.5)


@interpreted
def quantized(step: Step, x: np.ndarray) -> np.ndarray:
    """To INT8 and back."""
    return np.clip(np.rint(x / step["scale"]), -128, 127) * step["scale"]


@interpreted
def unsqueeze(step: Step, x: np.ndarray) -> np.ndarray:
    return np.expand_dims(x, step["axis"])


@interpreted
def shape(step: Step, x: np.ndarray) -> np.ndarray:
    return np.array(x.shape)
