"""Normalisation and local response, against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.twin.networks import check


def normal(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return (np.random.default_rng(sum(shape)).standard_normal(shape) + 0.5).astype(dtype)


def normalized(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    x = x.astype(np.float64)
    mean = x.mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + epsilon)


def write_normalization(scale, bias, axes, groups=1, epsilon=1e-3, second=True):
    def write(net, tensor):
        add = net.network.add_normalization_v2 if second else net.network.add_normalization
        layer = add(tensor, net.constant(scale), net.constant(bias), sum(1 << axis for axis in axes))
        layer.num_groups, layer.epsilon = groups, epsilon
        return layer

    return write


#: Axes, and the shape of scale and bias, on [2, 6, 4, 5].
KINDS = {
    "layer": ((3,), (1, 1, 1, 5)),
    "layer_of_two_axes": ((2, 3), (1, 1, 4, 5)),
    "layer_of_all_but_the_batch": ((1, 2, 3), (1, 6, 4, 5)),
    "instance": ((2, 3), (1, 6, 1, 1)),
    "batch": ((0, 2, 3), (1, 6, 1, 1)),
}


@pytest.mark.parametrize("second", [True, False], ids=["v2", "v1"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_normalization_over_axes(kind: str, dtype: type, second: bool) -> None:
    axes, shape = KINDS[kind]
    x, scale, bias = normal(2, 6, 4, 5, dtype=dtype), normal(*shape, dtype=dtype), normal(*shape, dtype=dtype) - 1
    bias = bias.astype(dtype)
    expected = normalized(x, axes, 1e-3) * scale + bias
    check(write_normalization(scale, bias, axes, second=second), expected, x, dynamic=[(0,)])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("groups", [2, 3, 6])
@pytest.mark.parametrize("second", [True, False], ids=["v2", "v1"])
def test_a_normalization_of_groups_of_channels(second: bool, groups: int, dtype: type) -> None:
    x = normal(2, 6, 4, 5, dtype=dtype)
    coefficients = (1, 6 if second else groups, 1, 1)
    scale, bias = normal(*coefficients, dtype=dtype), (normal(*coefficients) * 2).astype(dtype)
    grouped = normalized(x.reshape(2, groups, 6 // groups, 4, 5), (2, 3, 4), 1e-3).reshape(x.shape)
    each = 1 if second else 6 // groups  # the first version scales by group
    expected = grouped * scale.repeat(each, axis=1) + bias.repeat(each, axis=1)
    write = write_normalization(scale, bias, (2, 3), groups, second=second)
    check(write, expected, x, dynamic=[(0, 2, 3)])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("window", "alpha", "beta", "k"),
    [(3, 0.5, 0.75, 2.0), (5, 1.0, 0.5, 1.0), (1, 2.0, 1.0, 0.5), (15, 0.3, 0.75, 1.0)],
)
def test_a_local_response_divides_by_the_neighbouring_channels(window, alpha, beta, k, dtype) -> None:
    x, reach = normal(2, 7, 3, 3, dtype=dtype), window // 2
    wide = x.astype(np.float64)
    sums = np.zeros_like(wide)
    for channel in range(7):
        sums[:, channel] = (wide[:, max(channel - reach, 0) : channel + reach + 1] ** 2).sum(axis=1)
    expected = wide / (k + alpha / window * sums) ** beta
    check(lambda net, t: net.network.add_lrn(t, window, alpha, beta, k), expected, x, dynamic=[(0,)])
