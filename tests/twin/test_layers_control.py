"""Loops, as TensorRT's class reference and its formal semantics say them, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorrt_rtx as trt

from grader.twin.executor import ExecutionError, Executor
from grader.twin.layers import Unsupported
from grader.twin.shapes import ShapeRules
from grader.twin.walk import walk
from tests.twin.networks import TYPE, Net, agree, build, check, make, run

COUNT, WHILE = trt.TripLimit.COUNT, trt.TripLimit.WHILE
LAST, CONCATENATE, REVERSE = trt.LoopOutput.LAST_VALUE, trt.LoopOutput.CONCATENATE, trt.LoopOutput.REVERSE
SUM, PROD, LESS, MAX = (getattr(trt.ElementWiseOperation, n) for n in ("SUM", "PROD", "LESS", "MAX"))
RANDOM = np.random.default_rng(7)


def both(net: Net, a: trt.ITensor, b: trt.ITensor, how: trt.ElementWiseOperation) -> trt.ITensor:
    return net.network.add_elementwise(a, b, how).get_output(0)


def int32(net: Net, value: int) -> trt.ITensor:
    return net.constant(np.array(value, np.int32))


def size(net: Net, tensor: trt.ITensor, axis: int) -> trt.ITensor:
    """The length of one axis, as a scalar shape tensor."""
    shape = net.network.add_shape(tensor).get_output(0)
    return net.network.add_gather(shape, int32(net, axis), 0).get_output(0)


def collect(
    loop: trt.ILoop, tensor: trt.ITensor, length: trt.ITensor, kind: trt.LoopOutput = CONCATENATE, axis: int = 0
) -> trt.ILoopOutputLayer:
    layer = loop.add_loop_output(tensor, kind, axis)
    layer.set_input(1, length)
    return layer


def last(loop: trt.ILoop, recurrence: trt.IRecurrenceLayer) -> trt.ILoopOutputLayer:
    return loop.add_loop_output(recurrence.get_output(0), LAST)


def repeat(net: Net, tensor: trt.ITensor, times: trt.ITensor, factor: float = 2.0) -> trt.ILoopOutputLayer:
    """``tensor`` times ``factor``, ``times`` times."""
    loop = net.network.add_loop()
    loop.add_trip_limit(times, COUNT)
    state = loop.add_recurrence(tensor)
    shape = (1,) * len(tensor.shape)
    state.set_input(1, both(net, state.get_output(0), net.constant(np.full(shape, factor, np.float32)), PROD))
    return last(loop, state)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("trips", [0, 1, 5])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_counted_loop_leaves_the_value_after_its_last_trip(trips: int, dtype: type) -> None:
    x = floats(2, 3)
    check(lambda net, t: repeat(net, t, net.constant(np.array(trips, dtype))), x * 2.0**trips, x, dynamic=[(0, 1)])


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_the_count_may_come_of_a_shape(rows: int) -> None:
    """No row, no trip: the initial value stands."""
    x, start = floats(rows, 3), floats(3)

    def write(net, tensor, first):
        loop = net.network.add_loop()
        loop.add_trip_limit(size(net, tensor, 0), COUNT)
        state = loop.add_recurrence(first)
        row = loop.add_iterator(tensor).get_output(0)
        state.set_input(1, both(net, both(net, state.get_output(0), state.get_output(0), SUM), row, SUM))
        return last(loop, state)

    expected = start.astype(np.float64)
    for row in x:
        expected = 2 * expected + row
    check(write, expected, x, start, dynamic=[(0,)])


def loop_over(
    net: Net, tensor: trt.ITensor, axis: int, backwards: bool, kind: trt.LoopOutput, at: int
) -> trt.ILoopOutputLayer:
    """Running products along one axis, collected."""
    loop = net.network.add_loop()
    loop.add_trip_limit(size(net, tensor, axis), COUNT)
    part = loop.add_iterator(tensor, axis, backwards).get_output(0)
    first = net.network.add_reduce(tensor, trt.ReduceOperation.MAX, 1 << axis, False).get_output(0)
    state = loop.add_recurrence(first)
    following = both(net, state.get_output(0), part, PROD)
    state.set_input(1, following)
    return collect(loop, following, size(net, tensor, axis), kind, at)


@pytest.mark.parametrize("free", [(), (0, 1, 2)])
@pytest.mark.parametrize("kind", ["CONCATENATE", "REVERSE"])
@pytest.mark.parametrize(("axis", "at"), [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2), (1, 0)])
@pytest.mark.parametrize("backwards", [False, True])
def test_iterators_and_collecting_outputs_along_every_axis(
    backwards: bool, axis: int, at: int, kind: str, free: tuple[int, ...]
) -> None:
    x = floats(2, 3, 4)
    state, found = x.astype(np.float64).max(axis), []
    for index in range(x.shape[axis]):
        state = state * x.take(x.shape[axis] - 1 - index if backwards else index, axis)
        found.append(state)
    expected = np.stack(found[::-1] if kind == "REVERSE" else found, at)
    check(
        lambda net, t: loop_over(net, t, axis, backwards, trt.LoopOutput.__members__[kind], at),
        expected,
        x,
        dynamic=[free],
    )


@pytest.mark.parametrize("kind", ["CONCATENATE", "REVERSE"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.int64, np.bool_])
def test_no_trip_collects_nothing_of_the_right_shape(dtype: type, kind: str) -> None:
    """What a trip would give is dynamic in one axis, so its size is nowhere but in the other tensors' shapes."""
    net = Net()
    x = net.network.add_input("x", TYPE[np.dtype(dtype)], (-1, -1))
    loop = net.network.add_loop()
    loop.add_trip_limit(size(net, x, 0), COUNT)
    part = net.network.add_concatenation([loop.add_iterator(x).get_output(0)] * 2).get_output(0)
    net.network.mark_output(collect(loop, part, size(net, x, 0), trt.LoopOutput.__members__[kind], 1).get_output(0))
    build(net.network, {"x": np.zeros((2, 3), dtype)})
    (result,) = Executor(walk(net.network)).run({"x": np.zeros((0, 3), dtype)}).values()
    assert result.shape == (6, 0)
    assert result.dtype == dtype


