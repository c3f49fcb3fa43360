"""`Runtime`, `ICudaEngine`, `IExecutionContext` and `EngineInspector` of the twin.

Names, arguments and results are TensorRT 10's.  What TensorRT refuses with a logged error and a
False or None is refused the same way here; what a GPU would not notice is a finding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tensorrt_rtx as trt

from .driver import Driver
from .executor import NUMPY, ExecutionError, Executor
from .memory import UNTYPED, Span
from .misuse import Misuse
from .plan import Description, IOTensor, Plan, PlanError, digest, unseal
from .shapes import ShapeRules

Log = Callable[[trt.ILogger.Severity, str], None]
_ERROR = trt.ILogger.Severity.ERROR


@dataclass(frozen=True)
class Run:
    """One execution, as the device saw it: arrays by tensor name."""

    plan: str  #: `plan.digest`
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    line: str


@dataclass
class World:
    """What every runtime object shares: the device, the log, the seal's key and the runs so far."""

    driver: Driver
    log: Log
    key: bytes
    runs: list[Run] = field(default_factory=list)

    def refuse(self, where: str, what: str) -> None:
        """Log an error the way TensorRT does."""
        self.log(_ERROR, f"{where}: Error Code 3: API Usage Error ({what})")


class Runtime:
    def __init__(self, world: World) -> None:
        self._world = world

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        """The engine, or None with the reason logged."""
        world = self._world
        world.driver.need_context("deserialize_cuda_engine")
        try:
            plan = unseal(serialized_engine, world.key, trt.__version__)
            return ICudaEngine(world, plan, serialized_engine)
        except (PlanError, ExecutionError) as error:
            world.log(_ERROR, f"IRuntime::deserializeCudaEngine: Error Code 1: Serialization ({error})")
            return None


class ICudaEngine:
    def __init__(self, world: World, plan: Plan, data: bytes) -> None:
        self._world = world
        self._data = data
        self.digest = digest(data)
        self.description: Description = plan.description
        self.executor = Executor(plan.network)
        self.shapes = ShapeRules(plan.network, self.executor)
        self._io = {t.name: t for t in plan.description.io}

    # -- as TensorRT has it

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def num_io_tensors(self) -> int:
        return len(self._io)

    @property
    def num_layers(self) -> int:
        return len(self.description.layers)

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self.description.profiles))

    @property
    def device_memory_size_v2(self) -> int:
        return 0  # the walk runs on the host; how an arena is planned is not the twin's to say

    def get_tensor_name(self, index: int) -> str:
        if not 0 <= index < len(self._io):
            raise IndexError(f"get_tensor_name({index}): the engine has {len(self._io)} tensors")
        return list(self._io)[index]

    __getitem__ = get_tensor_name

    def get_tensor_mode(self, name: str) -> trt.TensorIOMode:
        tensor = self._tensor(name, "getTensorIOMode")
        if tensor is None:
            return trt.TensorIOMode.NONE
        return trt.TensorIOMode.INPUT if tensor.is_input else trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> trt.DataType:
        tensor = self._tensor(name, "getTensorDataType")
        return trt.DataType.__members__[tensor.dtype] if tensor else trt.DataType.FLOAT

    def get_tensor_shape(self, name: str) -> trt.Dims:
        tensor = self._tensor(name, "getTensorShape")
        return trt.Dims(tensor.shape) if tensor else trt.Dims()

    def get_tensor_location(self, name: str) -> trt.TensorLocation:
        self._tensor(name, "getTensorLocation")
        return trt.TensorLocation.DEVICE

    def get_tensor_format(self, name: str) -> trt.TensorFormat:
        self._tensor(name, "getTensorFormat")
        return trt.TensorFormat.LINEAR

    def get_tensor_bytes_per_component(self, name: str) -> int:
        tensor = self._tensor(name, "getTensorBytesPerComponent")
        return np.dtype(NUMPY[tensor.dtype]).itemsize if tensor else -1

    def get_tensor_components_per_element(self, name: str) -> int:
        return -1 if self._tensor(name, "getTensorComponentsPerElement") is None else 1

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[trt.Dims]:
        tensor = self._tensor(name, "getProfileShape")
        if tensor is None or not tensor.is_input or not 0 <= profile_index < self.num_optimization_profiles:
            return []
        return [trt.Dims(s) for s in self.bounds(name, profile_index)]

    def create_execution_context(self, *_strategy: object) -> IExecutionContext:
        self._world.driver.need_context("create_execution_context")
        return IExecutionContext(self._world, self)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)

    def serialize(self) -> bytes:
        return self._data

    # -- for the rest of the twin

    @property
    def io(self) -> dict[str, IOTensor]:
        return self._io

    def bounds(self, name: str, profile: int) -> tuple[tuple[int, ...], ...]:
        """(min, opt, max) of an input; its own shape thrice where it is static."""
        profiles = self.description.profiles
        shape = self._io[name].shape
        return profiles[profile].get(name, (shape,) * 3) if profiles else (shape,) * 3

    def _tensor(self, name: str, where: str) -> IOTensor | None:
        tensor = self._io.get(name)
        if tensor is None:
            self._world.refuse(f"ICudaEngine::{where}", f"no tensor is named {name!r}; there are {', '.join(self._io)}")
        return tensor


