"""How TensorRT works, shown stage by stage: convert, optimise, plan memory, choose for the hardware, execute.

Write TensorRT 10's API and PyCUDA; the grader runs the same code on a GPU or, without one, on TensorRT-RTX's builder
and a CPU twin. Models have fixed shapes unless said otherwise, and a name for every node.
"""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pycuda.autoinit  # makes the CUDA context that everything below needs
import pycuda.driver as cuda
import tensorrt as trt

OPSETS = range(7, 18)  # what the ONNX parser of every TensorRT since 8.6 reads
ALIGNMENT = 256  # bytes: kernels count on addresses that are multiples of it
ERRORS = {"INT8": 5e-2, "FP16": 1e-2, "TF32": 1e-2, "FP32": 1e-5}  # max|a-b| / max|b| expected; cheapest first
LOGGER = trt.Logger(trt.Logger.ERROR)


def convert(onnx_path: str) -> dict[str, list[dict[str, Any]]]:
    """Parse an ONNX file into a TensorRT network, and tell what came of it. Bad models do not raise.

    The parser takes a file without a single node (text, say), or of an opset that is too new for it, without a word:
    both are errors here, as is every opset outside OPSETS.

    Args:
        onnx_path: the file.

    Returns:
        "layers": {"name", "type"} of all the network's layers in their order, the parser's own included; "inputs" and
        "outputs": {"name", "dtype", "shape"}; types and dtypes by TensorRT's names ("CONVOLUTION", "FLOAT").
        "errors": {"node", "operator", "reason"} of all the parser's errors in its order: the ONNX node's name and
        operator, "" where no node is to blame; a wrong opset's reason holds its number. With errors the others are [].
    """
    model = Path(onnx_path).read_bytes()
    failed: dict[str, list[dict[str, Any]]] = {"layers": [], "inputs": [], "outputs": []}
    if reason := _unreadable(model):
        return failed | {"errors": [{"node": "", "operator": "", "reason": reason}]}
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(model):
        nodes = onnx.load_from_string(model).graph.node
        return failed | {"errors": [_error(parser.get_error(i), nodes) for i in range(parser.num_errors)]}
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    return {
        "layers": [{"name": layer.name, "type": layer.type.name} for layer in layers],
        "inputs": [_tensor(network.get_input(i)) for i in range(network.num_inputs)],
        "outputs": [_tensor(network.get_output(i)) for i in range(network.num_outputs)],
        "errors": [],
    }


def optimise(onnx_path: str) -> tuple[bytes, dict[str, list[Any]]]:
    """Build a plan, without TF32, and read what the builder did from the engine inspector.

    The inspector's "Layers" are kernels, but for those of "LayerType" NoOp and Constant, which launch nothing; they are
    told in full only with ProfilingVerbosity.DETAILED. "Metadata" names a kernel's ONNX nodes: "[ONNX Layer: conv1]".

    Args:
        onnx_path: a good model.

    Returns:
        The plan, and a report on its engine: "kernels": {"name", "layers": the ONNX nodes in it}, in the order in which
        they run; "removed": the ONNX nodes that are in no kernel; "reformats": {"kernel", "from", "to"} of each kernel
        that holds no ONNX node and has one input and one output, of different "Format/Datatype": those two.
    """
    plan = _built(Path(onnx_path).read_bytes())
    kernels = _kernels(_engine(plan))
    layers = [re.findall(r"\[ONNX Layer: (.*?)\]", kernel["Metadata"]) for kernel in kernels]
    kept = {name for names in layers for name in names}
    reformats = []
    for kernel, names in zip(kernels, layers, strict=True):
        if not names and len(kernel["Inputs"]) == len(kernel["Outputs"]) == 1:
            before, after = (kernel[side][0]["Format/Datatype"] for side in ("Inputs", "Outputs"))
            if before != after:
                reformats.append({"kernel": kernel["Name"], "from": before, "to": after})
    return plan, {
        "kernels": [{"name": k["Name"], "layers": names} for k, names in zip(kernels, layers, strict=True)],
        "removed": [node.name for node in onnx.load(onnx_path).graph.node if node.name not in kept],
        "reformats": reformats,
    }


