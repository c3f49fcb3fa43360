"""A network's ONNX without loops, for what its shapes are: they are the same after any number of trips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .layers.control import CHECK, ITERATOR, NO_TRIPS
from .layers.nodes import reads, renamed, subgraphs

CHOICE = "(flat) choice"
#: Nodes whose result depends on their input's shape alone.
_OF_SHAPES = ("Shape", "Size")


def has_control(model: onnx.ModelProto) -> bool:
    """Whether the network has loops or conditionals."""
    return any(node.op_type in ("Loop", "If") for node in model.graph.node)


def flattened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with one trip of each loop in its place, and nothing checked.

    A conditional's branches stand beside each other, before an If that has only to choose. Where the inputs' values
    would decide that, not their shapes, the model has an input for it, whose name begins with ``CHOICE``.
    """
    flat = onnx.ModelProto()
    flat.CopyFrom(model)
    del flat.graph.node[:]
    _Flattening(flat.graph).add(model.graph.node, {}, top=True)
    for number, node in enumerate([node for node in flat.graph.node if node.op_type == "If"]):
        if _depends_on_values(flat, node.input[0]):
            node.input[0] = f"{CHOICE} {number}"
    names = {node.input[0] for node in flat.graph.node if node.op_type == "If" and node.input[0].startswith(CHOICE)}
    flat.graph.input.extend(helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in sorted(names))
    return flat


def _depends_on_values(model: onnx.ModelProto, name: str) -> bool:
    """Whether a tensor depends on the inputs' values, in a flattened network; not on their shapes alone."""
    makes = {output: node for node in model.graph.node for output in node.output}
    given = {info.name for info in model.graph.input}
    left, seen = [name], set()
    while left:
        name = left.pop()
        if name in given:
            return True
        node = makes.get(name)
        if node is not None and id(node) not in seen and node.op_type not in _OF_SHAPES:
            seen.add(id(node))
            left += reads(node)
    return False


class _Flattening:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._count = 0

    def add(self, nodes: Iterable[onnx.NodeProto], outer: Mapping[str, str], top: bool = False) -> dict[str, str]:
        """Add what the nodes do, with other names for tensors from outside; and the names that theirs have now."""
        names = dict(outer)
        for node in nodes:
            if not top:
                names.update({name: self._fresh() for name in node.output if name})
            if node.op_type == "Loop":
                self._one_trip(node, names)
            elif node.op_type == "If":
                self._branches(node, names)
            elif node.name.startswith(CHECK):
                self._constant(np.array(0, np.int64), names.get(node.output[0], node.output[0]))
            elif node.name.startswith(ITERATOR):
                self._slice(node, names)
            else:
                copy = renamed(node, names)
                copy.name = ""  # of several copies, ONNX Runtime would want one name each
                self._graph.node.append(copy)
        return names

    def _one_trip(self, node: onnx.NodeProto, names: Mapping[str, str]) -> None:
        (body,) = subgraphs(node)
        given = [names.get(name, name) for name in node.input]
        trip = self._constant(np.array(0, np.int64), self._fresh())
        own = dict(zip([info.name for info in body.input], [trip, *given[1:]], strict=True))
        inner = self.add(body.node, {**names, **own})
        for index, output in enumerate(node.output):
            name = names.get(output, output)
            if index + 2 < len(given):
                self._node("Identity", [given[index + 2]], name)
            else:
                first = self._constant(np.array([0], np.int64), self._fresh())
                result = body.output[index + 1].name
                self._node("Unsqueeze", [inner.get(result, result), first], name)

    def _slice(self, node: onnx.NodeProto, names: Mapping[str, str]) -> None:
        """Something in the shape of a slice, also where there is none: the sum of all, of any type."""
        axis = self._constant(np.array([node.attribute[0].i], np.int64), self._fresh())
        given, output = names.get(node.input[0], node.input[0]), names.get(node.output[0], node.output[0])
        wide, added = self._fresh(), self._fresh()
        self._graph.node.append(helper.make_node("Cast", [given], [wide], to=TensorProto.FLOAT))
        self._graph.node.append(helper.make_node("ReduceSum", [wide, axis], [added], keepdims=0))
        self._graph.node.append(helper.make_node("CastLike", [added, given], [output]))

    def _branches(self, node: onnx.NodeProto, names: Mapping[str, str]) -> None:
        branches = {a.name: a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH}
        chosen = {}
        for which, graph in branches.items():
            if node.name.startswith(NO_TRIPS) and which == "then_branch":
                continue
            inner = self.add(graph.node, names)
            results = [inner.get(info.name, info.name) for info in graph.output]
            chosen[which] = [(name, info.type) for name, info in zip(results, graph.output, strict=True)]
        outputs = [names.get(name, name) for name in node.output]
        if node.name.startswith(NO_TRIPS):
            self._node("Identity", [chosen["else_branch"][0][0]], outputs[0])
            return
        attributes = {which: self._choice(which, results) for which, results in chosen.items()}
        condition = names.get(node.input[0], node.input[0])
        self._graph.node.append(helper.make_node("If", [condition], outputs, **attributes))

    def _choice(self, name: str, results: list[tuple[str, onnx.TypeProto]]) -> onnx.GraphProto:
        outputs = [helper.make_value_info(self._fresh(), kind) for _, kind in results]
        nodes = [
            helper.make_node("Identity", [given], [info.name])
            for (given, _), info in zip(results, outputs, strict=True)
        ]
        return helper.make_graph(nodes, name, [], outputs)

    def _constant(self, value: np.ndarray, name: str) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _node(self, op: str, inputs: list[str], output: str) -> None:
        self._graph.node.append(helper.make_node(op, inputs, [output]))

    def _fresh(self) -> str:
        self._count += 1
        return f"(flat) {self._count}"
