"""What the pages' pictures are drawn from: bars in the units of their SVG, each with a text that says the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: A histogram's own units; on a telephone one is about one pixel, so that its texts stay readable.
WIDTH, HEIGHT = 320.0, 150.0
_LEFT, _TOP, _BOTTOM = 2.0, 16.0, 20.0


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    count: int


@dataclass(frozen=True)
class Tick:
    x: float
    text: str
    anchor: str  #: SVG's text-anchor


@dataclass(frozen=True)
class Histogram:
    """``marker`` is where the median stands; ``description`` tells all bars."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    marker: float
    base: float
    description: str


@dataclass(frozen=True)
class Part:
    """A piece of a bar that is 100 wide; ``kind`` is a status, and a class in the style sheet."""

    kind: str
    x: float
    width: float


def histogram(values: Sequence[float], edges: Sequence[float], median: float, unit: str) -> Histogram:
    """How many values lie between each two edges, the last one included. ``unit`` stands behind each number."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        inside = sum(value >= edge for edge in edges) - 1
        counts[min(max(inside, 0), len(counts) - 1)] += 1
    low, high = edges[0], edges[-1]
    scale = (WIDTH - 2 * _LEFT) / (high - low)
    base, most = HEIGHT - _BOTTOM, max(counts) or 1
    bars = []
    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        height = (base - _TOP) * count / most
        bars.append(
            Bar(_LEFT + (start - low) * scale + 1, base - height, max((end - start) * scale - 2, 1), height, count)
        )
    middle = (low + high) / 2
    ticks = (
        Tick(_LEFT, f"{low:g}{unit}", "start"),
        Tick(WIDTH / 2, f"{middle:g}{unit}", "middle"),
        Tick(WIDTH - _LEFT, f"{high:g}{unit}", "end"),
    )
    told = ", ".join(
        f"{start:g} to {end:g}{unit}: {count}"
        for start, end, count in zip(edges, edges[1:], counts, strict=False)
        if count
    )
    marker = _LEFT + (min(max(median, low), high) - low) * scale
    return Histogram(tuple(bars), ticks, marker, base, told)


def even_edges(values: Sequence[float], most: int = 12) -> list[float]:
    """From 0 to beyond the largest value, in at most so many steps of 1, 2 or 5 times a power of ten."""
    largest = max(values, default=0) or 1
    for exponent in range(-3, 12):
        for factor in (1, 2, 5):
            step = factor * 10.0**exponent
            if largest / step <= most:
                return [round(n * step, 6) for n in range(max(math.ceil(largest / step), 1) + 1)]
    return [0, largest]


def parts(counts: dict[str, int]) -> tuple[Part, ...]:
    """A stacked bar of counts, in their order."""
    total, at, found = sum(counts.values()), 0.0, []
    for kind, count in counts.items():
        if count:
            width = 100 * count / total
            found.append(Part(kind, at, width))
            at += width
    return tuple(found)
