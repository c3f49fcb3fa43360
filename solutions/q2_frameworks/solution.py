"""Bring PyTorch, TensorFlow, Keras and Caffe models to engines that give the frameworks' own answers.

Write TensorRT 10's API; the grader runs it on a GPU or, without one, on TensorRT-RTX's builder and a twin. Import a
framework inside the function that needs it: not everybody has all of them.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import math
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import caffe_pb2
import numpy as np
import onnx
import tensorrt as trt
from google.protobuf import text_format
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    import torch


class ModelError(ValueError):
    """Raised for a file that is damaged or incomplete, or asks for what is not known. Its text names what and where."""


def from_pytorch(module: torch.nn.Module, example: torch.Tensor) -> bytes:
    """Export a module to ONNX such that TensorRT parses it, and any batch gets what the module answers in inference.

    Modules are of `grader/fixtures/frameworks/torch_networks.py`, and come as they were trained: in training mode, with
    Python's branches and loops over tensors, one with an operator that TensorRT does not have.

    Args:
        module: it takes one float32 tensor [batch, channels, height, width], and gives [batch, classes].
        example: one input, of any batch.

    Returns:
        An ONNX model, opset 17: "input" to "output", float32, with a dynamic batch and no If or Loop nodes.
    """
    import torch

    module = _exportable(copy.deepcopy(module).eval())
    model = io.BytesIO()
    torch.onnx.export(
        module, (example,), model, dynamo=False, opset_version=17, input_names=["input"], output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
    )  # fmt: skip
    return model.getvalue()


def from_tensorflow(folder: str, signature: str, batches: Sequence[int]) -> bytes:
    """Build a float32 TensorRT plan (no TF32) from a SavedModel, through tf2onnx.

    Args:
        folder: a SavedModel of a model whose images are NHWC.
        signature: the signature to serve, of one input.
        batches: the smallest, usual and largest batch.

    Returns:
        The plan. Its input has the name of the signature's, and is NCHW; its outputs have the signature's names.

    Raises:
        ModelError: this is no SavedModel, or its variables or the signature are not there (it names those that are).
    """
    import tensorflow as tf
    import tf2onnx

    try:
        loaded = tf.saved_model.load(folder)
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
        raise ModelError(f"{folder} is no SavedModel that TensorFlow can load: {error}") from error
    if signature not in loaded.signatures:
        raise ModelError(f"{folder} has no signature {signature!r}, only {', '.join(loaded.signatures)}")
    served = loaded.signatures[signature]
    ((name, image),) = served.structured_input_signature[1].items()
    function = tf.function(lambda images: served(**{name: images}), input_signature=[image])
    model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=17, inputs_as_nchw=[f"{name}:0"])
    return _build(model.SerializeToString(), {name: [(size, *_nchw(image.shape)) for size in batches]})


def from_keras(path: str, batches: Sequence[int]) -> bytes:
    """Build a float32 TensorRT plan (no TF32) from a `.keras` file, exported by Keras itself.

    Args:
        path: the file, of a model with one input. Any backend that is installed may load it.
        batches: the smallest, usual and largest batch.

    Returns:
        The plan. Its input is as the model takes it (NHWC) and has its name; its outputs have the names that Keras
        knows them by (``model.output_names``).

    Raises:
        ModelError: the file is damaged, or is no Keras model.
    """
    _choose_keras_backend()
    import keras

    try:
        model = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is no .keras file that Keras can load: {error}") from error
    (image,) = model.inputs
    # A model that was loaded and never called has no signature of its own.
    taken = [keras.InputSpec(dtype=image.dtype, shape=(None, *image.shape[1:]), name=image.name)]
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "exported.onnx"
        model.export(str(exported), format="onnx", verbose=False, input_signature=taken, opset_version=17)
        graph = onnx.load(exported)
    _rename_outputs(graph, model.output_names)
    return _build(graph.SerializeToString(), {image.name: [(size, *image.shape[1:]) for size in batches]})


def from_caffe(prototxt: str, caffemodel: str, batches: Sequence[int]) -> bytes:
    """Build a float32 TensorRT plan (no TF32) from Caffe's two files, layer by layer with the network API.

    What is built is the test phase (level 0, no stages). Layers: Input, Convolution, Pooling, InnerProduct, ReLU, LRN,
    BatchNorm, Scale, Eltwise, Concat, Dropout, Softmax. ``caffe_pb2`` is given; its .proto is beside it.

    Args:
        prototxt: the network. It may hold fields that ``caffe_pb2`` lacks, of training for one.
        caffemodel: the weights, by the names of their layers.
        batches: the smallest, usual and largest batch; that of the prototxt does not matter.

    Returns:
        The plan. Its inputs and outputs have the names of Caffe's: outputs are the tops that no layer takes.

    Raises:
        ModelError: a file is damaged; or a layer, which is named, is of another type or of the V1 form, asks for what
            is not known, takes what no layer makes, or has not the weights that it needs.
    """
    net, trained = _read_caffe(prototxt, caffemodel)
    logger = trt.Logger(trt.Logger.ERROR)  # it must outlive the builder
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    inputs, kept = _caffe_inputs(net), []  # TensorRT reads weights when it builds: until then, they are kept
    tensors = {name: network.add_input(name, trt.float32, (-1, *shape)) for name, shape in inputs.items()}
    outputs = dict.fromkeys(tensors)
    for layer in filter(_is_tested, net.layer):
        if layer.type == "Input":
            continue
        try:
            tensor = _add_caffe_layer(network, layer, tensors, trained, kept)
        except (ValueError, RuntimeError, ArithmeticError) as error:
            raise ModelError(f"layer {layer.name!r} ({layer.type}): {error}") from error
        for bottom in layer.bottom:
            outputs.pop(bottom, None)
        tensors[layer.top[0]], outputs[layer.top[0]] = tensor, None  # in place, it is now what the bottom was
    for name in outputs:
        tensors[name].name = name
        network.mark_output(tensors[name])
    return _plan(builder, network, {name: [(size, *shape) for size in batches] for name, shape in inputs.items()})


def repair_onnx(path: str) -> bytes:
    """Make a model of another exporter one that every TensorRT since 8.6 takes. It computes the same, for any batch.

    What exporters leave (of scikit-learn, JAX, PaddlePaddle): an opset up to 21, with other forms of operators
    (ReduceMean, Split) or new ones (Gelu); a newer IR version; float64; a batch that is fixed in the input and in the
    constant shapes of Reshape and Expand. The batch is always the first dimension.

    Args:
        path: an ONNX file with its weights in it.

    Returns:
        The model: opset 17, in valid forms of it; IR version 8 at most; float32 in the place of float64, inputs and
        outputs included; the batch of the inputs and outputs open. The names of inputs and outputs stay.

    Raises:
        ModelError: the file is missing, damaged or no ONNX model; or, naming it, an operator is not ONNX's own (but of
            ai.onnx.ml, say) or has no form in opset 17, or nothing provides an input of a node.
    """
    model = _read_onnx(path)
    _in_float32(model.graph)
    _open_batch(model)
    _in_opset_17(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{path} does not hold a valid model: {error}") from error
    return model.SerializeToString()


# -- shared by the functions above


def _build(model: bytes, profile: Mapping[str, Sequence[tuple[int, ...]]]) -> bytes:
    """A plan of an ONNX model; ``profile``: input name -> the smallest, usual and largest shape."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        reasons = "; ".join(parser.get_error(number).desc() for number in range(parser.num_errors))
        raise ModelError(f"TensorRT cannot parse the model: {reasons}")
    return _plan(builder, network, profile)


