"""A network's layers come as TensorRT gives them: bare, until somebody sets their class."""

from __future__ import annotations

from tests.twin.harness import Twin
from tests.twin.plans import onnx_relu

_PROGRAM = """
builder = trt.Builder(LOGGER)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, LOGGER)
assert parser.parse(bytes.fromhex(args[0])), parser.get_error(0)
layer = next(l for l in map(network.get_layer, range(network.num_layers)) if l.type == trt.LayerType.ACTIVATION)
assert type(layer) is trt.ILayer and not hasattr(layer, "alpha")
layer.__class__ = trt.IActivationLayer
assert layer.type == trt.ActivationType.RELU
layer.alpha = 0.5

made = network.add_activation(network.get_input(0), trt.ActivationType.TANH)
assert type(made) is trt.IActivationLayer and made.type == trt.ActivationType.TANH
again = network.get_layer(network.num_layers - 1)
assert type(again) is trt.ILayer and again.type == trt.LayerType.ACTIVATION and again.name == made.name
assert network.get_layer(network.num_layers) is None
"""


def test_a_layer_is_bare_until_its_class_is_set(twin: Twin) -> None:
    twin(_PROGRAM, onnx_relu().hex()).clean()
