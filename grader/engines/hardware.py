"""The engine runner where there is a GPU: TensorRT itself, through cuda.bindings or PyCUDA's memory.

The modules that a tier has are imported here and nowhere else in the trusted code.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np

from grader.inside.trtprep_worker import bridge

from .interface import EngineError, Inspection, Tensor


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

    def build(self, onnx: bytes, profiles: dict[str, list], settings: dict[str, Any]) -> bytes:
        trt = self._trt
        builder = trt.Builder(self._logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse(onnx):
            raise EngineError(f"the network does not parse: {parser.get_error(0).desc()}")
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)
        if "optimization_level" in settings:
            config.builder_optimization_level = settings["optimization_level"]
        if profiles:
            profile = builder.create_optimization_profile()
            for name, shapes in profiles.items():
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
        return Inspection(tuple(tensors), tuple(map(_layer, json.loads(text)["Layers"])))

    def run(self, plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        trt, cuda, engine = self._trt, self._cuda, self._engine(plan)
        context = engine.create_execution_context()
        stream = cuda.Stream()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        known = {name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT}
        if unknown := sorted(set(inputs) - known):
            raise EngineError(f"the engine has no input {unknown[0]!r}, only {', '.join(sorted(known))}")
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


def _layer(layer: Any) -> tuple[str, str, str]:
    if isinstance(layer, str):  # without detailed profiling verbosity TensorRT gives names alone
        return (layer, "", "")
    return (layer.get("Name", ""), layer.get("LayerType", ""), layer.get("Precision", ""))
