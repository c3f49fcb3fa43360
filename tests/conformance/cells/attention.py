"""What transformers are made of: attention, rotary embedding, the cache of keys and values, experts."""

from __future__ import annotations

from typing import Any

import numpy as np

from .entry import X, entry
from .reductions import softmax

_HEADS = X((1, 2, 4, 8), low=-1, high=1)


def _attention(net: Any, query: Any, key: Any, value: Any) -> Any:
    trt = net.trt
    made = net.add_attention(query, key, value, trt.AttentionNormalizationOp.SOFTMAX, False)
    return net.put(made, decomposable=True).get_output(0)


entry(
    "ATTENTION_INPUT ATTENTION_OUTPUT", [_HEADS, _HEADS, _HEADS], _attention,
    lambda query, key, value: softmax(query @ key.swapaxes(2, 3), 3) @ value,
)  # fmt: skip

_ANGLES = np.linspace(0, 1, 16).reshape(1, 4, 4)  # batch, sequence, half of the head


def _rotated(x: np.ndarray) -> np.ndarray:
    first, second = x[..., :4], x[..., 4:]
    cos, sin = np.cos(_ANGLES)[:, None], np.sin(_ANGLES)[:, None]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


entry(
    "ROTARY_EMBEDDING", [X((1, 2, 4, 8), free=None)],
    lambda net, x: net.add_rotary_embedding(x, net.constant(np.cos(_ANGLES)), net.constant(np.sin(_ANGLES)), False, 0),
    _rotated,
)  # fmt: skip


def _cached(cache: np.ndarray, update: np.ndarray, first: np.ndarray) -> np.ndarray:
    out = cache.copy()
    for row, place in enumerate(first):
        out[row, :, place : place + update.shape[2]] = update[row]
    return out


entry(
    "KV_CACHE_UPDATE",
    [X((2, 2, 6, 4), free=None), X((2, 2, 1, 4), free=None), X((2,), "INT32", values=[0, 3], free=None)],
    lambda net, cache, update, first: net.add_kv_cache_update(cache, update, first, net.trt.KVCacheMode.LINEAR),
    _cached,
)  # fmt: skip


def _experts(net: Any, x: Any, chosen: Any, scores: Any) -> Any:
    layer = net.add_moe(x, chosen, scores)
    gate, up, down = (net.constant(w) for w in _WEIGHTS)
    layer.set_gated_weights(gate, up, down, net.trt.MoEActType.SILU)
    return layer


_WEIGHTS = [np.random.default_rng(n).uniform(-1, 1, s) for n, s in enumerate([(2, 8, 8)] * 3)]


def _mixed(x: np.ndarray, chosen: np.ndarray, scores: np.ndarray) -> np.ndarray:
    gate, up, down = _WEIGHTS
    out = np.zeros_like(x)
    for token in np.ndindex(x.shape[:-1]):
        for place, expert in enumerate(chosen[token]):
            gated = x[token] @ gate[expert]
            hidden = gated / (1 + np.exp(-gated)) * (x[token] @ up[expert])
            out[token] += scores[(*token, place)] * (hidden @ down[expert])
    return out


entry(
    "MOE", [X((1, 2, 8), free=None), X((1, 2, 1), "INT32", values=[[[1], [0]]], free=None), X((1, 2, 1), free=None)],
    _experts, _mixed,
)  # fmt: skip
entry(
    "DIST_COLLECTIVE", [X((2, 3), free=None)],
    lambda net, x: net.add_dist_collective(
        x, net.trt.CollectiveOperation.ALL_REDUCE, net.trt.ReduceOperation.SUM, -1, np.array([0], np.int64)
    ),
    lambda x: x,
)  # fmt: skip