def plan_memory(tensors: list[tuple[int, int, int]]) -> list[int]:
    """Place tensors in one arena, so that those that live at the same time never overlap.

    No arena can be smaller than the peak of live bytes; this one is larger by 10% at most, and found within seconds.

    Args:
        tensors: (bytes, first step, last step), both steps included; up to 200 of them, in any order.

    Returns:
        The tensors' offsets in bytes, each a multiple of ALIGNMENT.
    """
    keys = (
        lambda t: (-t[0], t[1] - t[2]),  # the largest first
        lambda t: (t[1] - t[2], -t[0]),  # the longest lived first
        lambda t: t[0] * (t[1] - t[2] - 1),  # the largest area first
        lambda t: (t[1], -t[0]),  # in the order of time
    )
    orders = [sorted(range(len(tensors)), key=lambda i, key=key: key(tensors[i])) for key in keys]
    size, order = min((_arena(tensors, _place(tensors, order)), order) for order in orders)
    chance = random.Random(0)  # the same plan every time
    for _ in range(5000):  # no order is good for all: move tensors about in the best one
        if size <= 1.05 * _peak(tensors):
            break
        other = order.copy()
        for _ in range(chance.choice((1, 2))):
            other.insert(chance.randrange(len(other)), other.pop(chance.randrange(len(other))))
        if (found := _arena(tensors, _place(tensors, other))) <= size:
            size, order = found, other
    return _place(tensors, order)


def explain_memory(plan: bytes) -> dict[str, int]:
    """Set an engine's activation memory beside what its tensors would need.

    Tensors are those that a kernel writes and that are neither input nor output of the engine, from the first kernel
    that writes one to the last that reads or writes it; a NoOp is none, its output is its input by another name. Bytes
    are elements times the size of what "Format/Datatype" names: FP32, Float, Int32 4; FP16, Half 2; Int8 1 (any case).

    Args:
        plan: a plan built with ProfilingVerbosity.DETAILED and fixed shapes.

    Returns:
        "activation_bytes": what one execution context needs, by the engine's own account; "tensor_bytes": the sum of
        all tensors, as if nothing were reused; "peak_bytes": the most that is live while one kernel runs.
    """
    engine = _engine(plan)
    outside = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
    lives: dict[str, list[int]] = {}
    for step, kernel in enumerate(_kernels(engine)):
        for tensor in kernel["Outputs"]:
            if tensor["Name"] not in outside:
                lives.setdefault(tensor["Name"], [_bytes(tensor), step, step])[2] = step
        for tensor in kernel["Inputs"]:
            if tensor["Name"] in lives:
                lives[tensor["Name"]][2] = step
    tensors = [(size, first, last) for size, first, last in lives.values()]
    return {
        "activation_bytes": engine.device_memory_size_v2,
        "tensor_bytes": sum(size for size, _, _ in tensors),
        "peak_bytes": _peak(tensors),
    }


def choose(need: dict[str, Any]) -> list[dict[str, Any]]:
    """Choose the plans to build for a need, and the cheapest precision for each.

    A precision will do where ERRORS promises the error asked for, where activations fit into its range (FP16 ends at
    65504), where it is known how to scale to it (INT8 must be calibrated), and where all GPUs of the plan have it: INT8
    from compute capability 6.1 on, FP16 all but 6.1, TF32 from 8.0 on, FP32 all (NVIDIA's support matrix, 6.0 to 9.0).
    A plan runs on the capability that it was built for. One can serve several, all 8.0 or newer, at some cost in speed.

    Args:
        need: "gpus": compute capabilities as [major, minor]; "max_error": against FP32; "largest_activation";
            "calibrated": bool; "fewest_plans": bool, whether few plans are worth more than the fastest kernels.

    Returns:
        Plans as {"capabilities": [[major, minor], ...], "precision": a key of ERRORS}. Each capability is in one plan;
        capabilities ascend, and so do plans, by their first one.

    Raises:
        ValueError: FP32 is not exact enough.
    """
    unfit = {"INT8": not need["calibrated"], "FP16": need["largest_activation"] > 65504}
    usable = [p for p, error in ERRORS.items() if error <= need["max_error"] and not unfit.get(p)]
    if not usable:
        raise ValueError(f"an error of {need['max_error']} is asked for; FP32 promises {ERRORS['FP32']}")
    gpus = sorted({(major, minor) for major, minor in need["gpus"]})
    shared = [gpu for gpu in gpus if gpu >= (8, 0)] if need["fewest_plans"] else []
    groups = [[gpu] for gpu in gpus if gpu not in shared] + ([shared] if shared else [])
    best = [next(p for p in usable if all(_has(gpu, p) for gpu in group)) for group in groups]
    return [
        {"capabilities": [list(gpu) for gpu in group], "precision": p} for group, p in zip(groups, best, strict=True)
    ]


