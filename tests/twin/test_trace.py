"""The kernels read out of the builder's log: from real builds, and from records that were never seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import tensorrt_rtx as trt
from onnx import TensorProto, helper, numpy_helper

from grader.engines.interface import onnx_layers
from grader.twin.plan import KernelInfo, PortInfo, Traced
from grader.twin.trace import RECORD, kernels, traced
from grader.twin.walk import all_names
from tests.twin.networks import Net

_node = helper.make_node


class _Told(trt.ILogger):
    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.texts: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        self.texts.append(msg)


_LOGGER = _Told()  # TensorRT keeps a pointer to it
_BUILDER = trt.Builder(_LOGGER)


def _build(network: trt.INetworkDefinition) -> list[str]:
    """The log of a build with detailed verbosity; the first axis of dynamic inputs is 1 to 8."""
    config = _BUILDER.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = _BUILDER.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        profile.set_shape(tensor.name, *([n if d < 0 else d for d in tensor.shape] for n in (1, 4, 8)))
    config.add_optimization_profile(profile)
    _LOGGER.texts = []
    assert _BUILDER.build_serialized_network(network, config) is not None
    return _LOGGER.texts


def _trace(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: tuple, output: str = "y") -> Traced:
    """Of a model with the float32 input x."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [given], [answer], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    network = _BUILDER.create_network(0)
    parser = trt.OnnxParser(network, _LOGGER)
    assert parser.parse(model.SerializeToString()), parser.get_error(0).desc()
    return traced(_build(network), all_names(network))


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.1, shape).astype(np.float32)


def _data_flows(told: Traced, inputs: set[str], outputs: set[str]) -> None:
    """Each kernel reads what there is by then, and the outputs come out: nothing was read wrong or left out."""
    there = set(inputs)
    for kernel in told.kernels:
        assert {port.name for port in kernel.inputs} <= there, kernel
        there |= {port.name for port in kernel.outputs}
    assert outputs <= there


def test_nodes_that_became_one_kernel_are_told_with_it() -> None:
    told = _trace(
        [
            _node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
            _node("BatchNormalization", ["c", "s", "b", "b", "s"], ["n"], "norm"),
            _node("Relu", ["n"], ["r"], "relu"),
            _node("GlobalAveragePool", ["r"], ["p"], "pool"),
            _node("Flatten", ["p"], ["f"], "flat"),
            _node("Gemm", ["f", "v"], ["y"], "fc"),
        ],
        {
            "w": _weights(16, 8, 3, 3),
            "b": _weights(16),
            "s": np.abs(_weights(16)) + 1,
            "v": _weights(16, 10),
        },
        ("n", 8, 32, 32),
    )
    assert not told.problem
    layers = [set(onnx_layers(kernel.metadata)) for kernel in told.kernels]
    assert any({"norm", "relu"} <= names for names in layers)
    assert {"fc"} in layers
    assert {"conv", "norm", "relu", "pool", "fc"} == set().union(*layers)
    _data_flows(told, {"x"}, {"y"})
    assert told.kernels[0].inputs[0].shape == (-1, 8, 32, 32)
    assert told.kernels[-1].outputs[-1].shape == (-1, 10)
    assert told.kernels[0].inputs[0].format.startswith("Float ")
    assert told.activation_bytes is not None
    assert told.activation_bytes >= 8 * 16 * 32 * 32 * 4, "the convolution's result alone, in the largest batch"
    assert all(kernel.inputs and kernel.outputs for kernel in told.kernels), "a call that computes shapes is no kernel"


