"""Layers that pick elements by index: slices, gathers, scatters, reversed and warped ones, one-hot, non-zero."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import tensorrt_rtx as trt

from .graph import FLOATS, Graph, refuse, translates

T = trt.DataType
_Known = tuple[int, ...] | None


@dataclass(frozen=True)
class _Part:
    """One of a slice's start, size and stride: numbers where they are known, else a tensor's name."""

    known: _Known
    name: str

    def at(self, graph: Graph, position: int) -> str:
        """The number for one axis, as an INT64 scalar."""
        if self.known is not None:
            return graph.scalar(self.known[position], T.INT64)
        return graph.node("Gather", [self.name, graph.scalar(position, T.INT64)])


@translates("SLICE")
def slice_(layer: trt.ISliceLayer, graph: Graph) -> None:
    start = _part(layer, graph, 1, layer.start)
    size = _part(layer, graph, 2, layer.shape)
    stride = _part(layer, graph, 3, layer.stride)
    source = list(layer.get_input(0).shape)
    axes = _slice_axes(layer, graph, len(source))
    known = (start.known, size.known, stride.known)
    if layer.mode == trt.SampleMode.STRICT_BOUNDS and _is_plain(*known, [source[a] for a in axes]):
        starts, sizes, strides = (part or () for part in known)
        ends = [s + n * d for s, n, d in zip(starts, sizes, strides, strict=True)]
        # To ONNX a negative end counts from the back; downwards past the first element is "as far as it goes".
        ends = [-sys.maxsize if d < 0 and end < 0 else end for end, d in zip(ends, strides, strict=True)]
        bounds = [graph.int64(*values) for values in (starts, ends, axes, strides)]
        graph.node("Slice", [graph.input(layer), *bounds], layer)
        return
    if layer.mode not in _OUTSIDE:
        raise refuse(layer, f"sample mode {layer.mode.name}")
    result = graph.input(layer)
    for position, axis in enumerate(axes):
        counted = [graph.scalar(0, T.INT64), size.at(graph, position), graph.scalar(1, T.INT64)]
        steps = graph.node("Mul", [graph.node("Range", counted), stride.at(graph, position)])
        indices = graph.node("Add", [steps, start.at(graph, position)])
        result = _OUTSIDE[layer.mode](layer, graph, result, indices, axis)
    graph.node("Identity", [result], layer)


def _part(layer: trt.ISliceLayer, graph: Graph, index: int, dims: trt.Dims | None) -> _Part:
    name = graph.input(layer, index)
    if not name:
        return _Part(tuple(dims or ()), "")
    value = graph.value(name)
    if value is not None:
        return _Part(tuple(int(v) for v in value), "")
    return _Part(None, graph.cast(name, T.INT64))


def _slice_axes(layer: trt.ISliceLayer, graph: Graph, rank: int) -> list[int]:
    name = graph.input(layer, 5)
    if name:
        value = graph.value(name)
        if value is None:
            raise refuse(layer, "axes that no constant layer gives")
        axes = [int(axis) for axis in value]
    else:
        axes = list(range(rank)) if layer.axes is None else list(layer.axes)
    return [axis % rank for axis in axes]


def _is_plain(start: _Known, size: _Known, stride: _Known, source: list[int]) -> bool:
    """Whether ONNX's Slice says it: numbers all known, no stride of 0, and no size for ONNX to clip silently."""
    if start is None or size is None or stride is None or min(source, default=0) < 0:
        return False
    return 0 not in stride and 0 not in size


def _strict(layer: trt.ISliceLayer, graph: Graph, x: str, indices: str, axis: int) -> str:
    return graph.node("Gather", [x, indices], axis=axis)


def _clamp(layer: trt.ISliceLayer, graph: Graph, x: str, indices: str, axis: int) -> str:
    return _strict(layer, graph, x, _clamped(graph, x, indices, axis), axis)


