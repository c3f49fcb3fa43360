"""Classify photos with a TensorRT engine: decode, preprocess, build, run, name the classes.

The model is EfficientNet-Lite0. Its input "images" is float32 [batch, 3, 224, 224] in RGB, its
output "logits" float32 [batch, 1000]. Write TensorRT 10's API and PyCUDA; the grader runs the same
code on a GPU or, without one, on TensorRT-RTX's builder and a CPU twin.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pycuda.autoinit  # makes the CUDA context that everything below needs
import pycuda.driver as cuda
import tensorrt as trt

RESIZE, CROP = 256, 224
MEAN, SCALE = 127.0, 128.0
MAX_BATCH = 32
LOGGER = trt.Logger(trt.Logger.WARNING)


def preprocess(photo: str) -> np.ndarray:
    """Turn an image file into the model's input, as the model was trained.

    Resize so that the shorter side is 256 and the longer round(longer * 256 / shorter), bilinearly
    (cv2.INTER_LINEAR); crop the central 224 x 224, from row (height - 224) // 2 and column
    (width - 224) // 2; RGB; (x - 127) / 128. Any size, larger or smaller; greyscale becomes three
    equal channels; an alpha channel is dropped.

    Args:
        photo: path of a JPEG, PNG or other file that OpenCV decodes.

    Returns:
        float32 [1, 3, 224, 224], C-contiguous.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an image.
    """
    if not Path(photo).is_file():
        raise FileNotFoundError(f"no such photo: {photo}")
    encoded = np.fromfile(photo, np.uint8)
    # IMREAD_COLOR gives 8-bit BGR from greyscale, alpha and 16-bit files alike.
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image is None:
        raise ValueError(f"not an image that OpenCV can decode: {photo}")
    height, width = image.shape[:2]
    scale = RESIZE / min(height, width)
    height, width = (RESIZE if side == min(image.shape[:2]) else round(side * scale) for side in (height, width))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    top, left = (height - CROP) // 2, (width - CROP) // 2
    rgb = cv2.cvtColor(image[top : top + CROP, left : left + CROP], cv2.COLOR_BGR2RGB)
    normalised = (rgb.astype(np.float32) - MEAN) / SCALE
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[np.newaxis])


def build_engine(onnx_path: str, fp16: bool = False) -> bytes:
    """Build a TensorRT plan of an ONNX model for any batch from 1 to 32.

    The network is strongly typed, so precision lives in the graph: for ``fp16`` the model's weights
    and arithmetic become float16, while its inputs and outputs stay float32.

    Args:
        onnx_path: an ONNX file whose only dynamic dimension is the batch, dimension 0 of its inputs.
        fp16: whether to compute in float16.

    Returns:
        The serialized plan.

    Raises:
        ValueError: the file is not a model that TensorRT parses; the text holds the parser's first error.
        RuntimeError: the build failed.
    """
    model = Path(onnx_path).read_bytes()
    if fp16:
        model = _cast_to_fp16(model)
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(model):
        raise ValueError(f"TensorRT cannot parse {onnx_path}: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 means float32: TF32 keeps 10 bits of mantissa
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sizes = (1, MAX_BATCH // 4, MAX_BATCH)
        profile.set_shape(tensor.name, *((batch, *tuple(tensor.shape)[1:]) for batch in sizes))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError(f"TensorRT could not build {onnx_path}: see its log")
    return bytes(plan)


def run_engine(plan: bytes, batch: np.ndarray) -> np.ndarray:
    """Run an engine with one input and one output on a GPU, and wait for its result.

    Args:
        plan: a serialized plan; tensor names are the engine's own.
        batch: [batch, ...] of the input's dtype and shape; any batch within the engine's profile.

    Returns:
        The output, an array of the output's dtype and shape that stays valid. All device memory is freed.

    Raises:
        ValueError: TensorRT cannot load the plan, or the batch is outside the engine's profile.
    """
    engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
    if engine is None:
        raise ValueError("TensorRT cannot load this plan: it is damaged, or another version's")
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    (source,) = (n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT)
    (target,) = (n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.OUTPUT)

    context = engine.create_execution_context()
    if not context.set_input_shape(source, batch.shape):
        low, _, high = engine.get_tensor_profile_shape(source, 0)
        raise ValueError(f"shape {batch.shape} is outside the engine's profile, {tuple(low)} to {tuple(high)}")
    # Pinned host memory: from pageable memory an asynchronous copy would not be one.
    host_in = cuda.pagelocked_empty(batch.shape, trt.nptype(engine.get_tensor_dtype(source)))
    result_shape, result_dtype = tuple(context.get_tensor_shape(target)), trt.nptype(engine.get_tensor_dtype(target))
    host_out = cuda.pagelocked_empty(result_shape, result_dtype)
    host_in[...] = batch
    device_in, device_out = cuda.mem_alloc(host_in.nbytes), cuda.mem_alloc(host_out.nbytes)
    context.set_tensor_address(source, int(device_in))
    context.set_tensor_address(target, int(device_out))

    stream = cuda.Stream()
    cuda.memcpy_htod_async(device_in, host_in, stream)
    if not context.execute_async_v3(stream.handle):
        raise RuntimeError("TensorRT could not enqueue the inference: see its log")
    cuda.memcpy_dtoh_async(host_out, device_out, stream)
    stream.synchronize()
    return np.array(host_out)  # a copy: pinned memory is scarce and goes when this function returns


def classify(plan: bytes, photos: Sequence[str], labels: Sequence[str], k: int = 5) -> list[list[tuple[str, float]]]:
    """Name what is on each photo, running all photos in as few batches as the engine allows (32 at most).

    Args:
        plan: a plan from `build_engine`.
        photos: paths of image files, at least one.
        labels: the classes' names, in the order of the logits.
        k: how many classes to return per photo.

    Returns:
        For each photo, in the order given, the k likeliest classes as (label, probability), likeliest
        first; probabilities are the softmax over all classes.

    Raises:
        FileNotFoundError, ValueError: as `preprocess` and `run_engine`; the text names the photo.
    """
    images = np.concatenate([preprocess(photo) for photo in photos])
    batches = [images[start : start + MAX_BATCH] for start in range(0, len(images), MAX_BATCH)]
    logits = np.concatenate([run_engine(plan, batch) for batch in batches]).astype(np.float64)
    # Subtracting the largest logit changes nothing but keeps exp() from overflowing.
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    best = np.argsort(-probabilities, axis=1)[:, :k]
    return [[(labels[i], float(row[i])) for i in order] for row, order in zip(probabilities, best, strict=True)]


def _cast_to_fp16(model: bytes) -> bytes:
    """Weights to float16, with casts behind the inputs and before the outputs, which stay float32."""
    proto = onnx.load_from_string(model)
    graph = proto.graph
    for weights in graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT:
            half = onnx.numpy_helper.to_array(weights).astype(np.float16)
            weights.CopyFrom(onnx.numpy_helper.from_array(half, weights.name))
    inputs = {tensor.name: f"{tensor.name}_fp16" for tensor in graph.input}
    outputs = {tensor.name: f"{tensor.name}_fp16" for tensor in graph.output}
    for node in graph.node:
        node.input[:] = [inputs.get(name, outputs.get(name, name)) for name in node.input]
        node.output[:] = [outputs.get(name, name) for name in node.output]
    cast = functools.partial(onnx.helper.make_node, "Cast")
    to_half = [cast([name], [half], to=onnx.TensorProto.FLOAT16) for name, half in inputs.items()]
    to_float = [cast([half], [name], to=onnx.TensorProto.FLOAT) for name, half in outputs.items()]
    nodes = [*to_half, *graph.node, *to_float]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return proto.SerializeToString()
