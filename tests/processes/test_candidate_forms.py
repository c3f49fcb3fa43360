"""A worker in its sandbox uses arrays, allocators, shape inputs and mapped memory; the audit tells of its runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from candidates import start

_ANSWER = """
import numpy as np
import pycuda.driver as cuda
import tensorrt as trt
from pycuda import autoprimaryctx, gpuarray

LOGGER = trt.Logger(trt.Logger.ERROR)


class Allocator(trt.IOutputAllocator):
    def __init__(self):
        trt.IOutputAllocator.__init__(self)
        self.memory = {}

    def reallocate_output(self, tensor_name, memory, size, alignment):
        self.memory[tensor_name] = cuda.mem_alloc(size)
        return int(self.memory[tensor_name])

    def notify_shape(self, tensor_name, shape):
        self.shape = tuple(shape)


def reshaped(x, values):
    builder = trt.Builder(LOGGER)
    network, config = builder.create_network(0), builder.create_builder_config()
    layer = network.add_shuffle(network.add_input("x", trt.float32, (-1,)))
    layer.set_input(1, network.add_input("s", trt.int64, (2,)))
    layer.get_output(0).name = "y"
    network.mark_output(layer.get_output(0))
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1,), (6,), (24,))
    profile.set_shape_input("s", (1, 1), (2, 3), (24, 24))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    context = trt.Runtime(LOGGER).deserialize_cuda_engine(plan).create_execution_context()
    h_x = cuda.pagelocked_empty(x.shape, x.dtype, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
    h_x[...] = x
    allocator, stream = Allocator(), cuda.Stream()
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", h_x.base.get_device_pointer())
    context.set_tensor_address("s", values.ctypes.data)
    context.set_output_allocator("y", allocator)
    assert context.execute_async_v3(stream.handle)
    stream.synchronize()
    y = gpuarray.GPUArray(allocator.shape, np.float32, gpudata=allocator.memory["y"])
    return (2 * y + 1).get()


def echo(value):
    return value
"""


def test_a_graded_call_may_use_them(tmp_path: Path) -> None:
    x, values = np.arange(6, dtype=np.float32), np.array([3, 2])
    with start(tmp_path, _ANSWER) as candidate:
        outcome = candidate.call("reshaped", x, values, seconds=60)
    assert np.array_equal(outcome.value, 2 * x.reshape(3, 2) + 1)
    assert list(outcome.evidence.findings) == []
    (run,) = outcome.evidence.runs
    assert np.array_equal(run["inputs"]["x"], x)
    assert run["inputs"]["s"].tolist() == [3, 2]
    assert np.array_equal(run["outputs"]["y"], x.reshape(3, 2))