def build_for(onnx_path: str, choice: dict[str, Any], amax: dict[str, float]) -> bytes:
    """Build one chosen plan, in the precision and for the GPUs of the choice.

    Precision lives in the strongly typed graph; its inputs and outputs stay float32. FP16 casts weights and arithmetic,
    INT8 puts QuantizeLinear and DequantizeLinear before both inputs of each Conv (scale amax / 127, per tensor for data
    and per output channel for weights; zero point 0). TF32 is FP32 with BuilderFlag.TF32 set, FP32 has it cleared.
    A config of TensorRT-RTX has num_compute_capabilities and set_compute_capability. Others build for the GPU that is
    there and, for several capabilities, need HardwareCompatibilityLevel.AMPERE_PLUS.

    Args:
        onnx_path: a float32 model.
        choice: as `choose` gives it.
        amax: the largest magnitude of every tensor, by its name in the model; used by INT8 alone.

    Returns:
        The plan.
    """
    model, precision = onnx.load(onnx_path), choice["precision"]
    if precision == "FP16":
        _to_float16(model)
    elif precision == "INT8":
        _to_int8(model, amax)
    return _built(model.SerializeToString(), tf32=precision == "TF32", capabilities=choice["capabilities"])


def execute(plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run an engine of several inputs and outputs on a stream of its own, and wait for all of them.

    Args:
        plan: a plan, its shapes may be dynamic.
        inputs: arrays by the engine's names, of its dtypes and C-contiguous.

    Returns:
        All outputs by name, of the engine's dtypes, in memory that stays valid. All device memory is freed.

    Raises:
        ValueError: an input is missing, unknown, of another dtype or of a shape outside the profile; the text names it.
    """
    engine = _engine(plan)
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    wanted = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    if set(wanted) != set(inputs):
        raise ValueError(f"the engine's inputs are {sorted(wanted)}, given were {sorted(inputs)}")
    context, stream = engine.create_execution_context(), cuda.Stream()
    memory, outputs = [], {}  # memory must outlive the work that is enqueued on it
    for name in wanted:
        dtype = trt.nptype(engine.get_tensor_dtype(name))
        if inputs[name].dtype != dtype:
            raise ValueError(f"input {name!r} is {inputs[name].dtype}, the engine takes {np.dtype(dtype)}")
        if not context.set_input_shape(name, inputs[name].shape):
            raise ValueError(f"input {name!r}: shape {inputs[name].shape} is outside the engine's profile")
        host = cuda.pagelocked_empty(inputs[name].shape, dtype)
        host[...] = inputs[name]
        device = cuda.mem_alloc(host.nbytes)
        memory += [host, device]
        cuda.memcpy_htod_async(device, host, stream)
        context.set_tensor_address(name, int(device))
    for name in (name for name in names if name not in wanted):  # their shapes follow from the inputs'
        shape = tuple(context.get_tensor_shape(name))
        outputs[name] = cuda.pagelocked_empty(shape, trt.nptype(engine.get_tensor_dtype(name)))
        memory.append(cuda.mem_alloc(outputs[name].nbytes))
        context.set_tensor_address(name, int(memory[-1]))
    if not context.execute_async_v3(stream.handle):
        raise RuntimeError("TensorRT could not enqueue the inference: see its log")
    for name, host in outputs.items():
        cuda.memcpy_dtoh_async(host, context.get_tensor_address(name), stream)
    stream.synchronize()
    return {name: np.array(host) for name, host in outputs.items()}


def _unreadable(model: bytes) -> str:
    """What is wrong with a model that the parser may take without a word; "" when nothing is."""
    try:
        proto = onnx.load_from_string(model)
    except Exception as error:  # noqa: BLE001 (protobuf's own class differs between its versions)
        return f"not an ONNX model that can be read: {error}"
    if not proto.graph.node:
        return "the file holds no model: it has not a single node"
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), None)
    return "" if opset in OPSETS else f"opset {opset} is not one of {OPSETS.start} to {OPSETS.stop - 1}"


def _error(error: Any, nodes: Any) -> dict[str, Any]:
    """A parser's error as data. 8.6 tells the node's number alone, -1 for none."""
    at = error.node()
    name, operator = (nodes[at].name, nodes[at].op_type) if 0 <= at < len(nodes) else ("", "")
    return {"node": name, "operator": operator, "reason": error.desc()}


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}


def _built(model: bytes, tf32: bool = False, capabilities: list[list[int]] | None = None) -> bytes:
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(model):
        raise ValueError(f"TensorRT cannot parse the model: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    (config.set_flag if tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    if capabilities is not None and hasattr(config, "set_compute_capability"):
        config.num_compute_capabilities = len(capabilities)
        for index, (major, minor) in enumerate(capabilities):
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{major}{minor}"), index)
    elif capabilities is not None and len(capabilities) > 1:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("TensorRT could not build the network: see its log")
    return bytes(plan)


def _engine(plan: bytes) -> Any:
    engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
    if engine is None:
        raise ValueError("TensorRT cannot load this plan: it is damaged, or another version's")
    return engine


def _kernels(engine: Any) -> list[dict[str, Any]]:
    """What the inspector tells of each kernel; what comes out of a NoOp keeps the name that it went in by."""
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    kernels, names = [], {}
    for layer in json.loads(text, strict=False)["Layers"]:  # 8.6 leaves control characters in metadata as they are
        for tensor in layer["Inputs"]:
            tensor["Name"] = names.get(tensor["Name"], tensor["Name"])
        if layer["LayerType"] == "NoOp":
            names[layer["Outputs"][0]["Name"]] = layer["Inputs"][0]["Name"]
        elif layer["LayerType"] != "Constant":
            kernels.append(layer)
    return kernels


def _place(tensors: list[tuple[int, int, int]], order: list[int]) -> list[int]:
    """Greedily, in this order: each into the smallest gap that it fits into between those that live when it does."""
    offsets, placed = [0] * len(tensors), []
    for i in order:
        size, first, last = tensors[i]
        taken = sorted(
            (offsets[j], offsets[j] + tensors[j][0]) for j in placed if tensors[j][1] <= last and first <= tensors[j][2]
        )
        end, best, smallest = 0, None, math.inf
        for low, high in taken:
            if size <= low - end < smallest:
                best, smallest = end, low - end
            end = max(end, -(-high // ALIGNMENT) * ALIGNMENT)
        offsets[i] = end if best is None else best
        placed.append(i)
    return offsets


def _arena(tensors: list[tuple[int, int, int]], offsets: list[int]) -> int:
    return max((offset + size for offset, (size, _, _) in zip(offsets, tensors, strict=True)), default=0)


def _peak(tensors: list[tuple[int, int, int]]) -> int:
    """The most bytes that are live in one step; it can only grow where a tensor begins."""
    return max((sum(b for b, low, high in tensors if low <= first <= high) for _, first, _ in tensors), default=0)


def _bytes(tensor: dict[str, Any]) -> int:
    sizes = {"FP32": 4, "FLOAT": 4, "FP16": 2, "HALF": 2, "INT32": 4, "INT8": 1}
    dtype = next(word for word in re.findall(r"\w+", tensor["Format/Datatype"].upper()) if word in sizes)
    return math.prod(tensor["Dimensions"]) * sizes[dtype]


def _has(gpu: tuple[int, int], precision: str) -> bool:
    """Whether a GPU computes in this precision, by its compute capability."""
    return {"INT8": gpu >= (6, 1), "FP16": gpu != (6, 1), "TF32": gpu >= (8, 0), "FP32": True}[precision]


def _to_float16(model: onnx.ModelProto) -> None:
    """Weights to float16, with casts behind the inputs and before the outputs."""
    graph, to = model.graph, onnx.TensorProto
    for weights in graph.initializer:
        if weights.data_type == to.FLOAT:
            half = onnx.numpy_helper.to_array(weights).astype(np.float16)
            weights.CopyFrom(onnx.numpy_helper.from_array(half, weights.name))
    renamed = {tensor.name: f"{tensor.name}.half" for tensor in (*graph.input, *graph.output)}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    make = onnx.helper.make_node
    before = [make("Cast", [t.name], [renamed[t.name]], f"{t.name}.to_half", to=to.FLOAT16) for t in graph.input]
    after = [make("Cast", [renamed[t.name]], [t.name], f"{t.name}.to_float", to=to.FLOAT) for t in graph.output]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)


def _to_int8(model: onnx.ModelProto, amax: dict[str, float]) -> None:
    """Data and weights of every convolution through INT8, where TensorRT finds kernels that compute in it."""
    graph, nodes, make = model.graph, [], onnx.helper.make_node
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}
    for node in graph.node:
        for place, name in enumerate(node.input[:2]) if node.op_type == "Conv" else ():
            # Weights per output channel, which is their axis 0.
            largest = np.abs(weights[name]).max(axis=(1, 2, 3)) if name in weights else np.array(amax[name])
            new = f"{node.name}.{place}"
            scale = np.maximum(largest, 1e-12).astype(np.float32) / np.float32(127)
            parameters = {f"{new}.scale": scale, f"{new}.zero": np.zeros(scale.shape, np.int8)}
            graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in parameters.items())
            axis = {"axis": 0} if scale.ndim else {}
            nodes.append(make("QuantizeLinear", [name, *parameters], [f"{new}.q"], f"{new}.q", **axis))
            nodes.append(make("DequantizeLinear", [f"{new}.q", *parameters], [f"{new}.dq"], f"{new}.dq", **axis))
            node.input[place] = f"{new}.dq"
        nodes.append(node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