def test_types_and_layouts_are_those_of_an_int8_convolution() -> None:
    scale, zero = np.float32(0.05), np.int8(0)
    told = _trace(
        [
            _node("QuantizeLinear", ["x", "s", "z"], ["q"], "quant"),
            _node("DequantizeLinear", ["q", "s", "z"], ["d"], "dequant"),
            _node("DequantizeLinear", ["w", "s", "z"], ["v"], "weights"),
            _node("Conv", ["d", "v"], ["y"], "conv"),
        ],
        {"s": np.asarray(scale), "z": np.asarray(zero), "w": np.ones((32, 32, 3, 3), np.int8)},
        ("n", 32, 8, 8),
    )
    _data_flows(told, {"x"}, {"y"})
    (conv,) = [kernel for kernel in told.kernels if "conv" in onnx_layers(kernel.metadata)]
    assert conv.inputs[0].format.startswith("Int8 ")
    assert any("NHWC" in port.format for port in conv.inputs)


@pytest.mark.parametrize("name", ["a, b", "a] b [", 'it\'s "quoted"', "{ a }", "a: b", "ä/é.1", "x }], ", "Name", " "])
def test_names_with_the_traces_punctuation(name: str) -> None:
    nodes = [_node("Conv", ["x", "w"], [f"{name}1"], f"first {name}"), _node("Relu", [f"{name}1"], [name], name)]
    told = _trace(nodes, {"w": _weights(8, 8, 3, 3)}, (1, 8, 8, 8), name)
    assert not told.problem
    _data_flows(told, {"x"}, {name})
    assert [set(onnx_layers(kernel.metadata)) for kernel in told.kernels if kernel.metadata] == [
        {f"first {name}", name}
    ]


@pytest.mark.parametrize(
    "name",
    [
        "a\nName: b",
        "a\x1fb",
        "a\x1eb",
        "a, LayerType: kgen, Inputs: []",
        "a, Dimensions: [1]",
        "{ Name: a",
        "TacticName: ",
    ],
)
@pytest.mark.parametrize("where", ["input", "layer", "output", "metadata"])
def test_names_that_would_be_mistaken_for_the_traces_words_are_a_reason(name: str, where: str) -> None:
    net = Net()
    network = net.network
    tensor = network.add_input(name if where == "input" else "x", trt.float32, (2, 3))
    layer = network.add_softmax(tensor)
    layer.name = name if where == "layer" else "layer"
    layer.get_output(0).name = name if where == "output" else "y"
    if where == "metadata":
        layer.metadata = name
    network.mark_output(layer.get_output(0))
    told = traced([f"{RECORD}Name: k, LayerType: kgen, Inputs: []"], all_names(network))
    assert told.kernels == ()
    assert "cannot be told from the words of the trace" in told.problem


@pytest.mark.parametrize(
    "write",
    [
        lambda net, x: net.network.add_identity(x),
        lambda net, x: net.network.add_shape(x),
        lambda net, x: net.network.add_softmax(x),
        lambda net, x: net.network.add_topk(x, trt.TopKOperation.MAX, 2, 1),
        lambda net, x: net.network.add_reduce(x, trt.ReduceOperation.SUM, 1 << 0, True),
        lambda net, x: net.network.add_matrix_multiply(
            x, trt.MatrixOperation.NONE, net.constant(_weights(4, 4)), trt.MatrixOperation.NONE
        ),
    ],
    ids=["identity", "shape", "softmax", "topk", "sum", "matmul"],
)
@pytest.mark.parametrize("rows", [2, -1], ids=["static", "dynamic"])
def test_networks_made_by_hand(write: Callable, rows: int) -> None:
    net = Net()
    layer = write(net, net.network.add_input("x", trt.float32, (rows, 4)))
    layer.get_output(0).name = "y"
    net.network.mark_output(layer.get_output(0))
    told = traced(_build(net.network), all_names(net.network))
    assert not told.problem
    assert told.kernels
    assert all(onnx_layers(kernel.metadata) == () for kernel in told.kernels)
    _data_flows(told, {"x"}, {"y"})


_PORT = (
    "{ Name: x, Dimensions: [-1,8], Strides: [8,1], StrideOrder: [1,0], Datatype: Float, Format: (Linear) Row major }"
)
_LINE = (
    f"Name: k, LayerType: kgen, Inputs: [ {_PORT}], Constants: [], Outputs: [ {_PORT}, {_PORT}], "
    "TacticName: t, StreamId: 1, Metadata: [ONNX Layer: a]\x1f[ONNX Layer: b]"
)
_SHAPES = (
    "Name: s, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: "
)
_READ = PortInfo("x", (-1, 8), "Float (Linear) Row major")