def _wrap(layer: trt.ISliceLayer, graph: Graph, x: str, indices: str, axis: int) -> str:
    return _strict(layer, graph, x, graph.node("Mod", [indices, _size(graph, x, axis)]), axis)


def _reflect(layer: trt.ISliceLayer, graph: Graph, x: str, indices: str, axis: int) -> str:
    """``last - |i mod 2 last - last|``: the mirror is the middle of the outermost element, which is not repeated."""
    last = graph.node("Sub", [_size(graph, x, axis), graph.scalar(1, T.INT64)])
    period = graph.node("Max", [graph.node("Add", [last, last]), graph.scalar(1, T.INT64)])
    distance = graph.node("Abs", [graph.node("Sub", [graph.node("Mod", [indices, period]), last])])
    return _strict(layer, graph, x, graph.node("Sub", [last, distance]), axis)


def _fill(layer: trt.ISliceLayer, graph: Graph, x: str, indices: str, axis: int) -> str:
    dtype = layer.get_output(0).dtype
    value = graph.input(layer, 4) or graph.scalar(0, dtype)
    clamped = _clamped(graph, x, indices, axis)
    inside = graph.node("Equal", [indices, clamped])
    behind = len(layer.get_input(0).shape) - axis - 1
    inside = graph.node("Reshape", [inside, graph.int64(-1, *(1,) * behind)])
    picked = _strict(layer, graph, x, clamped, axis)
    if dtype != T.BOOL:
        return graph.node("Where", [inside, picked, value])
    chosen = graph.node("Where", [inside, graph.cast(picked, T.UINT8), graph.cast(value, T.UINT8)])
    return graph.cast(chosen, T.BOOL)


#: What an index outside of the input means, per mode.
_OUTSIDE = {
    trt.SampleMode.STRICT_BOUNDS: _strict,
    trt.SampleMode.CLAMP: _clamp,
    trt.SampleMode.WRAP: _wrap,
    trt.SampleMode.REFLECT: _reflect,
    trt.SampleMode.FILL: _fill,
}


def _size(graph: Graph, x: str, axis: int) -> str:
    return graph.node("Squeeze", [graph.node("Shape", [x], start=axis, end=axis + 1), graph.int64(0)])


def _clamped(graph: Graph, x: str, indices: str, axis: int) -> str:
    last = graph.node("Sub", [_size(graph, x, axis), graph.scalar(1, T.INT64)])
    return graph.node("Max", [graph.node("Min", [indices, last]), graph.scalar(0, T.INT64)])


@translates("GATHER")
def gather(layer: trt.IGatherLayer, graph: Graph) -> None:
    data, indices = graph.input(layer), graph.input(layer, 1)
    if layer.mode == trt.GatherMode.DEFAULT:
        if layer.num_elementwise_dims == 0:
            graph.node("Gather", [data, indices], layer, axis=layer.axis)
        elif layer.num_elementwise_dims == 1:
            _gather_per_batch(layer, graph)
        else:
            raise refuse(layer, f"{layer.num_elementwise_dims} elementwise dimensions")
    elif layer.mode == trt.GatherMode.ELEMENT:
        graph.node("GatherElements", [data, indices], layer, axis=layer.axis)
    elif layer.mode == trt.GatherMode.ND:
        wide = graph.cast(indices, T.INT64)
        graph.node("GatherND", [data, wide], layer, batch_dims=layer.num_elementwise_dims)
    else:
        raise refuse(layer, f"mode {layer.mode.name}")


