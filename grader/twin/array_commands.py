"""The kernels of `pycuda.gpuarray`: elementwise arithmetic on device memory, by name, computed by NumPy.

What each of them computes is said in `pycuda/elementwise.py`: ``axpbz`` is z = a*x + b with a and b of z's type, and so
on.  Where C on a GPU and NumPy would differ (integer division, mixed types) the client refuses before it asks; what
is asked of the device without it is refused here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph_commands import GraphCommands
from .memory import UNTYPED, Span
from .misuse import Misuse
from .operations import Operation
from .streams import DEFAULT

_FLOATS = ("float32", "float64")
_SIGNED = ("int8", "int16", "int32", "int64")
_UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
#: What PyCUDA has a C type for, less complex numbers.
DTYPES = (*_FLOATS, *_SIGNED, *_UNSIGNED, "bool")
_Arrays = list[np.ndarray]


@dataclass(frozen=True)
class _Kernel:
    """So many arrays and scalars in; ``run(arrays, scalars, count)`` gives the results, of any type."""

    arrays: int
    scalars: int
    dtypes: tuple[str, ...]
    run: Callable[[_Arrays, list[Any], int], np.ndarray]
    scalar_dtype: str = ""  #: the result's, where it is not said


def _compare(how: Callable[[Any, Any], np.ndarray]) -> tuple[_Kernel, _Kernel]:
    arrays = _Kernel(2, 0, DTYPES, lambda x, s, n: how(x[0], x[1]))
    return arrays, _Kernel(1, 1, DTYPES, lambda x, s, n: how(x[0].astype(np.float64), s[0]), "float64")


_NUMBERS = (*_FLOATS, *_SIGNED, *_UNSIGNED)
KERNELS: dict[str, _Kernel] = {
    "axpbyz": _Kernel(2, 2, _NUMBERS, lambda x, s, n: s[0] * x[0] + s[1] * x[1]),
    "axpbz": _Kernel(1, 2, _NUMBERS, lambda x, s, n: s[0] * x[0].astype(s[0].dtype) + s[1]),
    "multiply": _Kernel(2, 0, _NUMBERS, lambda x, s, n: x[0] * x[1]),
    "divide": _Kernel(2, 0, _FLOATS, lambda x, s, n: x[0] / x[1]),
    "rdivide": _Kernel(1, 1, _FLOATS, lambda x, s, n: s[0] / x[0].astype(s[0].dtype)),
    "power": _Kernel(2, 0, _FLOATS, lambda x, s, n: x[0] ** x[1]),
    "power_scalar": _Kernel(1, 1, _FLOATS, lambda x, s, n: x[0].astype(s[0].dtype) ** s[0]),
    "rpower_scalar": _Kernel(1, 1, _FLOATS, lambda x, s, n: s[0] ** x[0].astype(s[0].dtype)),
    "absolute": _Kernel(1, 0, (*_FLOATS, *_SIGNED), lambda x, s, n: np.abs(x[0])),
    "copy": _Kernel(1, 0, DTYPES, lambda x, s, n: x[0]),
    "fill": _Kernel(0, 1, DTYPES, lambda x, s, n: np.full(n, s[0])),
    "arange": _Kernel(0, 2, _NUMBERS, lambda x, s, n: s[0] + np.arange(n).astype(s[0].dtype) * s[1]),
}
for _name, _how in (
    ("equal", np.equal), ("not_equal", np.not_equal), ("less", np.less), ("less_equal", np.less_equal),
    ("greater", np.greater), ("greater_equal", np.greater_equal),
):  # fmt: skip
    KERNELS[_name], KERNELS[f"{_name}_scalar"] = _compare(_how)


@dataclass
class ArrayCommands(GraphCommands):
    """One command for all kernels; like PyCUDA's, they run on the default stream unless told another one."""

    def elementwise(
        self, kernel: str, out: tuple[int, int], dtype: str, arrays: list[tuple[int, int, str]], scalars: list[bytes],
        stream: int | None = None,
    ) -> None:  # fmt: skip
        """``out`` is an address and a count, ``arrays`` are addresses, counts (the same, or 1) and dtypes.

        Scalars are bytes of the result's dtype, but those that are compared with, which are float64.
        """
        self.need_context("cuLaunchKernel")
        what, known = f"{kernel:.20} of GPUArrays", KERNELS.get(kernel)
        if known is None or dtype not in DTYPES or any(of not in DTYPES for _, _, of in arrays):
            raise ValueError(f"elementwise: unknown kernel or dtype: {kernel:.40} {dtype:.40}")
        if dtype not in known.dtypes or (len(arrays), len(scalars)) != (known.arrays, known.scalars):
            raise ValueError(f"elementwise: {kernel} does not take these arguments")
        if any(count not in (1, out[1]) for _, count, _ in arrays):
            raise ValueError("elementwise: arrays of different sizes")
        target = self.memory.span(out[0], out[1] * np.dtype(dtype).itemsize, what)
        sources = [self.memory.span(a, count * np.dtype(of).itemsize, what) for a, count, of in arrays]
        for span in sources:
            same = span == target
            if span.overlaps(target) and not same:
                message = f"{what} reads and writes parts of {span.allocation.describe()} that overlap"
                raise Misuse("race", f"{message}: its threads run in any order; write to another array")
        self._queue_kernel(what, known, target, dtype, [(s, of) for s, (_, _, of) in zip(sources, arrays, strict=True)],
                           scalars, stream)  # fmt: skip

    def _queue_kernel(
        self, what: str, kernel: _Kernel, target: Span, dtype: str, sources: list[tuple[Span, str]],
        scalars: list[bytes], stream: int | None,
    ) -> None:  # fmt: skip
        line, count = self.line, target.size // np.dtype(dtype).itemsize
        values = [_scalar(data, kernel.scalar_dtype or dtype) for data in scalars]

        def run() -> None:
            arrays = []
            for span, of in sources:
                self._check(span, "", what, line)
                if of not in UNTYPED and (have := span.foreign(of)):
                    message = f"{what} takes {of}, but the bytes of {span.allocation.describe()} are {have}"
                    self.finding(Misuse("dtype", f"{message}: make the array of the dtype of its bytes"), line)
                raw = span.read()
                arrays.append(raw != 0 if of == "bool" else raw.view(of))
            with np.errstate(all="ignore"):
                result = np.broadcast_to(_as(dtype, kernel.run(arrays, values, count), what, line), (count,))
            target.write(np.ascontiguousarray(result).view(np.uint8), dtype)

        reads = tuple(span for span, _ in sources)
        op = Operation(what, line, run, reads, (target,), quiet=stream is None)
        self._did("elementwise", stream or DEFAULT, target.size, self._submit(stream or DEFAULT, op))

    def _check(self, span: Span, dtype: str, what: str, line: str) -> None:
        raise NotImplementedError


def _scalar(data: bytes, dtype: str) -> Any:
    if len(data) != np.dtype(dtype).itemsize:
        raise ValueError(f"elementwise: a scalar of {len(data)} bytes is no {dtype}")
    return np.frombuffer(data, np.uint8).view(dtype)[0] if dtype != "bool" else np.bool_(data != b"\0")


def _as(dtype: str, result: np.ndarray, what: str, line: str) -> np.ndarray:
    """C's cast. Raises Misuse for numbers that an integer type does not hold, of which C says nothing."""
    if result.dtype.kind == "f" and dtype in (*_SIGNED, *_UNSIGNED) and result.size:
        range_ = np.iinfo(dtype)
        cut = np.trunc(result)
        if not bool(np.all((cut >= float(range_.min)) & (cut < float(range_.max) + 1))):
            raise Misuse("execution", f"{what}: a value is NaN, or more than {dtype} holds", line=line)
    return result.astype(dtype)