def double_until(net: Net, tensor: trt.ITensor, limit: float, on_next: bool = False) -> tuple[trt.ILoop, list]:
    """A loop that doubles while the sum is less; the loop, and what is doubled."""
    loop = net.network.add_loop()
    state = loop.add_recurrence(tensor)
    now = state.get_output(0)
    following = both(net, now, now, SUM)
    state.set_input(1, following)
    asked = following if on_next else now
    total = net.network.add_reduce(asked, trt.ReduceOperation.SUM, 1, False).get_output(0)
    loop.add_trip_limit(both(net, total, net.constant(np.array(limit, np.float32)), LESS), WHILE)
    return loop, [state, following]


@pytest.mark.parametrize("start", [1.0, 30.0, 64.0, 200.0])
@pytest.mark.parametrize("on_next", [False, True])
def test_a_condition_is_asked_before_each_trip(start: float, on_next: bool) -> None:
    x = np.array([start, 0, 0], np.float32)
    value = float(start)
    while (2 * value if on_next else value) < 100:
        value *= 2

    def write(net, tensor):
        loop, (state, _) = double_until(net, tensor, 100, on_next)
        return last(loop, state)

    check(write, np.array([value, 0, 0]), x)


@pytest.mark.parametrize("start", [1.0, 200.0])
def test_what_lies_behind_the_last_trip_is_not_promised(start: float) -> None:
    """CONCATENATE pads to its length; TensorRT does not say with what, so it reads as never written."""
    x = np.array([start, -0.5], np.float32)
    kept, value = [], x.astype(np.float64)
    while value.sum() < 20:
        value = 2 * value
        kept.append(value)

    def write(net, tensor):
        loop, (_, following) = double_until(net, tensor, 20)
        return collect(loop, following, int32(net, 9))

    (result,) = run(write, x)
    assert result.shape == (9, 2)
    agree(result[: len(kept)], np.array(kept).reshape(-1, 2))
    assert np.isnan(result[len(kept) :]).all()


@pytest.mark.parametrize(("count", "trips"), [(2, 2), (5, 5), (50, 7)])
def test_of_two_limits_the_first_ends_the_loop(count: int, trips: int) -> None:
    x = np.array([1.0, 0.0], np.float32)

    def write(net, tensor):
        loop, (state, _) = double_until(net, tensor, 100)
        loop.add_trip_limit(int32(net, count), COUNT)
        return last(loop, state)

    check(write, x * 2.0**trips, x)


