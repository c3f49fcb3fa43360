"""The engine runner of the twin: unseals the plan and executes the network that was walked."""

from __future__ import annotations

import math

import numpy as np
import tensorrt_rtx as trt

from grader.twin.driver import Driver
from grader.twin.executor import NUMPY, ExecutionError
from grader.twin.loaded import LoadedPlan, LoadedPlans
from grader.twin.plan import Description, KernelInfo, PlanError
from grader.twin.session import Session

from .interface import EngineError, Inspection, Kernel, Port, Tensor, onnx_layers, within


class TwinEngines:
    def __init__(self, key: bytes) -> None:
        self._key = key
        self._plans = LoadedPlans(key, trt.__version__)

    def build(self, onnx: bytes, profiles: list[dict[str, list]], settings: dict) -> bytes:
        """Build as a candidate's code would, through the same session."""
        session = Session(Driver(), self._key)
        builder = session.new("Builder", [])
        network = session.call(builder["id"], "create_network", [0], {})
        parser = session.new("OnnxParser", [network])
        if not session.call(parser["id"], "parse", [onnx], {}):
            raise EngineError(f"the network does not parse: {_errors(session)}")
        config = session.call(builder["id"], "create_builder_config", [], {})
        detailed = {"@": "enum", "class": "ProfilingVerbosity", "name": "DETAILED"}
        session.set(config["id"], "profiling_verbosity", detailed)  # for whoever inspects the engine
        for given in profiles:
            profile = session.call(builder["id"], "create_optimization_profile", [], {})
            for name, shapes in given.items():
                session.call(profile["id"], "set_shape", [name, *map(tuple, shapes)], {})
            session.call(config["id"], "add_optimization_profile", [profile], {})
        built = session.call(builder["id"], "build_serialized_network", [network, config], {})
        if built is None:
            raise EngineError(f"the build failed: {_errors(session)}")
        return built["data"]

    def inspect(self, plan: bytes) -> Inspection:
        description = self._load(plan).description
        tensors = tuple(
            Tensor(t.name, t.dtype, t.shape, t.is_input, tuple(p[t.name] for p in description.profiles if t.name in p))
            for t in description.io
        )
        traced = description.traced
        layers = tuple((layer.name, layer.type, layer.precision) for layer in description.layers)
        kernels = tuple(map(_kernel, traced.kernels))
        return Inspection(tensors, layers, kernels, traced.activation_bytes or 0, traced.problem)

    def run(self, plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        opened = self._load(plan)
        _check(opened.description, inputs)
        try:
            return opened.executor.run(inputs)
        except ExecutionError as error:
            raise EngineError(f"the engine does not run: {error}") from error

    def measure(self, plan: bytes, way: str, inputs: dict[str, np.ndarray], count: int, passes: int) -> float:
        raise EngineError("the twin's times mean nothing: timings need a GPU")

    def _load(self, plan: bytes) -> LoadedPlan:
        try:
            return self._plans.load(plan)
        except (PlanError, ExecutionError) as error:
            raise EngineError(str(error)) from error


def _check(description: Description, inputs: dict[str, np.ndarray]) -> None:
    known = {tensor.name for tensor in description.io if tensor.is_input}
    if unknown := sorted(set(inputs) - known):
        raise EngineError(f"the engine has no input {unknown[0]!r}, only {', '.join(sorted(known))}")
    for tensor in description.io:
        if not tensor.is_input:
            continue
        if tensor.name not in inputs:
            raise EngineError(f"the engine has an input {tensor.name!r} that should not be there")
        array = inputs[tensor.name]
        if array.dtype.name != NUMPY[tensor.dtype]:
            raise EngineError(f"input {tensor.name!r} is {tensor.dtype}, not {array.dtype.name}")
        shapes = [p.get(tensor.name, (tensor.shape,) * 3) for p in description.profiles] or [(tensor.shape,) * 3]
        if not any(within(array.shape, bounds) for bounds in shapes):
            ranges = " or ".join(f"{low} to {high}" for low, _, high in shapes)
            raise EngineError(f"input {tensor.name!r}: shape {array.shape} is outside the engine's profile, {ranges}")
        if math.prod(array.shape) == 0:
            raise EngineError(f"input {tensor.name!r} is empty")


def _kernel(kernel: KernelInfo) -> Kernel:
    inputs, outputs = (tuple(Port(p.name, p.shape, p.format) for p in side) for side in (kernel.inputs, kernel.outputs))
    return Kernel(kernel.name, kernel.type, onnx_layers(kernel.metadata), inputs, outputs)


def _errors(session: Session) -> str:
    texts = [text for severity, text in session.records if severity <= int(trt.ILogger.ERROR)]
    return texts[-1] if texts else "TensorRT gave no reason"
