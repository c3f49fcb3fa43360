"""Layers that work on each element alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .entry import FLOATS, X, entry

_ERF = np.vectorize(math.erf, otypes=[float])


def _clipped(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.maximum(low, np.minimum(high, x)).astype(x.dtype)


#: The formulas of the class reference of ActivationType: alpha, beta, what comes out.
_ACTIVATIONS: dict[str, tuple[float, float, Callable[[np.ndarray], np.ndarray]]] = {
    "RELU": (0, 0, lambda x: np.maximum(x, 0)),
    "SIGMOID": (0, 0, lambda x: 1 / (1 + np.exp(-x))),
    "TANH": (0, 0, np.tanh),
    "LEAKY_RELU": (0.1, 0, lambda x: np.where(x >= 0, x, 0.1 * x)),
    "ELU": (0.7, 0, lambda x: np.where(x >= 0, x, 0.7 * (np.exp(x) - 1))),
    "SELU": (1.6, 1.05, lambda x: 1.05 * np.where(x > 0, x, 1.6 * (np.exp(x) - 1))),
    "SOFTSIGN": (0, 0, lambda x: x / (1 + np.abs(x))),
    "SOFTPLUS": (0.8, 1.3, lambda x: 0.8 * np.log(np.exp(1.3 * x) + 1)),
    "CLIP": (-1, 1, lambda x: _clipped(x, -1, 1)),
    "HARD_SIGMOID": (0.3, 0.4, lambda x: np.clip(0.3 * x + 0.4, 0, 1)),
    "SCALED_TANH": (1.7, 0.6, lambda x: 1.7 * np.tanh(0.6 * x)),
    "THRESHOLDED_RELU": (0.4, 0, lambda x: np.where(x > 0.4, x, 0)),
    "GELU_ERF": (0, 0, lambda x: 0.5 * x * (1 + _ERF(x / math.sqrt(2)))),
    "GELU_TANH": (0, 0, lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
}


def _activation(name: str, alpha: float, beta: float) -> Callable[..., Any]:
    def write(net: Any, x: Any) -> Any:
        layer = net.add_activation(x, getattr(net.trt.ActivationType, name))
        return net.put(layer, alpha=alpha, beta=beta)

    return write


for _name, (_alpha, _beta, _formula) in _ACTIVATIONS.items():
    entry("ACTIVATION", [X((2, 3, 4))], _activation(_name, _alpha, _beta), _formula, _name)


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of integers, the quotient without what is behind the point, as in C."""
    return a / b if a.dtype.kind == "f" else np.trunc(a / b).astype(np.int64)


