"""Which layers of a network lie in which of its loops and conditionals.

TensorRT keeps one flat list of layers. What lies inside a loop is what depends on one of its iterators or
recurrences, other than through one of its outputs; inside a conditional, what depends on one of its inputs. A layer
that depends on none gives the same on every trip, so it lies outside, whoever uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorrt_rtx as trt

from .graph import input_tensor, layer_type, refuse

_T = trt.LayerType
_OF_LOOPS = (_T.TRIP_LIMIT, _T.ITERATOR, _T.RECURRENCE, _T.LOOP_OUTPUT)
_OF_CONDITIONALS = (_T.CONDITION, _T.CONDITIONAL_INPUT, _T.CONDITIONAL_OUTPUT)
_LEADS_OUT = (_T.LOOP_OUTPUT, _T.CONDITIONAL_OUTPUT)

#: Layer types that are walked with their loop or conditional, not one by one.
BOUNDARIES = (*_OF_LOOPS, *_OF_CONDITIONALS)


@dataclass(eq=False)
class Block:
    """A loop or a conditional, and its boundary layers in the network's order."""

    of: trt.ILoop | trt.IIfConditional
    layers: list[Any] = field(default_factory=list)
    around: frozenset[Block] = frozenset()  #: the blocks that it lies in

    @property
    def inside(self) -> frozenset[Block]:
        return self.around | {self}

    def of_type(self, kind: trt.LayerType) -> list[Any]:
        return [layer for layer in self.layers if layer_type(layer) == kind]


Item = Any  # a layer, or a Block: one thing to be written in the place where it lies


class Scopes:
    """The layers of a network, by the blocks that they lie in. Raises Unsupported where those do not nest."""

    def __init__(self, layers: Sequence[trt.ILayer]) -> None:
        self._layers = layers
        self._blocks: dict[Any, Block] = {}
        self._block_of = [self._block(layer) for layer in layers]
        self._inside: dict[str, frozenset[Block]] = {}  # by tensor
        self._settle()
        self._items = self._all_items()
        self._giver = {name: (where, item) for where, items in self._items.items() for item in items
                       for name in self._gives(item)}  # fmt: skip
        self._needs = self._all_needs()

    def ordered(self, where: frozenset[Block], wanted: Iterable[str] | None = None) -> list[Item]:
        """What lies in just these blocks, each after what it needs; all, or what leads to the tensors ``wanted``."""
        roots = self._items.get(where, []) if wanted is None else self._givers(where, wanted)
        done: dict[int, Item] = {}
        open_: set[int] = set()
        stack = [(root, False) for root in reversed(roots)]
        while stack:
            item, complete = stack.pop()
            if complete:
                done[id(item)] = item
            elif id(item) not in done and id(item) not in open_:
                open_.add(id(item))
                stack.append((item, True))
                stack += [(giver, False) for giver in reversed(self._givers(where, self._needs[id(item)]))]
        return list(done.values())

    def is_inside(self, name: str) -> bool:
        """Whether the tensor lies in a loop or a conditional."""
        return bool(self._inside.get(name))

    # -- how it comes about

    def _block(self, layer: Any) -> Block | None:
        kind = layer_type(layer)
        if kind not in BOUNDARIES:
            return None
        owner = layer.loop if kind in _OF_LOOPS else layer.conditional
        block = self._blocks.setdefault(owner, Block(owner))
        block.layers.append(layer)
        return block

    def _settle(self) -> None:
        """Lets membership flow along the tensors until it changes no more; it only grows, so it ends."""
        changed = True
        while changed:
            changed = False
            for layer, block in zip(self._layers, self._block_of, strict=True):
                given = frozenset().union(*(self._inside.get(name, frozenset()) for name in _inputs(layer)))
                if block is None:
                    result = given
                elif given - block.inside:
                    block.around |= given - {block}
                    changed = True
                if block is not None:
                    result = block.around if layer_type(layer) in _LEADS_OUT else block.inside
                for name in _outputs(layer):
                    changed |= self._inside.get(name, frozenset()) != result
                    self._inside[name] = result
                if len(result) > len(self._blocks) or any(block in other.around for other in result - {block}):
                    raise refuse(layer, "it needs what is computed in the loop or conditional that it feeds")

    def _all_items(self) -> dict[frozenset[Block], list[Item]]:
        items: dict[frozenset[Block], list[Item]] = {}
        seen: set[Block] = set()
        for layer, block in zip(self._layers, self._block_of, strict=True):
            if block is None:
                where = frozenset().union(*(self._inside.get(name, frozenset()) for name in _inputs(layer)))
            elif block in seen:
                continue
            else:
                seen.add(block)
                where = block.around
            if where and where != max(where, key=lambda b: len(b.around)).inside:
                raise refuse(layer, "it takes tensors of loops or conditionals of which none lies in the other")
            items.setdefault(where, []).append(layer if block is None else block)
        return items

    def _gives(self, item: Item) -> list[str]:
        if not isinstance(item, Block):
            return _outputs(item)
        return [name for layer in item.layers if layer_type(layer) in _LEADS_OUT for name in _outputs(layer)]

    def _all_needs(self) -> dict[int, list[str]]:
        """By identity of the item: for a block, what any layer in it takes."""
        needs: dict[int, list[str]] = {}
        for item in (item for items in self._items.values() for item in items):
            layers = item.layers if isinstance(item, Block) else [item]
            needs.setdefault(id(item), []).extend(name for layer in layers for name in _inputs(layer))
        for where, items in self._items.items():
            for item in items:
                for block in where:
                    needs[id(block)] += [name for layer in getattr(item, "layers", [item]) for name in _inputs(layer)]
        return needs

    def _givers(self, where: frozenset[Block], names: Iterable[str]) -> list[Item]:
        """What lies in just these blocks and gives one of the tensors; what others give is there already."""
        found = (self._giver.get(name, (None, None)) for name in names)
        return list({id(item): item for place, item in found if place == where and item is not None}.values())


def _inputs(layer: trt.ILayer) -> list[str]:
    return [tensor.name for i in range(layer.num_inputs) if (tensor := input_tensor(layer, i)) is not None]


def _outputs(layer: trt.ILayer) -> list[str]:
    return [tensor.name for i in range(layer.num_outputs) if (tensor := layer.get_output(i)) is not None]
