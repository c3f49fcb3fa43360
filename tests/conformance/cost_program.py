"""What calls cost a candidate's code: this file is run like an answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pycuda.autoinit  # noqa: F401 (makes the context)
import pycuda.driver as cuda
import tensorrt as trt

_LOGGER = trt.Logger(trt.Logger.ERROR)
_KEPT: dict[str, Any] = {}


def small_calls(rounds: int) -> dict[str, np.ndarray]:
    """Microseconds of each call, ``rounds`` of them, one after the other in turn."""
    builder = trt.Builder(_LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    x = network.add_input("x", trt.DataType.FLOAT, (2, 3))
    y = network.add_activation(x, trt.ActivationType.RELU).get_output(0)
    y.name = "y"
    network.mark_output(y)
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    engine = trt.Runtime(_LOGGER).deserialize_cuda_engine(plan)
    context, stream = engine.create_execution_context(), cuda.Stream()
    d_x, d_y = cuda.mem_alloc(24), cuda.mem_alloc(24)
    h_x, h_y = (cuda.pagelocked_zeros((2, 3), np.float32) for _ in range(2))
    event, block = cuda.Event(), []
    calls: dict[str, Callable[[], Any]] = {
        "engine.num_io_tensors": lambda: engine.num_io_tensors,
        "context.get_tensor_shape": lambda: context.get_tensor_shape("y"),
        "context.set_input_shape": lambda: context.set_input_shape("x", (2, 3)),
        "context.set_tensor_address(x)": lambda: context.set_tensor_address("x", int(d_x)),
        "context.set_tensor_address(y)": lambda: context.set_tensor_address("y", int(d_y)),
        "cuda.mem_alloc": lambda: block.append(cuda.mem_alloc(24)),
        "DeviceAllocation.free": lambda: block.pop().free(),
        "cuda.memcpy_htod_async": lambda: cuda.memcpy_htod_async(d_x, h_x, stream),
        "context.execute_async_v3": lambda: context.execute_async_v3(stream.handle),
        "cuda.memcpy_dtoh_async": lambda: cuda.memcpy_dtoh_async(h_y, d_y, stream),
        "event.record": lambda: event.record(stream),
        "event.query": lambda: event.query(),
    }
    spent = {name: np.empty(rounds) for name in calls}
    for turn in range(-20, rounds):  # the first twenty warm up
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn >= 0:
                spent[name][turn] = (time.perf_counter() - began) * 1e6
        stream.synchronize()
    return spent


def load(model: str) -> None:
    """Build the ONNX model in this file and make everything ready for `classify`."""
    builder = trt.Builder(_LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, _LOGGER)
    if not parser.parse_from_file(model):
        raise RuntimeError("the model does not parse")
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("images", (1, 3, 224, 224), (1, 3, 224, 224), (8, 3, 224, 224))
    config.add_optimization_profile(profile)
    engine = trt.Runtime(_LOGGER).deserialize_cuda_engine(builder.build_serialized_network(network, config))
    context, stream = engine.create_execution_context(), cuda.Stream()
    h_x = cuda.pagelocked_zeros((1, 3, 224, 224), np.float32)
    h_y = cuda.pagelocked_zeros((1, 1000), np.float32)
    d_x, d_y = cuda.mem_alloc(h_x.nbytes), cuda.mem_alloc(h_y.nbytes)
    context.set_input_shape("images", h_x.shape)
    context.set_tensor_address("images", int(d_x))
    context.set_tensor_address("logits", int(d_y))
    _KEPT.update(engine=engine, context=context, stream=stream, h_x=h_x, h_y=h_y, d_x=d_x, d_y=d_y)


def classify(image: np.ndarray) -> tuple[float, int]:
    """Seconds of one classification: copy in, run, copy out, wait; and the class."""
    k = _KEPT
    began = time.perf_counter()
    k["h_x"][...] = image
    cuda.memcpy_htod_async(k["d_x"], k["h_x"], k["stream"])
    k["context"].execute_async_v3(k["stream"].handle)
    cuda.memcpy_dtoh_async(k["h_y"], k["d_y"], k["stream"])
    k["stream"].synchronize()
    top = int(k["h_y"][0].argmax())
    return time.perf_counter() - began, top
