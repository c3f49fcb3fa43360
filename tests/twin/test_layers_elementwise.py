"""Layers that work on each element alone, against TensorRT's formulas in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorrt_rtx as trt

from grader.twin.layers import Unsupported
from grader.twin.walk import walk
from tests.twin.networks import check, make, run

A, E, U = trt.ActivationType, trt.ElementWiseOperation, trt.UnaryOperation
T = trt.DataType

erf = np.vectorize(math.erf, otypes=[np.float64])

#: Each activation's formula, of x, alpha and beta, as the ActivationType reference has it.
ACTIVATIONS = {
    A.RELU: lambda x, a, b: np.maximum(x, 0),
    A.SIGMOID: lambda x, a, b: 1 / (1 + np.exp(-x)),
    A.TANH: lambda x, a, b: np.tanh(x),
    A.LEAKY_RELU: lambda x, a, b: np.where(x >= 0, x, a * x),
    A.ELU: lambda x, a, b: np.where(x >= 0, x, a * (np.exp(x) - 1)),
    A.SELU: lambda x, a, b: np.where(x > 0, b * x, b * (a * np.exp(x) - a)),
    A.SOFTSIGN: lambda x, a, b: x / (1 + np.abs(x)),
    A.SOFTPLUS: lambda x, a, b: a * np.log(np.exp(b * x) + 1),
    A.CLIP: lambda x, a, b: np.maximum(a, np.minimum(b, x)),
    A.HARD_SIGMOID: lambda x, a, b: np.maximum(0, np.minimum(1, a * x + b)),
    A.SCALED_TANH: lambda x, a, b: a * np.tanh(b * x),
    A.THRESHOLDED_RELU: lambda x, a, b: np.where(x > a, x, 0),
    A.GELU_ERF: lambda x, a, b: 0.5 * x * (1 + erf(math.sqrt(0.5) * x)),
    A.GELU_TANH: lambda x, a, b: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (0.044715 * x**3 + x))),
}


def activate(kind, alpha, beta):
    def write(net, tensor):
        layer = net.network.add_activation(tensor, kind)
        layer.alpha, layer.beta = alpha, beta
        return layer

    return write


def spread(*shape: int, low: float = -4, high: float = 4, dtype: type = np.float32) -> np.ndarray:
    """Values between low and high, in no order, none of them zero."""
    values = np.linspace(low, high, math.prod(shape) + 1)[1:]
    return np.random.default_rng(7).permutation(values + 1e-3).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kind", A.__members__)
def test_an_activation_is_tensorrts_formula(kind: str, dtype: type) -> None:
    kind, (alpha, beta) = getattr(A, kind), (0.375, 1.25)
    x = spread(2, 3, 5, dtype=dtype)
    check(activate(kind, alpha, beta), ACTIVATIONS[kind](x.astype(np.float64), alpha, beta), x, dynamic=[(0,)])


def test_a_clip_whose_bounds_cross_gives_the_lower_one() -> None:
    check(activate(A.CLIP, 2.0, -1.0), np.full((2, 4), 2.0), spread(2, 4))


def test_a_clip_open_at_one_end_stays_open_in_fp16() -> None:
    x = spread(2, 4, dtype=np.float16)
    check(activate(A.CLIP, 0.0, float(np.finfo(np.float32).max)), np.maximum(x, 0), x)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_relu_takes_integers(dtype: type) -> None:
    x = np.arange(-3, 3, dtype=dtype).reshape(2, 3)
    check(activate(A.RELU, 0, 0), np.maximum(x, 0), x)


ELEMENTWISE = {
    E.SUM: np.add,
    E.PROD: np.multiply,
    E.MAX: np.maximum,
    E.MIN: np.minimum,
    E.SUB: np.subtract,
    E.DIV: np.divide,
    E.POW: np.power,
    E.FLOOR_DIV: np.floor_divide,
    E.AND: np.logical_and,
    E.OR: np.logical_or,
    E.XOR: np.logical_xor,
    E.EQUAL: np.equal,
    E.GREATER: np.greater,
    E.LESS: np.less,
}
LOGICAL = ("AND", "OR", "XOR")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("op", [name for name in E.__members__ if name not in LOGICAL])
def test_an_elementwise_operation_on_floats(op: str, dtype: type) -> None:
    op = getattr(E, op)
    a, b = spread(3, 4, dtype=dtype), spread(3, 1, low=-2, high=2, dtype=dtype)
    if op == E.POW:
        a = np.abs(a)
    elif op == E.EQUAL:
        a[1] = b[1]
    expected = ELEMENTWISE[op](a.astype(np.float64), b.astype(np.float64))
    check(lambda net, x, y: net.network.add_elementwise(x, y, op), expected, a, b, dynamic=[(0,), (0,)])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("op", [name for name in E.__members__ if name not in (*LOGICAL, "DIV", "POW")])
def test_an_elementwise_operation_on_integers(op: str, dtype: type) -> None:
    op = getattr(E, op)
    a, b = np.array([[7, -7, 7, -7, 6, 0]], dtype), np.array([[2, 2, -2, -2, 6, -3]], dtype)
    check(lambda net, x, y: net.network.add_elementwise(x, y, op), ELEMENTWISE[op](a, b), a, b)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_division_of_integers_drops_the_fraction(dtype: type) -> None:
    a, b = np.array([[7, -7, 7, -7]], dtype), np.array([[2, 2, -2, -2]], dtype)
    check(lambda net, x, y: net.network.add_elementwise(x, y, E.DIV), np.array([[3, -3, -3, 3]]), a, b)


@pytest.mark.parametrize("op", [*LOGICAL, "EQUAL"])
def test_an_elementwise_operation_on_booleans(op: str) -> None:
    op = getattr(E, op)
    a, b = np.array([[True, True, False, False]]), np.array([[True, False, True, False]])
    check(lambda net, x, y: net.network.add_elementwise(x, y, op), ELEMENTWISE[op](a, b), a, b)


#: The operation in NumPy, and the interval on which it is tried.
UNARY = {
    U.EXP: (np.exp, -3, 3),
    U.LOG: (np.log, 0.1, 5),
    U.SQRT: (np.sqrt, 0, 5),
    U.RECIP: (np.reciprocal, 0.5, 3),
    U.ABS: (np.abs, -3, 3),
    U.NEG: (np.negative, -3, 3),
    U.SIN: (np.sin, -3, 3),
    U.COS: (np.cos, -3, 3),
    U.TAN: (np.tan, -1, 1),
    U.SINH: (np.sinh, -3, 3),
    U.COSH: (np.cosh, -3, 3),
    U.ASIN: (np.arcsin, -0.9, 0.9),
    U.ACOS: (np.arccos, -0.9, 0.9),
    U.ATAN: (np.arctan, -3, 3),
    U.ASINH: (np.arcsinh, -3, 3),
    U.ACOSH: (np.arccosh, 1.1, 4),
    U.ATANH: (np.arctanh, -0.9, 0.9),
    U.CEIL: (np.ceil, -3, 3),
    U.FLOOR: (np.floor, -3, 3),
    U.ERF: (erf, -3, 3),
    U.SIGN: (np.sign, -3, 3),
    U.ROUND: (np.rint, -3, 3),
    U.ISINF: (np.isinf, -3, 3),
    U.ISNAN: (np.isnan, -3, 3),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("op", [name for name in U.__members__ if name != "NOT"])
def test_a_unary_operation(op: str, dtype: type) -> None:
    op = getattr(U, op)
    function, low, high = UNARY[op]
    x = spread(2, 3, 4, low=low, high=high, dtype=dtype)
    if op in (U.ISINF, U.ISNAN):
        x[0, 0] = [np.inf, -np.inf, np.nan, 0]
    elif op == U.ROUND:
        x[0, 0] = [0.5, 1.5, -0.5, -2.5]  # halves go to the even number
    elif op == U.SIGN:
        x[0, 0] = 0
    check(lambda net, t: net.network.add_unary(t, op), function(x.astype(np.float64)), x, dynamic=[(0,)])


def test_not_inverts_booleans() -> None:
    x = np.array([[True, False]])
    check(lambda net, t: net.network.add_unary(t, U.NOT), ~x, x)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("op", ["ABS", "NEG", "SIGN"])
def test_a_unary_operation_on_integers(op: str, dtype: type) -> None:
    x = np.arange(-3, 4, dtype=dtype)
    check(lambda net, t: net.network.add_unary(t, getattr(U, op)), UNARY[getattr(U, op)][0](x), x)


SCALES = {
    trt.ScaleMode.UNIFORM: ((1,), ()),
    trt.ScaleMode.CHANNEL: ((3,), (3, 1, 1)),
    trt.ScaleMode.ELEMENTWISE: ((3, 4, 5), (3, 4, 5)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("mode", trt.ScaleMode.__members__)
def test_a_scale_multiplies_adds_and_raises(mode: str, dtype: type) -> None:
    mode = getattr(trt.ScaleMode, mode)
    size, broadcast = SCALES[mode]
    x = spread(2, 3, 4, 5, low=0.1, high=2, dtype=dtype)
    scale, shift, power = (spread(*size, low=0.5, high=high, dtype=dtype) for high in (2, 1, 1.5))

    def write(net, tensor):
        return net.network.add_scale(tensor, mode, *(net.weights(w.ravel()) for w in (shift, scale, power)))

    by, plus, to = (w.astype(np.float64).reshape(broadcast) for w in (scale, shift, power))
    check(write, (x * by + plus) ** to, x, dynamic=[(0,)])


def test_a_scale_without_weights_changes_nothing() -> None:
    x = spread(2, 3, 4, 4)
    check(lambda net, t: net.network.add_scale(t, trt.ScaleMode.UNIFORM), x, x)


def test_a_scale_with_a_shift_alone_adds() -> None:
    x, shift = spread(2, 3, 4, 4), np.array([1, 2, 3], np.float32)
    check(
        lambda net, t: net.network.add_scale(t, trt.ScaleMode.CHANNEL, net.weights(shift)),
        x + shift.reshape(3, 1, 1),
        x,
    )


def test_a_scale_finds_its_channels_on_the_axis_named() -> None:
    x, scale = spread(2, 3, 4, 5), np.array([1, 2], np.float32)

    def write(net, tensor):
        none = trt.Weights()
        return net.network.add_scale_nd(tensor, trt.ScaleMode.CHANNEL, none, net.weights(scale), none, 0)

    check(write, x * scale.reshape(2, 1, 1, 1), x)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_parametric_relu_has_a_slope_for_each_channel(dtype: type) -> None:
    x, slopes = spread(2, 3, 4, dtype=dtype), spread(1, 3, 1, low=0, high=1, dtype=dtype)

    def write(net, tensor):
        return net.network.add_parametric_relu(tensor, net.constant(slopes))

    check(write, np.where(x < 0, x * slopes.astype(np.float64), x), x, dynamic=[(0,)])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.int64, np.bool_])
def test_select_takes_one_or_the_other(dtype: type) -> None:
    condition = np.array([[True, False, True], [False, False, True]])
    a, b = np.array([[1, 0, 3], [4, 5, 0]]).astype(dtype), np.array([[0, 8, 9]]).astype(dtype)
    check(lambda net, c, x, y: net.network.add_select(c, x, y), np.where(condition, a, b), condition, a, b)


TYPES = {T.FLOAT: np.float32, T.HALF: np.float16, T.INT32: np.int32, T.INT64: np.int64, T.BOOL: np.bool_}


@pytest.mark.parametrize("to", TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize("source", TYPES, ids=lambda t: t.name)
def test_a_cast_changes_the_type_alone(source, to) -> None:
    x = np.array([[-2, 0, 1, 3]]).astype(TYPES[source])
    if TYPES[source] in (np.float32, np.float16):
        x = x + TYPES[source](0.75) * np.sign(x)  # integers drop the fraction
    check(lambda net, t: net.network.add_cast(t, to), x.astype(TYPES[to]), x)


@pytest.mark.parametrize("to", [T.FLOAT, T.HALF], ids=lambda t: t.name)
def test_a_cast_takes_bytes(to) -> None:
    x = np.array([[0, 7, 255]], np.uint8)
    check(lambda net, t: net.network.add_cast(t, to), x.astype(TYPES[to]), x)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.int64, np.bool_])
def test_an_identity_keeps_values_and_type(dtype: type) -> None:
    x = np.array([[1, 0, 3]]).astype(dtype)
    (result,) = run(lambda net, t: net.network.add_identity(t), x)
    np.testing.assert_array_equal(result, x)


REFUSED = {
    "ACTIVATION": lambda net, t: net.network.add_activation(t, A.SOFTSIGN),
    "UNARY": lambda net, t: net.network.add_unary(t, U.ERF),
    "ELEMENTWISE": lambda net, t: net.network.add_elementwise(t, t, E.SUM),
    "REDUCE": lambda net, t: net.network.add_reduce(t, trt.ReduceOperation.SUM, 1, True),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_arithmetic_on_int8_is_refused_by_name(kind: str) -> None:
    def write(net, tensor):
        layer = REFUSED[kind](net, tensor)
        layer.name = "narrow"
        return layer

    with pytest.raises(Unsupported, match=rf"'narrow' .{kind}.*INT8"):
        walk(make(write, [np.ones((2, 3), np.int8)]).network)
