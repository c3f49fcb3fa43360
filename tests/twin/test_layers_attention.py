"""Attention and rotary embedding, element by element in float64 as NVIDIA's guide writes them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorrt_rtx as trt
from ml_dtypes import bfloat16

from grader.twin.layers import Unsupported
from grader.twin.walk import walk
from tests.twin.networks import check, make, run

Causal, Norm, T = trt.CausalMaskKind, trt.AttentionNormalizationOp, trt.DataType
FLOATS = [np.float32, np.float16, bfloat16]


def drawn(*shape: int, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def operands(heads: int = 2, shared: int = 2, queries: int = 3, keys: int = 5, dtype: type = np.float32):
    """Query, key and value; the batch is 2, a head's size 4."""
    return (
        drawn(2, heads, queries, 4, dtype=dtype),
        drawn(2, shared, keys, 4, seed=1, dtype=dtype),
        drawn(2, shared, keys, 4, seed=2, dtype=dtype),
    )


def attended(q: np.ndarray, k: np.ndarray, v: np.ndarray, allowed=lambda b, i, j: True, added=None) -> np.ndarray:
    """softmax(q k^T + added) v, over the keys that are ``allowed``."""
    q, k, v = (a.astype(np.float64) for a in (q, k, v))
    result = np.zeros(q.shape)
    for b, h, i in np.ndindex(q.shape[:3]):
        of = h * k.shape[1] // q.shape[1]
        weights = np.zeros(k.shape[2])
        for j in range(k.shape[2]):
            if allowed(b, i, j):
                score = (q[b, h, i] * k[b, of, j]).sum() + (added[b, h, i, j] if added is not None else 0)
                weights[j] = np.exp(score)
        result[b, h, i] = weights / weights.sum() @ v[b, of]
    return result


def attention(**settings):
    """A writer of an attention whose fourth input, where there is one, is what ``fourth`` names."""
    fourth = settings.pop("fourth", "mask")
    kind, norm = settings.pop("kind", Causal.NONE), settings.pop("norm", Norm.SOFTMAX)

    def write(net, q, k, v, *more):
        layer = net.network.add_attention_v2(q, k, v, norm, kind)
        layer.decomposable = True
        if more:
            setattr(layer, fourth, more[0])
        for name, value in settings.items():
            setattr(layer, name, value)
        return layer.get_output(0)

    return write


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("heads", "shared"), [(2, 2), (4, 2), (3, 1)])
def test_attention_of_heads_that_share_keys(heads: int, shared: int, dtype: type) -> None:
    given = operands(heads, shared, dtype=dtype)
    check(attention(), attended(*given), *given, dynamic=[(0, 2)] * 3)


@pytest.mark.parametrize(("queries", "keys"), [(3, 5), (4, 4)])
@pytest.mark.parametrize("kind", ["UPPER_LEFT", "LOWER_RIGHT"])
def test_causal_attention(kind: str, queries: int, keys: int) -> None:
    """UPPER_LEFT: key j for query i where j <= i; LOWER_RIGHT: the last query sees the last key."""
    given = operands(queries=queries, keys=keys)
    ahead = keys - queries if kind == "LOWER_RIGHT" else 0
    expected = attended(*given, allowed=lambda b, i, j: j <= i + ahead)
    check(attention(kind=getattr(Causal, kind)), expected, *given, dynamic=[(0, 2)] * 3)


def test_the_older_call_is_causal_from_the_upper_left() -> None:
    given = operands()

    def write(net, q, k, v):
        layer = net.network.add_attention(q, k, v, Norm.SOFTMAX, True)
        layer.decomposable = True
        return layer.get_output(0)

    check(write, attended(*given, allowed=lambda b, i, j: j <= i), *given)


def test_a_mask_of_booleans_says_who_is_seen() -> None:
    given = operands()
    mask = np.random.default_rng(5).integers(0, 2, (2, 2, 3, 5)).astype(bool)
    mask[..., 0] = True
    mask[:, 1] = mask[:, 0]  # the reference asks without the head
    expected = attended(*given, allowed=lambda b, i, j: mask[b, 0, i, j])
    check(attention(), expected, *given, mask)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_mask_of_floats_is_added(dtype: type) -> None:
    given, mask = operands(dtype=dtype), drawn(2, 2, 3, 5, seed=3, dtype=dtype)
    check(attention(), attended(*given, added=mask.astype(np.float64)), *given, mask)


