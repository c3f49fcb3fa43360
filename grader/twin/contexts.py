"""What all commands share: the CUDA contexts, the findings, the log, and how work gets onto a stream."""

from __future__ import annotations

from collections import Counter
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


@dataclass(frozen=True)
class Pushed:
    """A context on a thread's stack, and the line that pushed it."""

    context: int
    line: str


@dataclass
class Contexts:
    """Contexts are current in a thread; the command being served comes from one thread and one line."""

    memory: Memory = field(default_factory=Memory)
    streams: Streams = field(default_factory=Streams)
    findings: list[Finding] = field(default_factory=list)
    log: CommandLog = field(default_factory=CommandLog)
    line: str = ""  #: the candidate's line of the command being served
    thread: int = 0  #: the candidate's thread that sent it
    _stacks: dict[int, list[Pushed]] = field(default_factory=dict)
    _contexts: set[int] = field(default_factory=set)  #: alive
    #: How often a thread (the first number) may leave a context (the second) current: somebody else pops it.
    _minded: Counter[tuple[int, int]] = field(default_factory=Counter)
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

    def make_context(self, minded: bool = False) -> int:
        """Makes and pushes. ``minded``: it is popped when the process ends, as by pycuda.autoinit."""
        self._need_init("make_context", "cuCtxCreate")
        self._made += 1
        self._contexts.add(self._made)
        self.push_context(self._made, minded)
        return self._made

    def retain_primary_context(self) -> int:
        self._need_init("retain_primary_context", "cuDevicePrimaryCtxRetain")
        self._contexts.add(PRIMARY)
        return PRIMARY

    def use_primary_context(self) -> None:
        """As the runtime API does before any call: the primary context, where none is current in the thread."""
        self._initialised = True
        if not self._stack():
            self.push_context(self.retain_primary_context(), minded=True)

    def set_device(self) -> None:
        """As cudaSetDevice does: the primary context instead of whichever is current in the thread."""
        self._initialised = True
        primary, stack = self.retain_primary_context(), self._stack()
        if stack and stack[-1].context == primary:
            return
        if not stack or self._minded[self.thread, stack[-1].context]:
            self._minded[self.thread, primary] += 1
        stack[-1:] = [Pushed(primary, stack[-1].line if stack else self.line)]

    def push_context(self, context: int, minded: bool = False) -> None:
        if context not in self._contexts:
            message = "Context.push: this context has ended, or never was"
            raise Misuse("context", message, error="cuCtxPushCurrent failed: invalid device context")
        self._stack().append(Pushed(context, self.line))
        if minded:
            self._minded[self.thread, context] += 1

    def pop_context(self) -> None:
        if not self._stack():
            message = "Context.pop: no context is current in this thread; it was popped before"
            raise Misuse("context", message, error="cuCtxPopCurrent failed: invalid device context")
        self._stack().pop()

    def current_context(self) -> int | None:
        stack = self._stack()
        return stack[-1].context if stack else None

    def mind_contexts(self, *, naming: bool = False) -> None:
        """What is current now may be so after the next call. ``naming``: what is so beyond that is a finding."""
        current: Counter[tuple[int, int]] = Counter()
        for thread, stack in self._stacks.items():
            for pushed in stack:
                current[thread, pushed.context] += 1
                if naming and current[thread, pushed.context] > self._minded[thread, pushed.context]:
                    message = "this context is still current when the program ends, and PyCUDA aborts then"
                    self.finding(Misuse("context", f"{message}: pop() or detach() it"), pushed.line)
        self._minded |= current

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

    def _stack(self) -> list[Pushed]:
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
