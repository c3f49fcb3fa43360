"""Apply TensorRT's optimization techniques, and return the figures that show that they work.

Fusion, FP16 and INT8 are done to an ONNX model; shared activation memory, overlap and CUDA graphs to the host code
that runs a plan. Write TensorRT 10's API, PyCUDA, and cuda.bindings.runtime for CUDA graphs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pycuda.autoprimaryctx  # the context that CUDA's runtime API, and so cuda.bindings.runtime, uses too
import pycuda.driver as cuda
import tensorrt as trt
from cuda.bindings import runtime as cudart
from onnx import TensorProto, helper, numpy_helper

BATCHES = (1, 8, 32)  # min, opt and max batch of the engines that are built here
LOGGER = trt.Logger(trt.Logger.WARNING)


def unblock_fusion(onnx_path: str, outputs: Sequence[str]) -> tuple[bytes, dict[str, int]]:
    """Rewrite a convolutional graph so that TensorRT can fuse again, with unchanged answers.

    README.md lists the six ways in which its author may have blocked fusion. What only looks like one of them stays.

    Args:
        onnx_path: an ONNX file, opset 17, float32; dimension 0, the batch, is dynamic.
        outputs: the outputs that are wanted; any others were left there by somebody who was debugging.

    Returns:
        The new model: the same input, the wanted outputs, no more kernels than the graph without the blocks has.
        And {"kernels_before": int, "kernels_after": int}: how many kernels each model becomes, built strongly typed for
        batches `BATCHES`, without TF32. Kernels are the engine inspector's layers, but for those of the "LayerType"
        NoOp and Constant, which TensorRT 8 and 10 list although nothing is launched for them.
    """
    model = onnx.load(onnx_path)
    before = _kernels(_build(model.SerializeToString()))
    wanted = [output for output in model.graph.output if output.name in outputs]
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.extend(wanted)
    _drop_unread(model.graph)
    while _unblock_one(model.graph):
        _drop_unread(model.graph)
    rewritten = model.SerializeToString()
    after = _kernels(_build(rewritten))
    return rewritten, {"kernels_before": before, "kernels_after": after}


def to_fp16(onnx_path: str, keep: Sequence[str]) -> bytes:
    """Put FP16 into a graph: all floating-point arithmetic becomes float16, but for the nodes that are named.

    Args:
        onnx_path: an ONNX file, opset 17, in float32.
        keep: names of nodes whose inputs and outputs stay float32, with casts around them where they are needed.

    Returns:
        The new model. Its inputs and outputs keep their names and types; its nodes keep their names.
    """
    model = onnx.load(onnx_path)
    graph = model.graph
    told = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*told.input, *told.value_info, *told.output)}
    constants = {c.name: c for c in graph.initializer}
    types |= {name: constant.data_type for name, constant in constants.items()}
    now = {name: types[name] for name in (*constants, *(v.name for v in graph.input))}  # from here on
    nodes: list[onnx.NodeProto] = []

    def converted(name: str, wanted: int) -> str:
        """The name of the same tensor in another type: a constant of its own, or behind a cast."""
        other = f"{name}_{helper.tensor_dtype_to_np_dtype(wanted)}"
        if other not in now and name in constants:
            value = numpy_helper.to_array(constants[name]).astype(helper.tensor_dtype_to_np_dtype(wanted))
            graph.initializer.append(numpy_helper.from_array(value, other))
        elif other not in now:
            nodes.append(helper.make_node("Cast", [name], [other], f"cast_{other}", to=wanted))
        now[other] = wanted
        return other

    for node in graph.node:
        kind = TensorProto.FLOAT if node.name in keep or node.op_type == "Constant" else TensorProto.FLOAT16
        for slot, name in enumerate(node.input):
            if types.get(name) == TensorProto.FLOAT and now[name] != kind:
                node.input[slot] = converted(name, kind)
        nodes.append(node)
        now |= dict.fromkeys(node.output, kind)
    for output in graph.output:
        if types[output.name] == TensorProto.FLOAT and now[output.name] == TensorProto.FLOAT16:
            inner = f"{output.name}_inner"
            for node in nodes:
                node.input[:] = [inner if name == output.name else name for name in node.input]
                node.output[:] = [inner if name == output.name else name for name in node.output]
            nodes.append(helper.make_node("Cast", [inner], [output.name], f"cast_{inner}", to=TensorProto.FLOAT))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    _drop_unread(graph)
    return model.SerializeToString()


def calibrate(onnx_path: str, samples: np.ndarray, method: str = "max") -> dict[str, float]:
    """Find the scale of each activation that INT8 needs, by running the samples through an engine.

    Asked for are the tensors that a Conv or Gemm node with constant weights takes as its first input. The scale is
    a / 127, where a is, over all samples together, the largest |x| ("max") or the 99.9th percentile of |x| as
    numpy.percentile has it ("percentile").

    Args:
        onnx_path: an ONNX file, opset 17, float32, with one input whose dimension 0, the batch, is dynamic.
        samples: float32 [n, ...], as many as there are: an engine takes 1 to 32 at once.
        method: "max" or "percentile".

    Returns:
        The scale of each tensor by its name in the ONNX file.

    Raises:
        ValueError: another method.
    """
    if method not in ("max", "percentile"):
        raise ValueError(f"there is no method {method!r}: it is max or percentile")
    model = onnx.load(onnx_path)
    constants = {c.name for c in model.graph.initializer}
    names = {n.input[0] for n in model.graph.node if n.op_type in ("Conv", "Gemm") and n.input[1] in constants}
    engine = _engine(_build(model.SerializeToString(), marked=names))
    seen: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(samples), BATCHES[-1]):
        batch = samples[start : start + BATCHES[-1]]
        values = _run(engine, batch) | {model.graph.input[0].name: batch}
        for name in names:
            seen[name].append(np.abs(values[name]).ravel())
    largest = np.max if method == "max" else lambda x: np.percentile(x, 99.9)
    return {name: float(largest(np.concatenate(parts))) / 127 for name, parts in seen.items()}


def quantize(onnx_path: str, scales: dict[str, float]) -> bytes:
    """Put INT8 into a graph, explicitly: QuantizeLinear and DequantizeLinear pairs, symmetric, zero points of 0.

    Each Conv or Gemm node with constant weights whose first input has a scale gets a pair on that input, with that
    scale, and a pair on its weights, with a scale for each output channel: max|w| of the channel / 127. All other
    nodes stay as they are, and so do biases.

    Args:
        onnx_path: an ONNX file, opset 17, float32. Gemm has transB = 1.
        scales: by name of the tensor, as from `calibrate`; there may be none for some tensors.

    Returns:
        The new model, with the same inputs and outputs.
    """
    model = onnx.load(onnx_path)
    graph = model.graph
    values = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    paired: set[str] = set()

    def pair(name: str, scale: np.ndarray, **axis: int) -> str:
        """The name of the tensor behind a Q/DQ pair on ``name``. Two readers share one pair."""
        if name not in paired:
            paired.add(name)
            how = [f"{name}_scale", f"{name}_zero"]
            for constant, value in zip(how, (scale, np.zeros(scale.shape, np.int8)), strict=True):
                graph.initializer.append(numpy_helper.from_array(value, constant))
            for kind, source, target in (("Quantize", name, f"{name}_q"), ("Dequantize", f"{name}_q", f"{name}_dq")):
                nodes.append(helper.make_node(f"{kind}Linear", [source, *how], [target], f"{target}_node", **axis))
        return f"{name}_dq"

    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and node.input[1] in values and node.input[0] in scales:
            weights = values[node.input[1]]
            largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
            per_channel = (np.maximum(largest, 1e-12) / 127).astype(np.float32)  # no scale may be 0
            node.input[0] = pair(node.input[0], np.array(scales[node.input[0]], np.float32))
            node.input[1] = pair(node.input[1], per_channel, axis=0)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model.SerializeToString()


def run_shared(plans: Sequence[bytes], inputs: Sequence[np.ndarray], passes: int = 1) -> tuple[list[np.ndarray], int]:
    """Run several engines one after the other on one stream, with one activation buffer for all of their contexts.

    Contexts of the strategy USER_MANAGED have no memory of their own: the buffer is yours, as large as the largest
    need. Inputs and outputs are staged in pinned memory, before the first pass; the copies are asynchronous.

    Args:
        plans: serialized plans, each with one input and one output.
        inputs: one batch for each plan.
        passes: how often to do it all: copies in, engines, copies out. Wait once, after the last.

    Returns:
        Each engine's output, in the plans' order, and the bytes of the activation buffer. All device memory is freed.
    """
    stream = cuda.Stream()
    engines = [_engine(plan) for plan in plans]
    needed = max(engine.device_memory_size_v2 for engine in engines)
    activations = cuda.mem_alloc(max(needed, 1))
    lanes = []
    for engine, batch in zip(engines, inputs, strict=True):
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        context.set_device_memory(int(activations), needed)
        source, target = _names(engine)
        context.set_input_shape(source, batch.shape)
        staged, result = _pinned(batch), _output(engine, context, target)
        device_in, device_out = cuda.mem_alloc(staged.nbytes), cuda.mem_alloc(result.nbytes)
        context.set_tensor_address(source, int(device_in))
        context.set_tensor_address(target, int(device_out))
        lanes.append((context, staged, device_in, device_out, result))
    for _ in range(passes):
        for context, staged, device_in, device_out, result in lanes:
            cuda.memcpy_htod_async(device_in, staged, stream)
            _enqueue(context, stream)  # behind the engine before it on the same stream: it may use the same memory
            cuda.memcpy_dtoh_async(result, device_out, stream)
    stream.synchronize()
    return [np.array(result) for *_, result in lanes], needed


def run_overlapped(plan: bytes, batches: Sequence[np.ndarray], passes: int = 1) -> list[np.ndarray]:
    """Run batches so that a batch is copied in while another computes and a third is copied out.

    Three streams: one for copies in, one for the engine, one for copies out, and events between them. Two device
    buffers each for input and output, used in turn. All batches are staged in pinned memory before the first pass.

    Args:
        plan: a serialized plan with one input and one output.
        batches: at least two, of one shape.
        passes: how often to do all batches; the outputs of the last pass are returned. Wait once, after the last.

    Returns:
        The output of each batch, in order. All device memory is freed.
    """
    engine = _engine(plan)
    context = engine.create_execution_context()
    source, target = _names(engine)
    context.set_input_shape(source, batches[0].shape)
    staged = [_pinned(batch) for batch in batches]
    results = [_output(engine, context, target) for _ in batches]
    device_in = [cuda.mem_alloc(staged[0].nbytes) for _ in range(2)]
    device_out = [cuda.mem_alloc(results[0].nbytes) for _ in range(2)]
    copy_in, compute, copy_out = (cuda.Stream() for _ in range(3))
    arrived, computed, fetched = ([cuda.Event() for _ in range(2)] for _ in range(3))
    for turn in range(passes * len(batches)):
        index, lane, reused = turn % len(batches), turn % 2, turn >= 2
        if reused:
            copy_in.wait_for_event(computed[lane])  # the engine has read what is about to be overwritten
        cuda.memcpy_htod_async(device_in[lane], staged[index], copy_in)
        arrived[lane].record(copy_in)

        compute.wait_for_event(arrived[lane])
        if reused:
            compute.wait_for_event(fetched[lane])
        context.set_tensor_address(source, int(device_in[lane]))
        context.set_tensor_address(target, int(device_out[lane]))
        _enqueue(context, compute)
        computed[lane].record(compute)

        copy_out.wait_for_event(computed[lane])
        cuda.memcpy_dtoh_async(results[index], device_out[lane], copy_out)
        fetched[lane].record(copy_out)
    copy_out.synchronize()
    return [np.array(result) for result in results]


def run_graphed(
    plan: bytes, requests: Sequence[np.ndarray], passes: int = 1
) -> tuple[list[np.ndarray], dict[str, int]]:
    """Answer requests by replaying a CUDA graph of the engine's work, captured anew whenever the shape changes.

    For each request: copy in, launch the graph, copy out, wait. The graph holds the engine's work alone. It is captured
    when a request's shape is not that of the request before it, after one plain enqueue with the new shape (TensorRT
    leaves some work to the first one). Requests are staged in pinned memory before the first pass.

    Args:
        plan: a serialized plan with one input and one output.
        requests: of any shapes that the engine takes.
        passes: how often to do all requests; the outputs of the last pass are returned.

    Returns:
        The output of each request, in order, and {"captures": int, "launches": int}. All device memory is freed.
    """
    engine = _engine(plan)
    context = engine.create_execution_context()
    source, target = _names(engine)
    staged = [_pinned(request) for request in requests]
    device_in = cuda.mem_alloc(max(request.nbytes for request in staged))
    results = []
    for request in requests:
        context.set_input_shape(source, request.shape)
        results.append(_output(engine, context, target))
    device_out = cuda.mem_alloc(max(result.nbytes for result in results))
    context.set_tensor_address(source, int(device_in))  # a graph keeps these addresses
    context.set_tensor_address(target, int(device_out))
    stream = cuda.Stream()
    graph, shape, figures = None, None, {"captures": 0, "launches": 0}
    for _ in range(passes):
        for request, result in zip(staged, results, strict=True):
            cuda.memcpy_htod_async(device_in, request, stream)
            if request.shape != shape:
                context.set_input_shape(source, request.shape)
                _enqueue(context, stream)
                stream.synchronize()
                if graph is not None:
                    _checked(cudart.cudaGraphExecDestroy(graph))
                graph, shape = _captured(context, stream), request.shape
                figures["captures"] += 1
            _checked(cudart.cudaGraphLaunch(graph, stream.handle))
            figures["launches"] += 1
            cuda.memcpy_dtoh_async(result, device_out, stream)
            stream.synchronize()
    _checked(cudart.cudaGraphExecDestroy(graph))
    return [np.array(result) for result in results], figures


def _build(model: bytes, marked: Sequence[str] | set[str] = ()) -> bytes:
    """A plan of ``model`` for batches `BATCHES`; the tensors named in ``marked`` become outputs, too."""
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(model):
        raise ValueError(f"TensorRT cannot parse this: {parser.get_error(0).desc()}")
    layers = (network.get_layer(i) for i in range(network.num_layers if marked else 0))
    for tensor in [layer.get_output(i) for layer in layers for i in range(layer.num_outputs)]:
        if tensor.name in marked and not tensor.is_network_output:
            network.mark_output(tensor)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the inspector tells names alone
    profile = builder.create_optimization_profile()
    for tensor in (network.get_input(i) for i in range(network.num_inputs)):
        profile.set_shape(tensor.name, *((batch, *tuple(tensor.shape)[1:]) for batch in BATCHES))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("TensorRT could not build this: see its log")
    return bytes(plan)


def _kernels(plan: bytes) -> int:
    inspector = _engine(plan).create_engine_inspector()
    layers = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))["Layers"]
    return sum(layer["LayerType"] not in ("NoOp", "Constant") for layer in layers)


def _engine(plan: bytes) -> Any:
    engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
    if engine is None:
        raise ValueError("TensorRT cannot load this plan: it is damaged, or another version's")
    return engine


def _names(engine: Any) -> tuple[str, ...]:
    """Inputs, then outputs."""
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    return tuple(sorted(names, key=lambda name: engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT))


def _pinned(batch: np.ndarray) -> np.ndarray:
    staged = cuda.pagelocked_empty(batch.shape, batch.dtype)
    staged[...] = batch
    return staged


def _output(engine: Any, context: Any, name: str) -> np.ndarray:
    """Pinned memory for an output, once the context knows its input's shape."""
    return cuda.pagelocked_empty(tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name)))


