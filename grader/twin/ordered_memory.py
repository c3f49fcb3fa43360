"""`cudaMallocAsync` and `cudaFreeAsync`: memory that is there, and goes, in the order of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from .array_commands import ArrayCommands
from .layers import Unsupported
from .memory import Allocation, Span
from .operations import Operation


@dataclass
class OrderedMemory(ArrayCommands):
    """Both are work that touches the whole allocation: who uses it elsewhere without an order is in a race with it."""

    def mem_alloc_async(self, size: int, stream: int) -> int:
        context = self.need_context("cudaMallocAsync")
        self._refuse_captured(stream)
        allocation = self.memory.allocate(size, self.line, context)
        self._submit(stream, self._touch("cudaMallocAsync", allocation))
        self._did("alloc", stream, size)
        return allocation.address

    def mem_free_async(self, address: int, stream: int) -> None:
        """The address is gone at once, the bytes when the stream gets there."""
        self.need_context("cudaFreeAsync")
        self._refuse_captured(stream)
        allocation = self.memory.find(address)
        if allocation is None or allocation.address != address or allocation.freed:
            self.memory.retire(address, self.line)  # which says what is wrong
            return
        op = self._touch("cudaFreeAsync", allocation)
        op.run = lambda: self.memory.give_back(allocation)
        self._submit(stream, op)
        self.memory.retire(address, self.line)
        self._did("free", stream, allocation.size)

    def map_host(self, size: int) -> int:
        """The address by which engines see pinned memory of the candidate's; its bytes are sent before each run."""
        context = self.need_context("cuMemHostGetDevicePointer")
        self.forbid_in_capture("the mapping of host memory")
        allocation = self.memory.allocate(size, self.line, context)
        allocation.mapped, allocation.label = True, f"the {size} bytes of mapped host memory (mapped at {self.line})"
        return allocation.address

    def unmap_host(self, address: int) -> None:
        """For what goes with its host memory."""
        allocation = self.memory.find(address)
        if allocation is None or not allocation.mapped or allocation.address != address or allocation.freed:
            return
        self._settle(allocation, finalizer=True)
        self.memory.free(address, self.line)

    def _settle(self, allocation: Allocation, finalizer: bool = False) -> None:
        raise NotImplementedError

    def _touch(self, what: str, allocation: Allocation) -> Operation:
        return Operation(what, self.line, lambda: None, writes=(Span(allocation, 0, allocation.size),), quiet=True)

    def _refuse_captured(self, stream: int) -> None:
        self.streams.get(stream)
        if self.streams.capturing(stream):
            raise Unsupported("the twin captures no allocation: make the memory before the capture begins")
