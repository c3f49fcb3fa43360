"""Layers that divide by what they find around an element: normalisation, local response."""

from __future__ import annotations

from collections.abc import Sequence

import tensorrt_rtx as trt

from .graph import FLOATS, Graph, axes_of, refuse, translates

FLOAT = trt.DataType.FLOAT


@translates("NORMALIZATION")
def normalization(layer: trt.INormalizationLayer, graph: Graph) -> None:
    """(X - mean) / sqrt(variance + epsilon) * S + B, with mean and variance over ``axes``, in FP32.

    With ``num_groups`` above 1 the channels (axis 1) are split into that many groups, and each group
    is normalised over its channels and ``axes``.
    """
    x, scale, bias = (graph.cast(graph.input(layer, index), FLOAT) for index in range(3))
    axes = axes_of(layer.axes)
    if layer.num_groups == 1:
        result = _affine(graph, _normalized(graph, x, axes, layer.epsilon), scale, bias)
    else:
        result = _grouped(layer, graph, x, scale, bias)
    graph.cast(result, layer.get_output(0).dtype, layer)


def _grouped(layer: trt.INormalizationLayer, graph: Graph, x: str, scale: str, bias: str) -> str:
    axes = axes_of(layer.axes)
    if 0 in axes:
        raise refuse(layer, "groups of channels, normalised over the batch")
    shape = graph.node("Shape", [x])
    batch = graph.node("Shape", [x], start=0, end=1)
    sizes = graph.node("Shape", [x], start=2)
    per_group = layer.get_input(0).shape[1] // layer.num_groups
    # [N, C, ...] -> [N, G, C/G, ...]; an axis behind the channels moves up by one.
    split = graph.node("Concat", [batch, graph.int64(layer.num_groups, per_group), sizes], axis=0)
    within = [2, *(axis + 1 for axis in axes if axis > 1)]
    result = _normalized(graph, graph.node("Reshape", [x, split]), within, layer.epsilon)
    if layer.is_v2:  # one scale and bias for each channel
        return _affine(graph, graph.node("Reshape", [result, shape]), scale, bias)
    # The first version has one scale and bias for each group.
    scale, bias = (graph.node("Unsqueeze", [name, graph.int64(2)]) for name in (scale, bias))
    return graph.node("Reshape", [_affine(graph, result, scale, bias), shape])


def _normalized(graph: Graph, x: str, axes: Sequence[int], epsilon: float) -> str:
    over = graph.int64(*axes)
    centred = graph.node("Sub", [x, graph.node("ReduceMean", [x, over], keepdims=1)])
    variance = graph.node("ReduceMean", [graph.node("Mul", [centred, centred]), over], keepdims=1)
    deviation = graph.node("Sqrt", [graph.node("Add", [variance, graph.scalar(epsilon, FLOAT)])])
    return graph.node("Div", [centred, deviation])


def _affine(graph: Graph, x: str, scale: str, bias: str) -> str:
    return graph.node("Add", [graph.node("Mul", [x, scale]), bias])


@translates("LRN")
def lrn(layer: trt.ILRNLayer, graph: Graph) -> None:
    """x / (k + alpha / window * sum of squares) ^ beta, the sum over the channels in the window: ONNX's, too."""
    if layer.get_output(0).dtype not in FLOATS:
        raise refuse(layer, f"a response of {layer.get_output(0).dtype.name}: nothing says how it rounds")
    graph.node(
        "LRN", [graph.input(layer)], layer, size=layer.window_size, alpha=layer.alpha, beta=layer.beta, bias=layer.k
    )
