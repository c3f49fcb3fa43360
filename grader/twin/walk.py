"""Reads a TensorRT network back, layer by layer, and writes it as ONNX for the executor.

The walk sees only what the builder sees: it works alike for networks from the parser, from the
network API, and from both.
"""

from __future__ import annotations

from collections.abc import Iterator

import tensorrt_rtx as trt

from .layers import LAYERS, Graph, Unsupported
from .layers.control import write_all
from .layers.graph import layer_type, refuse
from .plan import IOTensor, LayerInfo

#: LayerType -> class. ``get_layer`` returns a bare ILayer; setting ``__class__`` gives it its attributes.
_CLASS = {
    trt.LayerType.CONVOLUTION: trt.IConvolutionLayer,
    trt.LayerType.DECONVOLUTION: trt.IDeconvolutionLayer,
    trt.LayerType.POOLING: trt.IPoolingLayer,
    trt.LayerType.PADDING: trt.IPaddingLayer,
    trt.LayerType.ACTIVATION: trt.IActivationLayer,
    trt.LayerType.ELEMENTWISE: trt.IElementWiseLayer,
    trt.LayerType.UNARY: trt.IUnaryLayer,
    trt.LayerType.SCALE: trt.IScaleLayer,
    trt.LayerType.PARAMETRIC_RELU: trt.IParametricReLULayer,
    trt.LayerType.SELECT: trt.ISelectLayer,
    trt.LayerType.CAST: trt.ICastLayer,
    trt.LayerType.IDENTITY: trt.IIdentityLayer,
    trt.LayerType.MATRIX_MULTIPLY: trt.IMatrixMultiplyLayer,
    trt.LayerType.EINSUM: trt.IEinsumLayer,
    trt.LayerType.REDUCE: trt.IReduceLayer,
    trt.LayerType.SOFTMAX: trt.ISoftMaxLayer,
    trt.LayerType.TOPK: trt.ITopKLayer,
    trt.LayerType.CUMULATIVE: trt.ICumulativeLayer,
    trt.LayerType.NORMALIZATION: trt.INormalizationLayer,
    trt.LayerType.LRN: trt.ILRNLayer,
    trt.LayerType.SHUFFLE: trt.IShuffleLayer,
    trt.LayerType.SLICE: trt.ISliceLayer,
    trt.LayerType.CONCATENATION: trt.IConcatenationLayer,
    trt.LayerType.SHAPE: trt.IShapeLayer,
    trt.LayerType.GATHER: trt.IGatherLayer,
    trt.LayerType.SCATTER: trt.IScatterLayer,
    trt.LayerType.REVERSE_SEQUENCE: trt.IReverseSequenceLayer,
    trt.LayerType.GRID_SAMPLE: trt.IGridSampleLayer,
    trt.LayerType.SQUEEZE: trt.ISqueezeLayer,
    trt.LayerType.UNSQUEEZE: trt.IUnsqueezeLayer,
    trt.LayerType.RESIZE: trt.IResizeLayer,
    trt.LayerType.CONSTANT: trt.IConstantLayer,
    trt.LayerType.FILL: trt.IFillLayer,
    trt.LayerType.ONE_HOT: trt.IOneHotLayer,
    trt.LayerType.NON_ZERO: trt.INonZeroLayer,
    trt.LayerType.QUANTIZE: trt.IQuantizeLayer,
    trt.LayerType.DEQUANTIZE: trt.IDequantizeLayer,
    trt.LayerType.TRIP_LIMIT: trt.ITripLimitLayer,
    trt.LayerType.ITERATOR: trt.IIteratorLayer,
    trt.LayerType.RECURRENCE: trt.IRecurrenceLayer,
    trt.LayerType.LOOP_OUTPUT: trt.ILoopOutputLayer,
    trt.LayerType.CONDITION: trt.IConditionLayer,
    trt.LayerType.CONDITIONAL_INPUT: trt.IIfConditionalInputLayer,
    trt.LayerType.CONDITIONAL_OUTPUT: trt.IIfConditionalOutputLayer,
    trt.LayerType.ASSERTION: trt.IAssertionLayer,
    trt.LayerType.DYNAMIC_QUANTIZE: trt.IDynamicQuantizeLayer,
    trt.LayerType.RAGGED_SOFTMAX: trt.IRaggedSoftMaxLayer,
    trt.LayerType.ATTENTION_INPUT: trt.IAttentionInputLayer,
    trt.LayerType.ATTENTION_OUTPUT: trt.IAttentionOutputLayer,
    trt.LayerType.ROTARY_EMBEDDING: trt.IRotaryEmbeddingLayer,
    trt.LayerType.KV_CACHE_UPDATE: trt.IKVCacheUpdateLayer,
    trt.LayerType.NMS: trt.INMSLayer,
    trt.LayerType.MOE: trt.IMoELayer,
    trt.LayerType.DIST_COLLECTIVE: trt.IDistCollectiveLayer,
}


def walk(network: trt.INetworkDefinition) -> bytes:
    """The network as a serialized ONNX model. Raises Unsupported, naming the layer."""
    graph = Graph()
    layers = [as_own_class(network.get_layer(index)) for index in range(network.num_layers)]

    def translate(layer: trt.ILayer) -> None:
        known = LAYERS.get(layer_type(layer))
        if known is None:
            raise Unsupported(f"the twin cannot run layer {layer.name!r}: it has no {layer_type(layer).name} yet")
        known(layer, graph)
        graph.declare(layer)

    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    write_all(graph, layers, [tensor.name for tensor in outputs], translate)
    return graph.model(network.name, inputs, outputs).SerializeToString()


def refuse_what_crashes(network: trt.INetworkDefinition) -> None:
    """Raises Unsupported for what would end this process in the builder, not only its build."""
    layers = [as_own_class(network.get_layer(index)) for index in range(network.num_layers)]
    counted = [a.loop for a in layers if layer_type(a) == trt.LayerType.TRIP_LIMIT and a.kind == trt.TripLimit.COUNT]
    for layer in layers:
        if layer_type(layer) == trt.LayerType.ITERATOR and layer.reverse and layer.loop not in counted:
            raise refuse(layer, "it iterates in reverse, in a loop without a trip limit of kind COUNT")


def as_own_class(layer: trt.ILayer) -> trt.ILayer:
    """``layer`` with the class of its type, as TensorRT's own samples do it."""
    layer.__class__ = _CLASS.get(layer_type(layer), trt.ILayer)
    return layer


def io_tensors(network: trt.INetworkDefinition) -> tuple[IOTensor, ...]:
    """Inputs, then outputs, in the network's order."""
    found = []
    for is_input, count, get in (
        (True, network.num_inputs, network.get_input),
        (False, network.num_outputs, network.get_output),
    ):
        for index in range(count):
            tensor = get(index)
            is_shape = is_input and tensor.is_shape_tensor
            found.append(IOTensor(tensor.name, tensor.dtype.name, tuple(tensor.shape), is_input, is_shape))
    return tuple(found)


def layer_infos(network: trt.INetworkDefinition) -> tuple[LayerInfo, ...]:
    """Name, type and output type of every layer."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    return tuple(
        LayerInfo(a.name, layer_type(a).name, a.get_output_type(0).name if a.num_outputs else "") for a in layers
    )


def all_names(network: trt.INetworkDefinition) -> Iterator[str]:
    """Every name that the network gives: of tensors and layers, and the layers' metadata."""
    yield from (network.get_input(i).name for i in range(network.num_inputs))
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        yield from (layer.name, layer.metadata)
        yield from (out.name for i in range(layer.num_outputs) if (out := layer.get_output(i)) is not None)
