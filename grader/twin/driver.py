"""The CUDA driver API as PyCUDA uses it: contexts, memory, copies, streams and events.

Each public method of `Driver` is one command that the client in the candidate's process can send;
its arguments and results are plain data.  A Misuse that it raises becomes a finding and, in the
candidate's process, a `pycuda.driver.LogicError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .memory import UNTYPED, Memory, Span
from .misuse import Finding, Misuse
from .streams import DEFAULT, Operation, Streams


@dataclass
class HostCopy:
    """An asynchronous copy whose host end lives in the candidate's process, under the number ``id``."""

    id: int
    data: np.ndarray | None = None  #: uint8 to write there (device to host); None: only say that it is done


@dataclass
class Driver:
    """One device and the process that uses it."""

    memory: Memory = field(default_factory=Memory)
    streams: Streams = field(default_factory=Streams)
    findings: list[Finding] = field(default_factory=list)
    delivered: list[HostCopy] = field(default_factory=list)  #: since the last reply
    line: str = ""  #: the candidate's line of the command being served
    _contexts: list[int] = field(default_factory=list)
    _initialised: bool = False
    _made: int = 0
    _reported: set[int] = field(default_factory=set)  #: addresses of leaks that a call was told of

    def finding(self, misuse: Misuse, line: str = "") -> None:
        found = Finding(misuse.kind, misuse.message, line or self.line)
        if found not in self.findings:
            self.findings.append(found)

    # -- contexts

    def init(self) -> None:
        self._initialised = True

    def make_context(self) -> int:
        if not self._initialised:
            raise Misuse("context", "make_context before init()", error="cuCtxCreate failed: initialization error")
        self._made += 1
        self._contexts.append(self._made)
        return self._made

    def push_context(self, context: int) -> None:
        self._contexts.append(context)

    def pop_context(self) -> None:
        if not self._contexts:
            raise Misuse("context", "Context.pop: no context is current", error="cuCtxPopCurrent failed: invalid device context")
        self._contexts.pop()

    def context_depth(self) -> int:
        return len(self._contexts)

    def need_context(self, what: str) -> None:
        """Raises Misuse when no context is current."""
        if not self._contexts:
            raise Misuse(
                "context",
                f"{what}: no CUDA context is current (import pycuda.autoinit, or Device(0).make_context())",
                error=f"{what} failed: invalid device context",
            )

    # -- memory

    def mem_alloc(self, size: int) -> int:
        self.need_context("cuMemAlloc")
        return self.memory.allocate(size, self.line).address

    def mem_free(self, address: int) -> None:
        """Frees, after naming work that is pending on the bytes."""
        allocation = self.memory.find(address)
        busy = None
        if allocation is not None and not allocation.freed:
            busy = self.streams.touching(writes=(Span(allocation, 0, allocation.size),))
        if busy is not None:
            about = allocation.describe()
            self.finding(Misuse("freed", f"{about} freed while {busy.what} ({busy.line}) still needs them: synchronize first"))
            self.streams.synchronize(busy.stream)
        self.memory.free(address, self.line)

    def mem_get_info(self) -> tuple[int, int]:
        self.need_context("cuMemGetInfo")
        return self.memory.total_bytes - self.memory.used_bytes, self.memory.total_bytes

    def memcpy_htod(self, dest: int, data: bytes, dtype: str) -> None:
        """Synchronous: waits for the blocking streams, as the legacy default stream does."""
        self.need_context("cuMemcpyHtoD")
        span = self.memory.span(dest, len(data), "memcpy_htod")
        self._now("memcpy_htod", lambda: span.write(np.frombuffer(data, np.uint8), dtype), writes=(span,))

    def memcpy_dtoh(self, src: int, size: int, dtype: str) -> bytes:
        self.need_context("cuMemcpyDtoH")
        span = self.memory.span(src, size, "memcpy_dtoh")
        got: list[bytes] = []
        self._now("memcpy_dtoh", lambda: got.append(self._read(span, dtype, "memcpy_dtoh").tobytes()), reads=(span,))
        return got[0]

    def memcpy_dtod(self, dest: int, src: int, size: int, stream: int | None = None) -> None:
        self.need_context("cuMemcpyDtoD")
        source, target = self.memory.span(src, size, "memcpy_dtod source"), self.memory.span(dest, size, "memcpy_dtod target")

        def run() -> None:
            data, dtype = self._read(source, "", "memcpy_dtod"), source.dtype
            target.write(data, dtype)

        if stream is None:
            self._now("memcpy_dtod", run, reads=(source,), writes=(target,))
        else:
            self.enqueue(stream, "memcpy_dtod_async", run, reads=(source,), writes=(target,))

    def memset(self, dest: int, pattern: bytes, count: int, stream: int | None = None) -> None:
        self.need_context("cuMemset")
        span = self.memory.span(dest, len(pattern) * count, "memset")

        def run() -> None:
            span.write(np.frombuffer(pattern * count, np.uint8))

        if stream is None:
            self._now("memset", run, writes=(span,))
        else:
            self.enqueue(stream, "memset_async", run, writes=(span,))

    def memcpy_htod_async(self, dest: int, data: bytes, dtype: str, copy: int, stream: int) -> None:
        self.need_context("cuMemcpyHtoDAsync")
        span = self.memory.span(dest, len(data), "memcpy_htod_async")

        def run() -> None:
            span.write(np.frombuffer(data, np.uint8), dtype)
            self.delivered.append(HostCopy(copy))

        self.enqueue(stream, "memcpy_htod_async", run, writes=(span,))

    def memcpy_dtoh_async(self, src: int, size: int, dtype: str, copy: int, stream: int) -> None:
        self.need_context("cuMemcpyDtoHAsync")
        span = self.memory.span(src, size, "memcpy_dtoh_async")
        line = self.line

        def run() -> None:
            self.delivered.append(HostCopy(copy, self._read(span, dtype, "memcpy_dtoh_async", line)))

        self.enqueue(stream, "memcpy_dtoh_async", run, reads=(span,))

    def host_misuse(self, kind: str, message: str) -> None:
        """What only the client can see (a pageable buffer, a buffer changed too early)."""
        self.finding(Misuse(kind, message))

    # -- streams and events

    def stream_create(self, flags: int) -> int:
        self.need_context("cuStreamCreate")
        return self.streams.create(flags)

    def stream_destroy(self, stream: int) -> None:
        self.streams.destroy(stream)

    def stream_synchronize(self, stream: int) -> None:
        self.streams.synchronize(stream)

    def stream_query(self, stream: int) -> bool:
        return self.streams.query(stream)

    def stream_wait_event(self, stream: int, event: int) -> None:
        self.streams.wait_event(stream, event)

    def context_synchronize(self) -> None:
        self.need_context("cuCtxSynchronize")
        self.streams.synchronize_all()

    def event_create(self) -> int:
        self.need_context("cuEventCreate")
        return self.streams.event_create()

    def event_record(self, event: int, stream: int) -> None:
        self.streams.event_record(event, stream, self.line)

    def event_synchronize(self, event: int) -> None:
        self.streams.event_synchronize(event)

    def event_query(self, event: int) -> bool:
        return self.streams.event_query(event)

    def event_elapsed(self, start: int, end: int) -> float:
        return self.streams.event_elapsed(start, end)

    # -- shared with the runtime

    def enqueue(
        self, stream: int, what: str, run: Callable[[], None], *, reads: tuple[Span, ...] = (), writes: tuple[Span, ...] = ()
    ) -> None:
        """Queue work; what it will write reads as poison from now on, unless earlier work still needs the old bytes."""
        op = Operation(what, self.line, run, reads, writes)
        busy = self.streams.touching(writes=writes)
        self.streams.submit(stream, op)
        if busy is None:
            for span in writes:
                span.unwrite()

    def _now(self, what: str, run: Callable[[], None], *, reads: tuple[Span, ...] = (), writes: tuple[Span, ...] = ()) -> None:
        self.streams.synchronize_blocking()
        busy = self.streams.touching(reads, writes)
        if busy is not None:
            span = (writes + reads)[0]
            raise Misuse("race", f"{what} touches {span.allocation.describe()} before {busy.what} ({busy.line}) was waited for")
        self.streams.submit(DEFAULT, Operation(what, self.line, run, reads, writes))
        self.streams.synchronize(DEFAULT)

    def _read(self, span: Span, dtype: str, what: str, line: str = "") -> np.ndarray:
        if not span.written:
            self.finding(
                Misuse("unwritten", f"{what} reads {span.allocation.describe()}, which were not (all) written yet"), line
            )
        have = span.dtype
        if dtype not in UNTYPED and have not in UNTYPED and dtype != have:
            self.finding(Misuse("dtype", f"{what}: the bytes on the device are {have}, the host buffer is {dtype}"), line)
        return span.read()

    # -- the books

    def audit(self) -> list[Finding]:
        """What is still wrong when a call has ended: work nobody waited for, memory nobody freed."""
        for op in self.streams.pending():
            if op.what != "event record":
                self.finding(Misuse("not-waited", f"{op.what} was never waited for: synchronize its stream"), op.line)
        self.streams.synchronize_all()
        for allocation in self.memory.live():
            if allocation.address not in self._reported:
                self._reported.add(allocation.address)
                self.finding(Misuse("leak", f"{allocation.size} bytes of device memory were never freed"), allocation.line)
        return self.findings