@pytest.mark.parametrize(("kind", "length"), [("CONCATENATE", 2), ("REVERSE", 2), ("REVERSE", 4)])
def test_more_trips_than_are_collected_are_an_error_and_so_is_padding_in_reverse(kind: str, length: int) -> None:
    """Three trips. TensorRT-RTX builds no loop of a condition alone that collects in reverse; it is walked only."""

    def write(net, tensor):
        loop, (_, following) = double_until(net, tensor, 7)
        layer = collect(loop, following, int32(net, length), trt.LoopOutput.__members__[kind])
        layer.name = "kept"
        return layer

    x = np.array([1.0, 0.0], np.float32)
    with pytest.raises(ExecutionError, match="loop output kept has the length of its loop"):
        Executor(walk(make(write, [x]).network)).run({"in0": x})


def test_a_length_that_is_not_the_counts_is_an_error() -> None:
    """TensorRT would pad, its guide says; TensorRT-RTX refuses what it can see at the build."""

    def write(net, tensor, other):
        loop = net.network.add_loop()
        loop.add_trip_limit(size(net, tensor, 0), COUNT)
        layer = collect(loop, loop.add_iterator(tensor).get_output(0), size(net, other, 0))
        layer.name = "kept"
        return layer

    x = floats(3, 2)
    (same,) = run(write, x, floats(3), dynamic=[(0,), (0,)])
    agree(same, x)
    for length in (2, 4):
        with pytest.raises(ExecutionError, match="kept has the length of its loop"):
            run(write, x, floats(length), dynamic=[(0,), (0,)])


def test_a_loop_that_does_not_end_in_time_is_an_error() -> None:
    def endless(net, tensor):
        loop, (state, _) = double_until(net, tensor, 1)
        loop.name = "endless"
        return last(loop, state)

    def long(net, tensor):
        layer = repeat(net, tensor, int32(net, 2**31 - 1))
        layer.loop.name = "endless"
        return layer

    for write in (endless, long):
        with pytest.raises(ExecutionError, match="loop endless ended before 100000 trips"):
            run(write, np.zeros(1, np.float32))


def test_several_recurrences_change_at_once() -> None:
    """Two tensors swap places on each trip, and a third counts; one is wanted twice."""

    def write(net, a, b):
        loop = net.network.add_loop()
        loop.add_trip_limit(int32(net, 3), COUNT)
        one, other = loop.add_recurrence(a), loop.add_recurrence(b)
        one.set_input(1, other.get_output(0))
        other.set_input(1, one.get_output(0))
        index = loop.add_recurrence(net.constant(np.array(0, np.int64)))
        index.set_input(1, both(net, index.get_output(0), net.constant(np.array(2, np.int64)), SUM))
        ends = [last(loop, r) for r in (one, other, index, one)]
        return [layer.get_output(0) for layer in ends]

    a, b = floats(2), floats(2)
    for result, expected in zip(run(write, a, b), (b, a, 6, b), strict=True):
        agree(result, expected)


@pytest.mark.parametrize("rows", [0, 3])
def test_a_loop_in_a_loop_may_use_tensors_of_both_and_of_outside(rows: int) -> None:
    """Twice the sums over rows of (element * row's index + weight); the index is the outer loop's recurrence."""
    x, weight = floats(rows, 4), floats(4)

    def write(net, tensor, weights):
        outer, length = net.network.add_loop(), size(net, tensor, 0)
        outer.add_trip_limit(length, COUNT)
        row = outer.add_iterator(tensor).get_output(0)
        index = outer.add_recurrence(net.constant(np.array(0, np.float32)))
        index.set_input(1, both(net, index.get_output(0), net.constant(np.array(1, np.float32)), SUM))
        inner = net.network.add_loop()
        inner.add_trip_limit(int32(net, 4), COUNT)
        element, own = (inner.add_iterator(t).get_output(0) for t in (row, weights))
        total = inner.add_recurrence(net.constant(np.array(0, np.float32)))
        scaled = both(net, both(net, element, index.get_output(0), PROD), own, SUM)
        total.set_input(1, both(net, total.get_output(0), scaled, SUM))
        end = last(inner, total).get_output(0)
        return collect(outer, both(net, end, end, SUM), length)

    expected = [2 * (row.astype(np.float64) * place + weight).sum() for place, row in enumerate(x)]
    check(write, np.array(expected).reshape(rows), x, weight, dynamic=[(0,)])


def test_the_same_loop_may_be_used_by_another_though_it_depends_on_none_of_its_trips() -> None:
    x = floats(3)

    def write(net, tensor):
        outer = net.network.add_loop()
        outer.add_trip_limit(int32(net, 3), COUNT)
        powers = repeat(net, tensor, int32(net, 3)).get_output(0)
        columns = net.network.add_shuffle(tensor)
        columns.reshape_dims = (3, 1)
        return collect(
            outer, both(net, powers, outer.add_iterator(columns.get_output(0)).get_output(0), SUM), int32(net, 3)
        )

    check(write, x.astype(np.float64)[:, None] + 8.0 * x, x)


