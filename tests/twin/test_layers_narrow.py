"""Quantising in blocks, and to types that NumPy lacks, against the rules and ml_dtypes' own rounding."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorrt_rtx as trt

from grader.twin.layers import Unsupported
from grader.twin.layers.weights import values
from grader.twin.walk import walk
from tests.twin.networks import TYPE, check, make

T, NONE = trt.DataType, trt.MatrixOperation.NONE
FLOATS = [np.float32, np.float16, ml_dtypes.bfloat16]
#: Type -> its largest number of either sign, and the type that rounds as it does.
NARROW = {
    T.INT8: (-128, 127, None),
    T.INT4: (-8, 7, None),
    T.FP8: (-448, 448, ml_dtypes.float8_e4m3fn),
    T.FP4: (-6, 6, ml_dtypes.float4_e2m1fn),
}


def quantised(x: np.ndarray, scale: np.ndarray, to: trt.DataType) -> np.ndarray:
    """The quotient, clamped and rounded to the type's nearest, as float64."""
    low, high, rounder = NARROW[to]
    quotient = np.clip(x.astype(np.float64) / scale.astype(np.float64), low, high)
    return np.rint(quotient) if rounder is None else quotient.astype(rounder).astype(np.float64)


def there_and_back(scale: np.ndarray, to: trt.DataType, axis: int | None = None, block: tuple[int, ...] = ()):
    def placed(layer):
        if axis is not None:
            layer.axis = axis
        if block:
            layer.block_shape = block
        return layer

    def write(net, tensor):
        step = net.constant(scale)
        there = placed(net.network.add_quantize(tensor, step, to))
        return placed(net.network.add_dequantize(there.get_output(0), step, tensor.dtype))

    return write


def drawn(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).uniform(-6, 6, shape).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("to", NARROW, ids=lambda to: to.name)
def test_one_scale(to: trt.DataType, dtype: type) -> None:
    x, scale = drawn(8, 32, dtype=dtype), np.array(0.5, dtype)
    check(there_and_back(scale, to), quantised(x, scale, to) * 0.5, x, dynamic=[(0,)])


@pytest.mark.parametrize("to", NARROW, ids=lambda to: to.name)
def test_a_scale_for_each_row(to: trt.DataType) -> None:
    x, scale = drawn(4, 32), np.array([0.25, 0.5, 1, 2], np.float32)
    rows = scale[:, None]
    check(there_and_back(scale, to, axis=0), quantised(x, rows, to) * rows, x)


