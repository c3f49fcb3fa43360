"""Draws networks of 5 to 30 layers, step by step, and interprets each step as it is drawn.

A step is kept only where its result can be told from rounding: the values are interpreted twice, in float64 and with
every result rounded to its tensor's type, and both must lie close together. Where a step decides (a comparison, a
rounding, a largest element), no value may lie near the border.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.conformance.random_steps import Step, interpret

FLOATS, INTEGERS = ("FLOAT", "HALF"), ("INT32", "INT64")
_CARRIED: dict[str, Any] = {
    "FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_,
}  # fmt: skip
_LARGEST, _MOST_ELEMENTS, _MOST_INTEGER = 30.0, 2048, 1000
#: How far the rounded values may be from the others, relative to the largest: a fifth of what a comparison allows.
_APART = {"FLOAT": 1e-5, "HALF": 2e-3}
#: And how near a deciding value may come to its border, relative to the largest.
_BORDER = {"FLOAT": 1e-3, "HALF": 3e-2}

#: What a TensorRT may lack beside steps and types: ABS and NEG of integers, and float32 normalisations whose result
#: stays float32 where the network has a HALF anywhere.
INTEGER_UNARY, EXACT_NORMALIZATION = "unary of integers", "exact normalization"


class NotKept(Exception):  # noqa: N818 (a word: this step is not)
    """A step that does not fit what there is, or is ill-conditioned."""


@dataclass
class Tensor:
    """``rounded``: the values with every step's result rounded. ``rough``: whether a HALF is among its ancestors.

    ``free``: whether the first axis is the one declared as -1.
    """

    dtype: str
    values: np.ndarray
    rounded: np.ndarray
    rough: bool
    free: bool

    @property
    def kind(self) -> str:
        return "HALF" if self.rough else "FLOAT"


@dataclass
class Network:
    """What `random_program.run` takes, and the expected outputs."""

    seed: int
    inputs: list[dict[str, Any]] = field(default_factory=list)
    arrays: list[np.ndarray] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    expected: list[Tensor] = field(default_factory=list)


class Drawer:
    """``table``: by name, how each kind of step is drawn. ``lacking``: what of it, and which types, are left out."""

    def __init__(self, seed: int, lacking: frozenset[str], table: Mapping[str, Callable[[Drawer], Any]]) -> None:
        self.rng = np.random.default_rng(seed)
        self.network = Network(seed)
        self.tensors: list[Tensor] = []
        self.lacking = lacking
        self._table = table
        self.dynamic = bool(self.rng.integers(2))
        self._used: set[int] = set()

    def drawn(self) -> Network:
        batch = int(self.rng.integers(1, 4))
        for _ in range(self.rng.integers(1, 4)):
            self._input(batch)
        wanted = int(self.rng.integers(5, 31))
        names = [name for name in self._table if name not in self.lacking]
        for _ in range(60 * wanted):
            if sum(step["op"] != "constant" for step in self.network.steps) >= wanted:
                break
            before = len(self.tensors)
            try:
                self._table[names[self.rng.integers(len(names))]](self)
            except NotKept:
                del self.tensors[before:], self.network.steps[before - len(self.network.inputs) :]
        unread = [n for n in range(len(self.network.inputs), len(self.tensors)) if n not in self._used]
        made = [n for n in unread if self.network.steps[n - len(self.network.inputs)]["op"] != "constant"]
        self.network.outputs = made
        self.network.expected = [self.tensors[n] for n in made]
        return self.network

    def _input(self, batch: int) -> None:
        dtype = self.choice([d for d in ("FLOAT", "FLOAT", "HALF", "INT32", "INT64", "BOOL") if d not in self.lacking])
        if not self.tensors:
            dtype = self.choice(FLOATS)
        shape = (batch, *(int(n) for n in self.rng.integers(2, 6, self.rng.integers(1, 4))))
        values = self.values(dtype, shape)
        self.network.arrays.append(values.astype(_CARRIED[dtype]))
        self.network.inputs.append({"dtype": dtype, "shape": list(shape), "free": self.dynamic})
        self.tensors.append(Tensor(dtype, values, values, dtype == "HALF", self.dynamic))

    # -- what the steps below use

    def values(self, dtype: str, shape: tuple[int, ...], low: float = -2, high: float = 2) -> np.ndarray:
        if dtype == "BOOL":
            return self.rng.random(shape) < 0.5
        if dtype in INTEGERS:
            return self.rng.integers(-5, 6, shape)
        return self.rng.uniform(low, high, shape).astype(_CARRIED[dtype]).astype(np.float64)

    def choice(self, options: Any) -> Any:
        if not len(options):
            raise NotKept
        return options[self.rng.integers(len(options))]

    def pick(self, *dtypes: str, rank: int | None = None, least: int = 1) -> int:
        """A tensor's number; late ones more often."""
        fitting = [
            number for number, t in enumerate(self.tensors)
            if t.dtype in dtypes and t.values.ndim >= least and rank in (None, t.values.ndim)
        ]  # fmt: skip
        return self.choice(fitting[-4:] if self.rng.random() < 0.7 else fitting)

    def axis(self, number: int, *, sized: int = 1) -> int:
        """An axis that may be changed, of at least so many elements: not the one that is free."""
        t = self.tensors[number]
        return int(self.choice([a for a in range(int(t.free), t.values.ndim) if t.values.shape[a] >= sized]))

    def constant(self, dtype: str, values: np.ndarray) -> int:
        values = np.asarray(values)
        return self._keep({"op": "constant", "in": [], "values": values, "dtype": dtype}, dtype, values, values, False)

    def add(self, op: str, given: list[int], dtype: str, **attributes: Any) -> int:
        """Interpret the step and keep it. Raises NotKept."""
        step = {"op": op, "in": given, "dtype": dtype, **attributes}
        ins = [self.tensors[n] for n in given]
        values = np.asarray(interpret(step, [t.values for t in ins]))
        rounded = np.asarray(interpret(step, [t.rounded for t in ins]))
        if dtype in FLOATS:
            with np.errstate(all="ignore"):
                rounded = rounded.astype(_CARRIED[dtype]).astype(np.float64)
        rough = dtype == "HALF" or any(t.rough for t in ins)
        rough |= op == "normalization" and EXACT_NORMALIZATION in self.lacking
        self._check(dtype, values, rounded, "HALF" if rough else "FLOAT")
        number = self._keep(step, dtype, values, rounded, rough, any(t.free for t in ins) and op != "shape")
        self._used |= set(given)
        return number

    def _check(self, dtype: str, values: np.ndarray, rounded: np.ndarray, kind: str) -> None:
        if not 0 < values.size <= _MOST_ELEMENTS or values.ndim > 5:
            raise NotKept
        if dtype not in FLOATS:
            if not np.array_equal(values, rounded) or (dtype in INTEGERS and np.abs(values).max() > _MOST_INTEGER):
                raise NotKept
            return
        largest = np.abs(values).max()
        if not (np.isfinite(values).all() and np.isfinite(rounded).all() and 0.05 <= largest <= _LARGEST):
            raise NotKept
        if np.abs(values - rounded).max() > _APART[kind] * largest:
            raise NotKept
        if values.size > 1 and np.ptp(values) < 0.1 * largest:  # all alike tells nothing
            raise NotKept

    def _keep(
        self, step: Step, dtype: str, values: np.ndarray, rounded: np.ndarray, rough: bool, free: bool = False
    ) -> int:
        self.network.steps.append(step)
        self.tensors.append(Tensor(dtype, values, rounded, rough, free))
        return len(self.tensors) - 1

    def clear_of(self, number: int, distances: np.ndarray) -> None:
        """Raises NotKept where a float tensor's distance to a border is small."""
        t = self.tensors[number]
        if (
            t.dtype in FLOATS
            and distances.size
            and distances.min() < _BORDER[t.kind] * max(1.0, np.abs(t.values).max())
        ):
            raise NotKept

    def second(self, number: int, low: float = -2, high: float = 2) -> int:
        """Another operand for an elementwise step: a constant that broadcasts, or a tensor of the same shape."""
        t = self.tensors[number]
        alike = [
            n for n, other in enumerate(self.tensors)
            if n != number and (other.dtype, other.free) == (t.dtype, t.free) and other.values.shape == t.values.shape
        ]  # fmt: skip
        if alike and self.rng.random() < 0.6:
            return int(self.choice(alike))
        shape = [size if self.rng.random() < 0.5 else 1 for size in t.values.shape]
        if t.free:
            shape[0] = 1
        return self.constant(t.dtype, self.values(t.dtype, tuple(shape), low, high))
