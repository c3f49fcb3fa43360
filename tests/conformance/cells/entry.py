"""What an entry of the matrix is made of. Imported on both sides: by the grader, and by `matrix_program` in the worker.

An entry writes the smallest network of its layer and says, in NumPy, what TensorRT's class reference and ONNX's
specification say that it computes::

    entry("SOFTMAX", [X((2, 3))],
          lambda net, x: net.put(net.add_softmax(x), axes=2),
          lambda x: softmax(x, 1))

It is built for every type and form; what does not make sense for a type the builder refuses. To cover another layer,
add such an entry to the file of its family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: `trt.DataType` name -> the NumPy type that carries it; BF16 goes in and out as FLOAT, through casts.
CARRIED = {
    "FLOAT": np.float32, "HALF": np.float16, "BF16": np.float32, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64,
    "BOOL": np.bool_, "UINT8": np.uint8,
}  # fmt: skip
DTYPES = tuple(CARRIED)
FLOATS = ("FLOAT", "HALF", "BF16")
#: ``static``: every size declared. ``dynamic``: an axis declared as -1. ``empty``: that axis declared as 0.
#: ``emptied``: declared as -1, with a profile from 0, and run with 0.
FORMS = ("static", "dynamic", "empty", "emptied")


class Refused(Exception):  # noqa: N818 (it reads as what happened)
    """TensorRT gives no layer for these arguments."""


@dataclass(frozen=True)
class X:
    """An input. ``dtype`` None is the cell's. Values are drawn from ``low`` to ``high``, or given.

    ``free`` is the axis that is -1 or 0 in the other forms, None where no axis is.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    low: float = -2.0
    high: float = 2.0
    values: Any = None
    free: int | None = 0

    def drawn(self, cell: str, form: str, rng: np.random.Generator) -> np.ndarray:
        """An array of the carrying type, whose values the cell's type holds exactly."""
        dtype = self.dtype or cell
        values = rng.uniform(self.low, self.high, self.shape) if self.values is None else np.array(self.values)
        if self.values is None and dtype not in FLOATS:
            least, most = round(self.low * 3), round(self.high * 3)  # -6 to 6, say: products of few fit INT8
            if dtype == "UINT8":
                least, most = 0, most - least
            values = rng.integers(least, most, self.shape, endpoint=True)
            if dtype == "BOOL":
                values = values > (least + most) / 2
        if form in ("empty", "emptied") and self.free is not None:
            values = values[(slice(None),) * self.free + (slice(0, 0),)]
        array = values.astype(CARRIED[dtype])
        return bfloat16(array) if dtype == "BF16" else array


Write = Callable[..., Any]
Expect = Callable[..., Any]


@dataclass(frozen=True)
class Entry:
    """``types`` are the names of LayerType that the network shows; ``says`` is what this variant is about."""

    types: tuple[str, ...]
    says: str
    inputs: Sequence[X]
    write: Write = field(repr=False)
    expect: Expect = field(repr=False)
    dtypes: tuple[str, ...] = DTYPES

    @property
    def name(self) -> str:
        return f"{self.types[0]}: {self.says}" if self.says else self.types[0]

    def forms(self) -> tuple[str, ...]:
        """A network without a free axis has but the one form."""
        return FORMS if any(x.free is not None for x in self.inputs) else FORMS[:1]


ENTRIES: dict[str, Entry] = {}


def entry(
    types: str, inputs: Sequence[X], write: Write, expect: Expect, says: str = "", dtypes: tuple[str, ...] = DTYPES
) -> None:
    """Register one. ``types``: names of LayerType, separated by spaces; the first names the row.

    Args:
        write: ``write(net, *tensors)`` returns a layer, whose outputs are all the network's, or tensors.
        expect: ``expect(*arrays)`` on float64, int64 and bool arrays returns one array, or a tuple of them.
        dtypes: which types there are at all, for a network whose one type is fixed.
    """
    made = Entry(tuple(types.split()), says, inputs, write, expect, dtypes)
    if made.name in ENTRIES:
        raise ValueError(f"two entries are called {made.name!r}")
    ENTRIES[made.name] = made


def bfloat16(array: np.ndarray) -> np.ndarray:
    """Each float32 rounded to bfloat16's eight bits of precision, halves to even; still float32."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return kept.astype(np.uint32).view(np.float32).reshape(np.shape(array))


class Net:
    """The network under construction, in the candidate's process: TensorRT's add_ methods, and a few of its own.

    Everything that TensorRT answers with None is raised as `Refused`.
    """

    def __init__(self, trt: Any, network: Any, cell: str, form: str) -> None:
        self.trt, self.network, self.cell, self.form = trt, network, cell, form
        self._kept: list[np.ndarray] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        add = getattr(self.network, name)

        def checked(*args: Any, **kwargs: Any) -> Any:
            layer = add(*args, **kwargs)
            if layer is None:
                raise Refused(f"{name} gives None")
            return layer

        return checked

    @property
    def free(self) -> bool:
        """Whether an axis is -1."""
        return self.form in ("dynamic", "emptied")

    @staticmethod
    def put(layer: Any, **attributes: Any) -> Any:
        """The layer, with these attributes set."""
        for name, value in attributes.items():
            setattr(layer, name, value)
        return layer

    def type(self, name: str | None = None) -> Any:
        return getattr(self.trt.DataType, name or self.cell)

    def weights(self, values: Any, dtype: str | None = None) -> Any:
        """`trt.Weights` of the cell's type, or of another."""
        dtype = dtype or self.cell
        array = np.ascontiguousarray(np.asarray(values, np.float64).astype(CARRIED[dtype]))
        if dtype == "BF16":
            array = (bfloat16(array).view(np.uint32) >> 16).astype(np.uint16)
        self._kept.append(array)
        return self.trt.Weights(self.type(dtype), array.ctypes.data, array.size)

    def constant(self, values: Any, dtype: str | None = None) -> Any:
        """A tensor of the cell's type, or of another."""
        return self.add_constant(np.shape(values), self.weights(values, dtype)).get_output(0)

    def cast(self, tensor: Any, dtype: str) -> Any:
        return self.add_cast(tensor, self.type(dtype)).get_output(0)

    def size(self, tensor: Any, axis: int) -> Any:
        """The size of one axis, as a shape tensor of rank 0."""
        return self.add_gather(self.add_shape(tensor).get_output(0), self.constant(axis, "INT32"), 0).get_output(0)

    def sizes(self, tensor: Any, changes: dict[int, int]) -> Any:
        """The tensor's sizes as a shape tensor of rank 1, some of them changed."""
        rank, whole = len(tensor.shape), self.add_shape(tensor).get_output(0)
        kind = "INT64" if hasattr(self.trt.DataType, "INT64") else "INT32"  # what TensorRT 8.6's shapes are
        parts = [
            self.constant([changes[axis]], kind) if axis in changes
            else self.add_slice(whole, (axis,), (1,), (1,)).get_output(0)
            for axis in range(rank)
        ]  # fmt: skip
        return self.add_concatenation(parts).get_output(0)