def test_one_line() -> None:
    assert kernels(f"{RECORD}{_SHAPES}\n{_LINE}\n\nI/O Tensors:\n Name: x, IOMode: Input") == (
        KernelInfo("k", "kgen", (_READ,), (_READ, _READ), "t", 1, "[ONNX Layer: a]\x1f[ONNX Layer: b]"),
    )


def test_a_copy_of_shapes_to_the_device() -> None:
    """Another form of line, of networks whose outputs are shapes."""
    (kernel,) = kernels(
        f"{RECORD}Name: [ShapeHostToDeviceCopy 0], LayerType: ShapeHostToDevice, Inputs: [], Outputs: [ {{ Name: y, "
        "Location: Device, Dimensions: [2], Datatype: Int64, Format: Format not available due to dynamic shapes }], "
        "ParameterType: ShapeH2D, shapeValues0: [-2, 3], TacticValue: 0x00, StreamId: 0, Metadata: "
    )
    assert kernel.outputs == (PortInfo("y", (2,), "Int64 Format not available due to dynamic shapes"),)
    assert (kernel.name, kernel.inputs, kernel.tactic) == ("[ShapeHostToDeviceCopy 0]", (), "0x00")


@pytest.mark.parametrize("layout", ["(Arbitrary) Format with stride order = [2,3,0,1]", "where C % 8 == 0, (x)", ""])
def test_layouts_are_kept_word_for_word(layout: str) -> None:
    (kernel,) = kernels(RECORD + _LINE.replace("(Linear) Row major", layout))
    assert [port.format for port in (*kernel.inputs, *kernel.outputs)] == [f"Float {layout}"] * 3


@pytest.mark.parametrize(
    "line",
    [
        "",
        "another form",
        _LINE.replace("LayerType", "Kind"),
        _LINE.replace("Datatype", "Type"),
        _LINE.replace("[-1,8]", "[-]"),
        _LINE.replace("], Constants", "; Constants"),
        _LINE.replace(", StreamId: 1", ""),
        _LINE.replace("StreamId: 1", "StreamId: one"),
        _LINE[: len(_LINE) // 2],
    ],
)
def test_an_unknown_form_is_a_reason_and_no_failure(line: str) -> None:
    told = traced([f"{RECORD}{_LINE}\n{line}", "Total Activation Memory: 77 bytes"], ["x", "a", "b"])
    assert (told.kernels, told.activation_bytes) == ((), 77)
    assert "has a form that is not known here" in told.problem


@pytest.mark.parametrize("times", [0, 2])
def test_kernels_that_were_logged_never_or_twice_are_not_guessed(times: int) -> None:
    told = traced([f"{RECORD}{_LINE}"] * times, [])
    assert (told.kernels, told.activation_bytes) == ((), None)
    assert f"logged its kernels {times} times" in told.problem


def test_the_memory_is_the_records_own_and_not_a_names() -> None:
    texts = [
        "a Total Activation Memory: 99 bytes",
        "Total Activation Memory: 12 bytes",
        "Total Activation Memory: 8 bytes",
    ]
    assert traced([*texts, f"{RECORD}{_LINE}"], []).activation_bytes == 12


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ("", ()),
        ("[ONNX Layer: a]", ("a",)),
        ("[ONNX Layer: a]\x1e[ONNX Layer: b]\x1f[ONNX Layer: c]", ("a", "b", "c")),
        ("[ONNX Layer: [x] y]", ("[x] y",)),
        ("mine\x1f[ONNX Layer: a]", ("a",)),
    ],
)
def test_names_in_metadata(metadata: str, names: tuple[str, ...]) -> None:
    assert onnx_layers(metadata) == names
