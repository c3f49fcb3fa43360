"""What transformers are made of beside products and softmax: attention in one piece, rotary embedding."""

from __future__ import annotations

import tensorrt_rtx as trt

from .graph import Graph, refuse, translates

T, Causal = trt.DataType, trt.CausalMaskKind


@translates("ATTENTION_INPUT")
def attention(layer: trt.IAttentionInputLayer, graph: Graph) -> None:
    """softmax(query * key^T + mask) * value, in FP32. Nothing is divided by the square root of the head's size.

    All of it: the layer that ends the attention, `ATTENTION_OUTPUT`, hands on what this one gives.
    """
    given = layer.attention
    _check(layer, given)
    query, key, value = (graph.cast(given.get_input(index).name, T.FLOAT) for index in range(3))
    heads, shared = given.get_input(0).shape[1], given.get_input(1).shape[1]
    if heads != shared:
        if min(heads, shared) < 1 or heads % shared:
            raise refuse(layer, f"{heads} heads of the query for {shared} of the key")
        key, value = (_repeated(graph, name, heads, heads // shared) for name in (key, value))
    scores = graph.node("MatMul", [query, graph.node("Transpose", [key], perm=[0, 1, 3, 2])])
    if given.mask is not None and given.mask.dtype != T.BOOL:
        scores = graph.node("Add", [scores, graph.cast(given.mask.name, T.FLOAT)])
    elif given.mask is not None:
        scores = _allowed(graph, scores, given.mask.name)
    if given.causal_kind != Causal.NONE:
        scores = _allowed(graph, scores, _causal(graph, scores, given.causal_kind))
    if given.key_value_lengths is not None:
        lengths = graph.cast(given.key_value_lengths.name, T.INT64)
        lengths = graph.node("Reshape", [lengths, graph.int64(-1, 1, 1, 1)])
        scores = _allowed(graph, scores, graph.node("Less", [_count(graph, scores, 3), lengths]))
    if given.norm_op == trt.AttentionNormalizationOp.SOFTMAX:
        scores = graph.node("Softmax", [scores], axis=-1)
    graph.cast(graph.node("MatMul", [scores, value]), layer.get_output(0).dtype, layer)


@translates("ATTENTION_OUTPUT")
def attention_output(layer: trt.IAttentionOutputLayer, graph: Graph) -> None:
    graph.node("Identity", [graph.input(layer)], layer)


def _check(layer: trt.IAttentionInputLayer, given: trt.IAttention) -> None:
    padded = trt.AttentionIOForm.PADDED_BHND
    if (given.query_form, given.key_value_form) != (padded, padded):
        raise refuse(layer, "packed tokens (PACKED_NHD)")
    if given.normalization_quantize_scale is not None:
        raise refuse(layer, "a quantized normalization")
    if given.num_ranks != 1:
        raise refuse(layer, f"{given.num_ranks} ranks, which are several devices")
    hides = given.causal_kind != Causal.NONE or given.key_value_lengths is not None
    hides = hides or (given.mask is not None and given.mask.dtype == T.BOOL)
    if given.norm_op == trt.AttentionNormalizationOp.NONE and hides:
        raise refuse(layer, "positions that are masked out without a softmax: nothing says what they count")
    if given.key_value_lengths is not None and given.causal_kind == Causal.LOWER_RIGHT:
        raise refuse(layer, "LOWER_RIGHT with key_value_lengths: nothing says whether the diagonal ends at a length")


def _repeated(graph: Graph, name: str, heads: int, times: int) -> str:
    """[batch, heads / times, tokens, size] -> [batch, heads, tokens, size]: neighbours share a head."""
    shape = [graph.node("Shape", [name], start=0, end=1), graph.int64(heads), graph.node("Shape", [name], start=2)]
    wide = graph.node("Unsqueeze", [name, graph.int64(2)])
    wide = graph.node("Expand", [wide, graph.int64(1, 1, times, 1, 1)])
    return graph.node("Reshape", [wide, graph.node("Concat", shape, axis=0)])


def _allowed(graph: Graph, scores: str, where: str) -> str:
    return graph.node("Where", [where, scores, graph.scalar(float("-inf"), T.FLOAT)])


def _count(graph: Graph, scores: str, axis: int) -> str:
    """0, 1, 2, ... along one axis of [batch, heads, queries, keys], in a shape that broadcasts."""
    size = graph.node("Squeeze", [graph.node("Shape", [scores], start=axis, end=axis + 1), graph.int64(0)])
    count = graph.node("Range", [graph.scalar(0, T.INT64), size, graph.scalar(1, T.INT64)])
    return graph.node("Reshape", [count, graph.int64(-1, *(1,) * (3 - axis))])


def _causal(graph: Graph, scores: str, kind: trt.CausalMaskKind) -> str:
    """Key j for query i where j <= i, or j <= i + keys - queries for LOWER_RIGHT."""
    last = _count(graph, scores, 2)
    if kind == Causal.LOWER_RIGHT:
        queries, keys = (graph.node("Shape", [scores], start=axis, end=axis + 1) for axis in (2, 3))
        last = graph.node("Add", [last, graph.node("Sub", [keys, queries])])
    return graph.node("LessOrEqual", [_count(graph, scores, 3), last])


@translates("KV_CACHE_UPDATE")
def kv_cache_update(layer: trt.IKVCacheUpdateLayer, graph: Graph) -> None:
    raise refuse(layer, "it updates the cache in place, and an output that shares an input's memory is a mistake here")


@translates("ROTARY_EMBEDDING")
def rotary_embedding(layer: trt.IRotaryEmbeddingLayer, graph: Graph) -> None:
    """Each pair (a, b) of the last axis becomes (a cos - b sin, a sin + b cos), in FP32.

    Pairs are neighbours where ``interleaved``, else one of the first half and its like of the second; only the
    first ``rotary_embedding_dim`` elements turn, all of them where that is 0.
    """
    size = layer.get_input(0).shape[3]
    turned = layer.rotary_embedding_dim or size
    if size < 0:
        raise refuse(layer, "a last axis of dynamic size")
    x, cosine, sine = (graph.cast(graph.input(layer, index), T.FLOAT) for index in range(3))
    positions = graph.input(layer, 3)
    if positions:  # rows of a cache of [positions, pairs]
        cosine, sine = (graph.node("Gather", [cache, positions], axis=0) for cache in (cosine, sine))
    cosine, sine = (graph.node("Unsqueeze", [name, graph.int64(1)]) for name in (cosine, sine))
    rest = graph.fresh()
    if turned < size:
        names = [graph.fresh(), rest]
        x = graph.node("Split", [x, graph.int64(turned, size - turned)], outputs=names, axis=3)
    outer = graph.node("Shape", [x], start=0, end=3)
    pairs, axis = ((turned // 2, 2), 4) if layer.interleaved else ((2, turned // 2), 3)
    split = graph.node("Reshape", [x, graph.node("Concat", [outer, graph.int64(*pairs)], axis=0)])
    a, b = (graph.node("Gather", [split, graph.scalar(index, T.INT64)], axis=axis) for index in range(2))
    first = graph.node("Sub", [graph.node("Mul", [a, cosine]), graph.node("Mul", [b, sine])])
    second = graph.node("Add", [graph.node("Mul", [a, sine]), graph.node("Mul", [b, cosine])])
    both = [graph.node("Unsqueeze", [name, graph.int64(axis)]) for name in (first, second)]
    result = graph.node("Concat", both, axis=axis)
    result = graph.node("Reshape", [result, graph.node("Concat", [outer, graph.int64(turned)], axis=0)])
    if turned < size:
        result = graph.node("Concat", [result, rest], axis=3)
    graph.cast(result, layer.get_output(0).dtype, layer)
