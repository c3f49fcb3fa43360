"""Explicit quantisation to INT8, INT4, FP8 and FP4, and back: per tensor, per channel, in blocks.

Everything computes in FP32: ONNX Runtime 1.23 rounds FP16 with a scale per channel wrongly. INT4 is kept as
INT8, FP8 and FP4 as the FP32 numbers that they can be.
"""

from __future__ import annotations

import numpy as np
import tensorrt_rtx as trt
from onnx import TensorProto

from .graph import Graph, refuse, translates

T = trt.DataType

_INTEGERS = {T.INT8: (-128, 127), T.INT4: (-8, 7)}
_LARGEST_FP4 = 6.0


@translates("QUANTIZE")
def quantize(layer: trt.IQuantizeLayer, graph: Graph) -> None:
    """The quotient of input and scale, rounded to the nearest that the type has, halves to even, and clamped."""
    to, scale = layer.get_output(0).dtype, layer.get_input(1)
    _check_zero(layer, graph)
    source = graph.cast(graph.input(layer), T.FLOAT)
    if to == T.INT8 and len(scale.shape) < 2 and len(layer.get_input(0).shape) > 1:
        # One node, by the same rule; a zero point of INT8 is what tells ONNX the type.
        zero = graph.constant(np.zeros(tuple(scale.shape), np.int8))
        axis = layer.axis if len(scale.shape) == 1 else None
        graph.node("QuantizeLinear", [source, graph.cast(graph.input(layer, 1), T.FLOAT), zero], layer, axis=axis)
        return
    quotient = graph.node("Div", [source, _scale(layer, graph)])
    if to in _INTEGERS:
        limits = [graph.scalar(limit, T.FLOAT) for limit in _INTEGERS[to]]
        result = graph.node("Clip", [graph.node("Round", [quotient]), *limits])
    elif to == T.FP8:
        result = graph.node("Cast", [quotient], to=TensorProto.FLOAT8E4M3FN, saturate=1)
    elif to == T.FP4:
        result = _nearest_fp4(graph, quotient)
    else:
        raise refuse(layer, f"quantisation to {to.name}")
    graph.cast(result, to, layer)


@translates("DEQUANTIZE")
def dequantize(layer: trt.IDequantizeLayer, graph: Graph) -> None:
    """input * scale.

    Not as DequantizeLinear: ONNX Runtime merges that with a product behind it and then quantises the
    product's other operand too, which the network leaves in floats.
    """
    if layer.get_input(0).dtype not in (*_INTEGERS, T.FP8, T.FP4):
        raise refuse(layer, f"dequantisation of {layer.get_input(0).dtype.name}")
    _check_zero(layer, graph)
    result = graph.node("Mul", [graph.cast(graph.input(layer), T.FLOAT), _scale(layer, graph)])
    graph.cast(result, layer.get_output(0).dtype, layer)


@translates("DYNAMIC_QUANTIZE")
def dynamic_quantize(layer: trt.IDynamicQuantizeLayer, graph: Graph) -> None:
    raise refuse(layer, "how it computes and rounds the scale of a block is nowhere said")


def _nearest_fp4(graph: Graph, x: str) -> str:
    """Of 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives: steps of 0.5 below 2, of 1 below 4, of 2 above."""
    numbers = {value: graph.scalar(value, T.FLOAT) for value in (0.0, 0.5, 1.0, 2.0, 4.0, _LARGEST_FP4)}
    size = graph.node("Clip", [graph.node("Abs", [x]), numbers[0.0], numbers[_LARGEST_FP4]])
    large = graph.node("Where", [graph.node("Less", [size, numbers[4.0]]), numbers[1.0], numbers[2.0]])
    step = graph.node("Where", [graph.node("Less", [size, numbers[2.0]]), numbers[0.5], large])
    # An even multiple of its step is a number whose last bit is 0, in all three ranges.
    nearest = graph.node("Mul", [graph.node("Round", [graph.node("Div", [size, step])]), step])
    return graph.node("Mul", [nearest, graph.node("Sign", [x])])


def _check_zero(layer: trt.IQuantizeLayer | trt.IDequantizeLayer, graph: Graph) -> None:
    """TensorRT wants zero points of zero; its parser gives them as floats."""
    given = graph.input(layer, 2)
    zero = graph.value(given) if given else np.zeros(1)
    if zero is None or zero.any():
        raise refuse(layer, "a zero point that is not a constant of zeros")


def _scale(layer: trt.IQuantizeLayer | trt.IDequantizeLayer, graph: Graph) -> str:
    """The scale in FP32, in a shape that broadcasts: one, one for each entry of an axis, or one for each block."""
    sizes, parts = list(layer.get_input(0).shape), list(layer.get_input(1).shape)
    name = graph.cast(graph.input(layer, 1), T.FLOAT)
    if len(parts) == 1 and len(sizes) > 1:
        return graph.node("Reshape", [name, graph.int64(-1, *(1,) * (len(sizes) - layer.axis % len(sizes) - 1))])
    for axis, (size, count) in enumerate(zip(sizes, parts, strict=True) if parts else ()):
        if count in (1, size) and count > 0:
            continue
        if min(size, count) < 1 or size % count:
            raise refuse(layer, f"{count} scales for {size} elements of axis {axis}")
        block = size // count
        name = graph.node("Gather", [name, graph.int64(*(index // block for index in range(size)))], axis=axis)
    return name
