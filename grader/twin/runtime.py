"""`Runtime`, `ICudaEngine` and `EngineInspector` of the twin.

Names, arguments and results are TensorRT 10's.  What TensorRT refuses with a logged error and a
False or None is refused the same way here; what a GPU would not notice is a finding.
"""

from __future__ import annotations

import json

import numpy as np
import tensorrt_rtx as trt

from .context import IExecutionContext
from .driver import PRIMARY
from .executor import NUMPY, ExecutionError
from .layers import Unsupported
from .loaded import LoadedPlan
from .plan import IOTensor, PlanError
from .world import World

_ERROR = trt.ILogger.Severity.ERROR
_OWN_ARENA = (
    None,
    trt.ExecutionContextAllocationStrategy.STATIC,
    trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE,
)


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
        return len(self.description.layers)

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self.description.profiles))

    @property
    def device_memory_size_v2(self) -> int:
        return 0  # the walk runs on the host; how an arena is planned is not the twin's to say

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
        self._tensor(name, "getTensorLocation")
        return trt.TensorLocation.DEVICE

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
        return False

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

    def create_execution_context(self, strategy: object = None) -> IExecutionContext:
        if strategy not in _OWN_ARENA:
            raise Unsupported(
                f"the twin cannot give a context memory of your own ({strategy}): it has no arena to plan"
            )
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


class EngineInspector:
    """Describes the walked layers; which kernels they became is only known where there is a GPU."""

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self.execution_context: IExecutionContext | None = None

    def get_layer_information(self, layer_index: int, format: trt.LayerInformationFormat) -> str:  # noqa: A002 (TensorRT's name)
        if not 0 <= layer_index < self._engine.num_layers:
            raise IndexError(f"get_layer_information({layer_index}): the engine has {self._engine.num_layers} layers")
        layer = self._engine.description.layers[layer_index]
        if format == trt.LayerInformationFormat.ONELINE:
            return layer.name
        return json.dumps({"Name": layer.name, "LayerType": layer.type, "Precision": layer.precision})

    def get_engine_information(self, format: trt.LayerInformationFormat) -> str:  # noqa: A002
        layers = [self.get_layer_information(i, format) for i in range(self._engine.num_layers)]
        if format == trt.LayerInformationFormat.ONELINE:
            return "\n".join(layers)
        return json.dumps({"Layers": [json.loads(text) for text in layers], "Bindings": list(self._engine.io)})
