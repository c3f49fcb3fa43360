"""Inputs that are shape tensors: values on the host, and profiles of values; scalars and empty tensors."""

from __future__ import annotations

import pytest

from tests.twin.harness import Outcome, Twin

_PRELUDE = """\
import numpy as np
import tensorrt as trt
import pycuda.driver as cuda
import pycuda.autoinit
from helpers import *

def reshaping(dtype=trt.int64):
    builder = trt.Builder(LOGGER)
    network, config = builder.create_network(0), builder.create_builder_config()
    x, s = network.add_input("x", trt.float32, (-1,)), network.add_input("s", dtype, (2,))
    layer = network.add_shuffle(x)
    layer.set_input(1, s)
    assert s.is_shape_tensor and not x.is_shape_tensor
    layer.get_output(0).name = "y"
    network.mark_output(layer.get_output(0))
    for low, high in (((1, 1), (4, 6)), ((2, 2), (2, 8))):
        profile = builder.create_optimization_profile()
        profile.set_shape("x", (1,), (6,), (24,))
        profile.set_shape_input("s", low, (2, 3), high)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    return trt.Runtime(LOGGER).deserialize_cuda_engine(plan)

def ready(dtype=trt.int64, count=6):
    engine = reshaping(dtype)
    context = engine.create_execution_context()
    x = np.arange(count, dtype=np.float32)
    d_x, d_y = cuda.to_device(x), cuda.mem_alloc(96)
    context.set_tensor_address("x", int(d_x))
    context.set_tensor_address("y", int(d_y))
    context.set_input_shape("x", (count,))
    return engine, context, x, d_x, d_y, cuda.Stream()
"""


def _run(twin: Twin, body: str, *arguments: object) -> Outcome:
    return twin(body, *arguments, prelude=_PRELUDE)


@pytest.mark.parametrize("kind", ["int64", "int32"])
def test_values_on_the_host_decide_the_shape(twin: Twin, kind: str) -> None:
    outcome = _run(
        twin,
        """
        engine, context, x, d_x, d_y, stream = ready(getattr(trt, args[0]))
        assert engine.get_tensor_location("s") == trt.TensorLocation.HOST
        assert engine.get_tensor_location("x") == trt.TensorLocation.DEVICE
        assert engine.is_shape_inference_io("s") and not engine.is_shape_inference_io("x")
        assert engine.get_tensor_profile_values(0, "s") == [[1, 1], [2, 3], [4, 6]]
        assert engine.get_tensor_profile_values(1, "s") == [[2, 2], [2, 3], [2, 8]]
        assert [tuple(d) for d in engine.get_tensor_profile_shape("s", 0)] == [(2,)] * 3
        assert context.infer_shapes() == ["s"]
        assert not context.all_binding_shapes_specified
        s = np.array([2, 3], args[0])
        assert context.set_tensor_address("s", s.ctypes.data)
        assert context.infer_shapes() == [] and context.all_binding_shapes_specified
        assert tuple(context.get_tensor_shape("y")) == (2, 3)
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        assert np.array_equal(cuda.from_device(d_y, (2, 3), np.float32), x.reshape(2, 3))
        s[:] = 3, 2  # the same array, other values: the next run has them
        assert tuple(context.get_tensor_shape("y")) == (3, 2)
        assert context.execute_v2([int(d_x), s.ctypes.data, int(d_y)])
        assert np.array_equal(cuda.from_device(d_y, (3, 2), np.float32), x.reshape(3, 2))
        h = pinned(np.array([1, 6], args[0]))
        context.set_tensor_address("s", h.ctypes.data)
        assert tuple(context.get_tensor_shape("y")) == (1, 6)
    """,
        kind,
    ).clean()
    assert [run["inputs"]["s"].tolist() for run in outcome.runs] == [[2, 3], [3, 2]]


def test_a_run_takes_the_values_of_its_call(twin: Twin) -> None:
    _run(
        twin,
        """
        engine, context, x, d_x, d_y, stream = ready()
        s = np.array([2, 3])
        context.set_tensor_address("s", s.ctypes.data)
        context.execute_async_v3(stream.handle)
        s[:] = 3, 2
        stream.synchronize()
        return None
    """,
    ).clean()


