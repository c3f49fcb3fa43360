"""BF16 through every family of layers: float64 of the same inputs, to half a unit in the last of BF16's eight bits.

Inputs and weights are numbers that BF16 holds, so that only the result is rounded.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorrt_rtx as trt
from ml_dtypes import bfloat16

from tests.twin.networks import BUILDER, LOGGER, agree, check, execute, make, run

T, A, E, U, R = trt.DataType, trt.ActivationType, trt.ElementWiseOperation, trt.UnaryOperation, trt.ReduceOperation
NONE = trt.MatrixOperation.NONE


def drawn(*shape: int, seed: int = 0, low: float = -3, high: float = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(bfloat16)


def nearest(expected: np.ndarray) -> np.ndarray:
    """BF16's nearest, by the rule itself: eight significant bits, of two neighbours the even one."""
    expected = np.asarray(expected, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = 2.0 ** (np.floor(np.log2(np.abs(expected))) - 7)
        return np.where(expected == 0, 0, np.rint(expected / unit) * unit)


def same(write: Callable, expected: np.ndarray, *inputs: np.ndarray, dynamic: tuple = ()) -> None:
    """To one unit in the last place: where FP32's own rounding crosses the middle of two neighbours."""
    (result,) = run(write, *inputs, dynamic=dynamic)
    assert result.dtype == bfloat16
    found, wanted = result.astype(np.float64), nearest(expected)
    assert found.shape == wanted.shape
    np.testing.assert_array_less(np.abs(found - wanted), np.abs(wanted) * 2**-7 + 1e-30)
    assert np.mean(found == wanted) > 0.9


ACTIVATION = {
    A.RELU: lambda x: np.maximum(x, 0),
    A.SIGMOID: lambda x: 1 / (1 + np.exp(-x)),
    A.TANH: np.tanh,
    A.LEAKY_RELU: lambda x: np.where(x < 0, 0.25 * x, x),
    A.ELU: lambda x: np.where(x < 0, 0.25 * np.expm1(x), x),
    A.SELU: lambda x: 0.5 * np.where(x < 0, 0.25 * np.expm1(x), x),
    A.SOFTSIGN: lambda x: x / (1 + np.abs(x)),
    A.SOFTPLUS: lambda x: 0.25 * np.log1p(np.exp(0.5 * x)),
    A.CLIP: lambda x: np.clip(x, 0.25, 0.5),
    A.HARD_SIGMOID: lambda x: np.clip(0.25 * x + 0.5, 0, 1),
    A.SCALED_TANH: lambda x: 0.25 * np.tanh(0.5 * x),
    A.THRESHOLDED_RELU: lambda x: np.where(x > 0.25, x, 0),
}


@pytest.mark.parametrize("kind", ACTIVATION, ids=lambda kind: kind.name)
def test_an_activation(kind: trt.ActivationType) -> None:
    x = drawn(4, 50)

    def write(net, tensor):
        layer = net.network.add_activation(tensor, kind)
        layer.alpha, layer.beta = 0.25, 0.5
        return layer

    same(write, ACTIVATION[kind](x.astype(np.float64)), x, dynamic=((0,),))


UNARY = {
    U.EXP: np.exp,
    U.LOG: np.log,
    U.SQRT: np.sqrt,
    U.RECIP: np.reciprocal,
    U.ABS: np.abs,
    U.NEG: np.negative,
    U.SIN: np.sin,
    U.ATAN: np.arctan,
    U.CEIL: np.ceil,
    U.FLOOR: np.floor,
    U.SIGN: np.sign,
    U.ROUND: np.rint,
}


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_a_unary(op: trt.UnaryOperation) -> None:
    x = drawn(4, 50, low=0.1)
    same(lambda net, t: net.network.add_unary(t, op), UNARY[op](x.astype(np.float64)), x)


ELEMENTWISE = {
    E.SUM: np.add,
    E.PROD: np.multiply,
    E.MAX: np.maximum,
    E.MIN: np.minimum,
    E.SUB: np.subtract,
    E.DIV: np.divide,
    E.POW: np.power,
    E.FLOOR_DIV: np.floor_divide,
}


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_an_elementwise_operation(op: trt.ElementWiseOperation) -> None:
    a, b = drawn(4, 50, low=0.1), drawn(4, 50, seed=1, low=0.1)
    expected = ELEMENTWISE[op](a.astype(np.float64), b.astype(np.float64))
    same(lambda net, x, y: net.network.add_elementwise(x, y, op), expected, a, b)


@pytest.mark.parametrize("op", [E.EQUAL, E.GREATER, E.LESS], ids=lambda op: op.name)
def test_a_comparison(op: trt.ElementWiseOperation) -> None:
    a, b = np.array([1, 2, 3], bfloat16), np.array([1, 1, 4], bfloat16)
    compare = {E.EQUAL: np.equal, E.GREATER: np.greater, E.LESS: np.less}[op]
    check(lambda net, x, y: net.network.add_elementwise(x, y, op), compare(a.astype(float), b.astype(float)), a, b)


def test_each_layer_rounds_what_the_next_one_reads() -> None:
    """1 + 256 lies between 256 and 258, which are all there is: the even one is 256, and 256 - 256 is 0; 3 + 256 is
    between 258 and 260, of which 260 is even in the last bit."""
    x = np.array([1, 3, 2], bfloat16)

    def write(net, tensor):
        big = net.constant(np.array([256], bfloat16))
        up = net.network.add_elementwise(tensor, big, E.SUM).get_output(0)
        return net.network.add_elementwise(up, big, E.SUB)

    (result,) = run(write, x)
    agree(result, [0, 4, 2], 1e-9)


#: The number, its nearest in BF16: halves to even, what overflows is infinite.
ROUNDED = [(1.00390625, 1.0), (1.01171875, 1.015625), (1.0040, 1.0078125), (3.4e38, np.inf), (-3.4e38, -np.inf)]


def test_a_cast_rounds_to_the_nearest_and_halves_to_even() -> None:
    x = np.array([number for number, _ in ROUNDED], np.float32)
    (result,) = run(lambda net, t: net.network.add_cast(t, T.BF16), x)
    np.testing.assert_array_equal(result.astype(np.float64), [rounded for _, rounded in ROUNDED])


@pytest.mark.parametrize(
    ("dtype", "back"), [(np.float32, T.FLOAT), (np.float16, T.HALF), (np.int32, T.INT32), (np.int64, T.INT64)]
)
def test_a_cast_there_and_back(dtype: type, back: trt.DataType) -> None:
    x = np.array([[0, 1, -2], [100, 255, -257]], dtype)

    def write(net, tensor):
        there = net.network.add_cast(tensor, T.BF16).get_output(0)
        return net.network.add_cast(there, back)

    check(write, np.array([[0, 1, -2], [100, 255, -256]]), x)  # -257 lies between -256, which is even, and -258


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_with_its_own_weights(bias: bool) -> None:
    x, kernel, shift = drawn(2, 3, 5, 5), drawn(4, 3, 3, 3, seed=1), drawn(4, seed=2)

    def write(net, tensor):
        own = net.weights(shift) if bias else trt.Weights(T.BF16)
        return net.network.add_convolution_nd(tensor, 4, (3, 3), net.weights(kernel), own)

    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), axis=(2, 3))
    expected = np.einsum("nchwij,kcij->nkhw", windows, kernel.astype(np.float64))
    if bias:
        expected += shift.astype(np.float64)[:, None, None]
    same(write, expected, x, dynamic=((0,),))