def _powered(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.power(a, b)


_TWO = [X((2, 3)), X((2, 3))]
_NOT_ZERO = [X((2, 3)), X((2, 3), values=[[1, 2, 3], [2, 1, 2]])]
#: The operands, and what comes out.
_ELEMENTWISE: dict[str, tuple[list[X], Callable[..., np.ndarray]]] = {
    "SUM": ([X((2, 3)), X((1, 3), free=None)], np.add),
    "PROD": (_TWO, np.multiply),
    "MAX": (_TWO, np.maximum),
    "MIN": (_TWO, np.minimum),
    "SUB": ([X((2, 3), values=[[5, 3, 9], [7, 5, 8]]), _NOT_ZERO[1]], np.subtract),
    "DIV": (_NOT_ZERO, _divided),
    "POW": ([X((2, 3), values=[[1, 2, 3], [1.5, 2.5, 4]]), _NOT_ZERO[1]], _powered),
    "FLOOR_DIV": (_NOT_ZERO, np.floor_divide),
    "AND": (_TWO, np.logical_and),
    "OR": (_TWO, np.logical_or),
    "XOR": (_TWO, np.logical_xor),
    "EQUAL": ([_TWO[0], X((1, 3), values=[[1, 0, 2]], free=None)], np.equal),
    "GREATER": (_TWO, np.greater),
    "LESS": (_TWO, np.less),
}


def _elementwise(name: str) -> Callable[..., Any]:
    return lambda net, a, b: net.add_elementwise(a, b, getattr(net.trt.ElementWiseOperation, name))


for _name, (_inputs, _function) in _ELEMENTWISE.items():
    entry("ELEMENTWISE", _inputs, _elementwise(_name), _function, _name)


_ANY = X((2, 3))
_POSITIVE = X((2, 3), low=0.5)
_WITHIN_ONE = X((2, 3), low=-0.9, high=0.9)
_SPECIAL = X((2, 3), values=[[0, np.inf, 1], [np.nan, -np.inf, 2]])
_HALVES = X((2, 3), values=[[0.5, 1.5, -2.5], [1.25, -1.75, 3]])
_UNARY: dict[str, tuple[X, Callable[..., np.ndarray]]] = {
    "EXP": (_ANY, np.exp),
    "LOG": (_POSITIVE, np.log),
    "SQRT": (_POSITIVE, np.sqrt),
    "RECIP": (_POSITIVE, lambda x: 1 / x),
    "ABS": (_ANY, np.abs),
    "NEG": (_ANY, np.negative),
    "SIN": (_ANY, np.sin),
    "COS": (_ANY, np.cos),
    "TAN": (_WITHIN_ONE, np.tan),
    "SINH": (_ANY, np.sinh),
    "COSH": (_ANY, np.cosh),
    "ASIN": (_WITHIN_ONE, np.arcsin),
    "ACOS": (_WITHIN_ONE, np.arccos),
    "ATAN": (_ANY, np.arctan),
    "ASINH": (_ANY, np.arcsinh),
    "ACOSH": (X((2, 3), low=1.5, high=3), np.arccosh),
    "ATANH": (_WITHIN_ONE, np.arctanh),
    "CEIL": (_ANY, np.ceil),
    "FLOOR": (_ANY, np.floor),
    "ERF": (_ANY, lambda x: _ERF(x)),
    "NOT": (_ANY, np.logical_not),
    "SIGN": (X((2, 3), values=[[-2, 0, 1], [3, -1, 0]]), np.sign),
    "ROUND": (_HALVES, np.rint),
    "ISINF": (_SPECIAL, np.isinf),
    "ISNAN": (_SPECIAL, np.isnan),
}


def _unary(name: str) -> Callable[..., Any]:
    return lambda net, x: net.add_unary(x, getattr(net.trt.UnaryOperation, name))


for _name, (_x, _function) in _UNARY.items():
    _only = FLOATS if _name in ("ISINF", "ISNAN") else None  # no integer is either
    entry("UNARY", [_x], _unary(_name), _function, _name, **({"dtypes": _only} if _only else {}))


_COEFFICIENTS = {"shift": [0.5, -1, 2], "scale": [2, 1, 0.5]}


def _scale(mode: str, axis: int) -> Callable[..., Any]:
    def write(net: Any, x: Any) -> Any:
        count = {"UNIFORM": 1, "CHANNEL": 3, "ELEMENTWISE": 12}[mode]
        shift, scale = (net.weights(np.resize(_COEFFICIENTS[name], count)) for name in ("shift", "scale"))
        return net.add_scale_nd(x, getattr(net.trt.ScaleMode, mode), shift, scale, net.weights([2] * count), axis)

    return write


def _scaled(mode: str) -> Callable[[np.ndarray], np.ndarray]:
    shape = {"UNIFORM": (1,), "CHANNEL": (3, 1, 1), "ELEMENTWISE": (3, 2, 2)}[mode]
    steps = {name: np.resize(values, shape) for name, values in _COEFFICIENTS.items()}
    return lambda x: (x * steps["scale"] + steps["shift"]) ** 2


for _name in ("UNIFORM", "CHANNEL", "ELEMENTWISE"):
    # Above 0: whether a negative number may be raised to a power is the table of `layers`'s to ask.
    entry("SCALE", [X((2, 3, 2, 2), low=1.2)], _scale(_name, 1), _scaled(_name), _name)

entry(
    "PARAMETRIC_RELU", [X((2, 3))],
    lambda net, x: net.add_parametric_relu(x, net.constant([[0.5, 2, -1]])),
    lambda x: np.where(x < 0, x * np.array([[0.5, 2, -1]]), x),
)  # fmt: skip
entry(
    "SELECT", [X((2, 3), "BOOL"), X((2, 3)), X((1, 3), free=None)],
    lambda net, condition, a, b: net.add_select(condition, a, b),
    np.where,
)  # fmt: skip
entry("IDENTITY", [X((2, 3))], lambda net, x: net.add_identity(x), lambda x: x)


def _cast(x: np.ndarray, to: str) -> np.ndarray:
    """Towards zero, of what the types hold in common."""
    if to == "BOOL":
        return x != 0
    return x.astype(np.float64) if to in FLOATS else np.trunc(x.astype(np.float64)).astype(np.int64)


for _name in ("FLOAT", "HALF", "BF16", "INT8", "INT32", "INT64", "BOOL", "UINT8"):
    entry(
        "CAST", [X((2, 3), values=[[0, 1, 2], [3.75, 100, 0.5]])],
        lambda net, x, to=_name: net.add_cast(x, net.type(to)),
        lambda x, to=_name: _cast(x, to),
        f"to {_name}",
    )  # fmt: skip
