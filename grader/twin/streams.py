"""Streams and events: work that runs when it is waited for, and never in an order CUDA would not promise.

Each stream has a vector clock (how many operations of every stream are known to come before its
next one).  Two pending operations that touch the same bytes and that no clock orders are a race,
and are named as one; a GPU would often get away with it.

The default stream (handle 0) is CUDA's legacy one: it waits for every blocking stream and they
wait for it.  Source: CUDA C++ Programming Guide, "Default Stream", and the driver API's
"Stream synchronization behavior".
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from .capture import ISOLATION, UNSUPPORTED, Capture, Captures
from .memory import Span
from .misuse import Misuse
from .operations import Operation, merge

DEFAULT = 0
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_DISABLE_TIMING = 2  # CU_EVENT_DISABLE_TIMING
_FIRST_HANDLE = 0x5500_0000
_FIRST_EVENT = 0x6600_0000


@dataclass
class Stream:
    handle: int
    blocking: bool
    pending: list[Operation] = field(default_factory=list)
    issued: int = 0
    clock: dict[int, int] = field(default_factory=dict)
    destroyed: bool = False
    asked: bool = False  #: cuStreamQuery said "not yet" for what is pending
    context: int = 0  #: the CUDA context that it was made in


@dataclass
class _Event:
    """One recording of an event: what it comes after, and when it was reached."""

    clock: dict[int, int] = field(default_factory=dict)
    seconds: float | None = None
    asked: bool = False
    capture: Capture | None = None  #: the one that it was recorded in: it stands for no work that will run

    def reach(self) -> None:
        self.seconds = time.perf_counter()


class Streams:
    """All streams and events of one device."""

    def __init__(self) -> None:
        self._streams = {DEFAULT: Stream(DEFAULT, blocking=True)}
        self._events: dict[int, _Event | None] = {}
        self._untimed: set[int] = set()
        self._contexts: dict[int, int] = {}  # of events
        self.captures = Captures()
        self._made = 0  # handles are never used twice

    # -- streams

    def create(self, flags: int, context: int = 0) -> int:
        handle = self._new_handle(_FIRST_HANDLE)
        self._streams[handle] = Stream(handle, blocking=not flags & _NON_BLOCKING, context=context)
        return handle

    def end_context(self, context: int) -> None:
        """cuCtxDestroy: its streams and events go with it; what is pending still runs."""
        for stream in self._streams.values():
            if stream.handle != DEFAULT and stream.context == context:
                stream.destroyed = True
        for event in [e for e, made_in in self._contexts.items() if made_in == context]:
            self._events.pop(event, None)

    def is_gone(self, handle: int) -> bool:
        """Whether a stream or an event was destroyed, or went with its context."""
        stream = self._streams.get(handle)
        return handle not in self._events and (stream is None or stream.destroyed)

    def destroy(self, handle: int) -> None:
        """cuStreamDestroy: returns at once; what is pending still runs, but the stream cannot be waited for."""
        if handle == DEFAULT:
            raise Misuse("stream", "the default stream cannot be destroyed", error="invalid resource handle")
        self.get(handle).destroyed = True
        self.captures.forbid_waiting("the end of a stream", handle)

    def get(self, handle: int) -> Stream:
        stream = self._streams.get(handle)
        if stream is None or stream.destroyed:
            state = "was destroyed, or its context has ended" if stream else "is not a stream: give a Stream's handle"
            raise Misuse("stream", f"stream handle {handle:#x} {state}", error="invalid resource handle")
        return stream

    def submit(self, handle: int, op: Operation) -> None:
        """Queue ``op``, or write it down in a capture. Raises Misuse when it races with work of another stream."""
        stream = self.get(handle)
        capture = self.captures.of(handle)
        if capture is not None:
            capture.add(handle, op)
            return
        if handle == DEFAULT:
            self.captures.forbid_default_stream(op.what)
        self.refuse_races(handle, [op])
        stream.issued += 1
        op.stream, op.number = handle, stream.issued
        op.clock = dict(stream.clock)
        stream.clock[handle] = op.number
        stream.pending.append(op)
        stream.asked = False

    def refuse_races(self, handle: int, ops: Iterable[Operation]) -> None:
        """Raise Misuse when one of them would race with pending work of another stream."""
        stream = self.get(handle)
        if stream.blocking:
            self._join_default(stream)
        for op in ops:
            op.refuse_race(handle, stream.clock, self.pending())

    def pending(self) -> list[Operation]:
        return [op for stream in self._streams.values() for op in stream.pending]

    def touching(self, reads: Iterable[Span] = (), writes: Iterable[Span] = ()) -> Operation | None:
        """A pending operation that clashes with these reads and writes; one that must be waited for comes first."""
        probe = Operation("", "", lambda: None, tuple(reads), tuple(writes))
        found = sorted((op for op in self.pending() if probe.clashes(op)), key=lambda op: op.quiet)
        return found[0] if found else None

    # -- waiting is what makes work run

    def synchronize(self, handle: int) -> None:
        stream = self.get(handle)
        self.captures.forbid_waiting("a wait for a stream", handle)
        self._drain(stream, stream.issued)
        if handle == DEFAULT:
            self.synchronize_blocking()

    def synchronize_blocking(self, what: str = "a wait for the default stream") -> None:
        """What a synchronous call on the legacy default stream waits for."""
        self.captures.forbid_default_stream(what)
        for stream in list(self._streams.values()):
            if stream.blocking:
                self._drain(stream, stream.issued)

    def finish(self, op: Operation) -> None:
        """Run a pending operation, and what comes before it."""
        self._drain(self._streams[op.stream], op.number)

    def synchronize_all(self) -> None:
        for stream in list(self._streams.values()):
            self._drain(stream, stream.issued)

    def query(self, handle: int) -> bool:
        """cuStreamQuery: pending work is "not yet" done once, and has run the next time, so polling ends."""
        stream = self.get(handle)
        self.captures.forbid_waiting("a query of a stream", handle)
        if stream.pending and not stream.asked:
            stream.asked = True
            return False
        self.synchronize(handle)
        return True

    # -- captures

    def capturing(self, handle: int) -> bool:
        return self.captures.of(handle) is not None

    def begin_capture(self, handle: int, mode: int, thread: int, line: str) -> None:
        stream = self.get(handle)
        if handle == DEFAULT:
            message = "the default stream cannot be captured: make a stream for it"
            raise Misuse("capture", message, error=UNSUPPORTED)
        self.captures.begin(handle, mode, thread, line, blocking=stream.blocking)

    def clock(self, handle: int) -> dict[int, int]:
        return dict(self.get(handle).clock)

    def wait_clock(self, handle: int, clock: dict[int, int]) -> None:
        """Later work of the stream comes after ``clock``."""
        merge(self.get(handle).clock, clock)

    # -- events

    def event_create(self, flags: int = 0, context: int = 0) -> int:
        handle = self._new_handle(_FIRST_EVENT)
        self._events[handle] = None
        self._contexts[handle] = context
        if flags & _DISABLE_TIMING:
            self._untimed.add(handle)
        return handle

    def need_event(self, event: int) -> None:
        """Raises Misuse for what is no event."""
        self._known(event)

    def event_destroy(self, event: int) -> None:
        """cuEventDestroy: what waits for it already goes on waiting."""
        self._known(event)
        del self._events[event]

    def event_record(self, event: int, handle: int, line: str) -> None:
        self._known(event)
        capture = self.captures.of(handle)
        if capture is not None:
            capture.need_whole("the record of an event")
            self._events[event] = _Event(clock=dict(capture.clocks[handle]), capture=capture)
            return
        mark = _Event()
        self.submit(handle, Operation("event record", line, mark.reach, quiet=True))
        mark.clock = dict(self.get(handle).clock)
        self._events[event] = mark

    def event_synchronize(self, event: int) -> None:
        recorded = self.uncaptured(event, "a wait for an event")
        for handle, number in recorded.clock.items() if recorded else ():
            self._drain(self._streams[handle], number)

    def event_elapsed(self, start: int, end: int) -> float:
        """Milliseconds between two events that were reached; a twin's time, good for nothing but a sign."""
        first, second = (self.uncaptured(event, "the time of an event") for event in (start, end))
        if {start, end} & self._untimed:
            raise Misuse("event", "time_since: an event was made with DISABLE_TIMING", error="invalid resource handle")
        if first is None or second is None:
            raise Misuse("event", "time_since: an event was never recorded", error="invalid resource handle")
        if first.seconds is None or second.seconds is None:
            raise Misuse(
                "event", "time_since: an event was not waited for: synchronize it first", error="device not ready"
            )
        return (second.seconds - first.seconds) * 1e3

    def event_query(self, event: int) -> bool:
        """cuEventQuery; like `query`, it says "not yet" once. An event that was never recorded is done."""
        recorded = self.uncaptured(event, "a query of an event")
        if recorded is not None and recorded.seconds is None and not recorded.asked:
            recorded.asked = True
            return False
        self.event_synchronize(event)
        return True

    def wait_event(self, handle: int, event: int) -> None:
        """cuStreamWaitEvent: later work of the stream comes after what the event recorded."""
        stream, recorded = self.get(handle), self._known(event)
        if recorded is None:
            return
        if recorded.capture is not None:
            self._wait_captured(stream, recorded, recorded.capture)
        elif (capture := self.captures.of(handle)) is not None:
            why = "the event was recorded outside of it: record it on a capturing stream"
            self.captures.refuse([capture], "a wait for an event", why, ISOLATION)
        else:
            merge(stream.clock, recorded.clock)

    def _wait_captured(self, stream: Stream, recorded: _Event, capture: Capture) -> None:
        if capture.ended:
            self.captures.forbid_captured_event("a wait for an event", capture)
        if stream.handle == DEFAULT:
            self.captures.refuse([capture], "a wait for an event", "the default stream cannot take part", UNSUPPORTED)
        self.captures.join(stream.handle, capture, recorded.clock, blocking=stream.blocking)

    def uncaptured(self, event: int, what: str) -> _Event | None:
        """The event's last recording, if any. Raises Misuse when that was in a capture."""
        recorded = self._known(event)
        self.captures.forbid_captured_event(what, recorded.capture if recorded else None)
        return recorded

    def _known(self, event: int) -> _Event | None:
        if event not in self._events:
            message = f"event handle {event:#x} is not an event, or was destroyed, or its context has ended"
            raise Misuse("event", message, error="invalid resource handle")
        return self._events[event]

    def _new_handle(self, first: int) -> int:
        self._made += 1
        return first + self._made * 0x100

    # -- order

    def _join_default(self, stream: Stream) -> None:
        if stream.handle == DEFAULT:
            for other in self._streams.values():
                if other.blocking:
                    merge(stream.clock, other.clock)
        else:
            merge(stream.clock, self._streams[DEFAULT].clock)

    def _drain(self, stream: Stream, number: int) -> None:
        while stream.pending and stream.pending[0].number <= number:
            op = stream.pending[0]
            for handle, before in op.clock.items():
                if handle != stream.handle:
                    self._drain(self._streams[handle], before)
            if stream.pending and stream.pending[0] is op:
                stream.pending.pop(0)
                op.run()  # may raise Misuse: the operation failed, and counts as done