def test_a_matrix_product_with_a_constant() -> None:
    x, weights = drawn(4, 8), drawn(8, 50, seed=1)

    def write(net, tensor):
        return net.network.add_matrix_multiply(tensor, NONE, net.constant(weights), NONE)

    same(write, x.astype(np.float64) @ weights.astype(np.float64), x, dynamic=((0,),))


@pytest.mark.parametrize(("op", "numpy"), [(R.SUM, np.sum), (R.AVG, np.mean), (R.MAX, np.max), (R.PROD, np.prod)])
def test_a_reduction_adds_up_before_it_rounds(op: trt.ReduceOperation, numpy: Callable) -> None:
    x = drawn(60, 40, low=0.5, high=1.5)
    same(lambda net, t: net.network.add_reduce(t, op, 2, False), numpy(x.astype(np.float64), axis=1), x)


def test_a_softmax() -> None:
    x = drawn(8, 10)

    def write(net, tensor):
        layer = net.network.add_softmax(tensor)
        layer.axes = 2
        return layer

    grown = np.exp(x.astype(np.float64))
    same(write, grown / grown.sum(axis=1, keepdims=True), x)


def test_a_scale_with_its_own_weights() -> None:
    x, factor, shift, power = drawn(2, 3, 4, 4, low=0.1), drawn(3, seed=1, low=1), drawn(3, seed=2, low=1), [2, 1, 0.5]

    def write(net, tensor):
        weights = [net.weights(w) for w in (shift, factor, np.array(power, bfloat16))]
        return net.network.add_scale(tensor, trt.ScaleMode.CHANNEL, *weights)

    by_channel = [np.asarray(w).astype(np.float64)[:, None, None] for w in (factor, shift, power)]
    same(write, (x.astype(np.float64) * by_channel[0] + by_channel[1]) ** by_channel[2], x)


