"""Explicit quantisation to INT8: quantise and dequantise, per tensor or per channel.

Both compute in FP32: ONNX Runtime 1.23 rounds FP16 with a scale per channel wrongly.
"""

from __future__ import annotations

import numpy as np
import tensorrt_rtx as trt

from .graph import Graph, refuse, translates

T = trt.DataType


@translates("QUANTIZE")
def quantize(layer: trt.IQuantizeLayer, graph: Graph) -> None:
    """clamp(round(x / scale), -128, 127), halves to even: both are ONNX's rules, too."""
    output = layer.get_output(0)
    if output.dtype != T.INT8:
        raise refuse(layer, f"quantisation to {output.dtype.name}")
    source, scale = (graph.cast(graph.input(layer, index), T.FLOAT) for index in range(2))
    graph.node("QuantizeLinear", [source, scale, _zero(layer, graph)], layer, axis=_axis(layer))


@translates("DEQUANTIZE")
def dequantize(layer: trt.IDequantizeLayer, graph: Graph) -> None:
    if layer.get_input(0).dtype != T.INT8:
        raise refuse(layer, f"dequantisation of {layer.get_input(0).dtype.name}")
    scale = graph.cast(graph.input(layer, 1), T.FLOAT)
    result = graph.node("DequantizeLinear", [graph.input(layer), scale, _zero(layer, graph)], axis=_axis(layer))
    graph.cast(result, layer.get_output(0).dtype, layer)


def _zero(layer: trt.IQuantizeLayer | trt.IDequantizeLayer, graph: Graph) -> str:
    """A zero point of INT8, which tells ONNX the type.

    TensorRT's own must be zero, and the parser gives it as a tensor of floats.
    """
    given = graph.input(layer, 2)
    if given and (graph.value(given) is None or graph.value(given).any()):
        raise refuse(layer, "a zero point that is not a constant of zeros")
    return graph.constant(np.zeros(tuple(layer.get_input(1).shape), np.int8))


def _axis(layer: trt.IQuantizeLayer | trt.IDequantizeLayer) -> int | None:
    """The axis of a scale per channel; None for one scale. Raises where the scale is in blocks."""
    scale = layer.get_input(1)
    if len(scale.shape) > 1:
        raise refuse(layer, f"a scale of rank {len(scale.shape)} (quantisation in blocks)")
    return layer.axis if len(scale.shape) == 1 else None
