"""Networks of one layer, written as a candidate writes them: this file is run like an answer, on any tier."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorrt as trt

#: The enumeration of a layer's attribute, or of an argument; rows give the member's name.
_ENUMS = {
    "padding_mode": trt.PaddingMode,
    "pooling": trt.PoolingType,
    "mode": trt.ScaleMode,
    "operation": trt.ElementWiseOperation,
    "unary": trt.UnaryOperation,
    "reduction": trt.ReduceOperation,
    "op0": trt.MatrixOperation,
    "op1": trt.MatrixOperation,
    "activation": trt.ActivationType,
    "resize_mode": trt.InterpolationMode,
    "coordinate_transformation": trt.ResizeCoordinateTransformation,
    "nearest_rounding": trt.ResizeRoundMode,
}


def build(
    kind: str, attributes: dict[str, Any], shapes: list[list[int]], arrays: dict[str, np.ndarray], dynamic: bool
) -> bytes:
    """A float32 plan without TF32: inputs x0, x1, ... of these shapes, output y.

    Args:
        kind: a function below, without its underscore.
        attributes: of the layer and its add_ method; a list is a shape, a text an enumeration's member.
        shapes: of the inputs. ``dynamic`` declares their first axes as -1, with a profile from 1 to 4.
        arrays: weights and constants, float32 or int32.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    inputs = []
    for number, shape in enumerate(shapes):
        declared = [-1 if dynamic and axis == 0 else size for axis, size in enumerate(shape)]
        inputs.append(network.add_input(f"x{number}", trt.DataType.FLOAT, declared))
        if dynamic:
            profile.set_shape(f"x{number}", (1, *shape[1:]), tuple(shape), (4, *shape[1:]))
    if dynamic:
        config.add_optimization_profile(profile)
    given = {name: _value(name, value) for name, value in attributes.items()}
    layer = globals()[f"_{kind}"](network, inputs, given, arrays)
    layer.get_output(0).name = "y"
    network.mark_output(layer.get_output(0))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("the builder refuses this network")
    return bytes(plan)


def _value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return getattr(_ENUMS[name], value) if isinstance(value, str) else value


def _set(layer: Any, attributes: dict[str, Any]) -> Any:
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


def _weights(arrays: dict[str, np.ndarray], name: str) -> trt.Weights:
    return trt.Weights(arrays[name]) if name in arrays else trt.Weights()


def _constant(network: Any, array: np.ndarray) -> Any:
    return network.add_constant(array.shape, trt.Weights(array)).get_output(0)


def _convolution(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    maps, _, *size = arrays["kernel"].shape
    kernel, bias = _weights(arrays, "kernel"), _weights(arrays, "bias")
    return _set(network.add_convolution_nd(inputs[0], maps, size, kernel, bias), attributes)


def _deconvolution(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    _, per_group, *size = arrays["kernel"].shape
    maps = per_group * attributes.get("num_groups", 1)
    kernel, bias = _weights(arrays, "kernel"), _weights(arrays, "bias")
    return _set(network.add_deconvolution_nd(inputs[0], maps, size, kernel, bias), attributes)


def _pooling(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    layer = network.add_pooling_nd(inputs[0], attributes.pop("pooling"), attributes.pop("window"))
    return _set(layer, attributes)


def _padding(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return network.add_padding_nd(inputs[0], attributes["pre"], attributes["post"])


def _lrn(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return network.add_lrn(inputs[0], *(attributes[name] for name in ("window", "alpha", "beta", "k")))


def _scale(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    steps = [_weights(arrays, name) for name in ("shift", "scale", "power")]
    return network.add_scale_nd(inputs[0], attributes["mode"], *steps, attributes["axis"])


def _softmax(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return _set(network.add_softmax(inputs[0]), attributes)


def _product(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    right = _constant(network, arrays["right"]) if "right" in arrays else inputs[1]
    return network.add_matrix_multiply(inputs[0], attributes["op0"], right, attributes["op1"])


def _elementwise(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    right = _constant(network, arrays["right"]) if "right" in arrays else inputs[1]
    return network.add_elementwise(inputs[0], right, attributes["operation"])


def _unary(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return network.add_unary(inputs[0], attributes["unary"])


def _activation(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return _set(network.add_activation(inputs[0], attributes.pop("activation")), attributes)


def _prelu(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return network.add_parametric_relu(inputs[0], _constant(network, arrays["slopes"]))


def _concatenation(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return _set(network.add_concatenation(inputs), attributes)


def _reduce(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    mask = sum(1 << axis for axis in attributes["axes"])
    return network.add_reduce(inputs[0], attributes["reduction"], mask, attributes["keep"])


def _shuffle(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return _set(network.add_shuffle(inputs[0]), attributes)


def _slice(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return network.add_slice(inputs[0], attributes["start"], attributes["shape"], attributes["stride"])


def _cut(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """A slice of every image of any batch: the batch comes from the input's shape, which is INT64 in TensorRT 10."""
    batch = network.add_slice(network.add_shape(inputs[0]).get_output(0), (0,), (1,), (1,)).get_output(0)
    size = network.add_concatenation([batch, _constant(network, np.array(attributes["size"], np.int64))])
    layer = network.add_slice(inputs[0], (0, *attributes["start"]), (0, *attributes["size"]), (1, 1, 1, 1))
    layer.set_input(2, size.get_output(0))
    return layer


def _gather(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return network.add_gather(inputs[0], _constant(network, arrays["indices"]), attributes["axis"])


def _select(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """The larger of both inputs, as a comparison and a selection."""
    larger = network.add_elementwise(*inputs, trt.ElementWiseOperation.GREATER).get_output(0)
    return network.add_select(larger, *inputs)


def _resize(network: Any, inputs: list[Any], attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    return _set(network.add_resize(inputs[0]), attributes)
