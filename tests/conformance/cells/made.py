"""Layers that make a tensor out of nothing but constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from .entry import X, entry

_VALUES = [[0, 1, 2], [3, 0, 5]]


def _typed(cell_x: np.ndarray, values: Any) -> np.ndarray:
    """The values in the kind of the cell's type, which an input of no other use shows."""
    return np.array(values).astype(cell_x.dtype)


#: An input that says the cell's type, since a network has to have one.
_WITNESS = X((1,), free=None)
entry(
    "CONSTANT", [_WITNESS],
    lambda net, x: (net.constant(_VALUES), net.add_identity(x).get_output(0)),
    lambda x: (_typed(x, _VALUES), x),
)  # fmt: skip
entry(
    "CONSTANT", [_WITNESS],
    lambda net, x: (net.constant(np.zeros((0, 3))), net.add_identity(x).get_output(0)),
    lambda x: (_typed(x, np.zeros((0, 3))), x),
    "of no elements",
)  # fmt: skip


def _linspace(net: Any, x: Any) -> Any:
    """1 + 3 i + 2 j, as large as the input."""
    rows = x.shape[0]
    layer = net.add_fill((max(rows, 0), 3), net.trt.FillOperation.LINSPACE, net.type())
    if rows < 0:
        layer.set_input(0, net.sizes(x, {}))
    layer.set_input(1, net.constant(1))
    layer.set_input(2, net.constant([3, 2]))
    return layer.get_output(0), net.add_identity(x).get_output(0)


def _filled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices(x.shape)
    return (1 + 3 * rows + 2 * columns).astype(x.dtype), x


entry("FILL", [X((2, 3))], _linspace, _filled, "LINSPACE")


def _drawn(operation: str, second: int) -> None:
    """Between 5 and 5, or 5 with a deviation of 0: whatever is drawn, it is that."""

    def make(net: Any, x: Any) -> Any:
        layer = net.add_fill((2, 3), getattr(net.trt.FillOperation, operation), net.type())
        layer.set_input(1, net.constant(5))
        layer.set_input(2, net.constant(second))
        return layer.get_output(0), net.add_identity(x).get_output(0)

    entry("FILL", [_WITNESS], make, lambda x: (np.full((2, 3), 5, x.dtype), x), operation)


_drawn("RANDOM_UNIFORM", 5)
_drawn("RANDOM_NORMAL", 0)
