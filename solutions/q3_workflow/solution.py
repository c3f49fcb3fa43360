"""Take a model from its exporter to answers: prepare it, build an engine, save and load its plan, run it.

Write TensorRT 10's API and PyCUDA; the grader runs it on a GPU or, without one, on TensorRT-RTX's builder and a twin.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import onnx
import pycuda.autoinit  # makes the CUDA context that everything below needs
import pycuda.driver as cuda
import tensorrt as trt
from onnx import reference, shape_inference, version_converter


class WorkflowError(Exception):
    """Raised by every function below for whatever goes wrong. The text starts with its name: "load: no such file".

    prepare: there is no such file, it is no valid model, or a shape is not one of its inputs'.
    build, cached_build: the model does not parse, a profile is impossible, the build failed; with what TensorRT logged.
    save, load: a file cannot be written, or is missing or damaged; or `here` tells something else, with both values.
    run: the plan cannot be loaded, or a request's inputs, dtypes or shapes are none that the engine takes.
    """


class Config(TypedDict):
    """What an engine is built with, besides its model."""

    profiles: list[dict[str, list[list[int]]]]  # for each profile: input name -> [min, opt, max] shapes
    workspace: int  # bytes of scratch memory that kernels may use at most
    level: int  # the builder's optimization level, 0 to 5


def prepare(onnx_path: str, shapes: Mapping[str, Sequence[int | None]]) -> bytes:
    """Make a clean model of what an exporter wrote. It computes the same.

    Clean: opset 17, IR version 8 at most; no Identity, Dropout or Constant nodes, none that depend on no input; nothing
    unused; no weights among the inputs; no Shape nodes once all dimensions are fixed. Names of inputs and outputs stay.

    Args:
        onnx_path: an ONNX file of opset 11 or newer, with its weights in it.
        shapes: input name -> the shape to fix, with None for dimensions to leave as they are.

    Returns:
        The ONNX model, serialized.
    """
    with _stage("prepare"):
        model = onnx.load(onnx_path)
        onnx.checker.check_model(model)
        weights = {tensor.name for tensor in model.graph.initializer}
        inputs = [tensor for tensor in model.graph.input if tensor.name not in weights]
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        model.ir_version = max(model.ir_version, 4)  # before 4, weights had to be among the inputs
        _fix_shapes(model.graph, shapes)
        model = version_converter.convert_version(model, 17)
        model.ir_version = 8
        model = _folded(model)
        _bypass_what_does_nothing(model.graph)
        _drop_what_is_not_used(model.graph)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def build(model: bytes, config: Config, timing_cache: str | None = None) -> bytes:
    """Build a TensorRT plan, float32 without TF32.

    Args:
        model: an ONNX model of any number of inputs.
        config: what to build with; the engine has its profiles in their order.
        timing_cache: path of a file of kernel timings: read where there is one that TensorRT takes, written afterwards.

    Returns:
        The serialized plan.
    """
    with _stage("build"):
        builder = trt.Builder(_logger())
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, _logger())
        if not parser.parse(model):
            raise ValueError(f"TensorRT cannot parse the model: {parser.get_error(0).desc()}")
        settings = builder.create_builder_config()
        settings.clear_flag(trt.BuilderFlag.TF32)
        settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, config["workspace"])
        settings.builder_optimization_level = config["level"]
        for number, shapes in enumerate(config["profiles"]):
            profile = builder.create_optimization_profile()
            for name, (low, best, high) in shapes.items():
                if not all(a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
                    raise ValueError(f"profile {number}, input {name!r}: {low}, {best}, {high} are not in order")
                profile.set_shape(name, low, best, high)
            if settings.add_optimization_profile(profile) < 0:
                raise ValueError(f"profile {number} is impossible: {shapes}")
        if timing_cache is not None:
            _start_from(settings, Path(timing_cache))
        plan = builder.build_serialized_network(network, settings)
        if plan is None:
            raise RuntimeError("TensorRT could not build the engine")
        if timing_cache is not None:
            _write(Path(timing_cache), bytes(settings.get_timing_cache().serialize()))
        return bytes(plan)


def here() -> dict[str, str]:
    """What a plan is bound to.

    Returns:
        "tensorrt": the version, in full; "device": the GPU's name; "compute_capability": such as "9.0".
    """
    device = cuda.Device(0)
    major, minor = device.compute_capability()
    return {"tensorrt": trt.__version__, "device": device.name(), "compute_capability": f"{major}.{minor}"}


def save(plan: bytes, path: str, model: bytes, config: Config) -> dict[str, Any]:
    """Write a plan to ``path``, and a record of what it was built with, as JSON, to ``path`` + ".json".

    Args:
        plan: the serialized plan.
        path: the file to write, in a folder that exists.
        model: the ONNX model that the plan was built from.
        config: what it was built with.

    Returns:
        The record: what `here` tells, "plan_sha256" and "model_sha256" (hexadecimal), and "config".
    """
    with _stage("save"):
        record = here() | {"plan_sha256": _sha256(plan), "model_sha256": _sha256(model), "config": config}
        _write(Path(path), plan)
        _write(Path(f"{path}.json"), json.dumps(record, indent=2).encode())  # last: without it, there is no plan
        return record


def load(path: str) -> bytes:
    """Read a plan that `save` wrote, if it can be used here.

    Args:
        path: the plan's file, with its record beside it.

    Returns:
        The serialized plan.
    """
    with _stage("load"):
        record = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        for name, value in here().items():
            if record.get(name) != value:
                raise ValueError(f"{path} was built with {name} {record.get(name)}, here it is {value}: build it again")
        plan = Path(path).read_bytes()
        if _sha256(plan) != record.get("plan_sha256"):
            raise ValueError(f"{path} is not the file that was saved: it was cut off, altered or replaced")
        return plan


def run(plan: bytes, requests: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Answer requests of changing shapes, each in a profile with room for it, with one context and one set of buffers.

    On the device, memory is allocated at most once for each input and output of the engine, and freed in the end.

    Args:
        plan: a serialized plan of one or several profiles.
        requests: for each, input name -> array.

    Returns:
        For each request, in order, output name -> array, which stays as it is when the next is computed.
    """
    with _stage("run"):
        engine = trt.Runtime(_logger()).deserialize_cuda_engine(plan)
        if engine is None:
            raise ValueError("TensorRT cannot load this plan: it is damaged, or another version's")
        context, stream, profiles = engine.create_execution_context(), cuda.Stream(), []
        sizes: dict[str, int] = {}  # the most bytes that each tensor needs: nothing is allocated before all is known
        for number, request in enumerate(requests):
            try:
                profiles.append(_profile_for(engine, request))
            except ValueError as error:
                raise ValueError(f"request {number}: {error}") from error
            for name, shape in _shapes(context, stream, profiles[-1], request).items():
                sizes[name] = max(sizes.get(name, 1), trt.volume(shape) * _dtype(engine, name).itemsize)
        device = {name: cuda.mem_alloc(size) for name, size in sizes.items()}
        pinned = {name: cuda.pagelocked_empty(size, np.uint8) for name, size in sizes.items()}
        for name, memory in device.items():
            context.set_tensor_address(name, int(memory))

        answers = []
        for profile, request in zip(profiles, requests, strict=True):
            host = {}  # the beginning of each pinned buffer, as this request needs it
            for name, shape in _shapes(context, stream, profile, request).items():
                dtype = _dtype(engine, name)
                host[name] = pinned[name][: trt.volume(shape) * dtype.itemsize].view(dtype).reshape(shape)
            for name, array in request.items():
                host[name][...] = array
                cuda.memcpy_htod_async(device[name], host[name], stream)
            if not context.execute_async_v3(stream.handle):
                raise RuntimeError("TensorRT could not enqueue the inference")
            outputs = _names(engine, trt.TensorIOMode.OUTPUT)
            for name in outputs:
                cuda.memcpy_dtoh_async(host[name], device[name], stream)
            stream.synchronize()
            answers.append({name: host[name].copy() for name in outputs})  # the next request overwrites the buffer
        return answers


