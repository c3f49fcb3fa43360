"""Layers that look along axes: reductions, softmax, the largest k, running sums."""

from __future__ import annotations

import tensorrt_rtx as trt

from .graph import Graph, axes_of, element_type, refuse, translates

_REDUCE = {
    trt.ReduceOperation.SUM: "ReduceSum",
    trt.ReduceOperation.PROD: "ReduceProd",
    trt.ReduceOperation.MAX: "ReduceMax",
    trt.ReduceOperation.MIN: "ReduceMin",
    trt.ReduceOperation.AVG: "ReduceMean",
}

#: The reductions that stay within the range of their input.
_CHOOSES = (trt.ReduceOperation.MAX, trt.ReduceOperation.MIN)

_LARGEST = {trt.TopKOperation.MAX: 1, trt.TopKOperation.MIN: 0}


@translates("REDUCE")
def reduce(layer: trt.IReduceLayer, graph: Graph) -> None:
    if layer.op not in _REDUCE:
        raise refuse(layer, f"operation {layer.op.name}")
    if layer.get_input(0).dtype == trt.DataType.INT8 and layer.op not in _CHOOSES:
        raise refuse(layer, f"operation {layer.op.name} of INT8")
    axes = graph.int64(*axes_of(layer.axes))
    graph.node(_REDUCE[layer.op], [graph.input(layer), axes], layer, keepdims=int(layer.keep_dims))


@translates("SOFTMAX")
def softmax(layer: trt.ISoftMaxLayer, graph: Graph) -> None:
    graph.node("Softmax", [graph.input(layer)], layer, axis=_one_axis(layer))


@translates("RAGGED_SOFTMAX")
def ragged_softmax(layer: trt.IRaggedSoftMaxLayer, graph: Graph) -> None:
    """Over the first elements of each row, as many as its bound says; 0 behind them."""
    x = graph.cast(graph.input(layer), trt.DataType.FLOAT)
    size = graph.node("Squeeze", [graph.node("Shape", [x], start=-1), graph.int64(0)])
    count = graph.node("Range", [graph.scalar(0, trt.DataType.INT64), size, graph.scalar(1, trt.DataType.INT64)])
    inside = graph.node("Less", [count, graph.cast(graph.input(layer, 1), trt.DataType.INT64)])
    kept = graph.node("Where", [inside, x, graph.scalar(float("-inf"), trt.DataType.FLOAT)])
    graph.cast(graph.node("Softmax", [kept], axis=-1), layer.get_output(0).dtype, layer)


@translates("TOPK")
def topk(layer: trt.ITopKLayer, graph: Graph) -> None:
    if layer.op not in _LARGEST:
        raise refuse(layer, f"operation {layer.op.name}")
    k = graph.input(layer, 1)
    wide = graph.cast(k, trt.DataType.INT64) if k else graph.scalar(layer.k, trt.DataType.INT64)
    values, indices = layer.get_output(0), layer.get_output(1)
    found = graph.fresh()
    graph.node(
        "TopK",
        [graph.input(layer), graph.node("Reshape", [wide, graph.int64(1)])],
        outputs=[values.name, found],
        axis=_one_axis(layer),
        largest=_LARGEST[layer.op],
        sorted=1,
    )
    # ONNX's indices are INT64, TensorRT's as asked for.
    graph.node("Cast", [found], outputs=[indices.name], to=element_type(indices.dtype, layer))


@translates("CUMULATIVE")
def cumulative(layer: trt.ICumulativeLayer, graph: Graph) -> None:
    if layer.op != trt.CumulativeOperation.SUM:
        raise refuse(layer, f"operation {layer.op.name}")
    graph.node(
        "CumSum",
        [graph.input(layer), graph.input(layer, 1)],
        layer,
        exclusive=int(layer.exclusive),
        reverse=int(layer.reverse),
    )


def _one_axis(layer: trt.ISoftMaxLayer | trt.ITopKLayer) -> int:
    axes = axes_of(layer.axes)
    if len(axes) != 1:
        raise refuse(layer, f"axes {axes}; one is needed")
    return axes[0]
