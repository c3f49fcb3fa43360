"""`IExecutionContext` of the twin: shapes, addresses, and runs that are queued on a stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorrt_rtx as trt

from .context_memory import ALIGN, ContextMemory
from .executor import NUMPY, ExecutionError
from .layers import Unsupported
from .memory import Span
from .misuse import Misuse
from .plan import IOTensor
from .streams import Operation
from .world import Run, World

if TYPE_CHECKING:
    from .runtime import ICudaEngine

#: NVIDIA's guide, "CUDA Graphs": enqueueV3 once after a change of the input shapes, and only then the capture.
_UNSETTLED = (
    "the first run of this context with these input shapes is in a capture, with the setting up that TensorRT puts off"
    " until then: call execute_async_v3 once before the capture begins"
)


class IExecutionContext:
    def __init__(self, world: World, engine: ICudaEngine, managed: bool = False) -> None:
        world.driver.forbid_in_capture("the making of an execution context")
        self._world = world
        self.engine = engine
        self.name = ""
        self.active_optimization_profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._refused: dict[str, str] = {}
        self._addresses: dict[str, int] = {}
        self._settled: tuple[int, dict[str, tuple[int, ...]]] | None = None  #: profile and shapes of the last plain run
        self._memory = ContextMemory(world, engine.description.traced.activation_bytes, managed)

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
        return trt.Dims(tensor.shape if inputs is None else self.engine.shapes.outputs(inputs).get(name, tensor.shape))

    def get_tensor_strides(self, name: str) -> trt.Dims:
        shape = tuple(self.get_tensor_shape(name))
        return trt.Dims([math.prod(shape[i + 1 :]) if min(shape) >= 0 else -1 for i in range(len(shape))])

    def get_max_output_size(self, name: str) -> int:
        tensor = self.engine.io.get(name)
        if tensor is None or tensor.is_input:
            return -1
        largest = {
            n: self.engine.bounds(n, self.active_optimization_profile)[2]
            for n, t in self.engine.io.items()
            if t.is_input
        }
        shape = self.engine.shapes.outputs(largest)[name]
        return -1 if -1 in shape else _bytes(tensor, shape)

    @property
    def all_binding_shapes_specified(self) -> bool:
        return self._input_shapes() is not None

    def infer_shapes(self) -> list[str]:
        return [n for n, t in self.engine.io.items() if t.is_input and -1 in t.shape and n not in self._shapes]

    def set_tensor_address(self, name: str, address: int) -> bool:
        if self._named(name, "IExecutionContext::setTensorAddress") is None:
            return False
        _need_address(address, f"set_tensor_address({name!r})")
        if address % ALIGN:
            message = f"tensor {name!r}: the address {address:#x} is not a multiple of {ALIGN}, which TensorRT asks for"
            self._world.driver.finding(Misuse("alignment", f"{message}: start each tensor on such a boundary"))
        self._addresses[name] = address
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def set_device_memory(self, memory: int, size: int) -> None:
        """The memory that the runs from now on compute in, of a context created as USER_MANAGED.

        As TensorRT's, it returns nothing: what is wrong is logged, and the next run is refused.
        """
        _need_address(memory, "set_device_memory")
        if type(size) is not int or not 0 <= size < 1 << 63:
            raise TypeError(f"set_device_memory: a size is an integer, not {size!r:.80}")
        self._memory.give(memory, size, "setDeviceMemoryV2")

    def _set_device_memory(self, memory: int) -> None:
        _need_address(memory, "device_memory")
        self._memory.give(memory, None, "setDeviceMemory")

    device_memory = property(fset=_set_device_memory)  # as TensorRT's, it cannot be read

    def update_device_memory_size_for_shapes(self) -> int:
        """The bytes that this context needs; here those for the largest shapes, whatever the shapes are."""
        where = "IExecutionContext::updateDeviceMemorySizeForShapes"
        if not self._memory.managed:
            self._world.refuse(where, "the context was not created with the strategy USER_MANAGED")
            return 0
        if self._input_shapes() is None:
            self._world.refuse(where, "the shape of an input was never set")
            return 0
        return self.engine.device_memory_size_v2

    def execute_v2(self, bindings: Sequence[int]) -> bool:
        """Synchronous: addresses in the order of the tensors."""
        driver = self._world.driver
        if len(bindings) != len(self.engine.io):
            tensors = ", ".join(self.engine.io)
            problem = f"execute_v2: {len(bindings)} bindings for {len(self.engine.io)} tensors; give those of {tensors}"
            driver.finding(Misuse("bindings", problem))
            self._world.refuse("IExecutionContext::executeV2", problem)
            return False
        if not all(self.set_tensor_address(n, a) for n, a in zip(self.engine.io, bindings, strict=True)):
            return False
        driver.refuse_waiting("execute_v2", 0)
        done = self._enqueue(0, "execute_v2")
        if done:
            driver.streams.synchronize(0)
        return done

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue one run. False with a logged error where TensorRT says so; Misuse for bad memory."""
        return self._enqueue(stream_handle, "execute_async_v3")

    def _enqueue(self, stream_handle: int, what: str) -> bool:
        driver = self._world.driver
        self._need_home(what)
        driver.streams.get(stream_handle)
        shapes = self._input_shapes()
        if shapes is None:
            unset = self.infer_shapes()
            problem = next(iter(self._refused.values()), "")
            problem = (
                problem
                or f"the shape of input {unset[0] if unset else '?'!r} was never set: call set_input_shape first"
            )
            return self._refuse(what, "shape", problem)
        missing = [n for n in self.engine.io if not self._addresses.get(n)]
        if missing:
            problem = f"tensor {missing[0]!r} has no address: call set_tensor_address for every input and output"
            return self._refuse(what, "no-address", problem)
        problem, known = self._memory.problem()
        if problem:
            return self._refuse(what, "" if known else "context-memory", problem)
        all_shapes = shapes | self.engine.shapes.outputs(shapes)
        for name, shape in all_shapes.items():
            if -1 in shape:
                raise Unsupported(
                    f"the twin cannot run this engine: the shape of output {name!r} depends on the inputs' values"
                )
        spans = {name: self._span(tensor, all_shapes[name]) for name, tensor in self.engine.io.items()}
        reads = {n: s for n, s in spans.items() if self.engine.io[n].is_input}
        writes = {n: s for n, s in spans.items() if not self.engine.io[n].is_input}
        self._refuse_overlap(what, spans, set(writes))
        scratch = self._memory.given()
        if scratch is not None:
            self._refuse_shared(what, spans, scratch)
        address, line = self._memory.address, driver.line

        def run() -> None:
            inputs = {name: self._load(name, span, all_shapes[name], line) for name, span in reads.items()}
            outputs = self._compute(inputs, line)
            for name, span in writes.items():
                data = np.ascontiguousarray(outputs[name])
                if data.nbytes != span.size:
                    raise Misuse(
                        "execution",
                        f"output {name!r} came out with shape {data.shape}, not {all_shapes[name]}",
                        line=line,
                    )
                span.write(data.reshape(-1).view(np.uint8), data.dtype.name)
            if scratch is not None:
                scratch.unwrite()  # whatever a kernel left there
            self._world.record(Run(self.engine.digest, inputs, outputs, line, address))

        if not driver.streams.capturing(stream_handle):
            self._settled = (self.active_optimization_profile, shapes)
        elif self._settled != (self.active_optimization_profile, shapes):
            driver.finding(Misuse("capture", f"{what}: {_UNSETTLED}"))
        touched = (self._memory.itself,) if scratch is None else (self._memory.itself, scratch)
        driver.enqueue(
            stream_handle, what, run, reads=tuple(reads.values()), writes=(*writes.values(), *touched)
        )  # fmt: skip
        return True

    def _compute(self, inputs: dict[str, np.ndarray], line: str) -> dict[str, np.ndarray]:
        try:
            return self.engine.executor.run(inputs)
        except ExecutionError as error:
            raise Misuse(
                "execution", f"the engine failed on this input: {error}", error="unspecified launch failure", line=line
            ) from error

    def pending(self) -> Operation | None:
        """A run of this context that is still to come."""
        return self._world.driver.streams.touching(writes=(self._memory.itself,))

    def let_go(self) -> None:
        """Nothing that a capture wrote down of it can be launched from now on."""
        self._memory.itself.allocation.freed = self._world.driver.line or "its end"

    def _need_home(self, what: str) -> None:
        driver = self._world.driver
        current = driver.need_context(what)
        if current != self.engine.home:
            message = f"{what}: the engine was loaded in another CUDA context than the one that is current now"
            raise Misuse(
                "context",
                f"{message}: make the context (import pycuda.autoinit) before the engine",
                error="invalid resource handle",
            )

    def _refuse(self, what: str, kind: str, problem: str) -> bool:
        """False with a logged error, and a finding of this kind, or of none where there was one before."""
        if kind:
            self._world.driver.finding(Misuse(kind, f"{what}: {problem}"))
        self._world.refuse("IExecutionContext::enqueueV3", problem)
        return False

    def _refuse_overlap(self, what: str, spans: dict[str, Span], outputs: set[str]) -> None:
        for output in sorted(outputs):
            for name, span in spans.items():
                if name != output and span.overlaps(spans[output]):
                    message = f"{what}: tensors {name!r} and {output!r} share {span.allocation.describe()}"
                    raise Misuse("race", f"{message}: an engine may write outputs before it has read all inputs")

    def _refuse_shared(self, what: str, spans: dict[str, Span], scratch: Span) -> None:
        for name, span in spans.items():
            if span.overlaps(scratch):
                message = (
                    f"{what}: tensor {name!r} and the context's device memory share {scratch.allocation.describe()}"
                )
                raise Misuse("race", f"{message}: kernels write there while tensors are still needed")

    def _named(self, name: str, where: str) -> IOTensor | None:
        tensor = self.engine.io.get(name)
        if tensor is None:
            problem = f"no tensor is named {name!r:.200}; there are {', '.join(self.engine.io)}"
            self._world.driver.finding(Misuse("tensor-name", problem))
            self._world.refuse(where, problem)
        return tensor

    def _input_shapes(self) -> dict[str, tuple[int, ...]] | None:
        """Shapes of all inputs, or None while one is unknown or was refused."""
        found = {n: self._shapes.get(n, t.shape) for n, t in self.engine.io.items() if t.is_input}
        return None if self._refused or any(-1 in shape for shape in found.values()) else found

    def _span(self, tensor: IOTensor, shape: tuple[int, ...]) -> Span:
        what = f"tensor {tensor.name!r} ({tensor.dtype} {shape})"
        return self._world.driver.memory.span(self._addresses[tensor.name], _bytes(tensor, shape), what)

    def _load(self, name: str, span: Span, shape: tuple[int, ...], line: str) -> np.ndarray:
        dtype = NUMPY[self.engine.io[name].dtype]
        if not span.written:
            message = f"input {name!r} {shape} is read from memory that was not (all) written: copy it there first"
            self._world.driver.finding(Misuse("unwritten", message), line)
        if foreign := span.foreign(dtype):
            message = (
                f"input {name!r} is {dtype}, but the bytes copied to its address are {foreign}: convert the array first"
            )
            self._world.driver.finding(Misuse("dtype", message), line)
        raw = span.read()
        return (raw != 0 if dtype == "bool" else raw.view(dtype)).reshape(shape)


def _bytes(tensor: IOTensor, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * np.dtype(NUMPY[tensor.dtype]).itemsize


def _need_address(value: object, where: str) -> None:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise TypeError(f"{where}: an address is an integer, not {value!r:.80}")
