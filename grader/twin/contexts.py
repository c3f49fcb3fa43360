"""What all commands share: the CUDA contexts, the findings, the log, and how work gets onto a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .commands_log import CommandLog
from .memory import Memory, Span
from .misuse import Finding, Misuse
from .operations import Operation
from .streams import DEFAULT, Streams

#: The number of the device's primary context.
PRIMARY = 0
_MOST_FINDINGS = 200
_NO_CONTEXT = "no CUDA context is current in this thread (import pycuda.autoinit, or Device(0).make_context())"


@dataclass
class Contexts:
    """Contexts are current in a thread; the command being served comes from one thread and one line."""

    memory: Memory = field(default_factory=Memory)
    streams: Streams = field(default_factory=Streams)
    findings: list[Finding] = field(default_factory=list)
    log: CommandLog = field(default_factory=CommandLog)
    line: str = ""  #: the candidate's line of the command being served
    thread: int = 0  #: the candidate's thread that sent it
    _stacks: dict[int, list[int]] = field(default_factory=dict)
    _contexts: set[int] = field(default_factory=set)  #: alive
    _initialised: bool = False
    _made: int = 0

    def finding(self, misuse: Misuse, line: str = "") -> None:
        if misuse.silent:
            return
        found = Finding(misuse.kind, misuse.message, line or misuse.line or self.line)
        if found not in self.findings and len(self.findings) < _MOST_FINDINGS:
            self.findings.append(found)

    def init(self) -> None:
        self._initialised = True

    def make_context(self) -> int:
        self._need_init("make_context", "cuCtxCreate")
        self._made += 1
        self._contexts.add(self._made)
        self._stack().append(self._made)
        return self._made

    def retain_primary_context(self) -> int:
        self._need_init("retain_primary_context", "cuDevicePrimaryCtxRetain")
        self._contexts.add(PRIMARY)
        return PRIMARY

    def use_primary_context(self) -> None:
        """As the runtime API does before any call: the primary context, where none is current in the thread."""
        self._initialised = True
        if not self._stack():
            self.push_context(self.retain_primary_context())

    def set_device(self) -> None:
        """As cudaSetDevice does: the primary context instead of whichever is current in the thread."""
        self._initialised = True
        primary, stack = self.retain_primary_context(), self._stack()
        stack[-1:] = [primary]

    def push_context(self, context: int) -> None:
        if context not in self._contexts:
            message = "Context.push: this context has ended, or never was"
            raise Misuse("context", message, error="cuCtxPushCurrent failed: invalid device context")
        self._stack().append(context)

    def pop_context(self) -> None:
        if not self._stack():
            message = "Context.pop: no context is current in this thread; it was popped before"
            raise Misuse("context", message, error="cuCtxPopCurrent failed: invalid device context")
        self._stack().pop()

    def current_context(self) -> int | None:
        stack = self._stack()
        return stack[-1] if stack else None

    def current_context_number(self) -> int:
        return self.need_context("cuCtxGetCurrent")

    def need_context(self, what: str) -> int:
        """The current context. Raises Misuse when there is none."""
        context = self.current_context()
        if context is None:
            raise Misuse("context", f"{what}: {_NO_CONTEXT}", error=f"{what} failed: invalid device context")
        return context

    def _need_init(self, what: str, cuda: str) -> None:
        if not self._initialised:
            message = f"{what} before pycuda.driver.init()"
            raise Misuse("context", message, error=f"{cuda} failed: initialization error")

    def _stack(self) -> list[int]:
        return self._stacks.setdefault(self.thread, [])

    # -- shared with the runtime

    def enqueue(
        self, stream: int, what: str, run: Callable[[], None], *,
        reads: tuple[Span, ...] = (), writes: tuple[Span, ...] = (), quiet: bool = False,
    ) -> Operation:  # fmt: skip
        """Queue work, or write it down in a capture.

        What it will write reads as poison from now on, unless earlier work still needs the old bytes.
        """
        op = self._submit(stream, Operation(what, self.line, run, reads, writes, quiet=quiet))
        if what.startswith("execute"):
            self._did("launch", stream, 0, op)
        return op

    def _submit(self, stream: int, op: Operation) -> Operation:
        busy = self.streams.touching(writes=op.writes)
        self.streams.submit(stream, op)
        if busy is None and not op.captured:
            for span in op.writes:
                if not any(span.overlaps(read) for read in op.reads):
                    span.unwrite()
        return op

    def _did(self, do: str, stream: int = DEFAULT, size: int = 0, op: Operation | None = None) -> None:
        self.log.add(do, stream, size, self.line, op is not None and op.captured)

    def forbid_in_capture(self, what: str) -> None:
        """For what allocates or frees: raises Misuse while a capture under way does not permit it in this thread."""
        self.streams.captures.forbid_unsafe(what, self.thread)