@pytest.mark.parametrize("shape", [(4, 2), (2, 32)], ids=["along_rows", "along_columns"])
@pytest.mark.parametrize("to", NARROW, ids=lambda to: to.name)
def test_a_scale_for_each_block(to: trt.DataType, shape: tuple[int, int]) -> None:
    x = drawn(4, 32)
    scale = np.random.default_rng(1).choice([0.25, 0.5, 1, 2], shape).astype(np.float32)
    steps = scale.repeat(4 // shape[0], axis=0).repeat(32 // shape[1], axis=1)
    axis = 1 if shape[0] == 4 else 0
    check(there_and_back(scale, to, axis=axis), quantised(x, steps, to) * steps, x)


@pytest.mark.parametrize("to", [T.INT8, T.FP8], ids=lambda to: to.name)
def test_a_scale_for_each_block_of_two_axes(to: trt.DataType) -> None:
    """The builder takes such blocks of these types alone."""
    x = drawn(4, 32)
    scale = np.random.default_rng(1).choice([0.25, 0.5, 1, 2], (2, 2)).astype(np.float32)
    steps = scale.repeat(2, axis=0).repeat(16, axis=1)
    check(there_and_back(scale, to, block=(2, 16)), quantised(x, steps, to) * steps, x)


#: What lies between two numbers goes to the one that ends in 0, what is too large to the largest.
TIES = {
    T.INT4: ([0.5, 1.5, -2.5, 7.5, 9, -8.5, -20], [0, 2, -2, 7, 7, -8, -8]),
    T.FP4: (
        [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 5.1, 7, -0.25, -2.5, -5, -100],
        [0, 1, 1, 2, 2, 4, 4, 6, 6, 0, -2, -4, -6],
    ),
    T.FP8: ([17, 19, 15.5, 449, -1000, 2**-10, 2**-10 * 1.1], [16, 20, 16 - 0.5 + 0.5, 448, -448, 0, 2**-9]),
}


@pytest.mark.parametrize("to", TIES, ids=lambda to: to.name)
def test_halves_go_to_the_even_neighbour(to: trt.DataType) -> None:
    given, expected = TIES[to]
    x = np.array([given + [0] * (16 - len(given))], np.float32)
    wanted = np.array([expected + [0] * (16 - len(expected))], np.float64)
    check(there_and_back(np.array(1, np.float32), to), wanted, x)


def packed(codes: np.ndarray) -> np.ndarray:
    """Two numbers of four bits to a byte, the first in the lower half."""
    pairs = codes.reshape(-1, 2)
    return (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8)


#: The bytes of 4 x 32 weights, and what they mean.
CODES = np.random.default_rng(2).integers(0, 16, 128).astype(np.uint8)
EIGHT = np.where(np.arange(128) % 128 == 127, 0, np.arange(128)).astype(np.uint8) + (128 * (CODES > 7)).astype(np.uint8)
WEIGHTS = {
    T.INT4: (packed(CODES), np.where(CODES > 7, CODES.astype(int) - 16, CODES)),
    T.FP4: (packed(CODES), CODES.view(ml_dtypes.float4_e2m1fn).astype(np.float64)),
    T.FP8: (EIGHT, EIGHT.view(ml_dtypes.float8_e4m3fn).astype(np.float64)),
    T.INT8: (EIGHT, EIGHT.view(np.int8).astype(np.float64)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("blocks", [(), (2, 32), (4, 2)], ids=["one", "rows", "columns"])
@pytest.mark.parametrize("kind", WEIGHTS, ids=lambda kind: kind.name)
def test_weights_come_back(kind: trt.DataType, blocks: tuple[int, ...], dtype: type) -> None:
    raw, meant = WEIGHTS[kind]
    scale = np.random.default_rng(1).choice([0.25, 0.5], blocks).astype(dtype)
    steps = scale.astype(np.float64)
    if blocks:
        steps = steps.repeat(4 // blocks[0], axis=0).repeat(32 // blocks[1], axis=1)
    x = drawn(3, 4, dtype=dtype)

    def write(net, tensor):
        weights = net.network.add_constant((4, 32), trt.Weights(kind, net.keep(raw).ctypes.data, 128))
        back = net.network.add_dequantize(weights.get_output(0), net.constant(scale), TYPE[np.dtype(dtype)])
        if blocks:
            back.axis = 0 if blocks[0] == 2 else 1
        return net.network.add_matrix_multiply(tensor, NONE, back.get_output(0), NONE)

    check(write, x.astype(np.float64) @ (meant.reshape(4, 32) * steps), x)


@pytest.mark.parametrize(
    ("kind", "numpy"), [(T.FP8, ml_dtypes.float8_e4m3fn), (T.E8M0, ml_dtypes.float8_e8m0fnu)], ids=["FP8", "E8M0"]
)
def test_every_byte_is_read_as_it_is_meant(kind: trt.DataType, numpy: type) -> None:
    every = np.arange(256, dtype=np.uint8)
    found = values(trt.Weights(kind, every.ctypes.data, 256))
    np.testing.assert_array_equal(found, every.view(numpy).astype(np.float32))


def test_an_odd_number_of_four_bits() -> None:
    data = np.array([0x21, 0x0F], np.uint8)
    np.testing.assert_array_equal(values(trt.Weights(T.INT4, data.ctypes.data, 3)), [1, 2, -1])


def test_scales_that_are_quantised_themselves() -> None:
    """As NVFP4 keeps them: the scales of the blocks in FP8, with one scale for all."""
    x = drawn(3, 4)
    raw, meant = WEIGHTS[T.FP4]
    steps = np.random.default_rng(3).choice([0.5, 1, 1.5], (4, 2)).astype(ml_dtypes.float8_e4m3fn)

    def write(net, tensor):
        weights = net.network.add_constant((4, 32), trt.Weights(T.FP4, net.keep(raw).ctypes.data, 128))
        own = net.keep(steps.view(np.uint8))
        scale = net.network.add_constant((4, 2), trt.Weights(T.FP8, own.ctypes.data, 8))
        scale = net.network.add_dequantize(scale.get_output(0), net.constant(np.array(0.25, np.float32)), T.FLOAT)
        back = net.network.add_dequantize(weights.get_output(0), scale.get_output(0), T.FLOAT)
        back.axis = 1
        return net.network.add_matrix_multiply(tensor, NONE, back.get_output(0), NONE)

    wide = (steps.astype(np.float64) * 0.25).repeat(16, axis=1)
    check(write, x.astype(np.float64) @ (meant.reshape(4, 32) * wide), x)


def test_narrow_tensors_are_moved() -> None:
    x, scale = drawn(4, 32), np.array(0.5, np.float32)

    def write(net, tensor):
        step = net.constant(scale)
        there = net.network.add_quantize(tensor, step, T.FP8)
        moved = net.network.add_shuffle(there.get_output(0))
        moved.first_transpose = (1, 0)
        both = net.network.add_concatenation([moved.get_output(0), moved.get_output(0)])
        both.axis = 0
        return net.network.add_dequantize(both.get_output(0), step, T.FLOAT)

    expected = (quantised(x, scale, T.FP8) * 0.5).T
    check(write, np.concatenate([expected, expected]), x)


@pytest.mark.parametrize("kind", ["INT4", "FP8", "FP4", "E8M0"])
def test_no_input_or_output_is_narrow(kind: str) -> None:
    def write(net, tensor):
        return net.network.add_identity(net.network.add_input("thin", getattr(T, kind), (2, 32)))

    with pytest.raises(Unsupported, match=f"{kind} .tensor 'out0'"):
        walk(make(write, [drawn(2)]).network)


def test_dynamic_quantization_is_refused_by_name() -> None:
    def write(net, tensor):
        layer = net.network.add_dynamic_quantize(tensor, 1, 16, T.FP4, T.FP8)
        layer.set_input(1, net.constant(np.array(0.1, np.float32)))
        layer.name = "blocks"
        return layer

    with pytest.raises(Unsupported, match=r"'blocks' .DYNAMIC_QUANTIZE"):
        walk(make(write, [drawn(4, 32)]).network)
