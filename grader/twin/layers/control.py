"""Loops, conditionals and assertions, as ONNX's Loop and If.

What a loop does is TensorRT's "formal semantics" of loops: inside, every tensor is a sequence X0, X1, ... A recurrence
of X and Y is X, Y0, Y1, ...; with n trips, LAST_VALUE of X is Xn, and CONCATENATE is X0 to Xn-1. A WHILE limit makes n
the first trip whose condition is false, so it is asked before the first trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx
import tensorrt_rtx as trt
from onnx import helper

from .graph import Graph, Unsupported, element_type, layer_type, refuse, translates
from .nodes import leading_to, reads, renamed
from .scopes import Block, Scopes

_T = trt.LayerType
MOST_TRIPS = 100_000  #: of a loop; a condition that stays true would keep the device for ever
#: What the name of a node begins with that fails when something is not as it must be.
CHECK = "(twin) check"
#: What the name of an If begins with that tells the shape of no slices: see `_Loop._slices`.
NO_TRIPS = "(twin) no trips"
#: What the name of an iterator's Gather begins with.
ITERATOR = "(twin) iterator"

Translate = Callable[[trt.ILayer], None]


def write_all(graph: Graph, layers: Sequence[trt.ILayer], outputs: Iterable[str], translate: Translate) -> None:
    """Write the network, every layer by ``translate`` but for those that make up loops and conditionals.

    Raises Unsupported where one of the network's ``outputs`` lies inside.
    """
    scopes = Scopes(layers)
    for name in outputs:
        if scopes.is_inside(name):
            raise Unsupported(
                f"the twin cannot run output {name!r}: it lies inside a loop or a conditional; take it out by an output"
            )
    _Writer(graph, scopes, translate).write(frozenset())


@translates("ASSERTION")
def assertion(layer: trt.IAssertionLayer, graph: Graph) -> None:
    every = graph.node("ReduceMin", [graph.cast(graph.input(layer), trt.DataType.INT32)], keepdims=0)
    _check(graph, graph.cast(every, trt.DataType.BOOL), f"assertion {layer.name}: {layer.message}")


def _check(graph: Graph, holds: str, text: str) -> str:
    """A zero (int64, rank 0) for a true ``holds``; what needs it cannot be computed for a false one."""
    index = graph.node("Where", [holds, _scalar(graph, 0), _scalar(graph, 1)])
    return graph.node("Gather", [graph.int64(0), index], name=f"{CHECK} {graph.number()}: {text}")


def _scalar(graph: Graph, value: int) -> str:
    return graph.constant(np.array(value, np.int64))


class _Writer:
    def __init__(self, graph: Graph, scopes: Scopes, translate: Translate) -> None:
        self.graph, self.scopes, self._translate = graph, scopes, translate

    def write(self, where: frozenset[Block], wanted: Iterable[str] | None = None) -> None:
        """What lies in just these blocks: all of it, or what leads to the tensors ``wanted``."""
        for item in self.scopes.ordered(where):
            if where and not isinstance(item, Block) and layer_type(item) == _T.ASSERTION:
                raise refuse(item, "an assertion inside a loop or a conditional; make it of tensors from outside")
        for item in self.scopes.ordered(where, wanted):
            if not isinstance(item, Block):
                self._translate(item)
            elif isinstance(item.of, trt.ILoop):
                _Loop(self, item).write()
            else:
                self._conditional(item)

    def _conditional(self, block: Block) -> None:
        graph = self.graph
        outputs = block.of_type(_T.CONDITIONAL_OUTPUT)
        if not outputs:
            return
        (condition,) = block.of_type(_T.CONDITION)
        branches = []
        for index, name in enumerate(("then", "else")):
            wanted = [graph.input(layer, index) for layer in outputs]
            with graph.body() as body:
                for layer in block.of_type(_T.CONDITIONAL_INPUT):
                    graph.node("Identity", [graph.input(layer)], layer)
                    graph.declare(layer)
                self.write(block.inside, wanted)
                results = [
                    self.info(graph.node("Identity", [given]), layer.get_output(0).dtype, layer)
                    for given, layer in zip(wanted, outputs, strict=True)
                ]
            branches.append(graph.subgraph(f"{name} of {block.of.name}", body, [], results))
        names = [layer.get_output(0).name for layer in outputs]
        given = graph.input(condition)
        graph.node("If", [given], outputs=names, then_branch=branches[0], else_branch=branches[1])
        for layer in outputs:
            graph.declare(layer)

    def info(
        self, name: str, dtype: trt.DataType, layer: trt.ILayer, shape: Sequence[int] | None = None
    ) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, element_type(dtype, layer), shape)


class _Loop:
    """One loop on its way into the graph."""

    def __init__(self, writer: _Writer, block: Block) -> None:
        self._writer, self._graph, self._block = writer, writer.graph, block
        limits = {layer.kind: layer for layer in block.of_type(_T.TRIP_LIMIT)}
        self._count, self._while = limits.get(trt.TripLimit.COUNT), limits.get(trt.TripLimit.WHILE)
        self._recurrences = block.of_type(_T.RECURRENCE)
        outputs = block.of_type(_T.LOOP_OUTPUT)
        self._last = [a for a in outputs if a.kind == trt.LoopOutput.LAST_VALUE]
        self._collected = [a for a in outputs if a.kind != trt.LoopOutput.LAST_VALUE]

    def write(self) -> None:
        if not self._last and not self._collected:
            return
        graph = self._graph
        wanted = [graph.input(layer, 1) for layer in self._recurrences]
        wanted += [graph.input(layer) for layer in self._collected]
        if self._while is not None:
            wanted.append(graph.input(self._while))
        count = "" if self._count is None else graph.cast(graph.input(self._count), trt.DataType.INT64)
        trip, going = graph.fresh(), graph.fresh()
        with graph.body() as body:
            for layer in self._block.of_type(_T.ITERATOR):
                self._iterate(layer, trip, count)
            self._writer.write(self._block.inside, wanted)
            inner = list(body.nodes)
            asked = self._condition(inner, trip, 1)
            results = [self._result(asked, trt.DataType.BOOL, [])]
            for layer in self._recurrences:
                results.append(self._result(graph.input(layer, 1), layer.get_output(0).dtype))
            trips = graph.node("Add", [trip, _scalar(graph, 1)])
            results.append(self._result(trips, trt.DataType.INT64, []))
            for layer in self._collected:
                tensor = layer.get_input(0)
                shape = list(tensor.shape)
                results.append(self._result(tensor.name, tensor.dtype, None if -1 in shape else shape))
        begins = self._condition(inner, trip, 0)
        states = [(layer.get_output(0).name, layer.get_output(0).dtype) for layer in self._recurrences]
        given = [(trip, trt.DataType.INT64), (going, trt.DataType.BOOL), *states, (graph.fresh(), trt.DataType.INT64)]
        # The trip's number has rank 0; a state's rank is its initial value's.
        inputs = [
            self._writer.info(name, dtype, self._any, [] if name in (trip, going) else None) for name, dtype in given
        ]
        loop = graph.subgraph(f"body of {self._block.of.name}", body, inputs, results)
        initial = [graph.input(layer) for layer in self._recurrences]
        ends = [graph.fresh() for _ in (*self._recurrences, "trips", *self._collected)]
        most = self._most(count)
        graph.node("Loop", [most, begins, *initial, _scalar(graph, 0)], outputs=ends, body=loop)
        after = len(self._recurrences)
        done = self._ended(ends[after])
        for layer in self._last:
            place = [a.get_output(0).name for a in self._recurrences].index(graph.input(layer))
            graph.node("Identity", [ends[place]], layer)
            graph.declare(layer)
        for layer, slices in zip(self._collected, ends[after + 1 :], strict=True):
            self._collect(layer, self._slices(layer, slices, ends[after], inner, trip), done)
            graph.declare(layer)

    @property
    def _any(self) -> trt.ILayer:
        return self._block.layers[0]

    def _iterate(self, layer: trt.IIteratorLayer, trip: str, count: str) -> None:
        graph = self._graph
        index = trip
        if layer.reverse:
            index = graph.node("Sub", [graph.node("Sub", [count, _scalar(graph, 1)]), trip])
        name = f"{ITERATOR} {graph.number()}"
        graph.node("Gather", [graph.input(layer), index], layer, axis=layer.axis, name=name)
        graph.declare(layer)

    def _result(self, name: str, dtype: trt.DataType, shape: Sequence[int] | None = None) -> onnx.ValueInfoProto:
        return self._writer.info(self._graph.node("Identity", [name]), dtype, self._any, shape)

    def _most(self, count: str) -> str:
        """How many trips there may be: one more than can be collected is enough to see that it is too many."""
        graph = self._graph
        bounds = [_scalar(graph, MOST_TRIPS), *([count] if count else [])]
        for layer in self._collected:
            bounds.append(graph.node("Add", [self._length(layer), _scalar(graph, 1)]))
        return graph.node("Min", bounds)

    def _length(self, layer: trt.ILoopOutputLayer) -> str:
        return self._graph.cast(self._graph.input(layer, 1), trt.DataType.INT64)

    def _ended(self, trips: str) -> str:
        ok = self._graph.node("Less", [trips, _scalar(self._graph, MOST_TRIPS)])
        return _check(self._graph, ok, f"loop {self._block.of.name} ended before {MOST_TRIPS} trips")

    def _condition(self, inner: Sequence[onnx.NodeProto], trip: str, at: int) -> str:
        """The WHILE limit's condition of the first trip (``at`` 0) or of the next one (1)."""
        if self._while is None:
            return self._graph.constant(np.array(True))
        name = self._graph.input(self._while)
        needed = leading_to(inner, [name])
        if any(trip in reads(node) for node in needed):
            raise refuse(self._while, "its condition depends on an iterator; TensorRT takes recurrences alone")
        return self._again(needed, name, {a.get_output(0).name: self._graph.input(a, at) for a in self._recurrences})

    def _again(self, nodes: Sequence[onnx.NodeProto], name: str, instead: Mapping[str, str]) -> str:
        """Write the nodes a second time, with other tensors for some; what becomes of ``name``."""
        names = dict(instead)
        for node in nodes:
            names.update({output: self._graph.fresh() for output in node.output})
        copies = [renamed(node, names) for node in nodes]
        for node in copies:
            if node.name:  # ONNX Runtime wants each once
                node.name += f" {self._graph.number()}"
        self._graph.add(copies)
        return names.get(name, name)

    def _slices(
        self, layer: trt.ILoopOutputLayer, slices: str, trips: str, inner: Sequence[onnx.NodeProto], trip: str
    ) -> str:
        """``slices``, [trips, ...], also after no trip: ONNX Runtime takes what is dynamic for 0 then.

        So a trip is computed on zeros, for its shape alone.
        """
        graph, tensor = self._graph, layer.get_input(0)
        if -1 not in tuple(tensor.shape):
            return slices
        with graph.body() as none:
            instead = {a.get_output(0).name: graph.input(a) for a in self._recurrences}
            for a in self._block.of_type(_T.ITERATOR):
                instead[a.get_output(0).name] = self._zeros(a)
            nodes = [n for n in leading_to(inner, [tensor.name]) if not instead.keys() & set(n.output)]
            nodes = leading_to(nodes, [tensor.name])
            if any(trip in reads(node) for node in nodes):  # its users alone were left
                raise refuse(layer, "what it collects has a dynamic shape that the twin cannot tell for no trips")
            shape = graph.node("Shape", [self._again(nodes, tensor.name, instead)])
            empty = graph.node("Concat", [graph.int64(0), shape], axis=0)
            zero = graph.constant(np.zeros((), _numpy(tensor.dtype, layer)))
            then = [self._result(graph.node("Expand", [zero, empty]), tensor.dtype)]
        with graph.body() as some:
            otherwise = [self._result(slices, tensor.dtype)]
        return graph.node(
            "If",
            [graph.node("Equal", [trips, _scalar(graph, 0)])],
            name=f"{NO_TRIPS} {graph.number()}",
            then_branch=graph.subgraph("no trips", none, [], then),
            else_branch=graph.subgraph("trips", some, [], otherwise),
        )

    def _zeros(self, layer: trt.IIteratorLayer) -> str:
        """Zeros in the shape of what the iterator gives."""
        graph = self._graph
        shape = graph.node("Shape", [graph.input(layer)])
        kept = [axis for axis in range(len(layer.get_input(0).shape)) if axis != layer.axis]
        zero = graph.constant(np.zeros((), _numpy(layer.get_input(0).dtype, layer)))
        return graph.node("Expand", [zero, graph.node("Gather", [shape, graph.int64(*kept)])])

    def _collect(self, layer: trt.ILoopOutputLayer, slices: str, done: str) -> None:
        """``slices`` [trips, ...] as the output: at its axis, of its length."""
        graph, tensor = self._graph, layer.get_input(0)
        length, trips = self._length(layer), graph.node("Gather", [graph.node("Shape", [slices]), _scalar(graph, 0)])
        reverse = layer.kind == trt.LoopOutput.REVERSE
        pads = self._while is not None and not reverse
        said = f"loop output {layer.name} has the length {'of its loop, or more' if pads else 'of its loop'}"
        zero = _check(graph, graph.node("LessOrEqual" if pads else "Equal", [trips, length]), said)
        length = graph.node("Add", [length, graph.node("Add", [zero, done])])
        if reverse:
            ends = [graph.int64(-1), graph.int64(np.iinfo(np.int64).min), graph.int64(0), graph.int64(-1)]
            slices = graph.node("Slice", [slices, *ends])
        rest = graph.node("Slice", [graph.node("Shape", [slices]), graph.int64(1), graph.int64(np.iinfo(np.int64).max)])
        if pads:
            missing = graph.node("Unsqueeze", [graph.node("Sub", [length, trips]), graph.int64(0)])
            shape = graph.node("Concat", [missing, rest], axis=0)
            filler = graph.constant(_filler(tensor.dtype, layer))
            slices = graph.node("Concat", [slices, graph.node("Expand", [filler, shape])], axis=0)
        whole = graph.node("Concat", [graph.node("Unsqueeze", [length, graph.int64(0)]), rest], axis=0)
        slices = graph.node("Expand", [slices, whole])  # changes nothing, and tells shape inference the length
        order = list(range(1, len(tensor.shape) + 1))
        order.insert(layer.axis, 0)
        graph.node("Transpose", [slices], layer, perm=order)


def _numpy(dtype: trt.DataType, layer: trt.ILayer) -> np.dtype:
    return helper.tensor_dtype_to_np_dtype(element_type(dtype, layer))


def _filler(dtype: trt.DataType, layer: trt.ILayer) -> np.ndarray:
    """What stands behind the last trip's slice, of which TensorRT promises nothing: NaN, or the least integer."""
    numpy_type = np.dtype(_numpy(dtype, layer))
    if numpy_type.kind == "f":
        return np.array(np.nan, numpy_type)
    return np.array(True) if numpy_type.kind == "b" else np.array(np.iinfo(numpy_type).min, numpy_type)
