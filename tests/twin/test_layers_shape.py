"""Constants, shuffles, concatenation, resizing and filling, against NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorrt_rtx as trt

from grader.twin.walk import walk
from tests.twin.networks import agree, check, make, run

T = trt.DataType
TYPES = [np.float32, np.float16, np.int32, np.int64, np.bool_]


def counted(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return (np.arange(math.prod(shape)).reshape(shape) % 100).astype(dtype)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_constant_keeps_its_values_and_type(dtype: type, shape: tuple[int, ...]) -> None:
    value, x = counted(*shape, dtype=dtype), counted(2, dtype=dtype)

    def write(net, tensor):
        return net.network.add_identity(tensor).get_output(0), net.network.add_identity(net.constant(value)).get_output(
            0
        )

    _, result = run(write, x)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, value)


def test_a_constant_is_copied_when_the_network_is_walked() -> None:
    weights = np.array([1, 2, 3], np.float32)
    net = make(
        lambda net, t: net.network.add_elementwise(t, net.constant(weights), trt.ElementWiseOperation.SUM), [weights]
    )
    before = walk(net.network)
    weights[:] = 9
    assert before != walk(net.network), "the network aliases the array, as TensorRT's does"
    from grader.twin.executor import Executor

    (result,) = Executor(before).run({"in0": np.zeros(3, np.float32)}).values()
    np.testing.assert_array_equal(result, [1, 2, 3])


def shuffled(first=None, reshape=None, second=None, zero=True):
    def write(net, tensor):
        layer = net.network.add_shuffle(tensor)
        if first:
            layer.first_transpose = first
        if reshape is not None:
            layer.reshape_dims = reshape
        if second:
            layer.second_transpose = second
        layer.zero_is_placeholder = zero
        return layer

    return write


@pytest.mark.parametrize("dtype", TYPES)
def test_a_shuffle_transposes_reshapes_and_transposes(dtype: type) -> None:
    x = counted(2, 3, 4, 5, dtype=dtype)
    expected = x.transpose(0, 2, 3, 1).reshape(2, 20, 3).transpose(2, 0, 1)
    check(shuffled((0, 2, 3, 1), (2, 20, 3), (2, 0, 1)), expected, x)


SHUFFLES = {
    "nothing": (shuffled(), lambda x: x),
    "first_transpose": (shuffled(first=(0, 2, 1)), lambda x: x.transpose(0, 2, 1)),
    "second_transpose": (shuffled(second=(0, 2, 1)), lambda x: x.transpose(0, 2, 1)),
    "inferred": (shuffled(reshape=(0, -1)), lambda x: x.reshape(len(x), -1)),
    "inferred_batch": (shuffled(reshape=(-1, 4, 3)), lambda x: x.reshape(-1, 4, 3)),
    "more_axes": (shuffled(reshape=(0, 3, 2, -1)), lambda x: x.reshape(len(x), 3, 2, -1)),
    "zero_copies_the_transposed_size": (
        shuffled(first=(1, 0, 2), reshape=(0, -1)),
        lambda x: x.transpose(1, 0, 2).reshape(3, -1),
    ),
}


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("case", SHUFFLES)
def test_a_shuffle_of_a_dynamic_batch(case: str, batch: int) -> None:
    write, reference = SHUFFLES[case]
    x = counted(batch, 3, 4)
    check(write, reference(x), x, dynamic=[(0,)])


def test_a_shuffle_to_a_scalar() -> None:
    check(shuffled(reshape=()), np.array(0.0), counted(1, 1))


def test_a_shuffle_takes_zero_as_a_size_where_told() -> None:
    def write(net, tensor):
        cut = net.network.add_slice(tensor, (0, 0), (0, 3), (1, 1)).get_output(0)
        layer = net.network.add_shuffle(cut)
        layer.reshape_dims, layer.zero_is_placeholder = (3, 0), False
        return layer

    check(write, np.zeros((3, 0)), counted(2, 3))


@pytest.mark.parametrize("batch", [1, 4])
def test_a_shuffle_takes_its_shape_from_a_tensor(batch: int) -> None:
    x, like = counted(batch, 6), counted(batch, 2, 3)

    def write(net, tensor, other):
        layer = net.network.add_shuffle(tensor)
        layer.set_input(1, net.network.add_shape(other).get_output(0))
        layer.second_transpose = (0, 2, 1)
        return layer

    check(write, x.reshape(batch, 2, 3).transpose(0, 2, 1), x, like, dynamic=[(0,), (0,)])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_concatenation(axis: int, dtype: type) -> None:
    a, b = (
        counted(2, 3, 4, dtype=dtype),
        counted(*(5 if i == axis else n for i, n in enumerate((2, 3, 4))), dtype=dtype),
    )

    def write(net, x, y):
        layer = net.network.add_concatenation([x, y, x])
        layer.axis = axis
        return layer

    free = (0,) if axis != 0 else ()
    check(write, np.concatenate([a, b, a], axis=axis), a, b, dynamic=[free, free])


def test_a_shape_is_int64() -> None:
    (result,) = run(lambda net, t: net.network.add_shape(t), counted(3, 2, 5), dynamic=[(0, 2)])
    assert result.dtype == np.int64
    assert result.tolist() == [3, 2, 5]


@pytest.mark.parametrize("axes", [np.array([1], np.int64), np.array([1, -1], np.int32)])
def test_squeeze_drops_the_axes_named(axes: np.ndarray) -> None:
    x = counted(4, 1, 3, 1)
    check(
        lambda net, t: net.network.add_squeeze(t, net.constant(axes)),
        x.squeeze(tuple(axes.tolist())),
        x,
        dynamic=[(0,)],
    )


def test_squeeze_without_axes_drops_what_is_declared_as_one() -> None:
    x = counted(2, 1, 3, 1)
    check(lambda net, t: net.network.add_squeeze(t), x.reshape(2, 3), x, dynamic=[(0,)])


@pytest.mark.parametrize("axes", [np.array([0], np.int64), np.array([1, 3], np.int32)])
def test_unsqueeze_adds_the_axes_named(axes: np.ndarray) -> None:
    x = counted(4, 3)
    expected = np.expand_dims(x, tuple(axes.tolist()))
    check(lambda net, t: net.network.add_unsqueeze(t, net.constant(axes)), expected, x, dynamic=[(0,)])


MODE, COORDINATES = trt.InterpolationMode, trt.ResizeCoordinateTransformation
ROUNDING, SELECTOR = trt.ResizeRoundMode, trt.ResizeSelector

ROUND = {
    ROUNDING.HALF_UP: lambda v: math.floor(v + 0.5),
    ROUNDING.HALF_DOWN: lambda v: math.ceil(v - 0.5),
    ROUNDING.FLOOR: math.floor,
    ROUNDING.CEIL: math.ceil,
}


def origin(place: int, source: int, target: int, transform: object, selector: object = SELECTOR.FORMULA) -> float:
    """Where an output element comes from: the formulas of ResizeCoordinateTransformation."""
    if selector == SELECTOR.UPPER and target == 1:
        return 0.0
    if transform == COORDINATES.ALIGN_CORNERS:
        return place * (source - 1) / (target - 1) if target > 1 else 0.0
    if transform == COORDINATES.ASYMMETRIC:
        return place * source / target
    return (place + 0.5) * source / target - 0.5


def cubic_weight(distance: float, a: float) -> float:
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def matrix(
    source, target, mode, transform, rounding=ROUNDING.FLOOR, selector=SELECTOR.FORMULA, a=-0.75, exclude=False
) -> np.ndarray:
    """The linear map that resizes one axis."""
    out = np.zeros((target, source))
    for place in range(target):
        at = origin(place, source, target, transform, selector)
        low = math.floor(at)
        if mode == MODE.NEAREST:
            out[place, min(max(ROUND[rounding](at), 0), source - 1)] = 1
            continue
        reach = [low, low + 1] if mode == MODE.LINEAR else range(low - 1, low + 3)
        for index in reach:
            weight = 1 - abs(at - index) if mode == MODE.LINEAR else cubic_weight(at - index, a)
            if exclude and not 0 <= index < source:
                continue
            out[place, min(max(index, 0), source - 1)] += weight
        if exclude:
            out[place] /= out[place].sum()
    return out


def resized(x, sizes, **how) -> np.ndarray:
    rows, columns = (matrix(n, m, **how) for n, m in zip(x.shape[-2:], sizes, strict=True))
    return np.einsum("pr,bcrs,qs->bcpq", rows, x.astype(np.float64), columns)


def write_resize(set_size, mode, transform, rounding=ROUNDING.FLOOR, selector=SELECTOR.FORMULA, a=-0.75, exclude=False):
    def write(net, tensor, *others):
        layer = net.network.add_resize(tensor)
        layer.resize_mode, layer.coordinate_transformation, layer.nearest_rounding = mode, transform, rounding
        layer.selector_for_single_pixel = selector
        if mode == MODE.CUBIC:
            layer.cubic_coeff, layer.exclude_outside = a, exclude
        set_size(net, layer, *others)
        return layer

    return write


def to_shape(*shape: int):
    return lambda net, layer: setattr(layer, "shape", shape)


@pytest.mark.parametrize("sizes", [(8, 10), (7, 3), (2, 9)])
@pytest.mark.parametrize("rounding", ROUNDING.__members__)
@pytest.mark.parametrize("transform", COORDINATES.__members__)
def test_a_resize_to_the_nearest(transform: str, rounding: str, sizes: tuple[int, int]) -> None:
    how = {"mode": MODE.NEAREST, "transform": getattr(COORDINATES, transform), "rounding": getattr(ROUNDING, rounding)}
    x = counted(2, 3, 4, 5)
    check(write_resize(to_shape(2, 3, *sizes), **how), resized(x, sizes, **how), x)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("sizes", [(8, 10), (7, 3), (2, 9)])
@pytest.mark.parametrize("transform", COORDINATES.__members__)
@pytest.mark.parametrize("mode", ["LINEAR", "CUBIC"])
def test_a_resize_between_elements(mode: str, transform: str, sizes: tuple[int, int], dtype: type) -> None:
    how = {"mode": getattr(MODE, mode), "transform": getattr(COORDINATES, transform)}
    x = np.random.default_rng(2).standard_normal((2, 3, 4, 5)).astype(dtype)
    check(write_resize(to_shape(2, 3, *sizes), **how), resized(x, sizes, **how), x)


def test_a_cubic_resize_can_leave_out_what_lies_outside() -> None:
    how = {"mode": MODE.CUBIC, "transform": COORDINATES.HALF_PIXEL, "a": -0.5, "exclude": True}
    x = np.random.default_rng(2).standard_normal((1, 2, 4, 5)).astype(np.float32)
    check(write_resize(to_shape(1, 2, 8, 10), **how), resized(x, (8, 10), **how), x)


@pytest.mark.parametrize("selector", SELECTOR.__members__)
@pytest.mark.parametrize("transform", ["ASYMMETRIC", "HALF_PIXEL"])
def test_a_resize_to_a_single_pixel_asks_the_selector(transform: str, selector: str) -> None:
    how = {"mode": MODE.LINEAR, "transform": getattr(COORDINATES, transform), "selector": getattr(SELECTOR, selector)}
    x = counted(1, 2, 4, 5)
    check(write_resize(to_shape(1, 2, 1, 1), **how), resized(x, (1, 1), **how), x)


def test_a_resize_by_scales_keeps_a_dynamic_batch() -> None:
    how = {"mode": MODE.LINEAR, "transform": COORDINATES.HALF_PIXEL}
    x = np.random.default_rng(2).standard_normal((3, 2, 4, 5)).astype(np.float32)

    def by_scales(net, layer):
        layer.scales = [1, 1, 2, 3]

    check(write_resize(by_scales, **how), resized(x, (8, 15), **how), x, dynamic=[(0, 2, 3)])


@pytest.mark.parametrize("dynamic", [(), (0, 2, 3)], ids=["static", "dynamic"])
def test_a_resize_by_broken_scales_goes_by_the_ratio_of_the_sizes(dynamic: tuple[int, ...]) -> None:
    how = {"mode": MODE.LINEAR, "transform": COORDINATES.HALF_PIXEL}
    x = np.random.default_rng(2).standard_normal((1, 2, 4, 5)).astype(np.float32)

    def by_scales(net, layer):
        layer.scales = [1, 1, 1.7, 0.5]

    check(write_resize(by_scales, **how), resized(x, (6, 2), **how), x, dynamic=[dynamic])


def test_a_resize_takes_its_size_from_a_tensor() -> None:
    how = {"mode": MODE.LINEAR, "transform": COORDINATES.ALIGN_CORNERS}
    x, like = np.random.default_rng(2).standard_normal((3, 2, 4, 5)).astype(np.float32), counted(3, 2, 6, 7)

    def by_tensor(net, layer, other):
        layer.set_input(1, net.network.add_shape(other).get_output(0))

    check(write_resize(by_tensor, **how), resized(x, (6, 7), **how), x, like, dynamic=[(0,), (0, 2, 3)])


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_a_fill_counts_up(dtype: type) -> None:
    kind = {np.float32: T.FLOAT, np.int32: T.INT32, np.int64: T.INT64}[dtype]
    start, step = (0.5, 0.25) if dtype == np.float32 else (3, 2)

    def write(net, tensor):
        layer = net.network.add_fill((6,), trt.FillOperation.LINSPACE, kind)
        if dtype == np.float32:
            layer.alpha, layer.beta = start, step
        else:
            layer.set_input(1, net.constant(np.array(start, dtype)))
            layer.set_input(2, net.constant(np.array([step], dtype)))
        return net.network.add_elementwise(tensor, layer.get_output(0), trt.ElementWiseOperation.SUM)

    check(write, start + step * np.arange(6), np.zeros(6, dtype))


def test_a_fill_has_a_step_for_each_axis_and_a_size_from_a_tensor() -> None:
    like = counted(3, 4)

    def write(net, other):
        layer = net.network.add_fill((1, 1), trt.FillOperation.LINSPACE, T.INT32)
        layer.set_input(0, net.network.add_shape(other).get_output(0))
        layer.set_input(1, net.constant(np.array(5, np.int32)))
        layer.set_input(2, net.constant(np.array([10, 1], np.int32)))
        return layer

    expected = np.zeros((3, 4))
    for row, column in itertools.product(range(3), range(4)):
        expected[row, column] = 5 + 10 * row + column
    (result,) = run(write, like, dynamic=[(0,)])
    assert result.dtype == np.int32
    agree(result, expected)