def test_a_normalization() -> None:
    x, scale, bias = drawn(2, 4, 3, 3), drawn(1, 4, 1, 1, seed=1), drawn(1, 4, 1, 1, seed=2)

    def write(net, tensor):
        return net.network.add_normalization_v2(tensor, net.constant(scale), net.constant(bias), 0b1100)

    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=(2, 3), keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(axis=(2, 3), keepdims=True) + 1e-5)
    (result,) = run(write, x)
    agree(result, normal * scale.astype(np.float64) + bias.astype(np.float64))


@pytest.mark.parametrize(
    ("kind", "numpy"), [(trt.PoolingType.MAX, np.max), (trt.PoolingType.AVERAGE, np.mean)], ids=["max", "average"]
)
def test_a_pool(kind: trt.PoolingType, numpy: Callable) -> None:
    x = drawn(1, 3, 8, 8)
    windows = x.astype(np.float64).reshape(1, 3, 4, 2, 4, 2)

    def write(net, tensor):
        layer = net.network.add_pooling_nd(tensor, kind, (2, 2))
        layer.stride_nd = (2, 2)
        return layer

    same(write, numpy(windows, axis=(3, 5)), x)


def test_one_hot_keeps_the_fractions_of_its_values() -> None:
    indices, values = np.array([2, 0], np.int32), np.array([0.25, 1.5], bfloat16)

    def write(net, tensor):
        return net.network.add_one_hot(tensor, net.constant(values), net.constant(np.array(3, np.int32)), -1)

    check(write, np.array([[0.25, 0.25, 1.5], [1.5, 0.25, 0.25]]), indices)


#: What moves numbers and computes none.
MOVES: dict[str, tuple[Callable, Callable[[np.ndarray], np.ndarray]]] = {
    "shuffle": (lambda net, t: _reshaped(net, t, (4, 3)), lambda x: x.reshape(4, 3)),
    "slice": (lambda net, t: net.network.add_slice(t, (0, 1), (2, 3), (2, 1)), lambda x: x[::2, 1:4]),
    "concatenation": (lambda net, t: net.network.add_concatenation([t, t]), lambda x: np.concatenate([x, x])),
    "gather": (
        lambda net, t: net.network.add_gather(t, net.constant(np.array([2, 0], np.int32)), 0),
        lambda x: x[[2, 0]],
    ),
    "identity": (lambda net, t: net.network.add_identity(t), lambda x: x),
    "reverse": (
        lambda net, t: net.network.add_reverse_sequence(t, net.constant(np.array([3, 3, 3, 3], np.int32))),
        lambda x: x[::-1],
    ),
    "top": (lambda net, t: net.network.add_topk(t, trt.TopKOperation.MAX, 1, 2).get_output(0), lambda x: _largest(x)),
    "resize": (lambda net, t: _resized(net, t), lambda x: x.repeat(2, axis=1)),
}


