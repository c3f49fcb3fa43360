"""The twin's device memory: addresses that look like a GPU's, and bytes that know whether they were written.

Addresses are never used twice and allocations never touch, so an address that was freed, or runs
over its end, always says whose it was.  A fresh allocation is filled with `POISON`, which reads as
NaN in every floating-point type of TensorRT.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np

from .misuse import Misuse

#: Repeated, these two bytes are a NaN as float16, bfloat16, float32 and float64.
POISON = b"\xb5\xff"
_BASE = 0x7F20_0000_0000
_ALIGN = 512  # cuMemAlloc aligns to at least 256 bytes; 512 is what current drivers do
_GUARD = 1 << 20
#: One-byte types carry no hint of what is meant: a uint8 view is how raw bytes are passed around.
UNTYPED = ("", "uint8", "int8", "bool")


def poison(size: int) -> np.ndarray:
    """``size`` bytes of the pattern, as uint8."""
    return np.frombuffer((POISON * (size // 2 + 1))[:size], np.uint8).copy()


@dataclass
class Allocation:
    """One ``mem_alloc``: ``data`` and ``written`` are uint8 and bool arrays of ``size`` elements."""

    address: int
    size: int
    line: str
    data: np.ndarray
    written: np.ndarray
    freed: str = ""  #: the line that freed it
    dtypes: dict[int, str] = field(default_factory=dict)  #: offset of a copy's start -> its dtype's name

    @property
    def end(self) -> int:
        return self.address + self.size

    def describe(self) -> str:
        return f"the {self.size} bytes allocated at {self.line}"


@dataclass(frozen=True)
class Span:
    """``size`` bytes of one allocation from ``offset`` on."""

    allocation: Allocation
    offset: int
    size: int

    @property
    def where(self) -> slice:
        return slice(self.offset, self.offset + self.size)

    def overlaps(self, other: Span) -> bool:
        return (
            self.allocation is other.allocation
            and self.offset < other.offset + other.size
            and other.offset < self.offset + self.size
        )

    def read(self) -> np.ndarray:
        return self.allocation.data[self.where].copy()

    def write(self, data: np.ndarray, dtype: str = "") -> None:
        """Store uint8 ``data``; ``dtype`` is what the sender said the bytes are ("" when unknown)."""
        self.allocation.data[self.where] = data
        self.allocation.written[self.where] = True
        kept = {at: t for at, t in self.allocation.dtypes.items() if not self.where.start <= at < self.where.stop}
        self.allocation.dtypes = kept | {self.offset: dtype}

    def unwrite(self) -> None:
        """Back to poison: what was here is about to be replaced and must not be read before that."""
        self.allocation.data[self.where] = poison(self.size)
        self.allocation.written[self.where] = False

    @property
    def written(self) -> bool:
        return bool(self.allocation.written[self.where].all())

    @property
    def dtype(self) -> str:
        return self.allocation.dtypes.get(self.offset, "")


class Memory:
    """All allocations of one device, alive and freed."""

    def __init__(self, total_bytes: int = 16 << 30) -> None:
        self.total_bytes = total_bytes
        self._all: list[Allocation] = []  # ascending addresses, because the next one only grows
        self._next = _BASE

    @property
    def used_bytes(self) -> int:
        return sum(a.size for a in self.live())

    def live(self) -> list[Allocation]:
        return [a for a in self._all if not a.freed]

    def allocate(self, size: int, line: str) -> Allocation:
        """Raises Misuse for sizes below 1 (as cuMemAlloc does) and when the device is full."""
        if size < 1:
            raise Misuse("alloc", f"mem_alloc({size}): the size must be at least 1 byte", error="cuMemAlloc failed: invalid argument")
        if self.used_bytes + size > self.total_bytes:
            raise Misuse("alloc", f"mem_alloc({size}): the device has no such memory left", error="cuMemAlloc failed: out of memory")
        allocation = Allocation(self._next, size, line, poison(size), np.zeros(size, bool))
        self._next += -(-(size + _GUARD) // _ALIGN) * _ALIGN
        self._all.append(allocation)
        return allocation

    def free(self, address: int, line: str) -> Allocation:
        allocation = self.find(address)
        if allocation is None or allocation.address != address:
            raise Misuse("free", f"free of {address:#x}, which is not the start of an allocation")
        if allocation.freed:
            raise Misuse("free", f"{allocation.describe()} was freed twice, first at {allocation.freed}")
        allocation.freed = line or "exit"
        allocation.data = allocation.written = np.empty(0, np.uint8)
        return allocation

    def span(self, address: int, size: int, what: str) -> Span:
        """The live bytes at ``address``. Raises Misuse, naming ``what``, when they are not all there."""
        allocation = self.find(address)
        if allocation is None:
            kind = "a null address" if address == 0 else f"{address:#x}, which is not device memory (a host address?)"
            raise Misuse("address", f"{what}: the address is {kind}")
        if allocation.freed:
            raise Misuse("freed", f"{what}: the address is in {allocation.describe()}, which was freed at {allocation.freed}")
        if address + size > allocation.end:
            has = allocation.end - address
            raise Misuse("too-small", f"{what}: needs {size} bytes, but only {has} are left of {allocation.describe()}")
        return Span(allocation, address - allocation.address, size)

    def find(self, address: int) -> Allocation | None:
        """The allocation, alive or freed, that holds ``address``."""
        at = bisect.bisect_right(self._all, address, key=lambda a: a.address) - 1
        if at < 0:
            return None
        found = self._all[at]
        return found if address < found.end else None