def _gather_per_batch(layer: trt.IGatherLayer, graph: Graph) -> None:
    """Each entry of the first axis has its own indices: ONNX's GatherND, with the axis brought next to the first."""
    rank, index_rank = len(layer.get_input(0).shape), len(layer.get_input(1).shape)
    axis = layer.axis % rank
    if axis == 0:
        raise refuse(layer, "gathering along the elementwise dimension")
    between = list(range(1, axis))
    data = graph.node("Transpose", [graph.input(layer)], perm=[0, axis, *between, *range(axis + 1, rank)])
    indices = graph.node("Unsqueeze", [graph.cast(graph.input(layer, 1), T.INT64), graph.int64(-1)])
    picked = graph.node("GatherND", [data, indices], batch_dims=1)
    # [batch, indices..., between..., behind...] -> [batch, between..., indices..., behind...]
    own = list(range(1, index_rank))
    moved = [index_rank + position for position in range(len(between))]
    behind = list(range(index_rank + len(between), index_rank + rank - 2))
    graph.node("Transpose", [picked], layer, perm=[0, *moved, *own, *behind])


@translates("SCATTER")
def scatter(layer: trt.IScatterLayer, graph: Graph) -> None:
    data, indices, updates = (graph.input(layer, index) for index in range(3))
    if layer.mode == trt.ScatterMode.ELEMENT:
        graph.node("ScatterElements", [data, indices, updates], layer, axis=layer.axis)
    elif layer.mode == trt.ScatterMode.ND:
        graph.node("ScatterND", [data, graph.cast(indices, T.INT64), updates], layer)
    else:
        raise refuse(layer, f"mode {layer.mode.name}")


@translates("ONE_HOT")
def one_hot(layer: trt.IOneHotLayer, graph: Graph) -> None:
    indices, values, depth = (graph.input(layer, index) for index in range(3))
    inputs = [graph.cast(indices, T.INT64), graph.cast(depth, T.INT64), values]
    if layer.get_output(0).dtype in (*FLOATS, T.INT64):
        graph.node("OneHot", inputs, layer, axis=layer.axis)
    else:
        graph.node_in(T.INT64, "OneHot", inputs, layer, data=(2,), axis=layer.axis)


@translates("NON_ZERO")
def non_zero(layer: trt.INonZeroLayer, graph: Graph) -> None:
    source = graph.input(layer)
    if layer.get_input(0).dtype == T.INT8:
        source = graph.cast(source, T.INT32)
    graph.cast(graph.node("NonZero", [source]), layer.get_output(0).dtype, layer)


@translates("REVERSE_SEQUENCE")
def reverse_sequence(layer: trt.IReverseSequenceLayer, graph: Graph) -> None:
    # ONNX knows the batch and the sequence as the first two axes alone.
    rank = len(layer.get_input(0).shape)
    batch, sequence = layer.batch_axis % rank, layer.sequence_axis % rank
    order = [batch, sequence, *(axis for axis in range(rank) if axis not in (batch, sequence))]
    x = graph.node("Transpose", [graph.input(layer)], perm=order)
    lengths = graph.cast(graph.input(layer, 1), T.INT64)
    result = graph.node("ReverseSequence", [x, lengths], batch_axis=0, time_axis=1)
    graph.node("Transpose", [result], layer, perm=[order.index(axis) for axis in range(rank)])


_SAMPLED = {
    trt.SampleMode.FILL: "zeros",
    trt.SampleMode.CLAMP: "border",
    trt.SampleMode.REFLECT: "reflection",
}
_BETWEEN = {trt.InterpolationMode.NEAREST: "nearest", trt.InterpolationMode.LINEAR: "linear"}


@translates("GRID_SAMPLE")
def grid_sample(layer: trt.IGridSampleLayer, graph: Graph) -> None:
    if layer.interpolation_mode not in _BETWEEN:
        raise refuse(layer, f"interpolation {layer.interpolation_mode.name}")
    if layer.sample_mode not in _SAMPLED:
        raise refuse(layer, f"sample mode {layer.sample_mode.name}")
    graph.node(
        "GridSample",
        [graph.input(layer), graph.input(layer, 1)],
        layer,
        mode=_BETWEEN[layer.interpolation_mode],
        padding_mode=_SAMPLED[layer.sample_mode],
        align_corners=int(layer.align_corners),
    )