def _reshaped(net, tensor, shape):
    layer = net.network.add_shuffle(tensor)
    layer.reshape_dims = shape
    return layer


def _resized(net, tensor):
    layer = net.network.add_resize(tensor)
    layer.shape = (3, 8)
    layer.resize_mode = trt.InterpolationMode.NEAREST
    return layer


def _largest(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64).max(axis=1, keepdims=True).astype(bfloat16)


@pytest.mark.parametrize("case", MOVES)
def test_what_moves_numbers_keeps_every_bit(case: str) -> None:
    write, expected = MOVES[case]
    x = drawn(3, 4)
    (result,) = run(write, x)
    np.testing.assert_array_equal(result.view(np.uint16), expected(x).view(np.uint16))


def test_a_select_and_a_scatter() -> None:
    x, y = drawn(3, 4), drawn(3, 4, seed=1)
    condition = np.arange(12).reshape(3, 4) % 3 == 0
    (result,) = run(lambda net, c, a, b: net.network.add_select(c, a, b), condition, x, y)
    np.testing.assert_array_equal(result.view(np.uint16), np.where(condition, x, y).view(np.uint16))
    rows = np.array([[2, 0, 1, 0]], np.int32)
    mode = trt.ScatterMode.ELEMENT
    (result,) = run(lambda net, a, i, b: net.network.add_scatter(a, i, b, mode), x, rows, y[:1])
    expected = x.copy()
    expected[rows[0], range(4)] = y[0]
    np.testing.assert_array_equal(result.view(np.uint16), expected.view(np.uint16))


def test_nan_and_infinity_stay_what_they_are() -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0], bfloat16)
    (result,) = run(lambda net, t: net.network.add_elementwise(t, t, E.PROD), x)
    np.testing.assert_array_equal(result.astype(np.float64), [np.nan, np.inf, np.inf, 0])
    isnan = run(lambda net, t: net.network.add_unary(t, U.ISNAN), x)[0]
    np.testing.assert_array_equal(isnan, [True, False, False, False])


def test_a_parsed_model_in_bf16() -> None:
    """Weights that the parser read: nobody but TensorRT holds them."""
    from onnx import TensorProto, helper, numpy_helper

    x, weights = drawn(2, 3), drawn(3, 4, seed=1)
    kernel = numpy_helper.from_array(weights, "w")
    assert kernel.data_type == TensorProto.BFLOAT16
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["in0", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("in0", TensorProto.BFLOAT16, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.BFLOAT16, [2, 4])],
        [kernel],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    network = BUILDER.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    assert parser.parse(model.SerializeToString())
    del model, graph, kernel
    agree(execute(network, {"in0": x})["y"], x.astype(np.float64) @ weights.astype(np.float64))


def test_the_host_sees_bits() -> None:
    """Without the test's own view of them: what the executor takes and gives are uint16."""
    from grader.twin.executor import Executor
    from grader.twin.walk import walk

    net = make(lambda net, t: net.network.add_unary(t, U.NEG), [drawn(3)])
    result = Executor(walk(net.network)).run({"in0": np.array([0x3F80, 0x4000, 0x0000], np.uint16)})["out0"]
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, [0xBF80, 0xC000, 0x8000])  # 1, 2 and 0 with the sign's bit set


def test_scalars_and_empty_tensors() -> None:
    x = np.array(1.5, bfloat16)
    check(lambda net, t: net.network.add_elementwise(t, t, E.SUM), np.array(3.0), x)
    (result,) = run(lambda net, t: net.network.add_unary(t, U.NEG), np.zeros((0, 3), bfloat16))
    assert result.shape == (0, 3) and result.dtype == bfloat16