def cache_key(model: bytes, config: Config, where: Mapping[str, str]) -> str:
    """The name under which a cache keeps a plan: equal for equal content, in any order and process, else different.

    Args:
        model: the ONNX model.
        config: what to build with.
        where: what `here` tells.

    Returns:
        16 to 128 letters and digits.
    """
    content = [_sha256(model), config, dict(where)]
    return _sha256(json.dumps(content, sort_keys=True).encode())


def cached_build(onnx_path: str, config: Config, folder: str) -> tuple[bytes, str]:
    """Take a plan from the cache, or build it and put it there. A file there that `load` refuses is built anew.

    Args:
        onnx_path: an ONNX file.
        config: what to build with.
        folder: the cache's, made where it does not exist; plans are in it as `save` writes them.

    Returns:
        The plan, and the path of its file.
    """
    with _stage("build"):
        model = Path(onnx_path).read_bytes()
        Path(folder).mkdir(parents=True, exist_ok=True)
        path = str(Path(folder) / f"{cache_key(model, config, here())}.plan")
    with contextlib.suppress(WorkflowError):
        return load(path), path
    plan = build(model, config)
    save(plan, path, model, config)
    return plan, path


@contextlib.contextmanager
def _stage(name: str) -> Iterator[None]:
    """Whatever is raised within becomes a WorkflowError that tells the stage, and what TensorRT logged meanwhile."""
    _logger().errors.clear()
    try:
        yield
    except WorkflowError:
        raise
    except Exception as error:
        reasons = "; ".join(dict.fromkeys(_logger().errors))[:2000]
        text = f"{name}: {error or type(error).__name__}"
        raise WorkflowError(f"{text} ({reasons})" if reasons else text) from error


