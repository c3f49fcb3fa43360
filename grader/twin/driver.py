"""The CUDA driver API as PyCUDA and `cuda.bindings.runtime` use it: memory, copies, streams, events, graphs.

Each public method of `Driver` that `COMMANDS` names is one command that the client in the
candidate's process can send; its arguments and results are plain data.  A Misuse that it raises
becomes a finding and, in the candidate's process, a `pycuda.driver.LogicError` or a `cudaError_t`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .memory import MOST_BYTES, UNTYPED, Allocation, Span
from .misuse import KINDS, Finding, Misuse
from .operations import HostEnd, Operation
from .ordered_memory import OrderedMemory
from .streams import DEFAULT

#: What a client may call, and nothing else.
COMMANDS = frozenset(
    (
        "init", "make_context", "retain_primary_context", "push_context", "pop_context", "detach_context",
        "context_synchronize",
        "mem_alloc", "mem_free", "mem_get_info", "memcpy_htod", "memcpy_dtoh", "memcpy_dtod", "memset",
        "memcpy_htod_async",
        "memcpy_dtoh_async", "host_misuse", "stream_create", "stream_destroy", "stream_synchronize", "stream_query",
        "stream_wait_event", "event_create", "event_destroy", "event_record", "event_synchronize", "event_query",
        "event_elapsed", "host_alloc", "host_free", "set_device", "stream_begin_capture", "stream_end_capture",
        "stream_is_capturing", "exchange_capture_mode", "graph_nodes", "graph_instantiate", "graph_update",
        "graph_upload", "graph_launch", "graph_destroy", "graph_exec_destroy", "elementwise",
        "mem_alloc_async", "mem_free_async", "current_context_number", "map_host", "unmap_host",
    )
)  # fmt: skip


@dataclass
class HostCopy:
    """An asynchronous copy whose host end lives in the candidate's process, under the number ``id``."""

    id: int
    data: np.ndarray | None = None  #: uint8 to write there (device to host); None: only say that it is done
    late: bool = False  #: nothing waited for it until the call was over: nothing is written any more


