"""A cell of the matrix, as a candidate's code builds and runs it: this file is run like an answer, on any tier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycuda.autoinit  # noqa: F401 (makes the context)
import pycuda.driver as cuda
import tensorrt as trt
from cells import ENTRIES  # beside this file
from cells.entry import Entry, Net, Refused


class _Errors(trt.ILogger):
    """Keeps what TensorRT logs as errors: some of its setters refuse a value in no other way."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.lines: list[str] = []

    def log(self, severity: Any, msg: str) -> None:
        if severity <= trt.ILogger.ERROR:
            self.lines.append(msg)


_LOGGER = _Errors()


def run(name: str, cell: str, form: str, arrays: list[np.ndarray]) -> list[Any]:
    """What one cell gives: ``["ran", outputs]`` or ``["refused", why]``.

    Args:
        name: of the entry.
        cell: name of the cell's DataType.
        form: "static", "dynamic", "empty" or "emptied".
        arrays: the entry's inputs.
    """
    _LOGGER.lines.clear()
    try:
        plan = _build(ENTRIES[name], cell, form, arrays)
    except (Refused, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, NotImplementedError) or type(error) in (TypeError, AttributeError):
            raise  # the twin's refusal, or a mistake in the entry
        return ["refused", (_LOGGER.lines or [str(error)])[0]]
    return ["ran", execute(plan, arrays)]


def _build(entry: Entry, cell: str, form: str, arrays: list[np.ndarray]) -> bytes:
    """The plan. Raises Refused, and whatever TensorRT raises."""
    builder = trt.Builder(_LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    net = Net(trt, network, cell, form)
    tensors = []
    for number, (x, array) in enumerate(zip(entry.inputs, arrays, strict=True)):
        free = {x.free} if net.free else set()
        declared = [-1 if axis in free else size for axis, size in enumerate(array.shape)]
        dtype = x.dtype or cell
        tensor = network.add_input(f"x{number}", net.type("FLOAT" if dtype == "BF16" else dtype), declared)
        if tensor is None:
            raise Refused("no such input")
        if -1 in declared:
            least, most = (list(array.shape) for _ in range(2))
            least[x.free], most[x.free] = 0 if form == "emptied" else 1, 4
            if array.shape[x.free] == 0:
                best = [*array.shape[: x.free], 2, *array.shape[x.free + 1 :]]
            else:
                best = list(array.shape)
            profile.set_shape(f"x{number}", least, best, most)
        tensors.append(net.cast(tensor, "BF16") if dtype == "BF16" else tensor)
    if net.free:
        config.add_optimization_profile(profile)
    written = entry.write(net, *tensors)
    if isinstance(written, trt.ILayer):
        written = [written.get_output(index) for index in range(written.num_outputs)]
    elif isinstance(written, trt.ITensor):
        written = [written]
    for number, given in enumerate(written):
        tensor = net.cast(given, "FLOAT") if given.dtype == trt.DataType.BF16 else given
        tensor.name = f"y{number}"
        network.mark_output(tensor)
    if _LOGGER.lines:
        raise Refused("an attribute is refused")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Refused("the build failed")
    return bytes(plan)


class _Outputs(trt.IOutputAllocator):
    """Memory for outputs whose size is known only once they are there."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
        self.memory[tensor_name] = cuda.mem_alloc(max(size, 1))
        return int(self.memory[tensor_name])

    def reallocate_output_async(self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int:
        return self.reallocate_output(tensor_name, memory, size, alignment)

    def notify_shape(self, tensor_name: str, shape: Any) -> None:
        self.shapes[tensor_name] = tuple(shape)


def execute(plan: bytes, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs, through an execution context and memory on the device."""
    engine = trt.Runtime(_LOGGER).deserialize_cuda_engine(plan)
    if engine is None:
        raise RuntimeError("the engine does not load")
    context, stream, memory = engine.create_execution_context(), cuda.Stream(), {}
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = {f"x{number}": np.asarray(array, order="C") for number, array in enumerate(arrays)}
    for name, array in inputs.items():
        if name not in names:
            raise RuntimeError(f"the engine has no input {name}")
        if not context.set_input_shape(name, array.shape):
            raise RuntimeError(f"the shape {array.shape} of {name} is refused")
        memory[name] = cuda.mem_alloc(max(array.nbytes, 1))  # TensorRT wants an address for an empty tensor, too
        if array.nbytes:
            cuda.memcpy_htod(memory[name], array)
        context.set_tensor_address(name, int(memory[name]))
    outputs = sorted(name for name in names if name not in inputs)
    own, allocator = {}, None
    for name in outputs:
        shape = tuple(context.get_tensor_shape(name))
        if min(shape, default=0) < 0:
            allocator = allocator or _Outputs()
            context.set_output_allocator(name, allocator)
        else:
            own[name] = np.empty(shape, trt.nptype(engine.get_tensor_dtype(name)))
            memory[name] = cuda.mem_alloc(max(own[name].nbytes, 1))
            context.set_tensor_address(name, int(memory[name]))
    if not context.execute_async_v3(stream.handle):
        raise RuntimeError("the engine does not run")
    stream.synchronize()
    if allocator is not None:
        for name, shape in allocator.shapes.items():
            own[name] = np.empty(shape, trt.nptype(engine.get_tensor_dtype(name)))
            memory[name] = allocator.memory[name]
    for name in outputs:
        if own[name].nbytes:
            cuda.memcpy_dtoh(own[name], memory[name])
    for block in memory.values():
        block.free()
    return [own[name] for name in outputs]