class IExecutionContext:
    def __init__(self, world: World, engine: ICudaEngine) -> None:
        self._world = world
        self.engine = engine
        self.name = ""
        self.active_optimization_profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._refused: dict[str, str] = {}
        self._addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._world.driver.streams.get(stream_handle)
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            self._world.refuse("IExecutionContext::setOptimizationProfileAsync", f"there is no profile {profile_index}")
            return False
        self.active_optimization_profile = profile_index
        self._shapes.clear()
        return True

    def set_input_shape(self, name: str, shape: trt.Dims) -> bool:
        where = "IExecutionContext::setInputShape"
        tensor = self.engine.io.get(name)
        if tensor is None or not tensor.is_input:
            self._world.refuse(where, f"no input is named {name!r}")
            return False
        wanted = tuple(shape)
        low, _, high = self.engine.bounds(name, self.active_optimization_profile)
        fits = len(wanted) == len(low) and all(a <= d <= b for a, d, b in zip(low, wanted, high, strict=True))
        if not fits:
            problem = f"input {name!r}: shape {wanted} is outside the profile, {low} to {high}"
            self._refused[name] = problem
            self._world.refuse(where, problem)
            return False
        self._refused.pop(name, None)
        self._shapes[name] = wanted
        return True

    def get_tensor_shape(self, name: str) -> trt.Dims:
        tensor = self.engine.io.get(name)
        if tensor is None:
            self._world.refuse("IExecutionContext::getTensorShape", f"no tensor is named {name!r}")
            return trt.Dims()
        if tensor.is_input:
            return trt.Dims(self._shapes.get(name, tensor.shape))
        inputs = self._input_shapes()
        return trt.Dims(tensor.shape if inputs is None else self.engine.shapes.outputs(inputs).get(name, tensor.shape))

    def get_tensor_strides(self, name: str) -> trt.Dims:
        shape = tuple(self.get_tensor_shape(name))
        return trt.Dims([math.prod(shape[i + 1 :]) if min(shape) >= 0 else -1 for i in range(len(shape))])

    def get_max_output_size(self, name: str) -> int:
        tensor = self.engine.io.get(name)
        if tensor is None or tensor.is_input:
            return -1
        largest = {
            n: self.engine.bounds(n, self.active_optimization_profile)[2] for n, t in self.engine.io.items() if t.is_input
        }
        return self._bytes(tensor, self.engine.shapes.outputs(largest)[name])

    @property
    def all_binding_shapes_specified(self) -> bool:
        return self._input_shapes() is not None

    def infer_shapes(self) -> list[str]:
        return [n for n, t in self.engine.io.items() if t.is_input and -1 in t.shape and n not in self._shapes]

    def set_tensor_address(self, name: str, address: int) -> bool:
        if name not in self.engine.io:
            self._world.refuse("IExecutionContext::setTensorAddress", f"no tensor is named {name!r}")
            return False
        self._addresses[name] = address
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def execute_v2(self, bindings: list[int]) -> bool:
        """Synchronous: addresses in the order of the tensors."""
        if len(bindings) != len(self.engine.io):
            problem = f"{len(bindings)} bindings for {len(self.engine.io)} tensors"
            self._world.refuse("IExecutionContext::executeV2", problem)
            return False
        self._addresses.update(zip(self.engine.io, bindings, strict=True))
        done = self.execute_async_v3(0)
        self._world.driver.streams.synchronize(0)
        return done

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue one run. False with a logged error where TensorRT says so; Misuse for bad memory."""
        driver = self._world.driver
        driver.need_context("execute_async_v3")
        shapes = self._input_shapes()
        problem = None
        missing = [n for n in self.engine.io if not self._addresses.get(n)]
        if shapes is None:
            unset = self.infer_shapes()
            problem = next(iter(self._refused.values()), f"the shape of input {unset[0] if unset else '?'!r} was never set")
            kind = "shape"
        elif missing:
            problem, kind = f"tensor {missing[0]!r} has no address", "no-address"
        if problem is not None or shapes is None:
            driver.finding(Misuse(kind, f"execute_async_v3: {problem}"))
            self._world.refuse("IExecutionContext::enqueueV3", problem or "")
            return False
        all_shapes = shapes | self.engine.shapes.outputs(shapes)
        spans = {name: self._span(tensor, all_shapes[name]) for name, tensor in self.engine.io.items()}
        reads = {n: s for n, s in spans.items() if self.engine.io[n].is_input}
        writes = {n: s for n, s in spans.items() if not self.engine.io[n].is_input}
        line = driver.line

        def run() -> None:
            inputs = {name: self._load(name, span, all_shapes[name], line) for name, span in reads.items()}
            outputs = self.engine.executor.run(inputs)
            for name, span in writes.items():
                data = np.ascontiguousarray(outputs[name])
                span.write(data.reshape(-1).view(np.uint8), data.dtype.name)
            self._world.runs.append(Run(self.engine.digest, inputs, outputs, line))

        driver.enqueue(
            stream_handle, "execute_async_v3", run,
            reads=tuple(s for s in reads.values() if s.size), writes=tuple(s for s in writes.values() if s.size),
        )  # fmt: skip
        return True

    def _input_shapes(self) -> dict[str, tuple[int, ...]] | None:
        """Shapes of all inputs, or None while one is unknown or was refused."""
        found = {n: self._shapes.get(n, t.shape) for n, t in self.engine.io.items() if t.is_input}
        return None if self._refused or any(-1 in shape for shape in found.values()) else found

    def _bytes(self, tensor: IOTensor, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * np.dtype(NUMPY[tensor.dtype]).itemsize

    def _span(self, tensor: IOTensor, shape: tuple[int, ...]) -> Span:
        what = f"tensor {tensor.name!r} ({tensor.dtype} {shape})"
        return self._world.driver.memory.span(self._addresses[tensor.name], self._bytes(tensor, shape), what)

    def _load(self, name: str, span: Span, shape: tuple[int, ...], line: str) -> np.ndarray:
        dtype = NUMPY[self.engine.io[name].dtype]
        if not span.written:
            misuse = Misuse("unwritten", f"input {name!r} is read from memory that was not (all) written")
            self._world.driver.finding(misuse, line)
        if span.dtype not in UNTYPED and span.dtype != dtype:
            misuse = Misuse("dtype", f"input {name!r} is {dtype}, but the bytes copied to its address are {span.dtype}")
            self._world.driver.finding(misuse, line)
        return span.read().view(dtype).reshape(shape)


class EngineInspector:
    """Describes the walked layers; which kernels they became is only known where there is a GPU."""

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self.execution_context: IExecutionContext | None = None

    def get_layer_information(self, layer_index: int, format: trt.LayerInformationFormat) -> str:  # noqa: A002 (TensorRT's name)
        layer = self._engine.description.layers[layer_index]
        if format == trt.LayerInformationFormat.ONELINE:
            return layer.name
        return json.dumps({"Name": layer.name, "LayerType": layer.type, "Precision": layer.precision})

    def get_engine_information(self, format: trt.LayerInformationFormat) -> str:  # noqa: A002
        layers = [self.get_layer_information(i, format) for i in range(self._engine.num_layers)]
        if format == trt.LayerInformationFormat.ONELINE:
            return "\n".join(layers)
        return json.dumps({"Layers": [json.loads(text) for text in layers], "Bindings": list(self._engine.io)})
