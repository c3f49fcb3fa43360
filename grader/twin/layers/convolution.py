"""Layers that slide a window: convolution, deconvolution, pooling, padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorrt_rtx as trt

from .graph import FLOATS, Graph, refuse, translates
from .weights import values

_SAME = {trt.PaddingMode.SAME_UPPER: "SAME_UPPER", trt.PaddingMode.SAME_LOWER: "SAME_LOWER"}


@translates("CONVOLUTION")
def convolution(layer: trt.IConvolutionLayer, graph: Graph) -> None:
    if layer.get_output(0).dtype not in FLOATS:
        raise refuse(layer, f"a convolution of {layer.get_output(0).dtype.name}: nothing says how it rounds")
    size = tuple(layer.kernel_size_nd)
    kernel = values(layer.kernel)
    channels = kernel.size // (layer.num_output_maps * math.prod(size))
    dilations = tuple(layer.dilation_nd)
    reach = [dilation * (k - 1) + 1 for dilation, k in zip(dilations, size, strict=True)]
    source, *operands = _operands(layer, graph, kernel, (layer.num_output_maps, channels, *size))
    if layer.padding_mode != trt.PaddingMode.EXPLICIT_ROUND_DOWN and min(layer.get_input(0).shape[2:]) < 0:
        source, padding = _padded(layer, graph, source, reach), {}
    else:
        padding = _padding(layer, reach)
    graph.node(
        "Conv",
        [source, *operands],
        layer,
        kernel_shape=size,
        strides=tuple(layer.stride_nd),
        dilations=dilations,
        group=layer.num_groups,
        **padding,
    )


@translates("DECONVOLUTION")
def deconvolution(layer: trt.IDeconvolutionLayer, graph: Graph) -> None:
    size, strides, dilations = tuple(layer.kernel_size_nd), tuple(layer.stride_nd), tuple(layer.dilation_nd)
    kernel = values(layer.kernel)
    maps = layer.num_output_maps // layer.num_groups
    # CKRS, C being all input channels and K the output maps of one group: ONNX's order.
    operands = _operands(layer, graph, kernel, (kernel.size // (maps * math.prod(size)), maps, *size))
    if layer.padding_mode in _SAME:
        # The output is input * stride, so what is cut off does not depend on the input's size.
        total = [d * (k - 1) + 1 - s for d, k, s in zip(dilations, size, strides, strict=True)]
        if min(total) < 0:
            raise refuse(layer, "SAME padding with a stride larger than the kernel")
        pre, post = _split(layer, total)
    else:
        # Rounding up or down is the same here: nothing is divided.
        pre, post = list(layer.pre_padding), list(layer.post_padding)
    graph.node(
        "ConvTranspose",
        operands,
        layer,
        kernel_shape=size,
        strides=strides,
        dilations=dilations,
        group=layer.num_groups,
        pads=(*pre, *post),
    )


@translates("POOLING")
def pooling(layer: trt.IPoolingLayer, graph: Graph) -> None:
    if layer.type != trt.PoolingType.MAX and layer.get_output(0).dtype not in FLOATS:
        raise refuse(layer, f"an average of {layer.get_output(0).dtype.name}: nothing says how it rounds")
    if layer.type == trt.PoolingType.MAX:
        _max_pool(layer, graph, layer)
    elif layer.type == trt.PoolingType.AVERAGE:
        _average_pool(layer, graph, layer)
    elif layer.type == trt.PoolingType.MAX_AVERAGE_BLEND:
        dtype = layer.get_output(0).dtype
        largest = graph.node("Mul", [_max_pool(layer, graph), graph.scalar(1 - layer.blend_factor, dtype)])
        average = graph.node("Mul", [_average_pool(layer, graph), graph.scalar(layer.blend_factor, dtype)])
        graph.node("Add", [largest, average], layer)
    else:
        raise refuse(layer, f"pooling type {layer.type.name}")


@translates("PADDING")
def padding(layer: trt.IPaddingLayer, graph: Graph) -> None:
    # Two dimensions, the innermost; negative amounts crop, in ONNX too.
    pre, post = tuple(layer.pre_padding_nd), tuple(layer.post_padding_nd)
    outer = (0,) * (len(layer.get_input(0).shape) - len(pre))
    graph.node("Pad", [graph.input(layer), graph.int64(*outer, *pre, *outer, *post)], layer)


def _operands(layer: trt.ILayer, graph: Graph, kernel: np.ndarray, shape: Sequence[int]) -> list[str]:
    """Input, kernel and bias: a kernel or bias that is the layer's own becomes a constant."""
    weights = graph.input(layer, 1) or graph.constant(kernel.reshape(shape))
    bias = graph.input(layer, 2)
    own = values(layer.bias)
    if not bias and own.size:
        bias = graph.constant(own)
    return [graph.input(layer), weights, *([bias] if bias else [])]


def _max_pool(layer: trt.IPoolingLayer, graph: Graph, owner: trt.ILayer | None = None) -> str:
    size = tuple(layer.window_size_nd)
    return graph.node(
        "MaxPool",
        [graph.input(layer)],
        owner,
        kernel_shape=size,
        strides=tuple(layer.stride_nd),
        **_padding(layer, size),
    )


