"""Reductions, softmax, the largest k and running sums, against NumPy's in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorrt_rtx as trt
from ml_dtypes import bfloat16

from grader.twin.layers import Unsupported
from grader.twin.walk import walk
from tests.twin.networks import agree, check, make, run

R, K, C = trt.ReduceOperation, trt.TopKOperation, trt.CumulativeOperation

REDUCE = {R.SUM: np.sum, R.PROD: np.prod, R.MAX: np.max, R.MIN: np.min, R.AVG: np.mean}


def distinct(*shape: int, dtype: type = np.float32) -> np.ndarray:
    """Values that differ, in no order, so that there is one k-th largest."""
    count = int(np.prod(shape))
    return (np.random.default_rng(3).permutation(count).reshape(shape) / 8 - 2).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("axes", [(1,), (0, 2), (1, 2)])
@pytest.mark.parametrize("op", [name for name in R.__members__ if name != "NONE"])
def test_a_reduction(op: str, axes: tuple[int, ...], keep: bool, dtype: type) -> None:
    op = getattr(R, op)
    x = distinct(2, 3, 4, dtype=dtype)
    mask = sum(1 << axis for axis in axes)
    expected = REDUCE[op](x.astype(np.float64), axis=axes, keepdims=keep)
    check(lambda net, t: net.network.add_reduce(t, op, mask, keep), expected, x, dynamic=[(0,)])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("op", ["SUM", "PROD", "MAX", "MIN"])
def test_a_reduction_of_integers(op: str, dtype: type) -> None:
    x = np.array([[3, -1, 2], [5, 5, -4]], dtype)
    check(lambda net, t: net.network.add_reduce(t, getattr(R, op), 2, False), REDUCE[getattr(R, op)](x, axis=1), x)


def test_a_reduction_by_no_operation_is_refused() -> None:
    def write(net, tensor):
        layer = net.network.add_reduce(tensor, R.SUM, 2, True)
        layer.name, layer.op = "idle", R.NONE
        return layer

    with pytest.raises(Unsupported, match=r"'idle' .REDUCE.*NONE"):
        walk(make(write, [distinct(2, 3)]).network)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_softmax_over_one_axis(axis: int, dtype: type) -> None:
    x = distinct(2, 3, 4, dtype=dtype)

    def write(net, tensor):
        layer = net.network.add_softmax(tensor)
        layer.axes = 1 << axis
        return layer

    grown = np.exp(x.astype(np.float64) - x.max(axis=axis, keepdims=True))
    check(write, grown / grown.sum(axis=axis, keepdims=True), x, dynamic=[(0,)])


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_a_softmax_without_axes_is_over_the_third_from_the_end(rank: int) -> None:
    """Over the channels of NCHW; of fewer axes than four, the first: not the classes of [batch, classes]."""
    x = distinct(*range(2, 2 + rank))
    axis = max(0, rank - 3)
    grown = np.exp(x.astype(np.float64) - x.max(axis=axis, keepdims=True))
    expected = grown / grown.sum(axis=axis, keepdims=True)
    check(lambda net, t: net.network.add_softmax(t), expected, x, dynamic=[(0,)])


def ranked(x: np.ndarray, op: trt.TopKOperation, k: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-x.astype(np.float64) if op == K.MAX else x.astype(np.float64), axis=axis)
    order = np.take(order, range(k), axis=axis)
    return np.take_along_axis(x, order, axis=axis), order


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", K.__members__)
def test_topk_gives_values_and_indices_in_order(op: str, axis: int, dtype: type) -> None:
    op, x = getattr(K, op), (distinct(5, 6) * 8).astype(dtype)
    values, indices = run(lambda net, t: net.network.add_topk(t, op, 3, 1 << axis), x, dynamic=[(1 - axis,)])
    expected = ranked(x, op, 3, axis)
    agree(values, expected[0])
    agree(indices, expected[1])
    assert indices.dtype == np.int32


def test_topk_gives_int64_indices_where_asked() -> None:
    x = distinct(2, 6)
    _, indices = run(lambda net, t: net.network.add_topk(t, K.MAX, 2, 2, trt.DataType.INT64), x)
    agree(indices, ranked(x, K.MAX, 2, 1)[1])
    assert indices.dtype == np.int64


def test_topk_takes_k_from_a_tensor() -> None:
    x = distinct(2, 6)

    def write(net, tensor):
        layer = net.network.add_topk(tensor, K.MAX, 1, 2)
        layer.set_input(1, net.constant(np.array(4, np.int32)))
        return layer

    agree(run(write, x)[0], ranked(x, K.MAX, 4, 1)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.int64])
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("op", C.__members__)
def test_a_running_sum(op: str, exclusive: bool, reverse: bool, dtype: type) -> None:
    x = np.arange(-4, 8).reshape(3, 4).astype(dtype)
    expected = np.zeros(x.shape)
    for j in range(4):  # the four lists of indices that ICumulativeLayer's reference gives
        if reverse:
            expected[:, j] = x[:, j + exclusive :].sum(axis=1)
        else:
            expected[:, j] = x[:, : j + 1 - exclusive].sum(axis=1)

    def write(net, tensor):
        axis = net.constant(np.array(1, np.int32))
        return net.network.add_cumulative(tensor, axis, getattr(C, op), exclusive, reverse)

    check(write, expected, x, dynamic=[(0,)])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, bfloat16])
def test_a_ragged_softmax_is_over_the_first_elements_of_each_row(dtype: type) -> None:
    x, bounds = distinct(2, 3, 5, dtype=dtype), np.array([[5, 1, 3], [2, 4, 5]], np.int32)[..., None]
    expected = np.zeros(x.shape)
    for b, row in np.ndindex(2, 3):
        of = bounds[b, row, 0]
        grown = np.exp(x[b, row, :of].astype(np.float64) - float(x[b, row].max()))
        expected[b, row, :of] = grown / grown.sum()
    check(lambda net, t, n: net.network.add_ragged_softmax(t, n), expected, x, bounds, dynamic=[(0, 2), (0,)])


def test_several_axes_are_refused_by_tensorrt_and_change_nothing() -> None:
    x = distinct(2, 3, 4)

    def write(net, tensor):
        layer = net.network.add_softmax(tensor)
        layer.axes = 0b110  # logs an error; the axis stays the first of three
        return layer

    grown = np.exp(x.astype(np.float64) - x.max(axis=0))
    check(write, grown / grown.sum(axis=0), x)
    with pytest.raises(AssertionError, match="builder refuses"):
        run(lambda net, t: net.network.add_topk(t, K.MAX, 2, 0b110), x)
