"""ONNX models through TensorRT's parser and the walk, against ONNX Runtime on the model itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tensorrt_rtx as trt
from onnx import TensorProto, helper, numpy_helper

from grader.twin.layers import Unsupported
from grader.twin.walk import as_own_class, layer_infos, walk
from tests.twin.networks import agree, build, execute, make, parse


class Model:
    """An ONNX model being written, of opset 17: nodes in order, weights drawn when first named."""

    def __init__(self, dtype: type = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self._random = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes):
        names = [f"t{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def put(self, values, dtype: type | None = None) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.array(values, dtype or self.dtype), name))
        return name

    def ints(self, *values: int) -> str:
        return self.put(values, np.int64)

    def normal(self, *shape: int) -> str:
        return self.put(self._random.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5)

    def conv(self, x: str, channels: int, maps: int, size: int = 3, **attributes) -> str:
        group = attributes.get("group", 1)
        kernel = self.normal(maps, channels // group, size, size)
        return self.op("Conv", x, kernel, self.normal(maps), kernel_shape=[size, size], **attributes)

    def finish(self, inputs: dict[str, np.ndarray], outputs: Sequence[str], free: dict[str, Sequence[int]]) -> bytes:
        given = [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(array.dtype),
                [f"free{axis}" if axis in free.get(name, ()) else size for axis, size in enumerate(array.shape)],
            )
            for name, array in inputs.items()
        ]
        results = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(self._nodes, "model", given, results, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        model = onnx.shape_inference.infer_shapes(model)
        known = {info.name: info for info in model.graph.value_info}
        for index, name in enumerate(outputs):
            if name in known:
                model.graph.output[index].CopyFrom(known[name])
        onnx.checker.check_model(model)
        return model.SerializeToString()


def compare(
    model: Model,
    inputs: dict[str, np.ndarray],
    outputs: str | Sequence[str],
    free: dict[str, Sequence[int]] | None = None,
    tolerance: float | None = None,
) -> None:
    """The walked network gives what ONNX Runtime gives for the model it was parsed from."""
    outputs = [outputs] if isinstance(outputs, str) else outputs
    written = model.finish(inputs, outputs, {"x": (0,)} if free is None else free)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    expected = ort.InferenceSession(written, options, providers=["CPUExecutionProvider"]).run(outputs, inputs)
    network = parse(written)
    build(network, inputs)
    results = execute(network, inputs)
    for name, wanted in zip(outputs, expected, strict=True):
        assert results[name].dtype == wanted.dtype
        agree(results[name], wanted, tolerance)


def image(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_convolution_batch_norm_and_relu(dtype: type) -> None:
    m = Model(dtype)
    y = m.conv("x", 3, 8, pads=[1, 1, 1, 1], strides=[2, 2])
    ones = m.put(np.linspace(0.5, 1.5, 8))
    y = m.op("BatchNormalization", y, ones, m.normal(8), m.normal(8), ones, epsilon=1e-3)
    compare(m, {"x": image(2, 3, 9, 9, dtype=dtype)}, m.op("Relu", y))


@pytest.mark.parametrize("batch", [1, 5])
def test_a_perceptron_of_gemms(batch: int) -> None:
    m = Model()
    y = m.op("Relu", m.op("Gemm", "x", m.normal(16, 8), m.normal(16), transB=1))
    y = m.op("Gemm", y, m.normal(16, 4), m.normal(4), alpha=0.5, beta=2.0)
    compare(m, {"x": image(batch, 8)}, m.op("Softmax", y, axis=-1))


def test_a_residual_block() -> None:
    m = Model()
    y = m.op("Relu", m.conv("x", 4, 4, pads=[1, 1, 1, 1]))
    y = m.conv(y, 4, 4, pads=[1, 1, 1, 1])
    compare(m, {"x": image(2, 4, 6, 6)}, m.op("Relu", m.op("Add", y, "x")))


def test_depthwise_separable_convolutions_with_relu6() -> None:
    m = Model()
    y = m.conv("x", 6, 6, group=6, auto_pad="SAME_UPPER", strides=[2, 2])
    y = m.op("Clip", y, m.put(0.0), m.put(6.0))
    y = m.op("Clip", m.conv(y, 6, 12, size=1), m.put(0.0), m.put(6.0))
    compare(m, {"x": image(2, 6, 8, 8) * 5}, y)


@pytest.mark.parametrize("ceil", [0, 1])
def test_pools_of_each_kind(ceil: int) -> None:
    m = Model()
    y = m.op("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=ceil)
    y = m.op("AveragePool", y, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1], count_include_pad=1)
    y = m.op("AveragePool", y, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=ceil)
    flat = m.op("Flatten", m.op("GlobalAveragePool", y))
    compare(m, {"x": image(2, 3, 16, 14)}, [y, flat, m.op("GlobalMaxPool", y)])


@pytest.mark.parametrize("batch", [1, 3])
def test_attention_with_a_dynamic_batch_and_length(batch: int) -> None:
    m, length, heads, width = Model(), 5, 2, 4
    shape = m.op("Shape", "x")
    of_batch, of_length = (m.op("Slice", shape, m.ints(i), m.ints(i + 1)) for i in range(2))
    split = m.op("Concat", of_batch, of_length, m.ints(heads, width), axis=0)

    def heads_of(x: str, order: list[int]) -> str:
        projected = m.op("Add", m.op("MatMul", x, m.normal(8, 8)), m.normal(8))
        return m.op("Transpose", m.op("Reshape", projected, split), perm=order)

    scores = m.op("MatMul", heads_of("x", [0, 2, 1, 3]), heads_of("x", [0, 2, 3, 1]))
    weights = m.op("Softmax", m.op("Div", scores, m.put(2.0)), axis=-1)
    mixed = m.op("Transpose", m.op("MatMul", weights, heads_of("x", [0, 2, 1, 3])), perm=[0, 2, 1, 3])
    y = m.op("Reshape", mixed, m.ints(0, 0, heads * width))
    compare(m, {"x": image(batch, length, 8)}, y, {"x": (0, 1)})


def test_layer_normalisation_from_its_parts() -> None:
    m = Model()
    centred = m.op("Sub", "x", m.op("ReduceMean", "x", axes=[-1]))
    variance = m.op("ReduceMean", m.op("Pow", centred, m.put(2.0)), axes=[-1])
    y = m.op("Div", centred, m.op("Sqrt", m.op("Add", variance, m.put(1e-5))))
    compare(m, {"x": image(2, 5, 8)}, m.op("Add", m.op("Mul", y, m.normal(8)), m.normal(8)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-5), (np.float16, 1e-2)])
def test_layer_and_instance_normalisation(dtype: type, tolerance: float) -> None:
    m = Model(dtype)
    y = m.op("InstanceNormalization", "x", m.normal(4), m.normal(4), epsilon=1e-4)
    y = m.op("LayerNormalization", y, m.normal(6), m.normal(6), axis=-1)
    # ONNX Runtime 1.23's own LayerNormalization is off by 1.3e-5 here.
    compare(m, {"x": image(2, 4, 5, 6, dtype=dtype)}, y, tolerance=tolerance)


def test_split_and_concatenation() -> None:
    m = Model()
    a, b, c = m.op("Split", "x", m.ints(1, 2, 3), outputs=3, axis=1)
    compare(m, {"x": image(2, 6, 4)}, m.op("Concat", c, m.op("Neg", a), b, axis=1))


@pytest.mark.parametrize(
    ("mode", "how"), [("nearest", "asymmetric"), ("linear", "half_pixel"), ("cubic", "half_pixel")]
)
def test_resizing_by_scales(mode: str, how: str) -> None:
    m = Model()
    scales = m.put([1, 1, 2, 2], np.float32)
    attributes = {"nearest_mode": "floor"} if mode == "nearest" else {}
    y = m.op("Resize", "x", "", scales, mode=mode, coordinate_transformation_mode=how, **attributes)
    compare(m, {"x": image(2, 3, 4, 5)}, m.conv(y, 3, 2))


def test_resizing_to_sizes_that_begin_with_a_part_of_a_shape() -> None:
    """PyTorch writes this for a fixed size and any batch: batch and channels are cut out of the input's shape."""
    m = Model()
    kept = m.op("Slice", m.op("Shape", "x"), m.ints(0), m.ints(2), m.ints(0))
    sizes = m.op("Concat", kept, m.ints(9, 7), axis=0)
    y = m.op("Resize", "x", "", "", sizes, mode="linear", coordinate_transformation_mode="align_corners")
    compare(m, {"x": image(2, 3, 5, 4)}, y)


