"""`IExecutionContext` of the twin: shapes, addresses, and runs that are queued on a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from grader.inside.trtprep_worker.addresses import DEVICE_START, DEVICE_STOP

from .context_memory import ALIGN, ContextMemory
from .context_shapes import ContextShapes, bytes_of
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


class IExecutionContext(ContextShapes):
    def __init__(self, world: World, engine: ICudaEngine, managed: bool = False) -> None:
        world.driver.forbid_in_capture("the making of an execution context")
        super().__init__(world, engine)
        self.name = ""
        self._addresses: dict[str, int] = {}
        self._consumed = 0  #: the event that says that a run no longer needs its inputs
        self._allocated: set[str] = set()  #: outputs whose memory an allocator of the client's gives
        self._settled: tuple[int, dict[str, tuple[int, ...]]] | None = None  #: profile and shapes of the last plain run
        self._memory = ContextMemory(world, engine.description.traced.activation_bytes, managed)

    def set_output_allocator(self, name: str, given: bool) -> bool:
        """Whether an allocator of the client's gives the memory of an output; the allocator itself stays there."""
        where = "IExecutionContext::setOutputAllocator"
        tensor = self._named(name, where)
        if tensor is None:
            return False
        if tensor.is_input:
            self._world.refuse(where, f"tensor {name!r} is an input: only outputs have allocators")
            return False
        (self._allocated.add if given is True else self._allocated.discard)(name)
        return True

    def plan_outputs(self, stream_handle: int) -> list[tuple[str, int, int, list[int]]] | None:
        """What the allocators must give for a run: name, address that was set, bytes, shape. None: refused."""
        shapes = self._ready(stream_handle, "execute_async_v3")
        if shapes is None:
            return None
        sizes = {n: bytes_of(self.engine.io[n], shapes[n]) for n in self.engine.io if n in self._allocated}
        # NvInferRuntime.h, reallocateOutput: the size is "always positive, even for an empty tensor".
        return [(n, self._addresses.get(n, 0), max(size, 1), list(shapes[n])) for n, size in sizes.items()]

    def set_tensor_address(self, name: str, address: int) -> bool:
        if self._named(name, "IExecutionContext::setTensorAddress") is None:
            return False
        _need_address(address, f"set_tensor_address({name!r})")
        if name in self.engine.host_inputs:
            if DEVICE_START <= address < DEVICE_STOP:
                message = f"shape input {name!r}: {address:#x} is device memory, but its values are read on the host"
                raise Misuse("address", f"{message}: give the address of a NumPy array (array.ctypes.data)")
            self._addresses[name] = address
            return True
        if address % ALIGN:
            message = f"tensor {name!r}: the address {address:#x} is not a multiple of {ALIGN}, which TensorRT asks for"
            self._world.driver.finding(Misuse("alignment", f"{message}: start each tensor on such a boundary"))
        self._addresses[name] = address
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def set_input_consumed_event(self, event: int) -> bool:
        """An event that every run from now on records; here once it is done with everything. 0: none."""
        _need_address(event, "set_input_consumed_event")
        if event:
            self._world.driver.streams.need_event(event)
        self._consumed = event
        return True

    def get_input_consumed_event(self) -> int:
        return self._consumed

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

    def execute_async_v3(self, stream_handle: int, outputs: Sequence[tuple[str, int]] = ()) -> bool:
        """Queue one run. False with a logged error where TensorRT says so; Misuse for bad memory.

        ``outputs`` are the addresses that the allocators gave.
        """
        given = {}
        for name, address in outputs:
            _need_address(address, f"reallocate_output({name!r:.80})")
            if name not in self._allocated:
                raise ValueError(f"{name!r:.80} has no output allocator")
            if address % ALIGN:
                message = f"tensor {name!r}: the allocator gave {address:#x}, which is not a multiple of {ALIGN}"
                self._world.driver.finding(Misuse("alignment", message))
            given[name] = address
        return self._enqueue(stream_handle, "execute_async_v3", given)

    def _enqueue(self, stream_handle: int, what: str, given: dict[str, int] | None = None) -> bool:
        driver = self._world.driver
        all_shapes = self._ready(stream_handle, what)
        if all_shapes is None:
            return False
        addresses = self._addresses | (given or {})
        null = [n for n in given or {} if not addresses[n]]
        if null:
            return self._refuse(what, "no-address", f"the output allocator of {null[0]!r} gave no memory")
        if given is not None and (missing := self._allocated - set(given)):
            raise ValueError(f"no allocator gave the memory of {sorted(missing)[0]!r}")
        unset = [n for n in self.engine.io if not addresses.get(n)]
        if unset:
            problem = f"tensor {unset[0]!r} has no address: call set_tensor_address for every input and output"
            return self._refuse(what, "no-address", problem)
        host = self._host.values()
        on_device = [t for n, t in self.engine.io.items() if n not in host]
        spans = {t.name: self._span(t, all_shapes[t.name], addresses[t.name]) for t in on_device}
        reads = {n: s for n, s in spans.items() if self.engine.io[n].is_input}
        writes = {n: s for n, s in spans.items() if not self.engine.io[n].is_input}
        shapes = {n: all_shapes[n] for n, t in self.engine.io.items() if t.is_input}
        settled = shapes | {n: tuple(v.reshape(-1).tolist()) for n, v in host.items()}
        self._refuse_overlap(what, spans, set(writes))
        scratch = self._memory.given()
        if scratch is not None:
            self._refuse_shared(what, spans, scratch)
        address, line = self._memory.address, driver.line

        def run() -> None:
            inputs = {name: self._load(name, span, all_shapes[name], line) for name, span in reads.items()} | host
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
            self._settled = (self.active_optimization_profile, settled)
        elif self._settled != (self.active_optimization_profile, settled):
            driver.finding(Misuse("capture", f"{what}: {_UNSETTLED}"))
        touched = (self._memory.itself,) if scratch is None else (self._memory.itself, scratch)
        driver.enqueue(
            stream_handle, what, run, reads=tuple(reads.values()), writes=(*writes.values(), *touched)
        )  # fmt: skip
        if self._consumed and what == "execute_async_v3":
            driver.streams.event_record(self._consumed, stream_handle, line)
        return True

    def _ready(self, stream_handle: int, what: str) -> dict[str, tuple[int, ...]] | None:
        """The shapes of all tensors, or None where a run is refused for shapes, addresses or memory."""
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
            self._refuse(what, "shape", problem)
            return None
        missing = [n for n in self.engine.io if not self._addresses.get(n) and n not in self._allocated]
        if missing:
            problem = f"tensor {missing[0]!r} has no address: call set_tensor_address for every input and output"
            self._refuse(what, "no-address", problem)
            return None
        problem, known = self._memory.problem()
        if problem:
            self._refuse(what, "" if known else "context-memory", problem)
            return None
        try:
            all_shapes = shapes | self._host.outputs(shapes)
        except ExecutionError as error:
            self._refuse(what, "shape", f"the inputs' shapes and values do not fit: {error}")
            return None
        for name, shape in all_shapes.items():
            if -1 in shape:
                raise Unsupported(
                    f"the twin cannot run this engine: the shape of output {name!r} depends on the inputs' values"
                )
        return all_shapes

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

    def _span(self, tensor: IOTensor, shape: tuple[int, ...], address: int) -> Span:
        what = f"tensor {tensor.name!r} ({tensor.dtype} {shape})"
        return self._world.driver.memory.span(address, bytes_of(tensor, shape), what, mapped=True)

    def _load(self, name: str, span: Span, shape: tuple[int, ...], line: str) -> np.ndarray:
        dtype = NUMPY[self.engine.io[name].dtype]
        if not span.written:
            message = f"input {name!r} {shape} is read from memory that was not (all) written: copy it there first"
            self._world.driver.finding(Misuse("unwritten", message), line)
        if foreign := span.foreign(dtype):
            wanted = "bfloat16 (its bits as uint16)" if self.engine.io[name].dtype == "BF16" else dtype
            message = f"input {name!r} is {wanted}, but the bytes copied to its address are {foreign}"
            message = f"{message}: convert the array first"
            self._world.driver.finding(Misuse("dtype", message), line)
        raw = span.read()
        return (raw != 0 if dtype == "bool" else raw.view(dtype)).reshape(shape)


def _need_address(value: object, where: str) -> None:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise TypeError(f"{where}: an address is an integer, not {value!r:.80}")
