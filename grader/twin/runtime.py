"""`Runtime`, `ICudaEngine` and `EngineInspector` of the twin.

Names, arguments and results are TensorRT 10's.  What TensorRT refuses with a logged error and a
False or None is refused the same way here; what a GPU would not notice is a finding.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import tensorrt_rtx as trt

from .context import IExecutionContext
from .contexts import PRIMARY
from .executor import NUMPY, ExecutionError
from .layers import Unsupported
from .loaded import LoadedPlan
from .plan import IOTensor, KernelInfo, PlanError, PortInfo
from .world import World

_ERROR = trt.ILogger.Severity.ERROR
_STRATEGY = trt.ExecutionContextAllocationStrategy
_FORMAT = trt.LayerInformationFormat


class Runtime:
    def __init__(self, world: World) -> None:
        self._world = world

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        """The engine, or None with the reason logged."""
        world = self._world
        if not isinstance(serialized_engine, bytes):
            raise TypeError(
                f"deserialize_cuda_engine(): the plan's bytes are needed, not {type(serialized_engine).__name__}"
            )
        try:
            return ICudaEngine(world, world.plans.load(serialized_engine), serialized_engine)
        except (PlanError, ExecutionError) as error:
            world.log(_ERROR, f"IRuntime::deserializeCudaEngine: Error Code 1: Serialization ({error})")
            return None


class ICudaEngine:
    def __init__(self, world: World, plan: LoadedPlan, data: bytes) -> None:
        self._world = world
        self._data = data
        self.home = world.driver.current_context() or PRIMARY  # without a current one, TensorRT takes the primary
        self.digest = plan.digest
        self.description = plan.description
        self.executor = plan.executor
        self.shapes = plan.shapes
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
        """Kernels, as in TensorRT; 0 where the builder's trace could not be read."""
        return len(self.description.traced.kernels)

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self.description.profiles))

    @property
    def device_memory_size_v2(self) -> int:
        """Bytes that one context computes in, as the real builder planned them; the walk itself needs none."""
        needed = self.description.traced.activation_bytes
        if needed is None:
            raise Unsupported("the twin does not know this engine's device memory size: its builder did not log it")
        return needed

    @property
    def device_memory_size(self) -> int:
        return self.device_memory_size_v2

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        """As for all profiles: the builder logs no other number."""
        if not 0 <= profile_index < self.num_optimization_profiles:
            self._world.refuse("ICudaEngine::getDeviceMemorySizeForProfileV2", f"there is no profile {profile_index}")
            return 0
        return self.device_memory_size_v2

    def get_device_memory_size_for_profile(self, profile_index: int) -> int:
        return self.get_device_memory_size_for_profile_v2(profile_index)

    @property
    def profiling_verbosity(self) -> trt.ProfilingVerbosity:
        return trt.ProfilingVerbosity.__members__[self.description.verbosity]

    @property
    def refittable(self) -> bool:
        return False

    @property
    def num_aux_streams(self) -> int:
        return 0

    def get_tensor_name(self, index: int) -> str:
        if not 0 <= index < len(self._io):
            raise IndexError(f"get_tensor_name({index}): the engine has {len(self._io)} tensors")
        return list(self._io)[index]

    def __getitem__(self, index: int) -> str:
        return self.get_tensor_name(index)

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
        """HOST for an input that is a shape tensor; what does not lie there is on the device."""
        self._tensor(name, "getTensorLocation")
        return trt.TensorLocation.HOST if name in self.host_inputs else trt.TensorLocation.DEVICE

    def get_tensor_format(self, name: str) -> trt.TensorFormat:
        self._tensor(name, "getTensorFormat")
        return trt.TensorFormat.LINEAR

    def get_tensor_format_desc(self, name: str) -> str:
        return "" if self._tensor(name, "getTensorFormatDesc") is None else "Row-major linear format (kLINEAR)"

    def get_tensor_vectorized_dim(self, name: str) -> int:
        self._tensor(name, "getTensorVectorizedDim")
        return -1

    def is_shape_inference_io(self, name: str) -> bool:
        self._tensor(name, "isShapeInferenceIO")
        return name in self.host_inputs

    def get_tensor_bytes_per_component(self, name: str) -> int:
        tensor = self._tensor(name, "getTensorBytesPerComponent")
        return np.dtype(NUMPY[tensor.dtype]).itemsize if tensor else -1

    def get_tensor_components_per_element(self, name: str) -> int:
        return -1 if self._tensor(name, "getTensorComponentsPerElement") is None else 1

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[trt.Dims]:
        tensor = self._tensor(name, "getProfileShape")
        if tensor is None or not tensor.is_input or not 0 <= profile_index < self.num_optimization_profiles:
            return []
        if name in self.host_inputs:
            return [trt.Dims(tensor.shape)] * 3
        return [trt.Dims(s) for s in self.bounds(name, profile_index)]

    def get_tensor_profile_values(self, name: int, profile_index: str) -> list[list[int]]:
        """(min, opt, max) of a shape input's values. The names are TensorRT's: the index of the profile comes first."""
        index, tensor = name, profile_index
        if tensor not in self.host_inputs or not 0 <= index < self.num_optimization_profiles:
            self._world.refuse("ICudaEngine::getProfileTensorValuesV2", f"{tensor!r:.80} is no shape input")
            return []
        return [list(values) for values in self.bounds(tensor, index)]

    def host_tensors(self) -> list[tuple[int, str, int]]:
        """Index, name and bytes of each shape input, for the client, which reads their values."""
        told = enumerate(self._io.values())
        return [
            (index, t.name, math.prod(t.shape) * np.dtype(NUMPY[t.dtype]).itemsize) for index, t in told if t.is_shape
        ]

    def create_execution_context(
        self, strategy: trt.ExecutionContextAllocationStrategy = _STRATEGY.STATIC
    ) -> IExecutionContext | None:
        """A context, or None with the reason logged."""
        if not isinstance(strategy, _STRATEGY):
            raise Unsupported("the twin's contexts are made with an ExecutionContextAllocationStrategy, not otherwise")
        managed = strategy == _STRATEGY.USER_MANAGED
        if self.description.user_memory and not managed:
            problem = "the engine was built with REQUIRE_USER_ALLOCATION, so its contexts must be USER_MANAGED"
            self._world.refuse("ICudaEngine::createExecutionContext", problem)
            return None
        return IExecutionContext(self._world, self, managed)

    def create_execution_context_without_device_memory(self) -> IExecutionContext:
        return IExecutionContext(self._world, self, managed=True)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self._world, self)

    def serialize(self) -> bytes:
        return self._data

    # -- for the rest of the twin

    @property
    def io(self) -> dict[str, IOTensor]:
        return self._io

    @property
    def host_inputs(self) -> tuple[str, ...]:
        """Inputs that are shape tensors."""
        return tuple(n for n, t in self._io.items() if t.is_shape)

    def bounds(self, name: str, profile: int) -> tuple[tuple[int, ...], ...]:
        """(min, opt, max) of an input's shape, of a shape input's values; its own shape thrice where it is static."""
        profiles = self.description.profiles
        shape = self._io[name].shape
        return profiles[profile].get(name, (shape,) * 3) if profiles else (shape,) * 3

    def _tensor(self, name: str, where: str) -> IOTensor | None:
        tensor = self._io.get(name)
        if tensor is None:
            self._world.refuse(f"ICudaEngine::{where}", f"no tensor is named {name!r}; there are {', '.join(self._io)}")
        return tensor


