"""The twin's device memory: addresses that look like a GPU's, and bytes that know what was written to them.

Addresses are never used twice and allocations never touch, so an address that was freed, or runs
over its end, always says whose it was.  Bytes that were not written read as `POISON`, which is a
NaN in every floating-point type.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np

from grader.inside.trtprep_worker.addresses import DEVICE_START
from grader.inside.trtprep_worker.poison import poison

from .layers import Unsupported
from .misuse import Misuse

TOTAL_BYTES = 4 << 30
#: One command moves at most this much: a message between the processes is bounded too.
MOST_BYTES = 1 << 30
_ALIGN = 512  # cuMemAlloc aligns to at least 256 bytes; 512 is what current drivers do
_GUARD = 1 << 20
#: One-byte types carry no hint of what is meant: a uint8 view is how raw bytes are passed around.
UNTYPED = ("", "uint8", "int8", "bool")
#: What arrays of BF16 are: NumPy has no such type, so its bits go as integers, or as the type that ml_dtypes adds.
_BF16 = ("uint16", "int16", "bfloat16")

#: Written parts of a run of bytes, ascending and apart: (start, stop, dtype's name or "").
Parts = list[tuple[int, int, str]]


@dataclass
class Allocation:
    """One ``mem_alloc``, or other memory that work can clash on (pinned host memory, a context's scratch)."""

    address: int
    size: int
    line: str
    data: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8), repr=False)  #: uint8
    freed: str = ""  #: the line that freed it
    parts: Parts = field(default_factory=list)
    label: str = ""  #: what it is called where it is no plain allocation
    context: int = 0  #: the CUDA context that it belongs to
    mapped: bool = False  #: stands for host memory of the candidate's, as an engine sees it

    @property
    def end(self) -> int:
        return self.address + self.size

    def describe(self) -> str:
        return self.label or f"the {self.size} bytes allocated at {self.line}"


@dataclass(frozen=True)
class Span:
    """``size`` bytes of one allocation from ``offset`` on."""

    allocation: Allocation
    offset: int
    size: int

    @property
    def stop(self) -> int:
        return self.offset + self.size

    def overlaps(self, other: Span) -> bool:
        apart = self.stop <= other.offset or other.stop <= self.offset
        return self.allocation is other.allocation and not apart and self.size > 0 and other.size > 0

    def read(self) -> np.ndarray:
        """A copy, with poison where nothing was written."""
        data = poison(self.size)
        for start, stop, _ in self.parts():
            data[start:stop] = self.allocation.data[self.offset + start : self.offset + stop]
        return data

    def parts(self) -> Parts:
        """What was written here, counted from the span's start."""
        inside = ((max(a, self.offset), min(b, self.stop), t) for a, b, t in self.allocation.parts)
        return [(a - self.offset, b - self.offset, t) for a, b, t in inside if a < b]

    def write(self, data: np.ndarray, dtype: str = "") -> None:
        """Store uint8 ``data``; ``dtype`` is what the sender said the bytes are ("" when unknown)."""
        self.allocation.data[self.offset : self.stop] = data
        self._mark([(0, self.size, dtype)])

    def copy_from(self, other: Span) -> None:
        """All of an equally long span, with what is known of its bytes."""
        data, parts = other.read(), other.parts()
        self.allocation.data[self.offset : self.stop] = data
        self._mark(parts)

    def unwrite(self) -> None:
        """Back to poison: what was here is about to be replaced and must not be read before that."""
        self._mark([])

    @property
    def written(self) -> bool:
        return sum(stop - start for start, stop, _ in self.parts()) == self.size

    def foreign(self, dtype: str) -> str:
        """A dtype that some of the bytes are said to have and that is not ``dtype``; "" when there is none."""
        same = _BF16 if dtype in _BF16 else (dtype,)
        return next((t for _, _, t in self.parts() if t not in UNTYPED and t not in same), "")

    def _mark(self, parts: Parts) -> None:
        kept: Parts = []
        for start, stop, dtype in self.allocation.parts:
            kept += [(start, min(stop, self.offset), dtype), (max(start, self.stop), stop, dtype)]
        mine = [(start + self.offset, stop + self.offset, dtype) for start, stop, dtype in parts]
        self.allocation.parts = sorted(p for p in kept + mine if p[0] < p[1])