def _plan(builder: Any, network: Any, profile: Mapping[str, Sequence[tuple[int, ...]]]) -> bytes:
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    bounds = builder.create_optimization_profile()
    for name, (low, usual, high) in profile.items():
        bounds.set_shape(name, low, usual, high)
    config.add_optimization_profile(bounds)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelError("TensorRT could not build the engine")
    return bytes(plan)


# -- PyTorch


def _exportable(module: torch.nn.Module) -> torch.nn.Module:
    """The module, with an equivalent in the place of each child that a tracer or TensorRT does not understand."""
    import torch
    from torch import nn

    class Limited(nn.Module):
        """Without a branch: the factor is 1 where the peak is below the limit."""

        def __init__(self, old: nn.Module) -> None:
            super().__init__()
            self.limit = old.limit

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            peak = x.abs().amax((0, 1, 2, 3), keepdim=True)
            return x / (peak.clamp(min=self.limit) / self.limit)

    class Attention(nn.Module):
        """All images at once: a tracer unrolls a loop, as often as the example has images."""

        def __init__(self, old: nn.Module) -> None:
            super().__init__()
            self.squeeze, self.excite = old.squeeze, old.excite

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
            return x * weights[:, :, None, None]

    class Head(nn.Module):
        """flatten keeps the batch open; len() is a number, the example's, to a tracer."""

        def __init__(self, old: nn.Module) -> None:
            super().__init__()
            self.dropout, self.scores = old.dropout, old.scores

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scores(self.dropout(x.flatten(1)))

    class LogDeterminant(nn.Module):
        """By elimination: the determinant is the product of the pivots; in a positive definite matrix none is 0."""

        def __init__(self, old: nn.Module) -> None:
            super().__init__()

        def forward(self, matrices: torch.Tensor) -> torch.Tensor:
            logarithm = torch.log(matrices[..., 0, 0])
            for _ in range(1, matrices.shape[-1]):
                first, row, column = matrices[..., :1, :1], matrices[..., :1, 1:], matrices[..., 1:, :1]
                matrices = matrices[..., 1:, 1:] - column * row / first
                logarithm = logarithm + torch.log(matrices[..., 0, 0])
            return logarithm

    known = {kind.__name__: kind for kind in (Limited, Attention, Head, LogDeterminant)}
    for name, child in module.named_children():
        replacement = known.get(type(child).__name__)
        setattr(module, name, replacement(child).eval() if replacement else _exportable(child))
    return module


