"""Convolution, deconvolution, pooling and padding, against sums written out over the window."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorrt_rtx as trt

from grader.twin.layers import Unsupported
from grader.twin.walk import walk
from tests.twin.networks import check, make

P = trt.PaddingMode


def normal(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape).astype(dtype)


def windows(size: int, span: int, stride: int, pre: int, post: int, mode: trt.PaddingMode) -> tuple[int, int, int]:
    """(windows, elements before, elements after) along one axis, as NvInfer.h's PaddingMode defines them."""
    if mode == P.EXPLICIT_ROUND_DOWN:
        return (size + pre + post - span) // stride + 1, pre, post
    if mode == P.EXPLICIT_ROUND_UP:
        return math.ceil((size + pre + post - span) / stride) + 1, pre, post
    count = math.ceil(size / stride)
    total = max((count - 1) * stride + span - size, 0)
    half = total // 2
    return (count, half, total - half) if mode == P.SAME_UPPER else (count, total - half, half)


def convolve(x, kernel, bias, strides, pre, post, dilations, groups, mode):
    """A convolution in float64, window by window."""
    x, kernel = x.astype(np.float64), kernel.astype(np.float64)
    rank = kernel.ndim - 2
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel.shape[2:], strict=True)]
    plans = [windows(x.shape[2 + i], spans[i], strides[i], pre[i], post[i], mode) for i in range(rank)]
    counts = [count for count, _, _ in plans]
    room = [
        (before, after + stride + span) for (_, before, after), stride, span in zip(plans, strides, spans, strict=True)
    ]
    padded = np.pad(x, [(0, 0), (0, 0), *room])
    maps, per_group = kernel.shape[:2]
    out = np.zeros((x.shape[0], maps, *counts))
    for place in itertools.product(*map(range, counts)):
        cut = tuple(slice(p * s, p * s + n, d) for p, s, n, d in zip(place, strides, spans, dilations, strict=True))
        for group in range(groups):
            seen = padded[(slice(None), slice(group * per_group, (group + 1) * per_group), *cut)]
            of_group = slice(group * maps // groups, (group + 1) * maps // groups)
            dot = np.tensordot(seen, kernel[of_group], axes=[range(1, rank + 2), range(1, rank + 2)])
            out[(slice(None), of_group, *place)] = dot
    return out + bias.reshape(1, -1, *(1,) * rank)


CONVOLUTIONS = {
    "plain": {},
    "grouped": {"groups": 2},
    "depthwise": {"groups": 4, "maps": 8},
    "dilated": {"dilations": (2, 3)},
    "strided": {"strides": (2, 3)},
    "asymmetric": {"pre": (0, 2), "post": (1, 0)},
    "same_upper": {"mode": P.SAME_UPPER, "strides": (2, 2)},
    "same_lower": {"mode": P.SAME_LOWER, "strides": (2, 2)},
    "same_upper_dilated": {"mode": P.SAME_UPPER, "dilations": (2, 2)},
    "same_lower_even_kernel": {"mode": P.SAME_LOWER, "size": (2, 4)},
    "round_up": {"mode": P.EXPLICIT_ROUND_UP, "strides": (3, 3), "pre": (1, 1), "post": (1, 1)},
    "volume": {"size": (2, 3, 2), "strides": (1, 2, 1), "pre": (1, 0, 1), "post": (0, 1, 1)},
    "all_at_once": {"groups": 2, "dilations": (2, 1), "strides": (1, 2), "pre": (1, 0), "post": (0, 3)},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution_sums_its_windows(case: str, dtype: type) -> None:
    given = CONVOLUTIONS[case]
    size = given.get("size", (3, 3))
    rank = len(size)
    groups, maps, mode = given.get("groups", 1), given.get("maps", 6), given.get("mode", P.EXPLICIT_ROUND_DOWN)
    strides, dilations = given.get("strides", (1,) * rank), given.get("dilations", (1,) * rank)
    pre, post = given.get("pre", (0,) * rank), given.get("post", (0,) * rank)
    x = normal(2, 4, *(9, 8, 7)[:rank], dtype=dtype)
    kernel, bias = normal(maps, 4 // groups, *size, dtype=dtype), normal(maps, dtype=dtype)

    def write(net, tensor):
        layer = net.network.add_convolution_nd(tensor, maps, size, net.weights(kernel), net.weights(bias))
        layer.stride_nd, layer.dilation_nd, layer.num_groups = strides, dilations, groups
        layer.pre_padding, layer.post_padding, layer.padding_mode = pre, post, mode
        return layer

    expected = convolve(x, kernel, bias, strides, pre, post, dilations, groups, mode)
    check(write, expected, x, dynamic=[(0,)])


@pytest.mark.parametrize("sizes", [(9, 8), (7, 6), (4, 11), (1, 3)])
@pytest.mark.parametrize(
    "case",
    ["same_upper", "same_lower", "same_upper_dilated", "same_lower_even_kernel", "strided", "far_apart", "round_up"],
)
def test_a_convolution_over_a_dynamic_image_pads_by_its_size(case: str, sizes: tuple[int, int]) -> None:
    more = {
        "strided": {"mode": P.SAME_LOWER, "strides": (4, 3), "dilations": (2, 1)},
        "far_apart": {"mode": P.SAME_UPPER, "size": (2, 2), "strides": (4, 4)},  # nothing to pad, and nothing to crop
    }
    given = (CONVOLUTIONS | more)[case]
    size, mode = given.get("size", (3, 3)), given["mode"]
    strides, dilations = given.get("strides", (1, 1)), given.get("dilations", (1, 1))
    pre, post = given.get("pre", (0, 0)), given.get("post", (0, 0))
    x, kernel = normal(1, 3, *sizes), normal(5, 3, *size)

    def write(net, tensor):
        layer = net.network.add_convolution_nd(tensor, 5, size, net.weights(kernel))
        layer.stride_nd, layer.dilation_nd, layer.padding_mode = strides, dilations, mode
        layer.pre_padding, layer.post_padding = pre, post
        return layer

    expected = convolve(x, kernel, np.zeros(5), strides, pre, post, dilations, 1, mode)
    check(write, expected, x, dynamic=[(0, 2, 3)])


def test_a_convolution_takes_its_kernel_from_a_tensor() -> None:
    x, kernel = normal(1, 3, 5, 5), normal(4, 3, 3, 3)

    def write(net, tensor):
        layer = net.network.add_convolution_nd(tensor, 4, (3, 3), trt.Weights())
        layer.set_input(1, net.constant(kernel))
        return layer

    check(write, convolve(x, kernel, np.zeros(4), (1, 1), (0, 0), (0, 0), (1, 1), 1, P.EXPLICIT_ROUND_DOWN), x)


def deconvolve(x, kernel, bias, strides, pre, post, groups):
    """Each input element adds a scaled kernel to the output; then the padding is cut off."""
    x, kernel = x.astype(np.float64), kernel.astype(np.float64)
    per_group, maps = x.shape[1] // groups, kernel.shape[1]
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel.shape[2:], strict=True)]
    out = np.zeros((x.shape[0], maps * groups, *full))
    for batch, channel, row, column in itertools.product(*map(range, x.shape)):
        group = channel // per_group
        top, left = row * strides[0], column * strides[1]
        place = (
            batch,
            slice(group * maps, (group + 1) * maps),
            slice(top, top + kernel.shape[2]),
            slice(left, left + kernel.shape[3]),
        )
        out[place] += x[batch, channel, row, column] * kernel[channel]
    cut = tuple(slice(p, n - q) for p, q, n in zip(pre, post, full, strict=True))
    return out[(slice(None), slice(None), *cut)] + bias.reshape(1, -1, 1, 1)


DECONVOLUTIONS = {
    "plain": {},
    "strided": {"strides": (2, 3)},
    "grouped": {"groups": 2, "strides": (2, 2)},
    "cropped": {"strides": (2, 2), "pre": (1, 0), "post": (0, 1)},
    "round_up": {"strides": (2, 2), "pre": (1, 1), "post": (1, 1), "mode": P.EXPLICIT_ROUND_UP},
    "same_upper": {"strides": (2, 2), "mode": P.SAME_UPPER, "cut": ((0, 0), (1, 1))},
    "same_lower": {"strides": (2, 2), "mode": P.SAME_LOWER, "cut": ((1, 1), (0, 0))},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", DECONVOLUTIONS)
def test_a_deconvolution_spreads_each_element(case: str, dtype: type) -> None:
    given = DECONVOLUTIONS[case]
    groups, strides = given.get("groups", 1), given.get("strides", (1, 1))
    pre, post = given.get("pre", (0, 0)), given.get("post", (0, 0))
    x, kernel, bias = normal(2, 4, 3, 4, dtype=dtype), normal(4, 3, 3, 3, dtype=dtype), normal(3 * groups, dtype=dtype)

    def write(net, tensor):
        layer = net.network.add_deconvolution_nd(tensor, 3 * groups, (3, 3), net.weights(kernel), net.weights(bias))
        layer.stride_nd, layer.num_groups, layer.pre_padding, layer.post_padding = strides, groups, pre, post
        layer.padding_mode = given.get("mode", P.EXPLICIT_ROUND_DOWN)
        return layer

    expected = deconvolve(x, kernel, bias, strides, *given.get("cut", (pre, post)), groups)
    check(write, expected, x, dynamic=[(0,)])


def pool(x, kind, size, strides, pre, post, mode, excludes):
    """The divisor is the window's overlap with the input, or with the input and its padding."""
    x = x.astype(np.float64)
    rank = len(size)
    plans = [windows(x.shape[2 + i], size[i], strides[i], pre[i], post[i], mode) for i in range(rank)]
    out = np.zeros((*x.shape[:2], *(count for count, _, _ in plans)))
    for place in itertools.product(*(range(count) for count, _, _ in plans)):
        inside, padded = [], 1
        for i, p in enumerate(place):
            _, before, after = plans[i]
            low, high = p * strides[i] - before, p * strides[i] - before + size[i]
            inside.append(slice(max(low, 0), min(high, x.shape[2 + i])))
            padded *= min(high, x.shape[2 + i] + after) - low
        seen = x[(slice(None), slice(None), *inside)]
        axes = tuple(range(2, 2 + rank))
        largest = seen.max(axis=axes)
        average = seen.mean(axis=axes) if excludes else seen.sum(axis=axes) / padded
        out[(slice(None), slice(None), *place)] = largest if kind == trt.PoolingType.MAX else average
    return out


POOLS = {
    "plain": {},
    "strided": {"strides": (2, 3)},
    "asymmetric": {"pre": (1, 0), "post": (0, 2)},
    "round_up": {"mode": P.EXPLICIT_ROUND_UP, "strides": (3, 3)},
    "round_up_padded": {"mode": P.EXPLICIT_ROUND_UP, "strides": (2, 2), "pre": (1, 1), "post": (1, 0)},
    "same_upper": {"mode": P.SAME_UPPER, "strides": (2, 2)},
    "same_lower": {"mode": P.SAME_LOWER, "strides": (2, 2)},
    "volume": {"size": (2, 2, 2), "strides": (2, 1, 1), "pre": (1, 1, 0), "post": (1, 0, 0)},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("case", "kind", "excludes"),
    [
        (case, kind, excludes)
        for case, given in POOLS.items()
        for kind, excludes in (("MAX", True), ("AVERAGE", True), ("AVERAGE", False))
        if excludes or given.get("mode") != P.EXPLICIT_ROUND_UP  # see the refusal below
    ],
)
def test_pooling_takes_the_largest_or_the_mean_of_each_window(case, kind, excludes, dtype) -> None:
    given = POOLS[case]
    size = given.get("size", (3, 3))
    rank = len(size)
    mode, strides = given.get("mode", P.EXPLICIT_ROUND_DOWN), given.get("strides", (1,) * rank)
    pre, post = given.get("pre", (0,) * rank), given.get("post", (0,) * rank)
    x = normal(2, 3, *(8, 7, 5)[:rank], dtype=dtype)
    kind = getattr(trt.PoolingType, kind)

    def write(net, tensor):
        layer = net.network.add_pooling_nd(tensor, kind, size)
        layer.stride_nd, layer.pre_padding, layer.post_padding, layer.padding_mode = strides, pre, post, mode
        layer.average_count_excludes_padding = excludes
        return layer

    check(write, pool(x, kind, size, strides, pre, post, mode, excludes), x, dynamic=[(0,)])


def _rounded_up(excludes: bool):
    def write(net, tensor):
        layer = net.network.add_pooling_nd(tensor, trt.PoolingType.AVERAGE, (3, 3))
        layer.stride_nd, layer.pre_padding, layer.post_padding = (2, 2), (1, 1), (1, 1)
        layer.padding_mode, layer.average_count_excludes_padding = P.EXPLICIT_ROUND_UP, excludes
        return layer

    return write


def test_pooling_rounds_up_over_a_dynamic_image() -> None:
    x = normal(1, 2, 8, 6)
    expected = pool(x, None, (3, 3), (2, 2), (1, 1), (1, 1), P.EXPLICIT_ROUND_UP, True)
    check(_rounded_up(True), expected, x, dynamic=[(2, 3)])


def test_an_average_that_counts_padding_is_refused_where_a_window_reaches_beyond_it() -> None:
    """TensorRT 8.6 on an H100 does not divide as the class reference says; the table of conformance has the rows."""
    with pytest.raises(Unsupported, match="an average that counts padding"):
        walk(make(_rounded_up(False), [normal(1, 1, 8, 8)]).network)


def test_an_average_that_counts_padding_is_taken_where_rounding_up_adds_nothing() -> None:
    x = normal(1, 2, 7, 7)
    expected = pool(x, None, (3, 3), (2, 2), (1, 1), (1, 1), P.EXPLICIT_ROUND_DOWN, False)
    check(_rounded_up(False), expected, x, dynamic=[(0,)])


def test_a_blend_mixes_the_largest_and_the_mean() -> None:
    x = normal(1, 2, 6, 6)

    def write(net, tensor):
        layer = net.network.add_pooling_nd(tensor, trt.PoolingType.MAX_AVERAGE_BLEND, (2, 2))
        layer.blend_factor = 0.25
        return layer

    sizes = ((2, 2), (1, 1), (0, 0), (0, 0), P.EXPLICIT_ROUND_DOWN, True)
    check(write, 0.75 * pool(x, trt.PoolingType.MAX, *sizes) + 0.25 * pool(x, None, *sizes), x)


def test_a_window_wholly_in_the_padding_is_refused() -> None:
    def write(net, tensor):
        layer = net.network.add_pooling_nd(tensor, trt.PoolingType.MAX, (2, 2))
        layer.name, layer.stride_nd, layer.padding_mode = "too far", (3, 3), P.EXPLICIT_ROUND_UP
        layer.post_padding = (1, 1)
        return layer

    with pytest.raises(Unsupported, match=r"'too far' .POOLING.*wholly in the padding"):
        walk(make(write, [normal(1, 1, 5, 5)]).network)


def test_explicit_padding_as_wide_as_a_pooling_window_is_refused() -> None:
    def write(net, tensor):
        layer = net.network.add_pooling_nd(tensor, trt.PoolingType.MAX, (2, 2))
        layer.name, layer.stride_nd, layer.post_padding = "too wide", (2, 2), (0, 2)
        return layer

    with pytest.raises(Unsupported, match=r"'too wide' .POOLING.*as wide as the window"):
        walk(make(write, [normal(1, 1, 6, 6)]).network)


@pytest.mark.parametrize(("pre", "post"), [((1, 2), (0, 3)), ((-1, 0), (0, -2)), ((-2, 1), (3, -1))])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_padding_adds_zeros_or_crops(pre, post, dtype) -> None:
    x = (normal(2, 3, 6, 5) * 10).astype(dtype)
    grown = np.pad(x, [(0, 0), (0, 0), *((max(p, 0), max(q, 0)) for p, q in zip(pre, post, strict=True))])
    cut = [slice(max(-p, 0), n - max(-q, 0)) for p, q, n in zip(pre, post, grown.shape[2:], strict=True)]
    check(lambda net, t: net.network.add_padding_nd(t, pre, post), grown[:, :, cut[0], cut[1]], x, dynamic=[(0,)])


@pytest.mark.parametrize("kind", ["AVERAGE", "MAX_AVERAGE_BLEND"])
def test_an_average_of_int8_is_refused(kind: str) -> None:
    def write(net, tensor):
        return net.network.add_pooling_nd(tensor, getattr(trt.PoolingType, kind), (2, 2))

    with pytest.raises(Unsupported, match=r"POOLING.*average of INT8"):
        walk(make(write, [np.ones((1, 2, 4, 4), np.int8)]).network)