class EngineInspector:
    """Describes the kernels, as far as the engine's profiling verbosity goes; sizes are -1 where dynamic.

    Without any the reason why they are not known is logged.
    """

    def __init__(self, world: World, engine: ICudaEngine) -> None:
        self._engine = engine
        self.execution_context: IExecutionContext | None = None
        if problem := engine.description.traced.problem:
            world.log(trt.ILogger.Severity.WARNING, f"the twin knows no kernels of this engine: {problem}")

    def get_layer_information(self, layer_index: int, format: trt.LayerInformationFormat) -> str:  # noqa: A002 (TensorRT's name)
        engine = self._engine
        if not 0 <= layer_index < engine.num_layers:
            raise IndexError(f"get_layer_information({layer_index}): the engine has {engine.num_layers} layers")
        told = self._layers()
        if not told:
            return ""
        kernel = engine.description.traced.kernels[layer_index]
        return _line(told[layer_index], kernel) if format == _FORMAT.ONELINE else json.dumps(told[layer_index])

    def get_engine_information(self, format: trt.LayerInformationFormat) -> str:  # noqa: A002
        layers = self._layers()
        if format == _FORMAT.ONELINE:
            pairs = zip(layers, self._engine.description.traced.kernels, strict=False)
            return "\n".join(_line(layer, kernel) for layer, kernel in pairs)
        return json.dumps({"Layers": layers, "Bindings": list(self._engine.io)})

    def _layers(self) -> list[Any]:
        """What may be told of the kernels: nothing, the names, or all."""
        verbosity, kernels = self._engine.profiling_verbosity, self._engine.description.traced.kernels
        if verbosity == trt.ProfilingVerbosity.NONE:
            return []
        if verbosity == trt.ProfilingVerbosity.LAYER_NAMES_ONLY:
            return [kernel.name for kernel in kernels]
        return [_as_data(kernel) for kernel in kernels]


def _as_data(kernel: KernelInfo) -> dict[str, Any]:
    def ports(told: tuple[PortInfo, ...]) -> list[dict[str, Any]]:
        return [{"Name": p.name, "Dimensions": list(p.shape), "Format/Datatype": p.format} for p in told]

    return {
        "Name": kernel.name,
        "LayerType": kernel.type,
        "Inputs": ports(kernel.inputs),
        "Outputs": ports(kernel.outputs),
        "TacticName": kernel.tactic,
        "StreamId": kernel.stream,
        "Metadata": kernel.metadata,
    }


def _line(told: Any, kernel: KernelInfo) -> str:
    """One kernel in the form of TensorRT's one-line information."""
    if isinstance(told, str):
        return told

    def ports(side: tuple[PortInfo, ...]) -> str:
        each = (f"{{ Name: {p.name}, Dimensions: {list(p.shape)}, Format/Datatype: {p.format} }}" for p in side)
        return f"[ {', '.join(each)}]" if side else "[]"

    return (
        f"Name: {kernel.name}, LayerType: {kernel.type}, Inputs: {ports(kernel.inputs)}, "
        f"Outputs: {ports(kernel.outputs)}, TacticName: {kernel.tactic}, StreamId: {kernel.stream}, "
        f"Metadata: {kernel.metadata}"
    )
