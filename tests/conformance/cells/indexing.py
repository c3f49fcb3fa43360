"""Layers that pick and place elements by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from .entry import X, entry

_PLACES = [[2, 0], [1, 1]]
entry(
    "GATHER", [X((2, 3)), X((2, 2), "INT32", values=_PLACES, free=None)],
    lambda net, x, places: net.add_gather(x, places, 1), lambda x, places: np.take(x, places, axis=1),
)  # fmt: skip
entry(
    "GATHER", [X((2, 3)), X((2, 2), "INT32", values=_PLACES)],
    lambda net, x, places: net.put(net.add_gather_v2(x, places, net.trt.GatherMode.ELEMENT), axis=1),
    lambda x, places: np.take_along_axis(x, places, 1), "ELEMENT",
)  # fmt: skip
entry(
    "GATHER", [X((3, 2, 2), free=1), X((2, 2), "INT32", values=[[2], [0]], free=None)],
    lambda net, x, places: net.add_gather_v2(x, places, net.trt.GatherMode.ND),
    lambda x, places: x[places[:, 0]], "ND",
)  # fmt: skip


def _scattered(x: np.ndarray, places: np.ndarray, updates: np.ndarray) -> np.ndarray:
    out = x.copy()
    np.put_along_axis(out, places, updates, axis=1)
    return out


entry(
    "SCATTER", [X((2, 3)), X((2, 2), "INT32", values=[[2, 0], [1, 0]]), X((2, 2))],
    lambda net, x, places, updates: net.put(
        net.add_scatter(x, places, updates, net.trt.ScatterMode.ELEMENT), axis=1
    ),
    _scattered, "ELEMENT",
)  # fmt: skip


def _scattered_rows(x: np.ndarray, places: np.ndarray, updates: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[places[:, 0]] = updates
    return out


entry(
    "SCATTER",
    [X((3, 2), free=None), X((2, 1), "INT32", values=[[2], [0]]), X((2, 2))],
    lambda net, x, places, updates: net.add_scatter(x, places, updates, net.trt.ScatterMode.ND),
    _scattered_rows, "ND",
)  # fmt: skip
entry(
    "ONE_HOT", [X((2, 2), "INT32", values=_PLACES), X((2,), values=[0, 3], free=None)],
    lambda net, places, values: net.add_one_hot(places, values, net.constant(3, "INT32"), 1),
    lambda places, values: np.where((places[:, None] == np.arange(3)[:, None]), values[1], values[0]),
)  # fmt: skip
entry(
    "NON_ZERO", [X((2, 3), values=[[0, 1, 2], [3, 0, 0]])],
    lambda net, x: net.add_non_zero(x),
    lambda x: np.stack(np.nonzero(x)),
)  # fmt: skip
entry(
    "NON_ZERO", [X((2, 3), values=[[0, 1, 2], [3, 0, 0]])],
    lambda net, x: net.add_reduce(net.add_non_zero(x).get_output(0), net.trt.ReduceOperation.SUM, 1 << 1, False),
    lambda x: np.stack(np.nonzero(x)).sum(axis=1), "summed, so that its size does not show",
)  # fmt: skip


def _nms(net: Any, boxes: Any, scores: Any) -> Any:
    layer = net.add_nms(boxes, scores, net.constant(2, "INT32"))
    layer.set_input(3, net.constant(0.5, "FLOAT"))
    layer.set_input(4, net.constant(0.1, "FLOAT"))
    return layer


def _kept(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per image and class, greedily by score, at most two, none that overlaps a kept one by more than half."""
    found = []
    for image in range(len(boxes)):
        rows = []
        for kind in range(scores.shape[2]):
            kept: list[int] = []
            for box in np.argsort(-scores[image, :, kind]):
                if scores[image, box, kind] <= 0.1 or len(kept) == 2:
                    continue
                if all(_overlap(boxes[image, box], boxes[image, other]) <= 0.5 for other in kept):
                    kept.append(int(box))
            rows += [(-scores[image, box, kind], (image, kind, box)) for box in kept]
        found += [row for _, row in sorted(rows)]
    return np.array(found, np.int64).reshape(-1, 3), np.array(len(found))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = max(sides[0], 0) * max(sides[1], 0)
    return common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common)


_BOXES = [[[0, 0, 2, 2], [0, 0, 2, 1.75], [1, 1, 3, 3]], [[0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3.25]]]
_SCORES = [[[0.5], [0.75], [0.25]], [[0.0625], [0.5], [0.375]]]
entry("NMS", [X((2, 3, 4), values=_BOXES), X((2, 3, 1), values=_SCORES)], _nms, _kept)