# -- TensorFlow and Keras


def _nchw(image: Sequence[int | None]) -> tuple[int | None, ...]:
    """Channels, height and width of a shape that is NHWC."""
    _, height, width, channels = image
    return channels, height, width


def _choose_keras_backend() -> None:
    """Keras takes TensorFlow unless it is told otherwise before it is imported, installed or not."""
    for backend in ("tensorflow", "torch"):
        if importlib.util.find_spec(backend) is not None:
            os.environ.setdefault("KERAS_BACKEND", backend)


def _rename_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Give the graph's outputs these names, in their order: exporters call them "output_0", "Identity" or "387"."""
    new = dict(zip((output.name for output in model.graph.output), names, strict=True))
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [new.get(tensor, tensor) for tensor in tensors]
    for output in model.graph.output:
        output.name = new[output.name]


# -- Caffe


def _read_caffe(prototxt: str, caffemodel: str) -> tuple[Any, Mapping[str, Any]]:
    """The network, and the blobs of each layer by its name."""
    net = caffe_pb2.NetParameter()
    try:
        text_format.Parse(Path(prototxt).read_text(encoding="utf-8"), net, allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(f"{prototxt} is no prototxt: {error}") from error
    try:
        trained = caffe_pb2.NetParameter.FromString(Path(caffemodel).read_bytes())
    except DecodeError as error:
        raise ModelError(f"{caffemodel} is no caffemodel, or a damaged one: {error}") from error
    for path, read in ((prototxt, net), (caffemodel, trained)):
        if read.layers:
            raise ModelError(f"{path} is of the V1 form: layer {read.layers[0].name!r} is among its `layers`")
        if not read.layer:
            raise ModelError(f"{path} has no layers")
    return net, {layer.name: layer.blobs for layer in trained.layer}


def _is_tested(layer: Any) -> bool:
    """Whether the layer's rules keep it in the test phase, of level 0 and without stages."""

    def met(rule: Any) -> bool:
        phase = not rule.HasField("phase") or rule.phase == caffe_pb2.TEST
        return phase and rule.min_level <= 0 <= rule.max_level and not rule.stage  # a level that is not told is 0

    return any(map(met, layer.include)) if layer.include else not any(map(met, layer.exclude))


def _caffe_inputs(net: Any) -> dict[str, tuple[int, ...]]:
    """Shapes without the batch, by the inputs' names, which are told in any of three ways."""
    shapes = [shape.dim for shape in net.input_shape]
    shapes = shapes or [net.input_dim[start : start + 4] for start in range(0, len(net.input_dim), 4)]
    told = list(zip(net.input, shapes, strict=False))
    for layer in filter(_is_tested, net.layer):
        if layer.type == "Input":
            shapes = [shape.dim for shape in layer.input_param.shape]
            told += zip(layer.top, shapes * len(layer.top) if len(shapes) == 1 else shapes, strict=False)
    if not told:
        raise ModelError("the network tells of no input with its shape")
    return {name: tuple(shape[1:]) for name, shape in told}


def _add_caffe_layer(
    network: Any, layer: Any, tensors: Mapping[str, Any], trained: Mapping[str, Any], kept: list[np.ndarray]
) -> Any:
    """What becomes the layer's top. Raises ValueError, RuntimeError or ArithmeticError for a layer that cannot be."""
    add = {
        "BatchNorm": _batch_norm,
        "Concat": _concat,
        "Convolution": _convolution,
        "Dropout": lambda network, layer, bottoms, blobs, kept: network.add_identity(bottoms[0]),  # training scaled
        "Eltwise": _eltwise,
        "InnerProduct": _inner_product,
        "LRN": _lrn,
        "Pooling": _pooling,
        "ReLU": _relu,
        "Scale": _scale,
        "Softmax": _softmax,
    }
    if layer.type not in add:
        raise ValueError("its type is not known here")
    if not layer.bottom or len(layer.top) != 1:
        raise ValueError("it should have bottoms and one top")
    if missing := [name for name in layer.bottom if name not in tensors]:
        raise ValueError(f"no layer before it makes its bottom {missing[0]!r}")
    bottoms = [tensors[name] for name in layer.bottom]
    added = add[layer.type](network, layer, bottoms, trained.get(layer.name, ()), kept)
    if added is None:
        raise ValueError("TensorRT takes no such layer")
    added.name, tensor = layer.name, added.get_output(0)
    len(tensor.shape)  # raises where TensorRT cannot tell it
    return tensor


def _weights(blobs: Sequence[Any], kept: list[np.ndarray], *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """A layer's blobs as arrays of these shapes. Raises ValueError where they are others."""
    if len(blobs) != len(shapes):
        raise ValueError(f"it needs {len(shapes)} blobs, the caffemodel has {len(blobs)}")
    for blob, shape in zip(blobs, shapes, strict=True):
        values = np.array(blob.double_data or blob.data, np.float32)
        old = (blob.num, blob.channels, blob.height, blob.width)  # with ones in front
        found, wanted = (blob.shape.dim, shape) if blob.HasField("shape") else (old, (1,) * (4 - len(shape)) + shape)
        if tuple(found) != wanted or values.size != math.prod(shape):
            raise ValueError(f"it needs a blob of shape {wanted}, found are {values.size} values as {tuple(found)}")
        kept.append(values.reshape(shape))
    return kept[len(kept) - len(shapes) :]


def _constant(network: Any, values: Any, shape: Sequence[int], kept: list[np.ndarray]) -> Any:
    kept.append(np.ascontiguousarray(values, np.float32).reshape(shape))
    return network.add_constant(kept[-1].shape, kept[-1]).get_output(0)


def _joined(network: Any, operation: str, first: Any, second: Any) -> Any:
    return network.add_elementwise(first, second, getattr(trt.ElementWiseOperation, operation))


def _affine(network: Any, x: Any, gain: Any, shift: Any, kept: list[np.ndarray]) -> Any:
    """x * gain + shift, for each channel: axis 1."""
    shape = (1, -1, *(1,) * (len(x.shape) - 2))
    scaled = _joined(network, "PROD", x, _constant(network, gain, shape, kept))
    return _joined(network, "SUM", scaled.get_output(0), _constant(network, shift, shape, kept))


def _pair(given: Any, name: str) -> tuple[int, int]:
    """Height and width of what is given as name_h and name_w, or by its own name: once or, for convolutions, twice."""
    height, width = (f"{name.removesuffix('_size')}_{side}" for side in "hw")
    told = {field.name for field, _ in given.ListFields()}
    if height in told or width in told:
        return getattr(given, height), getattr(given, width)
    values = getattr(given, name)
    values = [values] if isinstance(values, int) else list(values) or [0 if name == "pad" else 1]
    return values[0], values[-1]


def _convolution(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    (x,), given = bottoms, layer.convolution_param
    window, maps = _pair(given, "kernel_size"), given.num_output
    shapes = [(maps, x.shape[1] // given.group, *window), (maps,)]
    weights = _weights(blobs, kept, *shapes[: 1 + given.bias_term])
    added = network.add_convolution_nd(x, maps, window, *weights)
    added.num_groups, added.padding_nd = given.group, _pair(given, "pad")
    added.stride_nd, added.dilation_nd = _pair(given, "stride"), _pair(given, "dilation")
    return added


def _pooling(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    """Caffe rounds up, so that windows overhang, unless the last would start behind the image and its first padding.

    It averages over the part of a window within the padded image: padding counts, and what overhangs does not.
    """
    (x,), given = bottoms, layer.pooling_param
    kinds = {given.MAX: trt.PoolingType.MAX, given.AVE: trt.PoolingType.AVERAGE}
    if given.pool not in kinds:
        raise ValueError("stochastic pooling is not known here")
    size = tuple(x.shape)[2:]
    window, pad, stride = (_pair(given, name) for name in ("kernel_size", "pad", "stride"))
    if given.global_pooling:
        window, pad, stride = size, (0, 0), (1, 1)
    after = []
    for n, k, p, s in zip(size, window, pad, stride, strict=True):
        steps = (math.floor if given.round_mode == given.FLOOR else math.ceil)((n + 2 * p - k) / s)
        if any(pad) and steps * s >= n + p:
            steps -= 1
        after.append(max(steps * s + k - n - p, 0))  # with this much behind the image, rounding down gives that many
    if given.pool == given.AVE and any(pad):  # the padding becomes a part of the image
        x = network.add_padding_nd(x, pad, pad).get_output(0)
        pad, after = (0, 0), [max(end - p, 0) for end, p in zip(after, pad, strict=True)]
    added = network.add_pooling_nd(x, kinds[given.pool], window)
    added.stride_nd, added.pre_padding, added.post_padding = stride, pad, tuple(after)
    added.average_count_excludes_padding = True
    return added


def _inner_product(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    (x,), given = bottoms, layer.inner_product_param
    axis = given.axis % len(x.shape)
    inputs, outputs = math.prod(tuple(x.shape)[axis:]), given.num_output
    shapes = [(inputs, outputs) if given.transpose else (outputs, inputs), (outputs,)]
    matrix, *bias = _weights(blobs, kept, *shapes[: 1 + given.bias_term])
    flat = network.add_shuffle(x)
    flat.reshape_dims = (0,) * axis + (inputs,)
    ones = (1,) * (axis - 1)
    kind = trt.MatrixOperation.NONE if given.transpose else trt.MatrixOperation.TRANSPOSE
    matrix = _constant(network, matrix, (*ones, *matrix.shape), kept)
    added = network.add_matrix_multiply(flat.get_output(0), trt.MatrixOperation.NONE, matrix, kind)
    if not bias:
        return added
    return _joined(network, "SUM", added.get_output(0), _constant(network, bias, (*ones, 1, outputs), kept))


def _relu(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    slope = layer.relu_param.negative_slope
    added = network.add_activation(bottoms[0], trt.ActivationType.LEAKY_RELU if slope else trt.ActivationType.RELU)
    added.alpha = slope
    return added


def _lrn(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    """x / (k + alpha * the mean of the squares around it) ^ beta. Within channels, Caffe takes 1 for k."""
    (x,), given = bottoms, layer.lrn_param
    if given.norm_region == given.ACROSS_CHANNELS:
        return network.add_lrn(x, given.local_size, given.alpha, given.beta, given.k)
    square = _joined(network, "PROD", x, x).get_output(0)
    mean = network.add_pooling_nd(square, trt.PoolingType.AVERAGE, (given.local_size,) * 2)
    mean.padding_nd = (given.local_size // 2,) * 2
    mean.average_count_excludes_padding = False
    scalars = [np.array([value], np.float32) for value in (1, given.alpha, -given.beta)]
    kept += scalars
    factor = network.add_scale(mean.get_output(0), trt.ScaleMode.UNIFORM, *scalars)  # (x * scale + shift) ^ power
    return _joined(network, "PROD", x, factor.get_output(0))


def _batch_norm(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    """The blobs are sums of a moving average, and, third, the weight that they are to be divided by."""
    (x,), given = bottoms, layer.batch_norm_param
    if given.HasField("use_global_stats") and not given.use_global_stats:
        raise ValueError("it asks for the statistics of each batch")
    mean, variance, weight = _weights(blobs, kept, (x.shape[1],), (x.shape[1],), (1,))
    factor = 1 / weight[0] if weight[0] else 0
    gain = 1 / np.sqrt(variance * factor + given.eps)
    return _affine(network, x, gain, -mean * factor * gain, kept)


def _scale(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    given = layer.scale_param
    if len(bottoms) != 1 or given.axis != 1 or given.num_axes != 1:
        raise ValueError("only a scale for each channel, from the caffemodel, is known here")
    (x,) = bottoms
    gain, *bias = _weights(blobs, kept, *[(x.shape[1],)] * (1 + given.bias_term))
    return _affine(network, x, gain, bias[0] if bias else 0 * gain, kept)


def _eltwise(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    given = layer.eltwise_param
    shapes = [tuple(bottom.shape) for bottom in bottoms]
    if len(bottoms) < 2 or len(set(shapes)) > 1:
        raise ValueError(f"its bottoms are {shapes}: it takes two or more, of one shape")
    if given.coeff and (given.operation != given.SUM or len(given.coeff) != len(bottoms)):
        raise ValueError("it takes a coefficient for each bottom, and only of a sum")
    ones = (1,) * len(shapes[0])
    for number, value in enumerate(given.coeff):
        factor = _constant(network, value, ones, kept)
        bottoms[number] = _joined(network, "PROD", bottoms[number], factor).get_output(0)
    added, operation = None, given.EltwiseOp.Name(given.operation)  # TensorRT has the same names
    for bottom in bottoms[1:]:
        added = _joined(network, operation, added.get_output(0) if added else bottoms[0], bottom)
    return added


def _concat(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    given = layer.concat_param
    added = network.add_concatenation(bottoms)
    added.axis = (given.concat_dim if given.HasField("concat_dim") else given.axis) % len(bottoms[0].shape)
    return added


def _softmax(network: Any, layer: Any, bottoms: Sequence[Any], blobs: Any, kept: list[np.ndarray]) -> Any:
    added = network.add_softmax(bottoms[0])
    added.axes = 1 << layer.softmax_param.axis % len(bottoms[0].shape)
    return added


# -- ONNX


def _read_onnx(path: str) -> onnx.ModelProto:
    """A model of which all operators are ONNX's own, and all tensors come from somewhere."""
    try:
        model = onnx.load(path)
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path} is no ONNX file that can be read: {error}") from error
    if not model.graph.node:
        raise ModelError(f"{path} holds no graph: was it cut off?")
    known = {tensor.name for tensor in (*model.graph.input, *model.graph.initializer)} | {""}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type):
            raise ModelError(f"{path}: {node.domain or 'ONNX'} {node.op_type} (node {node.name!r}) is not known here")
        for name in node.input:
            if name not in known:
                raise ModelError(f"{path}: nothing provides the input {name!r} of {node.op_type} (node {node.name!r})")
        known.update(node.output)
    return model


def _in_float32(graph: onnx.GraphProto) -> None:
    """Every float64 of weights, constants, casts, inputs and outputs."""
    double, single = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT
    del graph.value_info[:]
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    for tensor in [*graph.initializer, *(a.t for a in attributes if a.type == onnx.AttributeProto.TENSOR)]:
        if tensor.data_type == double:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for attribute in attributes:
        if attribute.name in ("to", "dtype") and attribute.i == double:
            attribute.i = single
    for tensor in (*graph.input, *graph.output):
        if tensor.type.tensor_type.elem_type == double:
            tensor.type.tensor_type.elem_type = single


def _open_batch(model: onnx.ModelProto) -> None:
    """Where the inputs have a fixed batch: opens it, and the shapes that follow from it."""
    graph = model.graph
    constant = _constants(graph)
    inputs = [tensor for tensor in graph.input if tensor.name not in constant]
    if not any(dims[0].dim_value for tensor in inputs if (dims := _dims(tensor))):
        return
    shapes = {tensor.name: [d.dim_value for d in _dims(tensor)] for tensor in _inferred(model)}
    nodes = list(graph.node)
    for node in graph.node:
        if node.op_type not in ("Reshape", "Expand") or node.input[1] not in constant:
            continue
        if not (shape := shapes.get(node.output[0])):
            raise ModelError(f"the batch of {node.op_type} (node {node.name!r}) cannot be opened: no shape is known")
        rest = np.array(shape[1:], np.int64)
        if node.op_type == "Reshape":  # all others are known, so the first can be left to the number of elements
            name = _added(graph, np.array([-1, *rest], np.int64))
        else:
            name, added = _batch_and(graph, inputs[0].name, rest)
            nodes[:0] = added
        node.input[1] = name
    del graph.node[:]
    graph.node.extend(nodes)
    for tensor in (*inputs, *graph.output):
        _dims(tensor)[0].dim_param = "batch"


def _batch_and(graph: onnx.GraphProto, given: str, rest: np.ndarray) -> tuple[str, list[onnx.NodeProto]]:
    """The name of [batch of the input, *rest], and the nodes that compute it."""
    first, last, others = (_added(graph, np.array(value, np.int64)) for value in ([0], [1], rest))
    name = f"{others}_with_batch"
    return name, [
        onnx.helper.make_node("Shape", [given], [f"{name}_0"]),
        onnx.helper.make_node("Slice", [f"{name}_0", first, last], [f"{name}_1"]),
        onnx.helper.make_node("Concat", [f"{name}_1", others], [name], axis=0),
    ]


def _in_opset_17(model: onnx.ModelProto) -> None:
    """Node by node. Most operators changed only in the types that they take: those need nothing."""
    graph, opset = model.graph, max((o.version for o in model.opset_import), default=1)
    model.ir_version = min(model.ir_version, 8)
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", 17))
    if opset <= 17:
        return
    constant = _constants(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Gelu":
            nodes += _gelu(graph, node)
            continue
        if node.op_type == "Split":  # into equal parts, as it does without being told
            _drop(node, "num_outputs")
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum" and len(node.input) > 1:
            if (axes := constant.get(node.input.pop())) is None:
                raise ModelError(f"{node.op_type} (node {node.name!r}) computes its axes: opset 17 wants numbers")
            node.attribute.append(onnx.helper.make_attribute("axes", axes.tolist()))
            _drop(node, "noop_with_empty_axes")
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _gelu(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Gelu (Hendrycks and Gimpel 2016) of nodes that opset 17 has, exact or approximated as the node says."""
    (x,), (result,) = node.input, node.output
    half, one, narrow, cube, wide = (
        _added(graph, np.array(value, np.float32)) for value in (0.5, 1, np.sqrt(0.5), 0.044715, np.sqrt(2 / np.pi))
    )
    steps = iter(range(100))

    def made(kind: str, *inputs: str, to: str = "") -> str:
        output = to or f"{result}_{next(steps)}"
        nodes.append(onnx.helper.make_node(kind, inputs, [output]))
        return output

    nodes: list[onnx.NodeProto] = []
    if any(a.name == "approximate" and a.s == b"tanh" for a in node.attribute):
        cubic = made("Mul", made("Mul", made("Mul", x, x), x), cube)
        inner = made("Tanh", made("Mul", made("Add", x, cubic), wide))
    else:
        inner = made("Erf", made("Mul", x, narrow))
    made("Mul", made("Mul", x, half), made("Add", inner, one), to=result)
    return nodes


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return {name: onnx.numpy_helper.to_array(tensor) for name, tensor in found.items()}


def _dims(tensor: onnx.ValueInfoProto) -> Any:
    return tensor.type.tensor_type.shape.dim


def _inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return [*graph.value_info, *graph.output]


def _added(graph: onnx.GraphProto, value: np.ndarray) -> str:
    """Adds a constant, and gives it a name that nothing has."""
    name = f"repaired_{len(graph.initializer)}"
    graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return name


def _drop(node: onnx.NodeProto, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