@functools.cache
def _logger() -> Any:
    """One for the whole process, as TensorRT keeps only the first that it is given."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(msg)

    return Logger()


def _fix_shapes(graph: onnx.GraphProto, shapes: Mapping[str, Sequence[int | None]]) -> None:
    inputs = {tensor.name: tensor for tensor in graph.input}
    for name, shape in shapes.items():
        if name not in inputs:
            raise ValueError(f"there is no input {name!r}, only {', '.join(inputs)}")
        dims = inputs[name].type.tensor_type.shape.dim
        if len(dims) != len(shape):
            raise ValueError(f"input {name!r} has {len(dims)} dimensions, not {len(shape)}")
        for dim, size in zip(dims, shape, strict=True):
            if size is not None:
                if dim.HasField("dim_value") and dim.dim_value != size:
                    raise ValueError(f"input {name!r} has a dimension of {dim.dim_value}, which cannot become {size}")
                dim.dim_value = size


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Everything that depends on no input, computed. Knowing a shape may make another node a constant: again, then."""
    while True:
        model = shape_inference.infer_shapes(model, data_prop=True)
        known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        static = _static_shapes([*model.graph.input, *model.graph.value_info])
        kept, found = [], {}
        for node in model.graph.node:
            if node.op_type == "Shape" and node.input[0] in static and not node.attribute:
                values = [np.array(static[node.input[0]], np.int64)]
            elif all(name in known for name in node.input if name):
                values = _computed(node, known, model.opset_import)
            else:
                kept.append(node)
                continue
            found |= dict(zip(node.output, values, strict=False))
            known |= found
        if not found:
            return model
        del model.graph.node[:]
        model.graph.node.extend(kept)
        model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in found.items())