@dataclass
class Driver(OrderedMemory):
    """One device and the process that uses it."""

    delivered: list[HostCopy] = field(default_factory=list)  #: since the last reply
    _pinned: dict[int, Allocation] = field(
        default_factory=dict
    )  #: host memory that copies ran from or to, by its number
    _reported: set[int] = field(default_factory=set)  #: addresses of leaks that a call was told of

    # -- memory

    def detach_context(self, context: int) -> None:
        """The context ends, and all its memory with it, which must not be in use any more."""
        if context not in self._contexts:
            raise Misuse(
                "context",
                "Context.detach: this context has ended already",
                error="cuCtxDetach failed: invalid device context",
            )
        for allocation in self.memory.live():
            if allocation.context == context:
                self._settle(allocation)
                self.memory.free(allocation.address, f"{self.line}, where its context ended")
        self._contexts.discard(context)
        self.streams.end_context(context)
        for stack in self._stacks.values():
            stack[:] = [pushed for pushed in stack if pushed.context != context]

    def mem_alloc(self, size: int) -> int:
        context = self.need_context("cuMemAlloc")
        self.forbid_in_capture("an allocation")
        address = self.memory.allocate(size, self.line, context).address
        self._did("alloc", size=size)
        return address

    def mem_free(self, address: int, finalizer: bool = False) -> None:
        """Frees, after naming work that is pending on the bytes."""
        try:
            self.forbid_in_capture("the freeing of memory")
        except Misuse as misuse:
            if not finalizer:
                raise
            self.finding(misuse)
        allocation = self.memory.find(address)
        if allocation is not None and not allocation.freed:
            self._settle(allocation, finalizer)
        elif allocation is not None and finalizer and allocation.context not in self._contexts:
            return  # went with its context
        self._did("free", size=self.memory.free(address, self.line).size)

    def host_alloc(self) -> None:
        """Pinned memory lies in the candidate's process; here is what can be wrong with asking for it."""
        self.need_context("cuMemHostAlloc")
        self.forbid_in_capture("an allocation of pinned memory")

    def host_free(self) -> None:
        self.forbid_in_capture("the freeing of pinned memory")

    def _settle(self, allocation: Allocation, finalizer: bool = False) -> None:
        """Name, and run, what is pending on memory that goes. A finalizer's line says little: the work's is better."""
        whole, waiting = Span(allocation, 0, allocation.size), len(self.delivered)
        while (busy := self.streams.touching(writes=(whole,))) is not None:
            if not busy.quiet:
                about = (
                    f"{allocation.describe()} {'were let go' if finalizer else 'freed'} while {busy.what} ({busy.line})"
                )
                misuse = Misuse("freed", f"{about} still needs them: synchronize its stream first")
                self.finding(misuse, busy.line if finalizer else "")
            self.streams.finish(busy)
        self._call_off(waiting)

    def _call_off(self, first: int) -> None:
        """Copies that ran though nothing waited for them bring nothing to the host."""
        self.delivered[first:] = [HostCopy(copy.id, late=True) for copy in self.delivered[first:]]

    def mem_get_info(self) -> tuple[int, int]:
        self.need_context("cuMemGetInfo")
        return self.memory.total_bytes - self.memory.used_bytes, self.memory.total_bytes

    def memcpy_htod(self, dest: int, data: bytes, dtype: str) -> None:
        """Synchronous: waits for the blocking streams, as the legacy default stream does."""
        self.need_context("cuMemcpyHtoD")
        span = self.memory.span(dest, len(data), "memcpy_htod")
        self._now("memcpy_htod", lambda: span.write(np.frombuffer(data, np.uint8), dtype), writes=(span,))
        self._did("htod", size=len(data))

    def memcpy_dtoh(self, src: int, size: int, dtype: str) -> bytes:
        self.need_context("cuMemcpyDtoH")
        span = self.memory.span(src, size, "memcpy_dtoh")
        got: list[bytes] = []
        self._now("memcpy_dtoh", lambda: got.append(self._read(span, dtype, "memcpy_dtoh").tobytes()), reads=(span,))
        self._did("dtoh", size=size)
        return got[0]

    def memcpy_dtod(self, dest: int, src: int, size: int, stream: int | None = None) -> None:
        """Without a stream it goes to the default one; the host does not wait for it there either."""
        self.need_context("cuMemcpyDtoD")
        source, target = (
            self.memory.span(src, size, "memcpy_dtod source"),
            self.memory.span(dest, size, "memcpy_dtod target"),
        )
        line = self.line

        def run() -> None:
            self._check(source, "", "memcpy_dtod", line)
            target.copy_from(source)

        what = "memcpy_dtod" if stream is None else "memcpy_dtod_async"
        op = self.enqueue(stream or DEFAULT, what, run, reads=(source,), writes=(target,), quiet=stream is None)
        self._did("dtod", stream or DEFAULT, size, op)

    def memset(self, dest: int, pattern: bytes, count: int, stream: int | None = None) -> None:
        """As `memcpy_dtod`: the host does not wait for it."""
        self.need_context("cuMemset")
        if not 1 <= len(pattern) <= 4 or not 0 <= count <= MOST_BYTES:
            raise Misuse(
                "alloc", f"memset of {count} x {len(pattern)} bytes: 1, 2 or 4 bytes, {MOST_BYTES} in all at most"
            )
        span = self.memory.span(dest, len(pattern) * count, "memset")

        def run() -> None:
            span.write(np.tile(np.frombuffer(pattern, np.uint8), count))

        what = "memset" if stream is None else "memset_async"
        op = self.enqueue(stream or DEFAULT, what, run, writes=(span,), quiet=stream is None)
        self._did("memset", stream or DEFAULT, span.size, op)

    def memcpy_htod_async(
        self,
        dest: int,
        data: bytes,
        dtype: str,
        copy: int,
        host: tuple[int, int, int],
        stream: int,
        mapped: bool = False,
    ) -> bool:
        """``host`` says which pinned memory ``data`` was read from: its number, its size, the offset.

        True where the stream is capturing: the bytes of the launch will count, not these. ``mapped``: no copy of the
        candidate's, but the bytes of an input in mapped host memory, for the run that comes next.
        """
        self.need_context("cuMemcpyHtoDAsync")
        span = self.memory.span(dest, len(data), "memcpy_htod_async", mapped=mapped)
        pinned = self._host_span(host, len(data))
        kept = b"" if self.streams.capturing(stream) else data
        op = self._submit(stream, self._to_device(span, pinned, dtype, kept, copy))
        if not mapped:
            self._did("htod_async", stream, len(data), op)
        return op.captured

    def _to_device(self, span: Span, pinned: Span, dtype: str, data: bytes, copy: int) -> Operation:
        # Bytes that an earlier copy has yet to bring to this pinned memory are taken from that copy.
        bringing = [(op, b) for op in self.streams.pending() for b in op.writes if b.overlaps(pinned)]

        def run() -> None:
            array = np.frombuffer(data, np.uint8).copy()
            for op, brought in bringing:
                start, stop = max(brought.offset, pinned.offset), min(brought.stop, pinned.stop)
                if op.result is not None:
                    array[start - pinned.offset : stop - pinned.offset] = op.result[
                        start - brought.offset : stop - brought.offset
                    ]
            span.write(array, dtype)
            self.delivered.append(HostCopy(copy))

        end = HostEnd(copy, span.size, False, lambda data, copy: self._to_device(span, pinned, dtype, data, copy))
        return Operation("memcpy_htod_async", self.line, run, (pinned,), (span,), host=end)

    def memcpy_dtoh_async(
        self,
        src: int,
        size: int,
        dtype: str,
        copy: int,
        host: tuple[int, int, int],
        stream: int,
        mapped: bool = False,
    ) -> bool:
        """True where the stream is capturing. ``mapped`` as above, for an output of the run before."""
        self.need_context("cuMemcpyDtoHAsync")
        span, pinned = self.memory.span(src, size, "memcpy_dtoh_async", mapped=mapped), self._host_span(host, size)
        op = self._submit(stream, self._to_host(span, pinned, dtype, copy))
        if not mapped:
            self._did("dtoh_async", stream, size, op)
        return op.captured

    def _to_host(self, span: Span, pinned: Span, dtype: str, copy: int) -> Operation:
        line = self.line

        def run() -> None:
            op.result = self._read(span, dtype, "memcpy_dtoh_async", line)
            self.delivered.append(HostCopy(copy, op.result))

        end = HostEnd(copy, span.size, True, lambda data, copy: self._to_host(span, pinned, dtype, copy))
        op = Operation("memcpy_dtoh_async", line, run, (span,), (pinned,), host=end)
        return op

    def host_misuse(self, kind: str, message: str) -> None:
        """What only the client can see (a pageable buffer, a buffer changed too early)."""
        if kind not in KINDS:
            raise ValueError(f"no such kind of misuse: {kind[:80]!r}")
        self.finding(Misuse(kind, message))

    def _host_span(self, host: tuple[int, int, int], size: int) -> Span:
        number, total, offset = host
        if number not in self._pinned:
            label = f"the same {total} bytes of pinned host memory (first used at {self.line})"
            self._pinned[number] = Allocation(0, total, self.line, label=label)
        return Span(self._pinned[number], offset, size)

    # -- streams and events

    def stream_create(self, flags: int) -> int:
        return self.streams.create(flags, self.need_context("cuStreamCreate"))

    def stream_destroy(self, stream: int, finalizer: bool = False) -> None:
        if not (finalizer and self.streams.is_gone(stream)):
            self.streams.destroy(stream)

    def stream_synchronize(self, stream: int) -> None:
        self.refuse_waiting("a wait for a stream", stream)
        self.streams.synchronize(stream)
        self._did("stream_sync", stream)

    def stream_query(self, stream: int) -> bool:
        self.refuse_waiting("a query of a stream", stream)
        return self.streams.query(stream)

    def refuse_waiting(self, what: str, stream: int) -> None:
        """Besides a stream that captures, a capture may forbid to ask after any other."""
        self.streams.get(stream)
        self.streams.captures.forbid_waiting(what, stream)
        if stream == DEFAULT:
            self.streams.captures.forbid_default_stream(what)
        self.forbid_in_capture(what)

    def stream_wait_event(self, stream: int, event: int) -> None:
        self.streams.wait_event(stream, event)
        self._did("event_wait", stream, event)

    def context_synchronize(self) -> None:
        self.need_context("cuCtxSynchronize")
        self.streams.captures.forbid_waiting("a wait for all streams")
        self.streams.synchronize_all()
        self._did("context_sync")

    def event_create(self, flags: int) -> int:
        return self.streams.event_create(flags, self.need_context("cuEventCreate"))

    def event_destroy(self, event: int, finalizer: bool = False) -> None:
        if not (finalizer and self.streams.is_gone(event)):
            self.streams.event_destroy(event)

    def event_record(self, event: int, stream: int) -> None:
        self.streams.event_record(event, stream, self.line)
        self._did("event_record", stream, event)

    def event_synchronize(self, event: int) -> None:
        self.streams.uncaptured(event, "a wait for an event")
        self.forbid_in_capture("a wait for an event")
        self.streams.event_synchronize(event)
        self._did("event_sync")

    def event_query(self, event: int) -> bool:
        self.streams.uncaptured(event, "a query of an event")
        self.forbid_in_capture("a query of an event")
        return self.streams.event_query(event)

    def event_elapsed(self, start: int, end: int) -> float:
        return self.streams.event_elapsed(start, end)

    # -- how commands run

    def _now(
        self, what: str, run: Callable[[], None], *, reads: tuple[Span, ...] = (), writes: tuple[Span, ...] = ()
    ) -> None:
        # Beside a capture of a stream that the default one does not wait for, CUDA copies at once.
        self.streams.synchronize_blocking(what)
        busy = self.streams.touching(reads, writes)
        if busy is not None:
            span = (writes + reads)[0]
            message = f"{what} touches {span.allocation.describe()} before {busy.what} ({busy.line}) was waited for"
            raise Misuse("race", f"{message}: synchronize its stream first")
        self.streams.submit(DEFAULT, Operation(what, self.line, run, reads, writes))
        self.streams.synchronize(DEFAULT)

    def _read(self, span: Span, dtype: str, what: str, line: str = "") -> np.ndarray:
        self._check(span, dtype, what, line)
        return span.read()

    def _check(self, span: Span, dtype: str, what: str, line: str) -> None:
        about = span.allocation.describe()
        if not span.written:
            message = f"{what} reads {about}, and to some of those nothing was written: they hold garbage (NaN here)"
            self.finding(Misuse("unwritten", message), line)
        have = span.foreign(dtype)
        if dtype not in UNTYPED and have:
            message = f"{what}: the bytes on the device ({about}) are {have}, the host buffer is {dtype}"
            self.finding(Misuse("dtype", f"{message}: make it the tensor's dtype"), line)

    # -- the books

    def audit(self) -> list[Finding]:
        """What is still wrong when a call has ended: work nobody waited for, memory nobody freed, contexts left."""
        self.mind_contexts(naming=True)
        for capture in self.streams.captures.active():
            message = "the capture that began here never ended: call cudaStreamEndCapture, after an error too"
            self.finding(Misuse("capture", message), capture.line)
            self.streams.captures.drop(capture)
        for op in self.streams.pending():
            if not op.quiet:
                message = f"{op.what} was never waited for, so its results are undefined: synchronize its stream first"
                self.finding(Misuse("not-waited", message), op.line)
        while self.streams.pending():
            try:
                self.streams.synchronize_all()
            except Misuse as misuse:  # work that fails; the rest still runs
                self.finding(misuse)
        self._call_off(0)
        for allocation in self.memory.live():
            if allocation.address not in self._reported and not allocation.mapped:
                self._reported.add(allocation.address)
                message = (
                    f"{allocation.size} bytes of device memory were never freed: call free(), or let the allocation go"
                )
                self.finding(Misuse("leak", message), allocation.line)
        return self.findings
