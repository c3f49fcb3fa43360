"""Small TensorRT networks: built, walked and executed, for the tests of the layer translations.

Every network goes through the real builder too, so the tests claim nothing that it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorrt_rtx as trt
from ml_dtypes import bfloat16

from grader.twin.executor import Executor
from grader.twin.walk import walk

#: TensorRT keeps a pointer to the logger for as long as anything made with it lives.
LOGGER = trt.Logger(trt.Logger.ERROR)
BUILDER = trt.Builder(LOGGER)

TYPE = {
    np.dtype(np.float32): trt.DataType.FLOAT,
    np.dtype(np.float16): trt.DataType.HALF,
    np.dtype(np.int8): trt.DataType.INT8,
    np.dtype(np.int32): trt.DataType.INT32,
    np.dtype(np.int64): trt.DataType.INT64,
    np.dtype(np.bool_): trt.DataType.BOOL,
    np.dtype(np.uint8): trt.DataType.UINT8,
    np.dtype(bfloat16): trt.DataType.BF16,
}
NUMPY = {ours: numpy for numpy, ours in TYPE.items()}

#: Largest error allowed, relative to the largest expected value (or to 1, where that is larger).
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float16): 1e-2, np.dtype(bfloat16): 2**-8}

Write = Callable[..., "trt.ILayer | trt.ITensor | Sequence[trt.ITensor]"]


def parse(model: bytes) -> trt.INetworkDefinition:
    """The network that TensorRT's parser makes of an ONNX model."""
    network = BUILDER.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    assert parser.parse(model), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    return network


class Net:
    """A network under construction. Constants live as long as it does, since TensorRT keeps only pointers."""

    def __init__(self) -> None:
        self.network = BUILDER.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        self._kept: list[np.ndarray] = []

    def keep(self, array: np.ndarray) -> np.ndarray:
        array = np.ascontiguousarray(array)
        self._kept.append(array)
        return array

    def weights(self, array: np.ndarray) -> trt.Weights:
        kept = self.keep(array)
        if kept.dtype == bfloat16:
            return trt.Weights(trt.DataType.BF16, kept.ctypes.data, kept.size)
        return trt.Weights(kept)

    def constant(self, array: np.ndarray) -> trt.ITensor:
        array = np.asarray(array)
        return self.network.add_constant(array.shape, self.weights(array)).get_output(0)


def make(write: Write, inputs: Sequence[np.ndarray], dynamic: Sequence[Sequence[int]] = ()) -> Net:
    """A network of what ``write(net, *input tensors)`` adds; its layer or tensors are the outputs.

    ``dynamic`` gives for each input the axes declared as -1.
    """
    net = Net()
    tensors = []
    for index, array in enumerate(inputs):
        free = dynamic[index] if index < len(dynamic) else ()
        shape = [-1 if axis in free else size for axis, size in enumerate(array.shape)]
        tensors.append(net.network.add_input(f"in{index}", TYPE[array.dtype], shape))
    written = write(net, *tensors)
    if isinstance(written, trt.ILayer):
        written = [written.get_output(i) for i in range(written.num_outputs)]
    for index, tensor in enumerate([written] if isinstance(written, trt.ITensor) else written):
        tensor.name = f"out{index}"
        net.network.mark_output(tensor)
    return net


def build(network: trt.INetworkDefinition, inputs: Mapping[str, np.ndarray]) -> None:
    """Put the network through the real builder, with these inputs' shapes as the profile's optimum."""
    config = BUILDER.create_builder_config()
    profile = BUILDER.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.is_shape_tensor:
            value = [int(v) for v in np.atleast_1d(inputs[tensor.name])]
            profile.set_shape_input(tensor.name, value, value, value)
        shape = inputs[tensor.name].shape
        least = [min(1, size) if declared < 0 else size for declared, size in zip(tensor.shape, shape, strict=True)]
        most = [2 * size if declared < 0 else size for declared, size in zip(tensor.shape, shape, strict=True)]
        profile.set_shape(tensor.name, least, shape, most)
    config.add_optimization_profile(profile)
    assert BUILDER.build_serialized_network(network, config) is not None, "the real builder refuses this network"


def execute(network: trt.INetworkDefinition, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Walk the network, run it, and check what comes out against the shapes and types TensorRT gives."""
    fed = {name: a.view(np.uint16) if a.dtype == bfloat16 else a for name, a in inputs.items()}
    results = Executor(walk(network)).run(fed)
    for index in range(network.num_outputs):
        tensor = network.get_output(index)
        if tensor.dtype == trt.DataType.BF16:
            results[tensor.name] = results[tensor.name].view(bfloat16)
        result = results[tensor.name]
        assert result.dtype == NUMPY[tensor.dtype], f"{tensor.name} is {result.dtype}, TensorRT says {tensor.dtype}"
        assert len(tensor.shape) == result.ndim, f"{tensor.name} is {result.shape}, TensorRT says {tensor.shape}"
        for said, size in zip(tensor.shape, result.shape, strict=True):
            assert said in (-1, size), f"{tensor.name} is {result.shape}, TensorRT says {tensor.shape}"
    return results


def run(write: Write, *inputs: np.ndarray, dynamic: Sequence[Sequence[int]] = ()) -> list[np.ndarray]:
    """The outputs of a network written by ``write``, by the twin."""
    net = make(write, inputs, dynamic)
    fed = {f"in{index}": array for index, array in enumerate(inputs)}
    build(net.network, fed)
    return list(execute(net.network, fed).values())


def agree(result: np.ndarray, expected: np.ndarray, tolerance: float | None = None) -> None:
    """Integers and booleans exactly; floats to their type's tolerance."""
    expected = np.asarray(expected)
    assert result.shape == expected.shape
    if result.dtype not in TOLERANCE:
        np.testing.assert_array_equal(result, expected)
        return
    finite = np.isfinite(expected)
    largest = max(1.0, float(np.abs(expected[finite]).max())) if finite.any() else 1.0
    allowed = (tolerance or TOLERANCE[result.dtype]) * largest
    np.testing.assert_allclose(result.astype(np.float64), expected.astype(np.float64), rtol=0, atol=allowed)


def check(write: Write, expected: np.ndarray, *inputs: np.ndarray, dynamic: Sequence[Sequence[int]] = ()) -> None:
    """The network of ``write`` has one output, and it is ``expected``."""
    (result,) = run(write, *inputs, dynamic=dynamic)
    agree(result, expected)
