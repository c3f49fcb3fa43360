"""Stream capture: from its begin to its end, a stream's work is written down instead of run.

Source of the rules: CUDA C++ Programming Guide, "Creating a Graph Using Stream Capture", and the
runtime API's reference of `cudaStreamBeginCapture` and `cudaThreadExchangeStreamCaptureMode`.  A
call that a capture forbids is named as a finding, and the capture is invalid from then on: what
follows, its end included, fails with cudaErrorStreamCaptureInvalidated and is no finding of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .misuse import Misuse
from .operations import Operation, merge

GLOBAL, THREAD_LOCAL, RELAXED = range(3)
UNSUPPORTED = "operation not permitted when stream is capturing"
INVALIDATED = "operation failed due to a previous error during capture"
MERGE = "operation would result in a merge of separate capture sequences"
UNMATCHED = "capture was not ended in the same stream as it began"
UNJOINED = "capturing stream has unjoined work"
ISOLATION = "dependency created on uncaptured work in another stream"
IMPLICIT = "operation would make the legacy stream depend on a capturing blocking stream"
CAPTURED_EVENT = "operation not permitted on an event last recorded in a capturing stream"
WRONG_THREAD = "attempt to terminate a thread-local capture sequence from another thread"
ILLEGAL_STATE = "the operation cannot be performed in the present state"
_MOST_NODES = 10_000


@dataclass(eq=False)
class Capture:
    """One capture under way. Streams take part from the beginning (``origin``) or once they wait for its event."""

    number: int
    origin: int
    mode: int
    thread: int
    line: str
    nodes: list[Operation] = field(default_factory=list)
    clocks: dict[int, dict[int, int]] = field(default_factory=dict)  #: by stream that takes part
    blocking: set[int] = field(default_factory=set)  #: those of them that the default stream waits for
    broken: bool = False
    ended: bool = False

    def add(self, stream: int, op: Operation) -> None:
        """Write ``op`` down. Raises Misuse when it races with another branch of the capture."""
        self.need_whole(op.what)
        if len(self.nodes) >= _MOST_NODES:
            raise Misuse(
                "capture", f"a capture holds at most {_MOST_NODES} operations on the twin", error="out of memory"
            )
        clock = self.clocks[stream]
        op.refuse_race(stream, clock, self.nodes)
        op.stream, op.number, op.clock, op.captured = stream, clock.get(stream, 0) + 1, dict(clock), True
        clock[stream] = op.number
        self.nodes.append(op)

    def need_whole(self, what: str) -> None:
        if self.broken:
            message = f"{what}: the capture that began at {self.line} is invalid since an earlier call"
            raise Misuse("capture", message, error=INVALIDATED, silent=True)

    def unjoined(self) -> list[int]:
        """Streams whose captured work the origin does not come after."""
        known = self.clocks[self.origin]
        return [s for s, clock in self.clocks.items() if clock.get(s, 0) > known.get(s, 0)]


class Captures:
    """The captures under way on one device."""

    def __init__(self) -> None:
        self._of: dict[int, Capture] = {}  # by stream
        self._modes: dict[int, int] = {}  # of threads that changed theirs
        self._made = 0

    def of(self, stream: int) -> Capture | None:
        return self._of.get(stream)

    def active(self) -> list[Capture]:
        return list(dict.fromkeys(self._of.values()))

    def begin(self, stream: int, mode: int, thread: int, line: str, *, blocking: bool) -> None:
        if mode not in (GLOBAL, THREAD_LOCAL, RELAXED):
            raise Misuse("capture", f"there is no capture mode {mode}", error="invalid argument")
        if (capture := self.of(stream)) is not None:
            message = f"a second begin of a capture (begun at {capture.line}): the stream is capturing already"
            raise Misuse("capture", message, error=ILLEGAL_STATE)  # and the capture goes on
        self._made += 1
        self.join(stream, Capture(self._made, stream, mode, thread, line), {}, blocking=blocking)

    def join(self, stream: int, capture: Capture, clock: dict[int, int], *, blocking: bool) -> None:
        """The stream's next work comes after ``clock``; if it was not capturing, it is from now on."""
        capture.need_whole("the wait for a captured event")
        current = self._of.setdefault(stream, capture)
        if current is not capture:
            self.refuse([current, capture], "a wait for an event", "the event is another capture's", MERGE)
        merge(capture.clocks.setdefault(stream, {}), clock)
        if blocking:
            capture.blocking.add(stream)

    def end(self, stream: int, thread: int) -> tuple[Operation, ...]:
        """What was captured, in the order of the calls."""
        capture = self.of(stream)
        if capture is None:
            message = "the end of a capture on a stream that is not capturing: begin it on this stream first"
            raise Misuse("capture", message, error=ILLEGAL_STATE)
        if capture.origin != stream:
            why = f"it began on another stream ({capture.line}), and must end there"
            self.refuse([capture], "the end of a capture", why, UNMATCHED)
        if capture.mode != RELAXED and capture.thread != thread:
            self.drop(capture)  # ended, and for nothing
            message = f"the capture that began at {capture.line} must end in the thread that began it"
            raise Misuse("capture", message, error=WRONG_THREAD)
        self.drop(capture)
        capture.need_whole("the end of a capture")
        if left := capture.unjoined():
            work = next(op for op in reversed(capture.nodes) if op.stream == left[0])
            message = (
                f"{work.what} ({work.line}) is on a stream that was not joined: record an event after it and let"
                " the stream that began the capture wait for that"
            )
            raise Misuse("capture", message, error=UNJOINED)
        return tuple(capture.nodes)

    def drop(self, capture: Capture) -> None:
        capture.ended = True
        for stream in [s for s, c in self._of.items() if c is capture]:
            del self._of[stream]

    def exchange_mode(self, thread: int, mode: int) -> int:
        if mode not in (GLOBAL, THREAD_LOCAL, RELAXED):
            raise Misuse("capture", f"there is no capture mode {mode}", error="invalid argument")
        before = self._modes.get(thread, GLOBAL)
        self._modes[thread] = mode
        return before

    # -- what a capture forbids

    def refuse(self, captures: list[Capture], what: str, why: str, error: str) -> None:
        """The captures are invalid from now on. Raises Misuse, silent where all of them were before."""
        silent = all(capture.broken for capture in captures)
        for capture in captures:
            capture.broken = True
        text = INVALIDATED if silent else error
        raise Misuse(
            "capture", f"{what} during a capture (begun at {captures[0].line}): {why}", error=text, silent=silent
        )

    def forbid_unsafe(self, what: str, thread: int) -> None:
        """For calls that are not part of a stream's work, as an allocation is: modes may permit them."""
        mode = self._modes.get(thread, GLOBAL)
        ours = [c for c in self.active() if c.thread == thread and c.mode != RELAXED and mode != RELAXED]
        others = [c for c in self.active() if c.thread != thread and c.mode == GLOBAL and mode == GLOBAL]
        if ours or others:
            why = "it would not be in the graph, and this capture mode forbids it: do it before the capture begins"
            self.refuse(ours + others, what, why, UNSUPPORTED)

    def forbid_default_stream(self, what: str) -> None:
        """The legacy default stream waits for every blocking stream, which none that captures can let happen."""
        if captures := [c for c in self.active() if c.blocking]:
            why = "it uses the default stream, which waits for the capturing one: use a stream, and another call"
            self.refuse(captures, what, why, IMPLICIT)

    def forbid_waiting(self, what: str, stream: int | None = None) -> None:
        """Nothing that was captured has run, so that nobody can wait for it; without a stream: for any of them."""
        capture = None if stream is None else self.of(stream)
        captures = self.active() if stream is None else [capture] if capture else []
        if captures:
            why = "captured work does not run before the graph is launched: wait after the launch"
            self.refuse(captures, what, why, UNSUPPORTED)

    def forbid_captured_event(self, what: str, capture: Capture | None) -> None:
        if capture is None:
            return
        why = "the event was last recorded in it, and only a stream may wait for that"
        if capture.ended:
            message = f"{what} after a capture (begun at {capture.line}): {why}"
            raise Misuse("capture", message, error="invalid argument")
        self.refuse([capture], what, why, CAPTURED_EVENT)
