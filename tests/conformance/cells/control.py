"""Loops, conditionals and assertions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .entry import X, entry


def _loop(net: Any, x: Any) -> Any:
    """Runs along the rows, adding them up."""
    trt, loop, count = net.trt, net.add_loop(), net.size(x, 0)
    loop.add_trip_limit(count, trt.TripLimit.COUNT)
    row = loop.add_iterator(x, 0).get_output(0)
    state = loop.add_recurrence(net.constant([0, 0, 0]))
    total = net.add_elementwise(state.get_output(0), row, trt.ElementWiseOperation.SUM).get_output(0)
    state.set_input(1, total)
    last = loop.add_loop_output(state.get_output(0), trt.LoopOutput.LAST_VALUE)
    every = loop.add_loop_output(total, trt.LoopOutput.CONCATENATE, 0)
    every.set_input(1, count)
    return last.get_output(0), every.get_output(0)


entry(
    "TRIP_LIMIT ITERATOR RECURRENCE LOOP_OUTPUT", [X((3, 3), low=-1, high=1)], _loop,
    lambda x: (x.sum(axis=0), np.cumsum(x, axis=0)), "COUNT",
)  # fmt: skip


def _backwards(net: Any, x: Any) -> Any:
    trt, loop, count = net.trt, net.add_loop(), net.size(x, 0)
    loop.add_trip_limit(count, trt.TripLimit.COUNT)
    row = loop.add_iterator(x, 0, True).get_output(0)
    out = loop.add_loop_output(row, trt.LoopOutput.REVERSE, 1)
    out.set_input(1, count)
    other = loop.add_loop_output(row, trt.LoopOutput.CONCATENATE, 1)
    other.set_input(1, count)
    return out.get_output(0), other.get_output(0)


entry(
    "TRIP_LIMIT ITERATOR LOOP_OUTPUT", [X((2, 3))], _backwards, lambda x: (x.T, x[::-1].T), "reversed",
)  # fmt: skip


def _while(net: Any, x: Any, limit: Any) -> Any:
    """Adds x to itself while the sum of it is below the limit."""
    trt, loop = net.trt, net.add_loop()
    state, ones = loop.add_recurrence(x), loop.add_recurrence(net.constant(0, "INT32"))
    below = net.add_elementwise(ones.get_output(0), limit, trt.ElementWiseOperation.LESS).get_output(0)
    loop.add_trip_limit(below, trt.TripLimit.WHILE)
    more = net.add_elementwise(state.get_output(0), x, trt.ElementWiseOperation.SUM).get_output(0)
    state.set_input(1, more)
    counted = net.add_elementwise(ones.get_output(0), net.constant(1, "INT32"), trt.ElementWiseOperation.SUM)
    ones.set_input(1, counted.get_output(0))
    return loop.add_loop_output(state.get_output(0), trt.LoopOutput.LAST_VALUE)


entry(
    "TRIP_LIMIT RECURRENCE LOOP_OUTPUT", [X((2, 3), low=-1, high=1), X((), "INT32", values=2, free=None)], _while,
    lambda x, limit: x * (int(limit) + 1), "WHILE",
)  # fmt: skip


def _conditional(net: Any, condition: Any, a: Any, b: Any) -> Any:
    choice = net.add_if_conditional()
    choice.set_condition(condition)
    inside = [choice.add_input(tensor).get_output(0) for tensor in (a, b)]
    branches = [net.add_identity(tensor).get_output(0) for tensor in inside]
    return choice.add_output(*branches)


for _true in (True, False):
    entry(
        "CONDITION CONDITIONAL_INPUT CONDITIONAL_OUTPUT",
        [X((), "BOOL", values=_true, free=None), X((2, 3)), X((2, 3))],
        _conditional, lambda condition, a, b: a if condition else b, str(_true).lower(),
    )  # fmt: skip


def _assertion(net: Any, x: Any) -> Any:
    """That there are three columns, which the sizes say: the condition has to be known from them."""
    columns = net.add_elementwise(net.size(x, 1), net.constant(3, "INT64"), net.trt.ElementWiseOperation.EQUAL)
    net.add_assertion(columns.get_output(0), "three columns")
    return net.add_identity(x)


entry("ASSERTION", [X((2, 3))], _assertion, lambda x: x, "holds")