def _computed(node: onnx.NodeProto, known: Mapping[str, np.ndarray], opsets: Any) -> list[np.ndarray]:
    weights = [onnx.numpy_helper.from_array(known[name], name) for name in dict.fromkeys(node.input) if name]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = onnx.helper.make_graph([node], "constant", [], outputs, weights)
    return reference.ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets)).run(None, {})


def _static_shapes(tensors: Sequence[onnx.ValueInfoProto]) -> dict[str, list[int]]:
    """Shapes of the tensors of which all dimensions are known."""
    told = {t.name: t.type.tensor_type.shape.dim for t in tensors if t.type.tensor_type.HasField("shape")}
    return {n: [d.dim_value for d in dims] for n, dims in told.items() if all(d.HasField("dim_value") for d in dims)}


def _bypass_what_does_nothing(graph: onnx.GraphProto) -> None:
    """Connects what Identity and Dropout feed to what feeds them; the graph's outputs keep their names."""
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [source.get(name, name) for name in node.input]
        if node.op_type in ("Identity", "Dropout"):
            source[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    renamed = {source[tensor.name]: tensor.name for tensor in graph.output if tensor.name in source}
    for node in kept:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    del graph.node[:]
    graph.node.extend(kept)


def _drop_what_is_not_used(graph: onnx.GraphProto) -> None:
    needed = {tensor.name for tensor in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)


def _start_from(settings: trt.IBuilderConfig, path: Path) -> None:
    cache = None
    if path.exists():
        with contextlib.suppress(Exception):  # an old or damaged cache costs time, not the build
            cache = settings.create_timing_cache(path.read_bytes())
    settings.set_timing_cache(cache or settings.create_timing_cache(b""), False)


def _write(path: Path, data: bytes) -> None:
    """All or nothing: who reads meanwhile, or after a crash, never finds half a file."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _names(engine: trt.ICudaEngine, mode: trt.TensorIOMode) -> list[str]:
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    return [name for name in names if engine.get_tensor_mode(name) == mode]


def _dtype(engine: trt.ICudaEngine, name: str) -> np.dtype:
    return np.dtype(trt.nptype(engine.get_tensor_dtype(name)))


def _profile_for(engine: trt.ICudaEngine, request: Mapping[str, np.ndarray]) -> int:
    """The first profile that has room for all shapes of a request. Raises ValueError where the engine cannot run it."""
    inputs = _names(engine, trt.TensorIOMode.INPUT)
    if set(inputs) != set(request):
        raise ValueError(f"its inputs are {', '.join(request)}, the engine's are {', '.join(inputs)}")
    for name, array in request.items():
        if array.dtype != _dtype(engine, name):
            raise ValueError(f"input {name!r} is {array.dtype}, the engine's is {_dtype(engine, name)}")
    for profile in range(engine.num_optimization_profiles):
        bounds = {name: engine.get_tensor_profile_shape(name, profile) for name in inputs}
        if all(_within(request[name].shape, low, high) for name, (low, _, high) in bounds.items()):
            return profile
    raise ValueError(f"no profile has room for {', '.join(f'{n} {a.shape}' for n, a in request.items())}")


def _within(shape: Sequence[int], low: Sequence[int], high: Sequence[int]) -> bool:
    return len(shape) == len(tuple(low)) and all(a <= d <= b for a, d, b in zip(low, shape, high, strict=True))


def _shapes(context: Any, stream: cuda.Stream, profile: int, request: Mapping[str, np.ndarray]) -> dict[str, tuple]:
    """Sets the context up for a request. Returns the shapes of all inputs and outputs."""
    if context.active_optimization_profile != profile:
        context.set_optimization_profile_async(profile, stream.handle)
    for name, array in request.items():
        if not context.set_input_shape(name, array.shape):
            raise ValueError(f"TensorRT refuses the shape {array.shape} of input {name!r}")
    names = [*request, *_names(context.engine, trt.TensorIOMode.OUTPUT)]
    return {name: tuple(context.get_tensor_shape(name)) for name in names}