def _enqueue(context: Any, stream: Any) -> None:
    if not context.execute_async_v3(stream.handle):
        raise RuntimeError("TensorRT could not enqueue the inference: see its log")


def _run(engine: Any, batch: np.ndarray) -> dict[str, np.ndarray]:
    """All outputs for one batch, by name."""
    context, stream = engine.create_execution_context(), cuda.Stream()
    source, *targets = _names(engine)
    context.set_input_shape(source, batch.shape)
    staged, results = _pinned(batch), {name: _output(engine, context, name) for name in targets}
    device = {source: cuda.mem_alloc(staged.nbytes)} | {n: cuda.mem_alloc(r.nbytes) for n, r in results.items()}
    for name, memory in device.items():
        context.set_tensor_address(name, int(memory))
    cuda.memcpy_htod_async(device[source], staged, stream)
    _enqueue(context, stream)
    for name, result in results.items():
        cuda.memcpy_dtoh_async(result, device[name], stream)
    stream.synchronize()
    return {name: np.array(result) for name, result in results.items()}


def _captured(context: Any, stream: Any) -> Any:
    """What an enqueue does, as a graph that can be launched."""
    mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    _checked(cudart.cudaStreamBeginCapture(stream.handle, mode))
    _enqueue(context, stream)
    graph = _checked(cudart.cudaStreamEndCapture(stream.handle))
    executable = _checked(cudart.cudaGraphInstantiate(graph, 0))
    _checked(cudart.cudaGraphDestroy(graph))
    return executable


