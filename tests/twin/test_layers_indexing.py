"""Slices, gathers, scatters, one-hot and non-zero, against NumPy's indexing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorrt_rtx as trt

from grader.twin.executor import ExecutionError, Executor
from grader.twin.walk import walk
from tests.twin.networks import agree, check, execute, make

T, S, G = trt.DataType, trt.SampleMode, trt.GatherMode
TYPES = [np.float32, np.float16, np.int32, np.int64, np.bool_]


def counted(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return (np.arange(1, math.prod(shape) + 1).reshape(shape) % 100).astype(dtype)


def outside(index: int, size: int, mode: trt.SampleMode) -> int | None:
    """Which element an index out of bounds means; None for the fill value."""
    if 0 <= index < size:
        return index
    if mode == S.CLAMP:
        return min(max(index, 0), size - 1)
    if mode == S.WRAP:
        return index % size
    if mode == S.REFLECT:
        while not 0 <= index < size:  # the mirrors stand in the first and the last element
            index = -index if index < 0 else 2 * (size - 1) - index
        return index
    return None


def sliced(x, start, size, stride, mode=S.STRICT_BOUNDS, fill=0) -> np.ndarray:
    out = np.full(size, fill, x.dtype)
    for place in itertools.product(*map(range, size)):
        found = [outside(s + p * d, n, mode) for s, p, d, n in zip(start, place, stride, x.shape, strict=True)]
        if None not in found:
            out[place] = x[tuple(found)]
    return out


#: Start, size and stride on a tensor of [4, 5, 6].
SLICES = {
    "part": ((1, 0, 2), (2, 5, 3), (1, 1, 1)),
    "strided": ((0, 1, 0), (2, 2, 3), (2, 2, 2)),
    "backwards": ((3, 4, 5), (4, 2, 3), (-1, -2, -2)),
    "backwards_to_the_middle": ((3, 4, 5), (2, 2, 2), (-1, -1, -1)),
    "repeated": ((2, 0, 0), (3, 5, 6), (0, 1, 1)),
    "empty": ((0, 2, 0), (4, 0, 6), (1, 1, 1)),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("case", SLICES)
def test_a_slice_of_known_numbers(case: str, dtype: type) -> None:
    x = counted(4, 5, 6, dtype=dtype)
    check(lambda net, t: net.network.add_slice(t, *SLICES[case]), sliced(x, *SLICES[case]), x)


@pytest.mark.parametrize("case", [name for name in SLICES if name != "empty"])
def test_a_slice_of_a_dynamic_tensor(case: str) -> None:
    x = counted(4, 5, 6)
    check(lambda net, t: net.network.add_slice(t, *SLICES[case]), sliced(x, *SLICES[case]), x, dynamic=[(0, 2)])


#: Beyond both ends, one element apart and two apart, forwards and backwards.
BEYOND = {"forwards": ((-3, -7), (9, 20), (1, 1)), "backwards": ((6, 9), (6, 9), (-2, -2))}


@pytest.mark.parametrize("dynamic", [(), (0,)], ids=["static", "dynamic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("case", BEYOND)
@pytest.mark.parametrize("mode", [name for name in S.__members__ if name != "STRICT_BOUNDS"])
def test_a_slice_beyond_the_bounds(mode: str, case: str, dtype: type, dynamic: tuple[int, ...]) -> None:
    x, mode = counted(4, 5, dtype=dtype), getattr(S, mode)

    def write(net, tensor):
        layer = net.network.add_slice(tensor, *BEYOND[case])
        layer.mode = mode
        if mode == S.FILL:
            layer.set_input(4, net.constant(np.array(42, dtype)))
        return layer

    check(write, sliced(x, *BEYOND[case], mode, 42), x, dynamic=[dynamic])


def test_a_slice_that_fills_fills_with_zero_unless_told() -> None:
    x = counted(4, 5)

    def write(net, tensor):
        layer = net.network.add_slice(tensor, (-1, 0), (6, 5), (1, 1))
        layer.mode = S.FILL
        return layer

    check(write, np.pad(x, [(1, 1), (0, 0)]), x)


def test_a_slice_of_some_axes() -> None:
    x = counted(4, 5, 6)

    def write(net, tensor):
        layer = net.network.add_slice(tensor, (0, 5), (2, 3), (1, -1))
        layer.axes = (1, 2)
        return layer

    check(write, x[:, 0:2, 5:2:-1], x, dynamic=[(0,)])


def test_a_slice_takes_its_axes_from_a_constant() -> None:
    x = counted(4, 5, 6)

    def write(net, tensor):
        layer = net.network.add_slice(tensor, (1,), (2,), (2,))
        layer.set_input(5, net.constant(np.array([-1], np.int32)))
        return layer

    check(write, x[:, :, 1:5:2], x)


@pytest.mark.parametrize("batch", [2, 4])
def test_a_slice_takes_its_size_from_a_tensor(batch: int) -> None:
    x, like = counted(4, 5), counted(batch, 3)

    def write(net, tensor, other):
        layer = net.network.add_slice(tensor, (0, 1), (1, 1), (1, 1))
        layer.set_input(2, net.network.add_shape(other).get_output(0))
        return layer

    check(write, x[:batch, 1:4], x, like, dynamic=[(), (0,)])


def test_a_slice_computes_start_size_and_stride_while_running() -> None:
    """All of the rows but one, backwards: every number comes from the shape of the input."""
    x = counted(4, 5)

    def write(net, tensor):
        shape = net.network.add_shape(tensor).get_output(0)
        minus, minimum = trt.ElementWiseOperation.SUB, trt.ElementWiseOperation.MIN

        def apply(a, op, *values):
            return net.network.add_elementwise(a, net.constant(np.array(values, np.int64)), op).get_output(0)

        layer = net.network.add_slice(tensor, (0, 0), (1, 1), (1, 1))
        layer.set_input(1, apply(shape, minus, 1, 5))
        layer.set_input(2, apply(shape, minus, 1, 0))
        layer.set_input(3, apply(shape, minimum, -1, 1))
        return layer

    check(write, x[:0:-1], x, dynamic=[(0,)])


def test_a_strict_slice_out_of_bounds_fails_instead_of_being_cut_short() -> None:
    net = make(lambda net, t: net.network.add_slice(t, (0, 0), (3, 5), (1, 1)), [counted(4, 5)], [(0,)])
    executor = Executor(walk(net.network))
    assert len(executor.run({"in0": counted(4, 5)})["out0"]) == 3
    with pytest.raises(ExecutionError):
        executor.run({"in0": counted(2, 5)})


def gather(mode: trt.GatherMode, axis: int = 0, elementwise: int = 0):
    def write(net, data, indices):
        layer = net.network.add_gather_v2(data, indices, mode)
        if mode != G.ND:
            layer.axis = axis
        layer.num_elementwise_dims = elementwise
        return layer

    return write


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_gather_along_an_axis(axis: int, dtype: type, index_dtype: type) -> None:
    x, indices = counted(3, 4, 5, dtype=dtype), np.array([[0, 2], [1, 1]], index_dtype)
    check(gather(G.DEFAULT, axis), np.take(x, indices, axis=axis), x, indices, dynamic=[(), (0,)])


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("index_shape", [(2,), (2, 3), (2, 3, 2)])
def test_a_gather_with_indices_for_each_entry_of_the_batch(index_shape: tuple[int, ...], axis: int) -> None:
    x = counted(2, 3, 4, 5)
    indices = np.random.default_rng(0).integers(0, 3, index_shape).astype(np.int32)
    expected = np.stack([np.take(data, index, axis=axis - 1) for data, index in zip(x, indices, strict=True)])
    check(gather(G.DEFAULT, axis, 1), expected, x, indices)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_gather_of_elements(axis: int, dtype: type) -> None:
    x, indices = counted(3, 4, dtype=dtype), np.array([[0, 2, 1, 0], [1, 1, 0, 2]], np.int32)
    indices = indices if axis == 0 else np.ascontiguousarray(indices.T[:3])
    check(gather(G.ELEMENT, axis), np.take_along_axis(x, indices, axis=axis), x, indices)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
def test_a_gather_of_points(dtype: type) -> None:
    x, indices = counted(3, 4, 5, dtype=dtype), np.array([[0, 3], [2, 1]], np.int32)
    check(gather(G.ND), x[indices[:, 0], indices[:, 1]], x, indices)


def test_a_gather_of_points_for_each_entry_of_the_batch() -> None:
    x, indices = counted(2, 3, 4), np.array([[[0], [2]], [[1], [1]]], np.int32)
    expected = np.stack([data[index[:, 0]] for data, index in zip(x, indices, strict=True)])
    check(gather(G.ND, elementwise=1), expected, x, indices)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_scatter_of_elements(axis: int, dtype: type) -> None:
    x, updates = counted(3, 4, dtype=dtype), (counted(2, 3) + 50).astype(dtype)
    indices = np.array([[0, 2, 1], [1, 0, 2]], np.int32)
    expected = x.copy()
    for row, column in itertools.product(range(2), range(3)):
        place = indices[row, column]
        expected[(place, column) if axis == 0 else (row, place)] = updates[row, column]

    def write(net, data, index, values):
        layer = net.network.add_scatter(data, index, values, trt.ScatterMode.ELEMENT)
        layer.axis = axis
        return layer

    check(write, expected, x, indices, updates)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
def test_a_scatter_of_rows(dtype: type) -> None:
    x, indices, updates = counted(4, 3, dtype=dtype), np.array([[2], [0]], np.int32), np.zeros((2, 3), dtype)
    expected = x.copy()
    expected[[2, 0]] = 0

    def write(net, data, index, values):
        return net.network.add_scatter(data, index, values, trt.ScatterMode.ND)

    check(write, expected, x, indices, updates)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("axis", [0, -1])
def test_one_hot_marks_the_index(axis: int, dtype: type) -> None:
    indices, values = np.array([[0, 3, 1], [2, 2, 0]], np.int32), np.array([0, 1]).astype(dtype)

    def write(net, index):
        return net.network.add_one_hot(index, net.constant(values), net.constant(np.array(4, np.int32)), axis)

    expected = np.moveaxis(np.eye(4)[indices], -1, axis).astype(dtype)
    check(write, expected, indices)


@pytest.mark.parametrize("dtype", TYPES)
def test_non_zero_lists_the_places_in_order(dtype: type) -> None:
    """Walked only: TensorRT-RTX 1.7's builder knows the layer and has no kernel for it."""
    x = np.array([[0, 1, 0], [1, 0, 1]]).astype(dtype)
    net = make(lambda net, t: net.network.add_non_zero(t), [x])
    result = execute(net.network, {"in0": x})["out0"]
    assert result.dtype == np.int32
    agree(result, np.stack(np.nonzero(x)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize(("batch", "sequence"), [(0, 1), (1, 0), (0, 2), (2, 1)])
def test_a_reversed_sequence_keeps_what_is_behind_its_length(batch: int, sequence: int, dtype: type) -> None:
    x = counted(3, 4, 5).astype(dtype)
    lengths = np.minimum([2, 0, 4, 3, 1][: x.shape[batch]], x.shape[sequence]).astype(np.int32)
    expected = np.moveaxis(x, (batch, sequence), (0, 1)).copy()
    for number, length in enumerate(lengths):
        expected[number, :length] = expected[number, :length][::-1].copy()
    expected = np.moveaxis(expected, (0, 1), (batch, sequence))

    def write(net, tensor):
        layer = net.network.add_reverse_sequence(tensor, net.constant(lengths))
        layer.batch_axis, layer.sequence_axis = batch, sequence
        return layer

    check(write, expected, x, dynamic=[(({0, 1, 2} - {batch}).pop(),)])


def sampled(x: np.ndarray, grid: np.ndarray, mode: str, outside: str, corners: bool) -> np.ndarray:
    """Each place of the grid, (x, y) from -1 to 1, read pixel by pixel in float64."""
    size = np.array(x.shape[:1:-1])
    lows, highs = (np.zeros(2), size - 1.0) if corners else (np.full(2, -0.5), size - 0.5)
    out = np.zeros((*x.shape[:2], *grid.shape[1:3]))
    for n, row, column in np.ndindex(*grid.shape[:3]):
        at = (grid[n, row, column].astype(np.float64) + 1) / 2 * (highs - lows) + lows
        if outside == "CLAMP":
            at = np.clip(at, 0, size - 1)
        elif outside == "REFLECT":
            span = highs - lows
            at = np.clip(lows + span - np.abs((at - lows) % (2 * span) - span), 0, size - 1)
        corner = np.rint(at) if mode == "NEAREST" else np.floor(at)
        for right, down in [(0, 0)] if mode == "NEAREST" else [(0, 0), (1, 0), (0, 1), (1, 1)]:
            place = corner + np.array([right, down])
            if ((place >= 0) & (place < size)).all():
                weight = 1.0 if mode == "NEAREST" else np.prod(1 - np.abs(at - place))
                out[n, :, row, column] += weight * x[n, :, int(place[1]), int(place[0])]
    return out


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("outside", ["FILL", "CLAMP", "REFLECT"])
@pytest.mark.parametrize("mode", ["NEAREST", "LINEAR"])
def test_a_grid_sample_reads_between_the_pixels(mode: str, outside: str, corners: bool) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    grid = rng.uniform(-1.6, 1.6, (2, 3, 6, 2)).astype(np.float32)

    def write(net, tensor, places):
        layer = net.network.add_grid_sample(tensor, places)
        layer.interpolation_mode = getattr(trt.InterpolationMode, mode)
        layer.sample_mode, layer.align_corners = getattr(trt.SampleMode, outside), corners
        return layer

    check(write, sampled(x, grid, mode, outside, corners), x, grid, dynamic=[(0,), (0,)])