def test_lengths_hide_the_keys_behind_them() -> None:
    given, lengths = operands(), np.array([2, 5], np.int32)
    expected = attended(*given, allowed=lambda b, i, j: j < lengths[b])
    check(attention(fourth="key_value_lengths"), expected, *given, lengths)


def test_attention_without_a_softmax_is_two_products() -> None:
    q, k, v = operands()
    wide = [a.astype(np.float64) for a in (q, k, v)]
    expected = np.einsum("bhid,bhjd,bhje->bhie", *wide)
    check(attention(norm=Norm.NONE), expected, q, k, v)


def test_what_nothing_defines_is_refused() -> None:
    q, k, v = operands()
    for settings, more, words in [
        ({"norm": Norm.NONE, "kind": Causal.UPPER_LEFT}, [], "masked out without a softmax"),
        ({"norm": Norm.NONE}, [np.ones((2, 2, 3, 5), bool)], "masked out without a softmax"),
        ({"kind": Causal.LOWER_RIGHT, "fourth": "key_value_lengths"}, [np.array([2, 5], np.int32)], "LOWER_RIGHT"),
        ({"num_ranks": 2}, [], "2 ranks"),
    ]:
        net = make(attention(**settings), [q, k, v, *more])
        with pytest.raises(Unsupported, match=words):
            walk(net.network)


def test_a_quantized_normalization_is_refused() -> None:
    def write(net, q, k, v):
        layer = net.network.add_attention_v2(q, k, v, Norm.SOFTMAX, Causal.NONE)
        layer.normalization_quantize_scale = net.constant(np.array(0.01, np.float16))
        layer.normalization_quantize_to_type = T.FP8
        return layer.get_output(0)

    with pytest.raises(Unsupported, match="quantized normalization"):
        walk(make(write, operands(dtype=np.float16)).network)


def turned(x: np.ndarray, cosine: np.ndarray, sine: np.ndarray, size: int, interleaved: bool) -> np.ndarray:
    """Pairs turned by the angles of [batch, tokens, pairs], one number after the other."""
    result = x.astype(np.float64)
    for b, h, s, p in np.ndindex(*x.shape[:3], size // 2):
        at, other = (2 * p, 2 * p + 1) if interleaved else (p, p + size // 2)
        a, c = float(x[b, h, s, at]), float(x[b, h, s, other])
        cos, sin = float(cosine[b, s, p]), float(sine[b, s, p])
        result[b, h, s, at], result[b, h, s, other] = a * cos - c * sin, a * sin + c * cos
    return result


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [0, 4], ids=["all", "part"])
@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_embedding(interleaved: bool, size: int, dtype: type) -> None:
    x, angle = drawn(2, 3, 5, 8, dtype=dtype), drawn(2, 5, (size or 8) // 2, seed=1)
    cosine, sine = np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)
    expected = turned(x, cosine, sine, size or 8, interleaved)

    def write(net, *tensors):
        return net.network.add_rotary_embedding(*tensors, interleaved, size)

    check(write, expected, x, cosine, sine, dynamic=[(0, 2), (0, 1), (0, 1)])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_rotary_embedding_at_given_positions(dtype: type) -> None:
    x, angle, positions = drawn(2, 3, 5, 8), drawn(20, 4, seed=1), np.arange(10)[::-1].reshape(2, 5).astype(dtype)
    cosine, sine = np.cos(angle), np.sin(angle)

    def write(net, x, cosine, sine, positions):
        layer = net.network.add_rotary_embedding(x, cosine, sine, False, 0)
        layer.set_input(3, positions)
        return layer

    expected = turned(x, cosine[positions], sine[positions], 8, False)
    check(write, expected, x, cosine, sine, positions)


def test_an_attention_keeps_its_shape_when_nothing_is_asked() -> None:
    q, k, v = operands(queries=1, keys=1)
    (result,) = run(attention(), q, k, v)
    np.testing.assert_allclose(result, v, rtol=0, atol=1e-6)  # one key takes all of the weight


def test_a_cache_that_is_updated_in_place_is_refused() -> None:
    def write(net, cache, update, first):
        layer = net.network.add_kv_cache_update(cache, update, first, trt.KVCacheMode.LINEAR)
        layer.name = "keys"
        return layer

    given = [drawn(2, 2, 6, 4), drawn(2, 2, 1, 4), np.array([0, 3], np.int32)]
    with pytest.raises(Unsupported, match=r"'keys' .KV_CACHE_UPDATE.*in place"):
        walk(make(write, given).network)