def test_resizing_to_the_size_of_another_tensor() -> None:
    m = Model()
    skip = m.op("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])
    y = m.op("Resize", skip, "", "", m.op("Shape", "x"), mode="linear", coordinate_transformation_mode="align_corners")
    compare(m, {"x": image(2, 3, 6, 8)}, m.op("Add", y, "x"), {"x": (0, 2, 3)})


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_an_embedding_with_positions(dtype: type) -> None:
    m = Model()
    words = m.op("Gather", m.normal(11, 6), "x")
    length = m.op("Gather", m.op("Shape", "x"), m.put(1, np.int64))
    places = m.op("Range", m.put(0, np.int64), length, m.put(1, np.int64))
    y = m.op("Add", words, m.op("Gather", m.normal(9, 6), places))
    compare(m, {"x": np.array([[1, 0, 10, 4], [2, 2, 9, 3]], dtype)}, y, {"x": (0, 1)})


def test_comparisons_and_where() -> None:
    m = Model()
    low, high = m.op("Less", "x", m.put(-0.5)), m.op("GreaterOrEqual", "x", m.put(0.5))
    outer = m.op("And", m.op("Or", low, high), m.op("Not", m.op("Equal", "x", m.put(0.0))))
    y = m.op("Where", outer, m.op("Sign", "x"), m.op("Mul", "x", m.put(2.0)))
    compare(m, {"x": image(3, 4, 5)}, [y, m.op("Cast", outer, to=TensorProto.INT32)])


def test_a_causal_mask_is_expanded_to_the_batch() -> None:
    m = Model()
    mask = m.put(np.triu(np.full((1, 5, 5), -1e4), 1))
    y = m.op("Softmax", m.op("Add", "x", m.op("Expand", mask, m.op("Shape", "x"))), axis=-1)
    compare(m, {"x": image(3, 5, 5)}, y)


def test_the_largest_few() -> None:
    m = Model()
    values, indices = m.op("TopK", "x", m.ints(3), outputs=2, axis=-1, largest=1)
    compare(m, {"x": image(4, 10)}, [values, indices, m.op("ArgMax", "x", axis=1, keepdims=0)])


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu", "Selu", "LeakyRelu", "Softplus"])
def test_activations_with_the_parameters_of_onnx(op: str) -> None:
    m = Model()
    # TensorRT's parser rounds ONNX's defaults for Selu to 1.6732 and 1.0507.
    attributes = {"alpha": 1.5, "gamma": 1.25} if op == "Selu" else {}
    compare(m, {"x": image(3, 8) * 3}, m.op(op, "x", **attributes))


def test_gelu_from_its_parts() -> None:
    m = Model()
    erf = m.op("Erf", m.op("Div", "x", m.put(2**0.5)))
    y = m.op("Mul", m.op("Mul", "x", m.op("Add", erf, m.put(1.0))), m.put(0.5))
    compare(m, {"x": image(3, 8)}, y)


def test_a_model_in_fp16_stays_in_fp16() -> None:
    m = Model(np.float16)
    y = m.op("Sigmoid", m.conv("x", 3, 8, pads=[1, 1, 1, 1]))
    y = m.op("Reshape", m.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), m.ints(0, -1))
    y = m.op("Softmax", m.op("MatMul", y, m.normal(8 * 9, 5)), axis=1)
    inputs = {"x": image(2, 3, 6, 6, dtype=np.float16)}
    compare(m, inputs, y)
    infos = layer_infos(parse(m.finish(inputs, [y], {})))
    assert {info.precision for info in infos if info.type in ("CONVOLUTION", "ACTIVATION", "SOFTMAX")} == {"HALF"}


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_model_quantised_to_int8(per_channel: bool) -> None:
    m = Model()

    def around(x: str, scale: float) -> str:
        step, zero = m.put(scale), m.put(0, np.int8)
        return m.op("DequantizeLinear", m.op("QuantizeLinear", x, step, zero), step, zero)

    integers = np.random.default_rng(4).integers(-127, 128, (8, 3, 3, 3))
    steps = np.linspace(0.001, 0.004, 8) if per_channel else np.array(0.002)
    kernel = m.op(
        "DequantizeLinear",
        m.put(integers, np.int8),
        m.put(steps),
        m.put(np.zeros(steps.shape), np.int8),
        **({"axis": 0} if per_channel else {}),
    )
    y = m.op("Relu", m.op("Conv", around("x", 0.02), kernel, m.normal(8), kernel_shape=[3, 3]))
    compare(m, {"x": image(2, 3, 8, 8)}, around(y, 0.015))


