"""Quantising to INT8 and back, against the rule written out: halves to even, then clamp."""

from __future__ import annotations

import numpy as np
import pytest
import tensorrt_rtx as trt

from tests.twin.networks import check

T = trt.DataType
FLOAT = {np.float32: T.FLOAT, np.float16: T.HALF}


def test_quantising_rounds_halves_to_even_and_clamps() -> None:
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 300, -128.5, -300]], np.float32)

    def write(net, tensor):
        return net.network.add_quantize(tensor, net.constant(np.array(1, np.float32)), T.INT8)

    expected = np.array([[0, 2, 2, 0, -2, 126, 127, 127, -128, -128]], np.int8)
    check(write, expected, x)


def quantised(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x.astype(np.float64) / scale.astype(np.float64)), -128, 127)


#: The scale, and the axis that it runs along, for a tensor of [2, 3, 4].
SCALES = {
    "scalar": (np.array(0.03125), None, ()),
    "one_element": (np.array([0.03125]), None, (1, 1, 1)),
    "per_channel": (np.array([0.015625, 0.03125, 0.25]), 1, (1, 3, 1)),
    "per_column": (np.array([0.015625, 0.03125, 0.25, 0.5]), 2, (1, 1, 4)),
}


@pytest.mark.parametrize("dtype", FLOAT)
@pytest.mark.parametrize("case", SCALES)
@pytest.mark.parametrize("zero", [True, False], ids=["zero_point", "no_zero_point"])
def test_quantising_and_back(case: str, dtype: type, zero: bool) -> None:
    scale, axis, broadcast = SCALES[case]
    scale = scale.astype(dtype)
    x = np.random.default_rng(0).uniform(-6, 6, (2, 3, 4)).astype(dtype)

    def write(net, tensor):
        step = net.constant(scale)
        there = net.network.add_quantize(tensor, step, T.INT8)
        back = net.network.add_dequantize(there.get_output(0), step, FLOAT[dtype])
        for layer in (there, back):
            if axis is not None:
                layer.axis = axis
        if zero:  # the builder takes INT8 constants in front of a dequantisation alone
            back.set_input(2, net.constant(np.zeros(scale.shape, np.int8)))
        return back

    steps = scale.astype(np.float64).reshape(broadcast)
    check(write, quantised(x, steps) * steps, x, dynamic=[(0,)])


def test_weights_are_dequantised_from_int8_constants() -> None:
    x = np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)
    weights, scale = np.array([[1, -2, 3, 127], [4, 5, -6, -128], [7, 8, 9, 0]], np.int8), np.float32(0.0625)

    def write(net, tensor):
        back = net.network.add_dequantize(net.constant(weights), net.constant(np.array(scale)), T.FLOAT)
        none = trt.MatrixOperation.NONE
        return net.network.add_matrix_multiply(tensor, none, back.get_output(0), none)

    check(write, x.astype(np.float64) @ (weights * float(scale)), x, dynamic=[(0,)])