def _average_pool(layer: trt.IPoolingLayer, graph: Graph, owner: trt.ILayer | None = None) -> str:
    size = tuple(layer.window_size_nd)
    pads = _padding(layer, size)
    source = graph.input(layer)
    if not layer.average_count_excludes_padding:
        if "pads" not in pads:
            raise refuse(layer, "SAME padding that is counted, over a dynamic size")
        # The divisor is the window's overlap with the padded input, not with what rounding up adds to it.
        rounds_up = layer.padding_mode == trt.PaddingMode.EXPLICIT_ROUND_UP
        counted = (*layer.pre_padding, *layer.post_padding) if rounds_up else pads["pads"]
        if "ceil_mode" in pads or (rounds_up and counted != pads["pads"]):
            # Where the class reference leaves it out of the divisor, 8.6 does not do so.
            raise refuse(
                layer, "an average that counts padding, of windows that reach beyond it: versions divide differently"
            )
        # Padded here, behind an axis of 1 that keeps ONNX Runtime from merging the two nodes into one with
        # count_include_pad, which its 1.23 computes wrongly.
        zeros = (0, 0, 0)
        wide = graph.node("Unsqueeze", [source, graph.int64(0)])
        wide = graph.node("Pad", [wide, graph.int64(*zeros, *counted[: len(size)], *zeros, *counted[len(size) :])])
        source = graph.node("Squeeze", [wide, graph.int64(0)])
        pads["pads"] = [p - q for p, q in zip(pads["pads"], counted, strict=True)]
    return graph.node(
        "AveragePool",
        [source],
        owner,
        kernel_shape=size,
        strides=tuple(layer.stride_nd),
        **pads,
    )


def _padding(layer: trt.ILayer, reach: Sequence[int]) -> dict[str, Any]:
    """ONNX's padding attributes for a window that spans ``reach`` elements (the dilated kernel)."""
    mode = layer.padding_mode
    if mode == trt.PaddingMode.EXPLICIT_ROUND_DOWN:
        pads = (*layer.pre_padding, *layer.post_padding)
        if isinstance(layer, trt.IPoolingLayer) and any(p >= r for p, r in zip(pads, (*reach, *reach), strict=True)):
            raise refuse(layer, "padding as wide as the window, which then sees nothing else")
        return {"pads": pads}
    source = list(layer.get_input(0).shape)[-len(reach) :]
    if mode in _SAME:
        if min(source) < 0:
            return {"auto_pad": _SAME[mode]}
        strides = tuple(layer.stride_nd)
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(source, strides, reach, strict=True)]
        pre, post = _split(layer, total)
        return {"pads": (*pre, *post)}
    if mode == trt.PaddingMode.EXPLICIT_ROUND_UP:
        return _round_up(layer, source, reach)
    raise refuse(layer, f"padding mode {mode.name}")


def _round_up(layer: trt.ILayer, source: Sequence[int], reach: Sequence[int]) -> dict[str, Any]:
    """Padding that makes rounding down give TensorRT's size, ceil((n + pre + post - reach) / stride) + 1."""
    pre, post, strides = tuple(layer.pre_padding), tuple(layer.post_padding), tuple(layer.stride_nd)
    if min(source) < 0:
        if not all(s + q <= r for s, q, r in zip(strides, post, reach, strict=True)):
            raise refuse(
                layer, "rounding up over a dynamic size, which gives some sizes a window wholly in the padding"
            )
        # Each window starts within the input: ONNX, which drops one that does not, drops none.
        return {"pads": (*pre, *post), "ceil_mode": 1}
    added = [-(n + p + q - r) % s for n, p, q, r, s in zip(source, pre, post, reach, strides, strict=True)]
    ends = [q + extra for q, extra in zip(post, added, strict=True)]
    if isinstance(layer, trt.IPoolingLayer) and any(end >= r for end, r in zip(ends, reach, strict=True)):
        raise refuse(layer, "rounding up gives a window that lies wholly in the padding")
    return {"pads": (*pre, *ends)}


def _padded(layer: trt.IConvolutionLayer, graph: Graph, source: str, reach: Sequence[int]) -> str:
    """The input with the zeros around it that its sizes, known at run time alone, ask for."""
    strides = graph.int64(*layer.stride_nd)
    sizes = graph.node("Shape", [source], start=2)
    if layer.padding_mode in _SAME:
        # (ceil(n / s) - 1) * s + reach - n; ONNX's Div cuts off, and n is at least 1.
        steps = graph.node("Div", [graph.node("Sub", [sizes, graph.int64(1)]), strides])
        needed = graph.node("Add", [graph.node("Mul", [steps, strides]), graph.int64(*reach)])
        total = graph.node("Max", [graph.node("Sub", [needed, sizes]), graph.int64(0)])
        smaller = graph.node("Div", [total, graph.int64(2)])
        ends = [smaller, graph.node("Sub", [total, smaller])]
        pre, post = ends if layer.padding_mode == trt.PaddingMode.SAME_UPPER else reversed(ends)
    elif layer.padding_mode == trt.PaddingMode.EXPLICIT_ROUND_UP:
        given = zip(layer.pre_padding, layer.post_padding, reach, strict=True)
        over = graph.node("Sub", [graph.int64(*(r - p - q for p, q, r in given)), sizes])  # -(n + pre + post - reach)
        extra = graph.node("Mod", [over, strides])  # of the divisor's sign
        pre, post = graph.int64(*layer.pre_padding), graph.node("Add", [graph.int64(*layer.post_padding), extra])
    else:
        raise refuse(layer, f"padding mode {layer.padding_mode.name}")
    outer = graph.int64(0, 0)
    return graph.node("Pad", [source, graph.node("Concat", [outer, pre, outer, post], axis=0)])


def _split(layer: trt.ILayer, total: Sequence[int]) -> tuple[list[int], list[int]]:
    """Before and after: the odd element goes after for SAME_UPPER, before for SAME_LOWER."""
    smaller, larger = [t // 2 for t in total], [t - t // 2 for t in total]
    return (smaller, larger) if layer.padding_mode == trt.PaddingMode.SAME_UPPER else (larger, smaller)
