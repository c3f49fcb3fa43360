"""Layers that make tensors or change their shape: constants, shuffles, concatenation, resizing."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorrt_rtx as trt

from .graph import FLOATS, NUMPY_TYPE, Graph, element_type, refuse, translates
from .weights import values

T = trt.DataType


@translates("CONSTANT")
def constant(layer: trt.IConstantLayer, graph: Graph) -> None:
    output = layer.get_output(0)
    element_type(output.dtype, layer)  # refuses the types that NumPy lacks
    array = values(layer.weights).astype(NUMPY_TYPE[output.dtype])
    graph.constant(array.reshape(tuple(layer.shape)), output.name)


@translates("SHUFFLE")
def shuffle(layer: trt.IShuffleLayer, graph: Graph) -> None:
    """Transpose, reshape, transpose; what is not set leaves its step out."""
    source = layer.get_input(0)
    result = _transposed(graph, graph.input(layer), layer.first_transpose, len(source.shape))
    shape = graph.input(layer, 1)
    if shape:
        shape = graph.cast(shape, T.INT64)
    elif layer.reshape_dims is not None:
        shape = graph.int64(*layer.reshape_dims)
    if shape:
        # A 0 copies the size of what the first transpose gave, which is what ONNX's Reshape is given here.
        result = graph.node("Reshape", [result, shape], allowzero=int(not layer.zero_is_placeholder))
    result = _transposed(graph, result, layer.second_transpose, len(layer.get_output(0).shape))
    graph.node("Identity", [result], layer)


def _transposed(graph: Graph, name: str, permutation: trt.Permutation, rank: int) -> str:
    # A permutation reads back with eight entries; those past the rank mean nothing.
    order = list(permutation)[:rank]
    return name if order == list(range(rank)) else graph.node("Transpose", [name], perm=order)


@translates("CONCATENATION")
def concatenation(layer: trt.IConcatenationLayer, graph: Graph) -> None:
    inputs = [graph.input(layer, index) for index in range(layer.num_inputs)]
    graph.node("Concat", inputs, layer, axis=layer.axis)


@translates("SHAPE")
def shape(layer: trt.IShapeLayer, graph: Graph) -> None:
    graph.node("Shape", [graph.input(layer)], layer)


@translates("SQUEEZE")
def squeeze(layer: trt.ISqueezeLayer, graph: Graph) -> None:
    axes = graph.input(layer, 1)
    if axes:
        axes = graph.cast(axes, T.INT64)
    else:
        # Only sizes that are 1 in the definition go; ONNX, given no axes, would judge at run time.
        axes = graph.int64(*(axis for axis, size in enumerate(layer.get_input(0).shape) if size == 1))
    graph.node("Squeeze", [graph.input(layer), axes], layer)


@translates("UNSQUEEZE")
def unsqueeze(layer: trt.IUnsqueezeLayer, graph: Graph) -> None:
    graph.node("Unsqueeze", [graph.input(layer), graph.cast(graph.input(layer, 1), T.INT64)], layer)


_INTERPOLATION = {
    trt.InterpolationMode.NEAREST: "nearest",
    trt.InterpolationMode.LINEAR: "linear",
    trt.InterpolationMode.CUBIC: "cubic",
}

_COORDINATES = {
    (trt.ResizeCoordinateTransformation.ALIGN_CORNERS, trt.ResizeSelector.FORMULA): "align_corners",
    (trt.ResizeCoordinateTransformation.ASYMMETRIC, trt.ResizeSelector.FORMULA): "asymmetric",
    (trt.ResizeCoordinateTransformation.HALF_PIXEL, trt.ResizeSelector.FORMULA): "half_pixel",
    # UPPER puts a single output pixel at 0. ONNX does that anyway for the first two.
    (trt.ResizeCoordinateTransformation.ALIGN_CORNERS, trt.ResizeSelector.UPPER): "align_corners",
    (trt.ResizeCoordinateTransformation.ASYMMETRIC, trt.ResizeSelector.UPPER): "asymmetric",
    (trt.ResizeCoordinateTransformation.HALF_PIXEL, trt.ResizeSelector.UPPER): "pytorch_half_pixel",
}

_ROUNDING = {
    trt.ResizeRoundMode.HALF_UP: "round_prefer_ceil",
    trt.ResizeRoundMode.HALF_DOWN: "round_prefer_floor",
    trt.ResizeRoundMode.FLOOR: "floor",
    trt.ResizeRoundMode.CEIL: "ceil",
}


@translates("RESIZE")
def resize(layer: trt.IResizeLayer, graph: Graph) -> None:
    coordinates = (layer.coordinate_transformation, layer.selector_for_single_pixel)
    if layer.resize_mode not in _INTERPOLATION:
        raise refuse(layer, f"interpolation {layer.resize_mode.name}")
    if coordinates not in _COORDINATES:
        raise refuse(layer, f"coordinates {coordinates[0].name} with selector {coordinates[1].name}")
    if layer.nearest_rounding not in _ROUNDING:
        raise refuse(layer, f"rounding {layer.nearest_rounding.name}")
    scales = sizes = ""
    if graph.input(layer, 1):
        # ONNX's inference refuses sizes whose number it does not know, as where they come from a slice of a shape.
        rank = graph.int64(len(layer.get_input(0).shape))
        sizes = graph.node("Reshape", [graph.cast(graph.input(layer, 1), T.INT64), rank])
    elif layer.shape is not None:
        sizes = graph.int64(*layer.shape)
    elif min(layer.get_output(0).shape) >= 0:
        # By TensorRT's formulas, coordinates go by the ratio of the sizes, also where a scale gave a size rounded down.
        sizes = graph.int64(*layer.get_output(0).shape)
    elif all(float(scale).is_integer() for scale in layer.scales):
        scales = graph.constant(np.array(layer.scales, np.float32))
    else:
        shape = graph.cast(graph.node("Shape", [graph.input(layer)]), T.FLOAT)
        grown = graph.node("Mul", [shape, graph.constant(np.array(layer.scales, np.float32))])
        sizes = graph.cast(graph.node("Floor", [grown]), T.INT64)
    cubic = layer.resize_mode == trt.InterpolationMode.CUBIC
    attributes: dict[str, Any] = {
        "mode": _INTERPOLATION[layer.resize_mode],
        "coordinate_transformation_mode": _COORDINATES[coordinates],
        "nearest_mode": _ROUNDING[layer.nearest_rounding],
        "cubic_coeff_a": layer.cubic_coeff if cubic else None,
        "exclude_outside": int(layer.exclude_outside) if cubic else None,
    }
    inputs = [graph.input(layer), "", scales, sizes]
    if layer.get_output(0).dtype in FLOATS:
        graph.node("Resize", inputs, layer, **attributes)
    elif layer.resize_mode == trt.InterpolationMode.NEAREST:
        graph.node_in(T.INT32, "Resize", inputs, layer, **attributes)  # copies, so that the type does not matter
    else:
        raise refuse(layer, f"interpolation between {layer.get_output(0).dtype.name}")


_DRAWN = {
    trt.FillOperation.RANDOM_UNIFORM: "RandomUniformLike",
    trt.FillOperation.RANDOM_NORMAL: "RandomNormalLike",
}


def _draw(layer: trt.IFillLayer, graph: Graph, sizes: str, alpha: str, beta: str) -> None:
    """Uniform from alpha to beta, or normal with mean alpha and standard deviation beta."""
    if layer.is_alpha_beta_int64() and not graph.input(layer, 2):
        raise refuse(layer, "alpha or beta given as an int, which makes TensorRT lose the other: give floats")
    alpha, beta = graph.cast(alpha, T.FLOAT), graph.cast(beta, T.FLOAT)
    # From 0 to 1, or around 0 with deviation 1: ONNX takes numbers alone. Without a seed, no two runs are alike.
    drawn = graph.node(_DRAWN[layer.operation], [graph.node("ConstantOfShape", [sizes])], dtype=1)
    width = graph.node("Sub", [beta, alpha]) if layer.operation == trt.FillOperation.RANDOM_UNIFORM else beta
    result = graph.node("Add", [graph.node("Mul", [drawn, width]), alpha])
    graph.cast(result, layer.get_output(0).dtype, layer)


@translates("FILL")
def fill(layer: trt.IFillLayer, graph: Graph) -> None:
    """alpha + beta[0] * i + beta[1] * j + ...; or drawn anew in each run, since TensorRT promises no order."""
    output = layer.get_output(0)
    rank = len(output.shape)
    sizes = graph.input(layer, 0)
    sizes = graph.cast(sizes, T.INT64) if sizes else graph.int64(*layer.shape)
    alpha = graph.input(layer, 1) or graph.scalar(layer.alpha, output.dtype)
    beta = graph.input(layer, 2) or graph.scalar(layer.beta, output.dtype)
    if layer.operation in _DRAWN:
        _draw(layer, graph, sizes, alpha, beta)
        return
    if layer.operation != trt.FillOperation.LINSPACE:
        raise refuse(layer, f"operation {layer.operation.name}")
    steps = graph.node("Reshape", [graph.cast(beta, output.dtype), graph.int64(-1)])
    result = graph.node("Reshape", [graph.cast(alpha, output.dtype), graph.int64(*(1,) * rank)])
    result = graph.node("Expand", [result, sizes])
    for axis in range(rank):
        size, step = (graph.node("Gather", [name, graph.scalar(axis, T.INT64)]) for name in (sizes, steps))
        count = graph.node("Range", [graph.scalar(0, T.INT64), size, graph.scalar(1, T.INT64)])
        offset = graph.node("Mul", [graph.cast(count, output.dtype), step])
        offset = graph.node("Reshape", [offset, graph.int64(-1, *(1,) * (rank - axis - 1))])
        result = graph.node("Add", [result, offset])
    graph.node("Identity", [result], layer)