def test_slices_backwards_and_to_the_end() -> None:
    m = Model()
    y = m.op("Slice", "x", m.ints(-1, 1), m.ints(-100, 1000), m.ints(1, 2), m.ints(-1, 2))
    compare(m, {"x": image(2, 5, 8)}, y, {"x": (0, 2)})


def test_squeezing_and_tiling_and_padding() -> None:
    m = Model()
    y = m.op("Unsqueeze", m.op("ReduceMax", "x", axes=[2], keepdims=0), m.ints(1))
    y = m.op("Tile", y, m.ints(1, 2, 1))
    y = m.op("Pad", y, m.ints(0, 1, 0, 0, 0, 2), m.put(0.5), mode="constant")
    compare(m, {"x": image(2, 5, 4)}, [y, m.op("Squeeze", m.op("ReduceSum", y, m.ints(1)), m.ints(1))])


def test_a_transposed_convolution() -> None:
    m = Model()
    y = m.op(
        "ConvTranspose",
        "x",
        m.normal(4, 3, 3, 3),
        m.normal(3),
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        output_padding=[1, 1],
    )
    compare(m, {"x": image(2, 4, 5, 5)}, y)


def test_an_einsum_and_a_running_sum() -> None:
    m = Model()
    y = m.op("Einsum", "x", m.normal(2, 6, 3), equation="bhid,hdj->bhij")
    compare(m, {"x": image(2, 2, 4, 6)}, m.op("CumSum", y, m.put(2, np.int64)))


def test_a_layer_without_a_translation_is_refused_by_name() -> None:
    def write(net, tensor):
        scores = net.constant(np.ones((1, 2, 1), np.float32))
        layer = net.network.add_nms(tensor, scores, net.constant(np.array(1, np.int32)))
        layer.name = "boxes"
        return layer

    with pytest.raises(Unsupported, match=r"'boxes'.*NMS"):
        walk(make(write, [image(1, 2, 4)]).network)


def test_a_layer_keeps_its_type_beside_the_kind_of_its_class() -> None:
    """An activation's and a pooling's own ``type`` hides the layer's."""
    net = make(lambda net, t: net.network.add_activation(t, trt.ActivationType.TANH), [image(2, 2)])
    assert as_own_class(net.network.get_layer(0)).type == trt.ActivationType.TANH
    assert layer_infos(net.network)[0].type == "ACTIVATION"
    walk(net.network)
    walk(net.network)