class Memory:
    """All allocations of one device, alive and freed."""

    def __init__(self, total_bytes: int = TOTAL_BYTES) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self._all: list[Allocation] = []  # ascending addresses, because the next one only grows
        self._live: dict[int, Allocation] = {}
        self._next = DEVICE_START

    def live(self) -> list[Allocation]:
        return list(self._live.values())

    def allocate(self, size: int, line: str, context: int = 0) -> Allocation:
        """Raises Misuse for sizes below 1 (as cuMemAlloc does) and when the device is full."""
        if size < 1:
            raise Misuse(
                "alloc",
                f"mem_alloc({size}): the size must be at least 1 byte",
                error="cuMemAlloc failed: invalid argument",
            )
        if self.used_bytes + size > self.total_bytes:
            free = self.total_bytes - self.used_bytes
            raise Misuse(
                "alloc",
                f"mem_alloc({size}): {free} of {self.total_bytes} bytes are free",
                error="cuMemAlloc failed: out of memory",
            )
        allocation = Allocation(self._next, size, line, np.zeros(size, np.uint8), context=context)
        self._next += -(-(size + _GUARD) // _ALIGN) * _ALIGN
        self._all.append(allocation)
        self._live[allocation.address] = allocation
        self.used_bytes += size
        return allocation

    def free(self, address: int, line: str) -> Allocation:
        allocation = self.retire(address, line)
        self.give_back(allocation)
        return allocation

    def retire(self, address: int, line: str) -> Allocation:
        """From now on the address is freed memory's; work that was queued before still has the bytes."""
        allocation = self.find(address)
        if allocation is None or allocation.address != address:
            raise Misuse(
                "free",
                f"free of {address:#x}, which is not the start of an allocation",
                error="cuMemFree failed: invalid argument",
            )
        if allocation.freed:
            message = f"{allocation.describe()} was freed twice, first at {allocation.freed}: free it in one place only"
            raise Misuse("free", message, error="cuMemFree failed: invalid argument")
        allocation.freed = line or "exit"
        del self._live[address]
        return allocation

    def give_back(self, allocation: Allocation) -> None:
        """The bytes themselves, of what was retired."""
        allocation.data, allocation.parts = np.empty(0, np.uint8), []
        self.used_bytes -= allocation.size

    def span(self, address: int, size: int, what: str, *, mapped: bool = False) -> Span:
        """The live bytes at ``address``. Raises Misuse, naming ``what``, when they are not all there.

        ``mapped``: whether they may be mapped host memory's; otherwise that is Unsupported.
        """
        if size < 0 or size > MOST_BYTES:
            raise Misuse("alloc", f"{what}: {size} bytes; the twin moves 0 to {MOST_BYTES} bytes at a time")
        allocation = self.find(address)
        if allocation is None:
            kind = "a null address" if address == 0 else f"{address:#x}, which is not device memory (a host address?)"
            raise Misuse("address", f"{what}: the address is {kind}; give it what mem_alloc returned")
        if allocation.freed:
            raise Misuse(
                "freed", f"{what}: the address is in {allocation.describe()}, which was freed at {allocation.freed}"
            )
        if address + size > allocation.end:
            has = allocation.end - address
            raise Misuse("too-small", f"{what}: needs {size} bytes, but only {has} are left of {allocation.describe()}")
        if allocation.mapped and not mapped:
            raise Unsupported(f"{what}: the twin's mapped host memory is for tensors alone: use the host array here")
        return Span(allocation, address - allocation.address, size)

    def find(self, address: int) -> Allocation | None:
        """The allocation, alive or freed, that holds ``address``."""
        at = bisect.bisect_right(self._all, address, key=lambda a: a.address) - 1
        if at < 0:
            return None
        found = self._all[at]
        return found if address < found.end else None