def _checked(returned: tuple[Any, ...]) -> Any:
    """The value of a call to CUDA's runtime. Raises RuntimeError when it failed."""
    error, *values = returned
    if error != cudart.cudaError_t.cudaSuccess:
        raise RuntimeError(f"CUDA: {error.name}")
    return values[0] if values else None


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Removes nodes and constants that nothing reads any more."""
    for node in reversed(list(graph.node)):
        read = {name for other in graph.node for name in other.input} | {output.name for output in graph.output}
        if not read.intersection(node.output):
            graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for constant in [c for c in graph.initializer if c.name not in read]:
        graph.initializer.remove(constant)


def _unblock_one(graph: onnx.GraphProto) -> bool:
    """Puts a plainer node in the place of the first one that blocks fusion. False where there is none."""
    values = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    read = [name for node in graph.node for name in node.input] + [output.name for output in graph.output]
    makers = {name: node for node in graph.node for name in node.output}

    def made_by(kind: str, name: str) -> Any:
        """The node of this kind that makes a tensor which one node alone reads."""
        maker = makers.get(name)
        return maker if maker is not None and maker.op_type == kind and read.count(name) == 1 else None

    for node in graph.node:
        if plainer := _plainer(node, values, made_by):
            kind, inputs, attributes, *weights = plainer
            for value, tail in zip(weights, ("weights", "bias"), strict=False):
                name = f"{node.output[0]}_{tail}_{len(graph.initializer)}"
                graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
                inputs = [*inputs, name]
            node.CopyFrom(helper.make_node(kind, inputs, node.output, node.name, **attributes))
            return True
    return False


def _plainer(node: onnx.NodeProto, values: dict[str, np.ndarray], made_by: Callable[[str, str], Any]) -> Any:
    """Operator, inputs, attributes, new weights and bias if any, of what should stand in a node's place; or None."""
    how = _attributes(node)
    if node.op_type == "Concat" and how["axis"] == 1:
        parts = [made_by("Conv", name) for name in node.input]
        if all(parts) and len({(part.input[0], str(_attributes(part))) for part in parts}) == 1:
            weights, biases = ([values[part.input[slot]] for part in parts] for slot in (1, 2))
            return "Conv", parts[0].input[:1], _attributes(parts[0]), np.concatenate(weights), np.concatenate(biases)
    if node.op_type == "Transpose" and (relu := made_by("Relu", node.input[0])):
        first = made_by("Transpose", relu.input[0])
        if first and [_attributes(first)["perm"][axis] for axis in how["perm"]] == [0, 1, 2, 3]:
            return "Relu", first.input, {}
    if node.op_type == "Where":
        zeros = [name for name, value in values.items() if not value.any()]
        for kind, kept, zero in (("Greater", 1, 2), ("Less", 2, 1)):  # x > 0 ? x : 0, or x < 0 ? 0 : x
            compared = made_by(kind, node.input[0])
            if compared and compared.input[0] == node.input[kept] and {compared.input[1], node.input[zero]} <= {*zeros}:
                return "Relu", compared.input[:1], {}
    if node.op_type in ("Conv", "Gather") and (conv := made_by("Conv", node.input[0])):
        weights, bias = (values[name] for name in conv.input[1:])
        if node.op_type == "Gather" and how["axis"] == 1 and _attributes(conv).get("group", 1) == 1:
            order = values[node.input[1]]
            return "Conv", conv.input[:1], _attributes(conv), weights[order], bias[order]
        if (
            node.op_type == "Conv"
            and values[node.input[1]].shape == (len(weights), 1, 1, 1)
            and how.get("group", 1) > 1
        ):
            scale, shift = (values[name] for name in node.input[1:])
            return "Conv", conv.input[:1], _attributes(conv), weights * scale, bias * scale.ravel() + shift
    return None
