"""The device memory that an execution context computes in: its own, or what the caller gives it.

What the real runtime refuses, and in which words, is in TensorRT-RTX's library beside the names of the methods:
memory for a context that has its own, a null address, an address off the alignment, too small a size, and an enqueue
before any memory was given.
"""

from __future__ import annotations

from .layers import Unsupported
from .memory import Allocation, Span
from .misuse import Misuse
from .world import World

ALIGN = 256  # setDeviceMemory: "256-byte aligned device memory"; setTensorAddress asks for the same
_WHAT = "the context's device memory"
_GIVE = "allocate engine.device_memory_size_v2 bytes and call set_device_memory(address, size) first"


class ContextMemory:
    """Of one context. ``needed`` is what the engine asks for, None where that is not known."""

    def __init__(self, world: World, needed: int | None, managed: bool) -> None:
        if managed and needed is None:
            raise Unsupported("the twin does not know how much device memory this engine needs")
        self.managed = managed
        self._world, self._needed = world, needed or 0
        self._address = 0
        self._refused = ""
        label = f"the activation memory of one execution context (created at {world.driver.line})"
        #: Stands for the context: one byte that every run of it writes, so that two runs at once are a race.
        self.itself = Span(Allocation(0, 1, world.driver.line, label=label), 0, 1)

    @property
    def address(self) -> int:
        """What the caller gave and the context took; 0 for none."""
        return self._address

    def give(self, address: int, size: int | None, where: str) -> None:
        """Take the caller's memory, of ``size`` bytes where that is told. What is wrong is refused, and a finding."""
        self._address, self._refused = 0, ""
        if not self.managed:
            problem = "this context has device memory of its own: create it with the strategy USER_MANAGED"
            self._refuse(where, "context-memory", problem)
        elif address == 0 and self._needed:
            self._refuse(where, "context-memory", f"a null address, but the engine needs {self._needed} bytes")
        elif address % ALIGN:
            self._refuse(where, "alignment", f"the address {address:#x} is not a multiple of {ALIGN}")
        elif size is not None and size < self._needed:
            self._refuse(where, "too-small", f"{size} bytes, but the engine needs {self._needed}")
        else:
            self._address = address

    def problem(self) -> tuple[str, bool]:
        """Why the context cannot run yet, "" if it can; and whether that was found before."""
        if self._refused:
            return f"{_WHAT} was refused: {self._refused}", True
        if self.managed and self._needed and not self._address:
            return f"the context was created without device memory and none was given: {_GIVE}", False
        return "", False

    def given(self) -> Span | None:
        """The bytes of the caller's that a run computes in. Raises Misuse: freed, too small, not device memory."""
        if not self.managed or not self._needed:
            return None
        return self._world.driver.memory.span(self._address, self._needed, _WHAT)

    def _refuse(self, where: str, kind: str, problem: str) -> None:
        if self.managed:
            self._refused = problem
        self._world.driver.finding(Misuse(kind, f"{where}: {problem}"))
        self._world.refuse(f"IExecutionContext::{where}", problem)
