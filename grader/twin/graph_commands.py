"""The commands that capture streams and make, launch and end CUDA graphs."""

from __future__ import annotations

from dataclasses import dataclass, field

from .capture import IMPLICIT
from .contexts import Contexts
from .graphs import Graphs
from .layers import Unsupported
from .misuse import Misuse
from .streams import DEFAULT


@dataclass
class GraphCommands(Contexts):
    """Captures belong to the streams, which obey them; here are their begin and end, and what comes of them."""

    graphs: Graphs = field(default_factory=Graphs)

    def stream_begin_capture(self, stream: int, mode: int) -> None:
        self.need_context("cuStreamBeginCapture")
        self.streams.begin_capture(stream, mode, self.thread, self.line)
        self._did("capture_begin", stream)

    def stream_end_capture(self, stream: int) -> int:
        self.streams.get(stream)
        graph = self.graphs.add(self.streams.captures.end(stream, self.thread), self.line)
        self._did("capture_end", stream)
        return graph

    def stream_is_capturing(self, stream: int) -> tuple[int, int]:
        """`cudaStreamCaptureStatus`, and a number of the capture (0: none)."""
        self.streams.get(stream)
        if stream == DEFAULT and any(c.blocking for c in self.streams.captures.active()):
            raise Misuse("capture", "the default stream was asked for its capture", error=IMPLICIT, silent=True)
        capture = self.streams.captures.of(stream)
        return (0, 0) if capture is None else (2 if capture.broken else 1, capture.number)

    def exchange_capture_mode(self, mode: int) -> int:
        return self.streams.captures.exchange_mode(self.thread, mode)

    def graph_nodes(self, graph: int) -> int:
        return len(self.graphs.graph(graph).nodes)

    def graph_instantiate(self, graph: int) -> tuple[int, list[tuple[int, bool]]]:
        """The executable graph, and the copies that end on the host: number, and whether they write there."""
        self.need_context("cuGraphInstantiate")
        made = self.graphs.instantiate(graph, self.line)
        self._did("graph_instantiate")
        return made, self.graphs.executable(made).host_copies()

    def graph_update(self, executable: int, graph: int) -> tuple[int, list[tuple[int, bool]]]:
        """`cudaGraphExecUpdateResult`, and the copies as they are now."""
        result = self.graphs.update(executable, graph)
        self._did("graph_update")
        return result, self.graphs.executable(executable).host_copies()

    def graph_upload(self, executable: int, stream: int) -> None:
        self.graphs.executable(executable)
        self.streams.get(stream)

    def graph_launch(self, executable: int, stream: int, copies: list[tuple[int, int, bytes]]) -> None:
        """Submit all that was captured. ``copies``: for each that ends on the host its number, a new one, the bytes."""
        self.need_context("cuGraphLaunch")
        graph = self.graphs.executable(executable)
        ends = [node.host for node in graph.nodes if node.host is not None]
        if [(e.number, 0 if e.brings else e.size) for e in ends] != [(n, len(data)) for n, _, data in copies]:
            raise ValueError("graph_launch: these are not the graph's copies")
        if self.streams.capturing(stream):
            raise Unsupported("the twin cannot capture the launch of another graph")
        graph.refuse_freed()
        self.streams.wait_clock(stream, graph.clock)
        self.streams.refuse_races(stream, [node.of_graph(self.line) for node in graph.nodes])
        given = iter(copies)
        for node in graph.nodes:
            _, number, data = next(given) if node.host is not None else (0, 0, b"")
            self._submit(stream, node.again(self.line, data, number))
        graph.clock = self.streams.clock(stream)
        self._did("graph_launch", stream)

    def graph_destroy(self, graph: int) -> None:
        self.graphs.destroy(graph, self.line)

    def graph_exec_destroy(self, executable: int) -> None:
        self.graphs.destroy_executable(executable, self.line)
