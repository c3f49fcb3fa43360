"""CUDA graphs: what a capture wrote down, made executable, launched again and again.

A launch submits the captured operations in the order of their calls, to one stream: the addresses,
sizes and shapes are those of the capture, the bytes those of the launch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from .misuse import Misuse
from .operations import Operation

_FIRST_HANDLE = 0x7700_0000
Kind = TypeVar("Kind", "Graph", "Executable")
#: `cudaGraphExecUpdateResult`
UPDATED, TOPOLOGY_CHANGED, TYPE_CHANGED, PARAMETERS_CHANGED = 0, 2, 3, 5


@dataclass
class Graph:
    nodes: tuple[Operation, ...]
    line: str
    destroyed: str = ""


@dataclass
class Executable:
    nodes: tuple[Operation, ...]
    line: str
    clock: dict[int, int] = field(default_factory=dict)  #: what its next launch comes after
    destroyed: str = ""

    def host_copies(self) -> list[tuple[int, bool]]:
        """Number and direction (True: to the host) of the copies that the client has to play its part in."""
        return [(node.host.number, node.host.brings) for node in self.nodes if node.host is not None]

    def refuse_freed(self) -> None:
        """Raise Misuse when memory of the capture is gone."""
        for node in self.nodes:
            for span in (*node.reads, *node.writes):
                if span.allocation.freed:
                    about = f"{node.what} ({node.line}) needs {span.allocation.describe()}, gone since"
                    message = f"the graph was launched after its buffers moved: {about} {span.allocation.freed}"
                    raise Misuse("freed", f"{message}: capture again with the new ones")


class Graphs:
    """All graphs of one device, by handle; handles are never used twice."""

    def __init__(self) -> None:
        self._graphs: dict[int, Graph] = {}
        self._executables: dict[int, Executable] = {}
        self._made = 0

    def add(self, nodes: tuple[Operation, ...], line: str) -> int:
        handle = self._new_handle()
        self._graphs[handle] = Graph(nodes, line)
        return handle

    def instantiate(self, handle: int, line: str) -> int:
        made = self._new_handle()
        self._executables[made] = Executable(self.graph(handle).nodes, line)
        return made

    def graph(self, handle: int) -> Graph:
        return _alive(self._graphs, handle, "a graph")

    def executable(self, handle: int) -> Executable:
        return _alive(self._executables, handle, "an executable graph")

    def update(self, executable: int, graph: int) -> int:
        """One of `cudaGraphExecUpdateResult`; anything but `UPDATED` leaves the executable graph as it was."""
        target, source = self.executable(executable), self.graph(graph)
        result = _difference(target.nodes, source.nodes)
        if result == UPDATED:
            target.nodes = source.nodes
        return result

    def destroy(self, handle: int, line: str) -> None:
        self._end(self.graph(handle), line)

    def destroy_executable(self, handle: int, line: str) -> None:
        """What was launched still runs."""
        self._end(self.executable(handle), line)

    @staticmethod
    def _end(ended: Graph | Executable, line: str) -> None:
        ended.destroyed = line or "exit"
        ended.nodes = ()

    def _new_handle(self) -> int:
        self._made += 1
        return _FIRST_HANDLE + self._made * 0x100


def _alive(known: dict[int, Kind], handle: int, what: str) -> Kind:
    found = known.get(handle)
    if found is None:
        raise Misuse("graph", f"{handle:#x} is not {what}", error="invalid argument")
    if found.destroyed:
        message = f"{what} (made at {found.line}) was used after it was destroyed at {found.destroyed}"
        raise Misuse("graph", message, error="invalid argument")
    return found


def _difference(old: tuple[Operation, ...], new: tuple[Operation, ...]) -> int:
    if _topology(old) != _topology(new):
        return TOPOLOGY_CHANGED
    for a, b in zip(old, new, strict=True):
        if _kind(a) != _kind(b):
            return TYPE_CHANGED
        if a.what != b.what or (len(a.reads), len(a.writes)) != (len(b.reads), len(b.writes)):
            return PARAMETERS_CHANGED
    return UPDATED


def _topology(nodes: tuple[Operation, ...]) -> list[tuple[int, dict[int, int]]]:
    """What each node comes after, with streams numbered by their first node."""
    numbers: dict[int, int] = {}
    for node in nodes:
        numbers.setdefault(node.stream, len(numbers))
    return [(numbers[n.stream], {numbers[s]: c for s, c in n.clock.items() if c and s in numbers}) for n in nodes]


def _kind(node: Operation) -> str:
    return node.what.split("_")[0]
