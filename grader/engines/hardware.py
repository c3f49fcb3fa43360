"""The engine runner where there is a GPU: TensorRT itself, through cuda.bindings or PyCUDA's memory.

The modules that a tier has are imported here and nowhere else in the trusted code.
"""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np

from grader.inside.trtprep_worker import bridge

from .interface import EngineError, Inspection, Kernel, Port, Tensor, onnx_layers, within
from .measure import WAYS, measure

#: What the inspector lists among the layers though nothing is launched for it.
_NO_KERNELS = ("NoOp", "Constant")


class HardwareEngines:
    def __init__(self, tier: str) -> None:
        bridge.install(tier, {})
        self._trt = importlib.import_module("tensorrt")
        self._cuda = importlib.import_module("pycuda.driver")
        self._cuda.init()
        self._context = self._cuda.Device(0).retain_primary_context()
        self._context.push()
        self._messages: list[str] = []
        self._logger = _logger(self._trt, self._messages)
        self._runtime = self._trt.Runtime(self._logger)
        self._engines: dict[bytes, Any] = {}

    def build(self, onnx: bytes, profiles: list[dict[str, list]], settings: dict[str, Any]) -> bytes:
        trt = self._trt
        builder = trt.Builder(self._logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse(onnx):
            raise EngineError(f"the network does not parse: {parser.get_error(0).desc()}")
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for `inspect`
        if "optimization_level" in settings:
            config.builder_optimization_level = settings["optimization_level"]
        for given in profiles:
            profile = builder.create_optimization_profile()
            for name, shapes in given.items():
                profile.set_shape(name, *map(tuple, shapes))
            config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineError(f"the build failed: {self._last()}")
        return bytes(memoryview(plan))

    def inspect(self, plan: bytes) -> Inspection:
        trt, engine = self._trt, self._engine(plan)
        tensors = []
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            bounds = []
            for profile in range(engine.num_optimization_profiles if is_input else 0):
                bounds.append(tuple(tuple(s) for s in engine.get_tensor_profile_shape(name, profile)))
            dtype = engine.get_tensor_dtype(name).name
            tensors.append(Tensor(name, dtype, tuple(engine.get_tensor_shape(name)), is_input, tuple(bounds)))
        text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        told = json.loads(text)["Layers"]
        memory, level = engine.device_memory_size_v2, engine.hardware_compatibility_level.name
        layers = tuple(map(_layer, told))
        return Inspection(tuple(tensors), layers, _kernels(told), memory, hardware_compatibility=level)

    def run(self, plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        trt, cuda, engine = self._trt, self._cuda, self._engine(plan)
        context = engine.create_execution_context()
        stream = cuda.Stream()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        known = {name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT}
        if unknown := sorted(set(inputs) - known):
            raise EngineError(f"the engine has no input {unknown[0]!r}, only {', '.join(sorted(known))}")
        if profile := _profile_for(engine, inputs):
            context.set_optimization_profile_async(profile, stream.handle)
        outputs: dict[str, np.ndarray] = {}
        memory = []
        for name in names:
            if engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT:
                continue
            if name not in inputs:
                raise EngineError(f"the engine has an input {name!r} that should not be there")
            array = np.ascontiguousarray(inputs[name])
            if np.dtype(trt.nptype(engine.get_tensor_dtype(name))) != array.dtype:
                raise EngineError(f"input {name!r} is {engine.get_tensor_dtype(name).name}, not {array.dtype.name}")
            if not context.set_input_shape(name, array.shape):
                raise EngineError(f"input {name!r}: shape {array.shape} is outside the engine's profile")
            memory.append(cuda.to_device(array))
            context.set_tensor_address(name, int(memory[-1]))
        for name in (n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.OUTPUT):
            outputs[name] = np.empty(tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name)))
            memory.append(cuda.mem_alloc(max(1, outputs[name].nbytes)))
            context.set_tensor_address(name, int(memory[-1]))
        if not context.execute_async_v3(stream.handle):
            raise EngineError(f"the engine does not run: {self._last()}")
        stream.synchronize()
        for name, array in outputs.items():
            cuda.memcpy_dtoh(array, context.get_tensor_address(name))
        return outputs

    def measure(self, plan: bytes, way: str, inputs: dict[str, np.ndarray], count: int, passes: int) -> float:
        if way not in WAYS:
            raise EngineError(f"there is no way {way!r} to measure, only {', '.join(WAYS)}")
        return measure(self._trt, self._cuda, self._engine(plan), way, inputs, count, passes)

    def _engine(self, plan: bytes) -> Any:
        if plan not in self._engines:
            self._messages.clear()
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise EngineError(f"the plan cannot be loaded: {self._last()}")
            self._engines.clear()
            self._engines[plan] = engine
        return self._engines[plan]

    def _last(self) -> str:
        return self._messages[-1] if self._messages else "TensorRT gave no reason"


def _logger(trt: Any, messages: list[str]) -> Any:
    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity <= trt.ILogger.ERROR:
                messages.append(msg)

    return Logger()


def _profile_for(engine: Any, inputs: dict[str, np.ndarray]) -> int:
    """The first profile that these inputs' shapes fit into; 0 where none does, whose refusal is then told."""
    for index in range(engine.num_optimization_profiles):
        bounds = {name: tuple(map(tuple, engine.get_tensor_profile_shape(name, index))) for name in inputs}
        if all(within(array.shape, bounds[name]) for name, array in inputs.items() if bounds[name]):
            return index
    return 0


def _layer(layer: Any) -> tuple[str, str, str]:
    if isinstance(layer, str):  # without detailed profiling verbosity TensorRT gives names alone
        return (layer, "", "")
    return (layer.get("Name", ""), layer.get("LayerType", ""), layer.get("Precision", ""))


def _kernels(layers: list[Any]) -> tuple[Kernel, ...]:
    """The layers that launch something, once each: an engine of several profiles lists them for every profile.

    What a NoOp gives out is what it takes in, under another name: kernels behind it are told the first name.
    """
    kernels = []
    names: dict[str, str] = {}
    for layer in layers:
        kernel = _kernel({"Name": layer} if isinstance(layer, str) else layer)
        inputs = tuple(replace(port, name=names.get(port.name, port.name)) for port in kernel.inputs)
        if kernel.type == "NoOp" and inputs and kernel.outputs:
            names[kernel.outputs[0].name] = inputs[0].name
        if kernel.type not in _NO_KERNELS and not re.search(r"\[profile [1-9]\d*\]$", kernel.name):
            kernels.append(replace(kernel, inputs=inputs))
    return tuple(kernels)


def _kernel(layer: dict[str, Any]) -> Kernel:
    authors = onnx_layers(layer.get("Metadata", ""))
    inputs, outputs = (tuple(map(_port, layer.get(side, ()))) for side in ("Inputs", "Outputs"))
    return Kernel(layer.get("Name", ""), layer.get("LayerType", ""), authors, inputs, outputs)


def _port(tensor: dict[str, Any]) -> Port:
    return Port(tensor.get("Name", ""), tuple(tensor.get("Dimensions", ())), tensor.get("Format/Datatype", ""))
