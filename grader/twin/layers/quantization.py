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
    _check_zero(layer, graph)
    # A zero point of INT8 is what tells ONNX the type.
    zero = graph.constant(np.zeros(tuple(layer.get_input(1).shape), np.int8))
    graph.node("QuantizeLinear", [source, scale, zero], layer, axis=_axis(layer))


@translates("DEQUANTIZE")
def dequantize(layer: trt.IDequantizeLayer, graph: Graph) -> None:
    """input * scale.

    Not as DequantizeLinear: ONNX Runtime merges that with a product behind it and then quantises the
    product's other operand too, which the network leaves in floats.
    """
    if layer.get_input(0).dtype != T.INT8:
        raise refuse(layer, f"dequantisation of {layer.get_input(0).dtype.name}")
    _check_zero(layer, graph)
    scale, axis = graph.cast(graph.input(layer, 1), T.FLOAT), _axis(layer)
    if axis is not None:
        rank = len(layer.get_input(0).shape)
        scale = graph.node("Reshape", [scale, graph.int64(-1, *(1,) * (rank - axis % rank - 1))])
    result = graph.node("Mul", [graph.cast(graph.input(layer), T.FLOAT), scale])
    graph.cast(result, layer.get_output(0).dtype, layer)


def _check_zero(layer: trt.IQuantizeLayer | trt.IDequantizeLayer, graph: Graph) -> None:
    """TensorRT wants zero points of zero; its parser gives them as floats."""
    given = graph.input(layer, 2)
    zero = graph.value(given) if given else np.zeros(1)
    if zero is None or zero.any():
        raise refuse(layer, "a zero point that is not a constant of zeros")


def _axis(layer: trt.IQuantizeLayer | trt.IDequantizeLayer) -> int | None:
    """The axis of a scale per channel; None for one scale. Raises where the scale is in blocks."""
    scale = layer.get_input(1)
    if len(scale.shape) > 1:
        raise refuse(layer, f"a scale of rank {len(scale.shape)} (quantisation in blocks)")
    return layer.axis if len(scale.shape) == 1 else None