def test_a_loop_feeds_another_of_the_same_name() -> None:
    x = floats(2)

    def write(net, tensor):
        one = repeat(net, tensor, int32(net, 2))
        other = repeat(net, one.get_output(0), int32(net, 1), 3.0)
        one.loop.name = other.loop.name = "same"
        return other

    check(write, x * 4.0 * 3.0, x)


def shapes(net: Net, inputs: dict[str, tuple[int, ...]]) -> list[tuple[int, ...]]:
    written = walk(net.network)
    return list(ShapeRules(written, Executor(written)).outputs(inputs).values())


@pytest.mark.parametrize("kind", ["CONCATENATE", "REVERSE"])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_shapes_are_told_without_a_trip(rows: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ShapeRules, "_measure")
    how = trt.LoopOutput.__members__[kind]
    net = make(lambda net, t: loop_over(net, t, 1, False, how, 2), [floats(2, 3, 4)], [(0, 1, 2)])
    assert shapes(net, {"in0": (2, rows, 7)}) == [(2, 7, rows)]


def test_shapes_of_a_loop_that_zeros_would_not_end() -> None:
    def write(net, tensor):
        loop, (state, _) = double_until(net, tensor, 1)
        return last(loop, state)

    net = make(write, [floats(4)], [(0,)])
    assert shapes(net, {"in0": (6,)}) == [(6,)]


def test_a_condition_may_not_depend_on_an_iterator() -> None:
    def write(net, tensor):
        loop = net.network.add_loop()
        value = loop.add_iterator(tensor).get_output(0)
        limit = loop.add_trip_limit(both(net, value, net.constant(np.array(1, np.float32)), LESS), WHILE)
        limit.name = "asks"
        state = loop.add_recurrence(net.constant(np.array(0, np.float32)))
        state.set_input(1, value)
        return last(loop, state)

    with pytest.raises(Unsupported, match=r"'asks' \(TRIP_LIMIT\).*iterator"):
        walk(make(write, [floats(4)]).network)


def test_tensors_of_two_loops_side_by_side_do_not_mix() -> None:
    def write(net, tensor):
        loops = [net.network.add_loop() for _ in range(2)]
        for loop in loops:
            loop.add_trip_limit(int32(net, 4), COUNT)
        mixed = net.network.add_elementwise(*(loop.add_iterator(tensor).get_output(0) for loop in loops), SUM)
        mixed.name = "mixed"
        return mixed

    with pytest.raises(Unsupported, match=r"'mixed'.*none lies in the other"):
        walk(make(write, [floats(4)]).network)


def test_what_lies_in_a_loop_is_no_output_of_the_network() -> None:
    def write(net, tensor):
        return net.network.add_loop().add_iterator(tensor)

    with pytest.raises(Unsupported, match="output 'out0': it lies inside a loop"):
        walk(make(write, [floats(4)]).network)


@pytest.mark.parametrize("trips", [1, 3])
def test_the_count_may_be_an_input(trips: int) -> None:
    x = floats(2)
    check(repeat, x * 2.0**trips, x, np.array(trips, np.int32))


@pytest.mark.parametrize("trips", [1, 5])
def test_a_loop_in_bf16_is_rounded_in_each_trip(trips: int) -> None:
    """1 + 1/128 is the next of BF16 after 1, so its powers are not BF16's; NumPy rounds them here by their bits."""

    def write(net, tensor):
        loop = net.network.add_loop()
        loop.add_trip_limit(int32(net, trips), COUNT)
        factor = net.constant(np.full(1, 1 + 1 / 128, np.float32))
        factor, start = (net.network.add_cast(t, trt.bfloat16).get_output(0) for t in (factor, tensor))
        state = loop.add_recurrence(start)
        state.set_input(1, both(net, state.get_output(0), factor, PROD))
        return net.network.add_cast(last(loop, state).get_output(0), trt.float32)

    expected = np.array([1.0, 3.0])
    (result,) = run(write, expected.astype(np.float32))
    for _ in range(trips):
        exact = expected * (1 + 1 / 128)
        step = 2.0 ** (np.floor(np.log2(exact)) - 7)
        expected = np.round(exact / step) * step  # NumPy rounds halves to even
    np.testing.assert_array_equal(result, expected)