@pytest.mark.parametrize(
    ("values", "words"),
    [("[5, 1]", "outside the profile"), ("[0, 3]", "outside the profile"), ("[2, 2]", "do not fit")],
)
def test_values_that_are_no_good_are_refused(twin: Twin, values: str, words: str) -> None:
    outcome = _run(
        twin,
        """
        engine, context, x, d_x, d_y, stream = ready()
        s = np.array(VALUES)
        context.set_tensor_address("s", s.ctypes.data)
        try:
            assert not context.all_binding_shapes_specified or context.infer_shapes()
        except RuntimeError as error:
            assert "do not fit" in str(error)
        assert context.execute_async_v3(stream.handle) is False  # <here>
    """.replace("VALUES", values),
    )
    outcome.found("shape", words)
    assert outcome.runs == ()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("int(cuda.mem_alloc(16))", "device memory"),
        ("256", "cannot be read"),
        ("0", ""),
        ("(1 << 47) - 4096", "cannot be read"),
    ],
)
def test_an_address_of_no_values_is_named(twin: Twin, address: str, words: str) -> None:
    outcome = _run(
        twin,
        """
        engine, context, x, d_x, d_y, stream = ready()
        d = ADDRESS
        context.set_tensor_address("s", d); context.execute_async_v3(stream.handle)  # <here>
    """.replace("ADDRESS", address),
    )
    if words:
        outcome.found("address", words, "'s'")
        assert outcome.type == "LogicError"
    else:
        outcome.found("shape", "'s'")
    assert outcome.runs == ()


def test_values_belong_to_a_profile(twin: Twin) -> None:
    outcome = _run(
        twin,
        """
        engine, context, x, d_x, d_y, stream = ready(count=16)
        s = np.array([2, 8])
        context.set_tensor_address("s", s.ctypes.data)
        assert context.execute_async_v3(stream.handle) is False  # <here>
        assert context.set_optimization_profile_async(1, stream.handle)
        context.set_input_shape("x", (16,))
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        assert np.array_equal(cuda.from_device(d_y, (2, 8), np.float32), x.reshape(2, 8))
    """,
    )
    outcome.found("shape", "outside the profile")
    assert (outcome.type, len(outcome.findings), len(outcome.runs)) == ("", 1, 1)


def test_an_allocator_gets_the_size_that_the_values_decide(twin: Twin) -> None:
    _run(
        twin,
        """
        engine, context, x, d_x, d_y, stream = ready()
        class Mine(trt.IOutputAllocator):
            def reallocate_output_async(self, tensor_name, memory, size, alignment, stream):
                self.size = size
                return memory
            def notify_shape(self, tensor_name, shape):
                self.shape = tuple(shape)
        mine, s = Mine(), np.array([3, 2])
        context.set_output_allocator("y", mine)
        context.set_tensor_address("s", s.ctypes.data)
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        assert (mine.size, mine.shape) == (24, (3, 2))
    """,
    ).clean()


def test_scalars_and_empty_tensors(twin: Twin) -> None:
    _run(
        twin,
        """
        engine, context = load("scalar")
        d_x, d_y = cuda.to_device(np.float32([-2])), cuda.mem_alloc(4)
        assert tuple(engine.get_tensor_shape("x")) == () and trt.volume(engine.get_tensor_shape("x")) == 1
        assert context.execute_v2([d_x, d_y])
        assert cuda.from_device(d_y, (), np.float32) == 0
        builder = trt.Builder(LOGGER)
        network, config = builder.create_network(0), builder.create_builder_config()
        x = network.add_input("x", trt.float32, (-1, 4))
        layer = network.add_activation(x, trt.ActivationType.RELU)
        layer.get_output(0).name = "y"
        network.mark_output(layer.get_output(0))
        profile = builder.create_optimization_profile()
        profile.set_shape("x", (0, 4), (2, 4), (4, 4))
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
        context = engine.create_execution_context()
        assert context.set_input_shape("x", (0, 4))
        assert tuple(context.get_tensor_shape("y")) == (0, 4)
        some = cuda.mem_alloc(256), cuda.mem_alloc(256)
        context.set_tensor_address("x", int(some[0]))
        context.set_tensor_address("y", int(some[1]))
        assert context.execute_async_v3(0)
        cuda.Context.synchronize()
    """,
    ).clean()
