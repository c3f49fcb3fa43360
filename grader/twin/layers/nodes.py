"""ONNX nodes as data: what a list of nodes needs, and copies of nodes under other names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors that the node takes, with those that its subgraphs take from outside."""
    yield from (name for name in node.input if name)
    for graph in subgraphs(node):
        own = {info.name for info in graph.input} | {name for inner in graph.node for name in inner.output}
        for inner in graph.node:
            yield from (name for name in reads(inner) if name not in own)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]


def leading_to(nodes: Sequence[onnx.NodeProto], names: Iterable[str]) -> list[onnx.NodeProto]:
    """Those of ``nodes``, which are in order, that the tensors ``names`` need."""
    wanted, found = set(names), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(reads(node))
    return found[::-1]


def renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy of the node with other names, where ``names`` has them; also in what its subgraphs take from outside."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for graph in subgraphs(copy):
        own = {info.name for info in graph.input} | {name for inner in graph.node for name in inner.output}
        outside = {old: new for old, new in names.items() if old not in own}
        for inner in graph.node:
            inner.CopyFrom(renamed(inner, outside))
    return copy
