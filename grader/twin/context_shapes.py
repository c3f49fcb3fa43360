"""The shapes of an execution context: what its inputs were set to, and what follows for the outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorrt_rtx as trt

from .executor import NUMPY, ExecutionError
from .host_inputs import HostInputs
from .layers import Unsupported
from .misuse import Misuse
from .plan import IOTensor
from .world import World

if TYPE_CHECKING:
    from .runtime import ICudaEngine


class ContextShapes:
    """The part of `IExecutionContext` that is about shapes."""

    def __init__(self, world: World, engine: ICudaEngine) -> None:
        self._world = world
        self.engine = engine
        self.active_optimization_profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._refused: dict[str, str] = {}
        self._host = HostInputs(engine)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._world.driver.streams.get(stream_handle)
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            self._world.refuse("IExecutionContext::setOptimizationProfileAsync", f"there is no profile {profile_index}")
            return False
        self.active_optimization_profile = profile_index
        self._shapes.clear()
        self._refused.clear()
        return True

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        where = "IExecutionContext::setInputShape"
        tensor = self._named(name, where)
        if tensor is None:
            return False
        if not tensor.is_input:
            self._world.refuse(where, f"tensor {name!r} is an output: its shape follows from the inputs")
            return False
        wanted = tuple(int(d) for d in shape)
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
        return trt.Dims(tensor.shape if inputs is None else self._output_shapes(inputs).get(name, tensor.shape))

    def get_tensor_strides(self, name: str) -> trt.Dims:
        shape = tuple(self.get_tensor_shape(name))
        return trt.Dims([math.prod(shape[i + 1 :]) if min(shape) >= 0 else -1 for i in range(len(shape))])

    def get_max_output_size(self, name: str) -> int:
        tensor = self.engine.io.get(name)
        if tensor is None or tensor.is_input:
            return -1
        if self.engine.host_inputs:
            raise Unsupported(f"the twin cannot tell the largest size of {name!r}, which shape inputs decide")
        largest = {
            n: self.engine.bounds(n, self.active_optimization_profile)[2]
            for n, t in self.engine.io.items()
            if t.is_input
        }
        shape = self.engine.shapes.outputs(largest)[name]
        return -1 if -1 in shape else bytes_of(tensor, shape)

    @property
    def all_binding_shapes_specified(self) -> bool:
        return self._input_shapes() is not None

    def infer_shapes(self) -> list[str]:
        """Inputs without a shape, or shape inputs without values. Raises RuntimeError for those that do not fit."""
        unset = [n for n, t in self.engine.io.items() if t.is_input and -1 in t.shape and n not in self._shapes]
        unset += [n for n in self._host.missing() if n not in self._refused]
        inputs = self._input_shapes()
        if not unset and inputs is not None:
            try:
                self._host.outputs(inputs)
            except ExecutionError as error:
                raise RuntimeError(f"infer_shapes: the inputs' shapes and values do not fit: {error}") from error
        return unset

    def set_shape_values(self, name: str, data: bytes) -> bool:
        """The values of a shape input, as the client read them at its address just now."""
        if name not in self.engine.host_inputs or not isinstance(data, bytes):
            raise ValueError("set_shape_values: a shape input's name and bytes are needed")
        problem = self._host.set(name, data, self.active_optimization_profile)
        self._refused.pop(name, None)
        if problem:
            self._refused[name] = problem
            self._world.refuse("IExecutionContext::inferShapes", problem)
        return not problem

    def _input_shapes(self) -> dict[str, tuple[int, ...]] | None:
        """Shapes of all inputs, or None while one, or a shape input's values, is unknown or was refused."""
        found = {n: self._shapes.get(n, t.shape) for n, t in self.engine.io.items() if t.is_input}
        unknown = self._refused or self._host.missing() or any(-1 in shape for shape in found.values())
        return None if unknown else found

    def _output_shapes(self, inputs: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Empty where values and shapes do not fit; `infer_shapes` and a run say so."""
        try:
            return self._host.outputs(inputs)
        except ExecutionError:
            return {}

    def _named(self, name: str, where: str) -> IOTensor | None:
        tensor = self.engine.io.get(name)
        if tensor is None:
            problem = f"no tensor is named {name!r:.200}; there are {', '.join(self.engine.io)}"
            self._world.driver.finding(Misuse("tensor-name", problem))
            self._world.refuse(where, problem)
        return tensor


def bytes_of(tensor: IOTensor, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * np.dtype(NUMPY[tensor.dtype]).itemsize
