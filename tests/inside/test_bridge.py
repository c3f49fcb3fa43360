"""The bridge's table, entry by entry, against small stand-ins for the TensorRT of each version."""

from __future__ import annotations

import enum
import itertools
import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from grader.inside.trtprep_worker import bridge
from grader.inside.trtprep_worker.bridge import TABLE, entries, install

STRONGLY_TYPED_10 = 1 << 1  # what a candidate's TensorRT 10 code passes
DataType = enum.Enum("DataType", "FLOAT HALF INT8 INT32")
LayerType = enum.Enum(
    "LayerType", "CONSTANT SHAPE CAST IDENTITY SHUFFLE CONVOLUTION ACTIVATION NORMALIZATION QUANTIZE DEQUANTIZE"
)
NUMPY = {DataType.FLOAT: np.float32, DataType.HALF: np.float16, DataType.INT32: np.int32}
BuilderFlag = enum.Enum("BuilderFlag", "FP16 INT8 PREFER_PRECISION_CONSTRAINTS")


class Tensor:
    """A tensor as 8.6 has it: what comes out of a layer calls itself float32, whatever went in."""

    def __init__(self, name: str, dtype: DataType) -> None:
        self.name, self.dtype = name, dtype


class Layer:
    """A layer that reads these tensors and whose outputs are of these types.

    8.6 says so of casts and constants only once they have their own class, and calls their outputs float32 till then.
    """

    made = itertools.count()

    def __init__(self, kind: LayerType, *types: DataType, reads: tuple[Tensor | None, ...] = (), sets: bool = False):
        self.type, self.precision = kind, None
        self.num_inputs, self.num_outputs = len(reads), len(types)
        self._reads, self._types, self._sets = reads, types, sets
        self.set_types: dict[int, DataType] = {}
        number = next(Layer.made)
        self.outputs = [Tensor(f"layer {number} output {i}", kind) for i, kind in enumerate(types)]

    def get_input(self, index: int) -> Tensor | None:
        return self._reads[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    def get_output_type(self, index: int) -> DataType:
        told = self._types[index]
        return DataType.FLOAT if told == DataType.HALF and self.type in (LayerType.CAST, LayerType.CONSTANT) else told

    def output_type_is_set(self, index: int) -> bool:
        return self._sets

    def set_output_type(self, index: int, dtype: DataType) -> None:
        self.set_types[index] = dtype


class CastLayer(Layer):
    @property
    def to_type(self) -> DataType:
        return self._types[0]


class ConstantLayer(Layer):
    @property
    def weights(self) -> np.ndarray:
        return np.zeros(1, NUMPY[self._types[0]])


class Network:
    """A network with these layers and inputs."""

    def __init__(self, *layers: Layer, inputs: tuple[DataType, ...] = (DataType.FLOAT,)) -> None:
        self._layers, self._inputs = layers, inputs
        self.num_layers, self.num_inputs = len(layers), len(inputs)

    def get_layer(self, index: int) -> Layer:
        return self._layers[index]

    def get_input(self, index: int) -> Tensor:
        return Tensor(f"input {index}", self._inputs[index])


class Config:
    def __init__(self) -> None:
        self.flags: set[BuilderFlag] = set()
        self.builder_optimization_level = 3

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)


class Inspector:
    """8.6's: a raw record separator between the names of a fused layer."""

    TEXT = '{\n\t"Metadata": "[ONNX Layer: a]\x1e[ONNX Layer: b]"}'

    def get_engine_information(self, layout: str) -> str:
        return self.TEXT

    def get_layer_information(self, index: int, layout: str) -> str:
        return self.TEXT


def _weights_8() -> type:
    class Weights:
        def __init__(self, a: Any = None) -> None:
            if getattr(a, "dtype", None) == np.int64:
                raise ValueError("Could not implicitly convert NumPy data type")
            self.type, self.array = (a, None) if isinstance(a, DataType) else (None, a)

    return Weights


def _runtime_8() -> tuple[type, type]:
    class Context:
        device_memory = 0

        def __init__(self, engine: Any, own: bool) -> None:
            self.engine, self.own = engine, own

    class Engine:
        device_memory_size = 4096

        def create_execution_context(self) -> Context:
            return Context(self, own=True)

        def create_execution_context_without_device_memory(self) -> Context:
            return Context(self, own=False)

    return Engine, Context


def _parser_8() -> tuple[type, type]:
    class ParserError:
        def __init__(self, node: int) -> None:
            self._node = node

        def node(self) -> int:
            return self._node

    class OnnxParser:
        def parse(self, model: bytes, path: str = "") -> bool:
            return not path

    return OnnxParser, ParserError


def tensorrt(version: str) -> Any:
    """A module with as much of this version as the table touches; its networks are the flags they were made with."""
    module: Any = ModuleType("tensorrt")
    module.__version__ = version
    module.DataType, module.LayerType, module.BuilderFlag = DataType, LayerType, BuilderFlag

    class Builder:
        def create_network(self, flags: int = 0) -> int:
            return flags

        def create_builder_config(self) -> Config:
            return Config()

        def build_serialized_network(self, network: Network, config: Config) -> tuple[Network, Config]:
            return network, config

    module.Builder, module.ICastLayer, module.IConstantLayer = Builder, CastLayer, ConstantLayer
    module.ICudaEngine, module.IExecutionContext = _runtime_8()
    module.Weights = _weights_8()
    module.EngineInspector, module.OnnxParser, module.ParserError = Inspector, *_parser_8()
    if version.startswith("8."):  # a class of pybind11's, which takes new attributes
        module.NetworkDefinitionCreationFlag = type("NetworkDefinitionCreationFlag", (), {"EXPLICIT_BATCH": 0})
    else:
        members = {"STRONGLY_TYPED": 1, "EXPLICIT_BATCH": 0} if version.startswith("10.") else {"STRONGLY_TYPED": 0}
        module.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", members)
    return module


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `install` changes of this process is put back."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {name: sys.modules.get(name) for name in ("tensorrt", "tensorrt_rtx")}
    yield
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def _installed(version: str, tier: str = "gpu", settings: dict[str, Any] | None = None) -> Any:
    module = tensorrt(version)
    sys.modules["tensorrt_rtx" if tier == "rtx" else "tensorrt"] = module
    install(tier, settings or {})
    assert sys.modules["tensorrt"] is module
    return module


def _built_with_8(*layers: Layer, inputs: tuple[DataType, ...] = (DataType.FLOAT,)) -> set[BuilderFlag]:
    """The flags that 8.6 builds these layers with."""
    trt = _installed("8.6.1")
    builder = trt.Builder()
    network = Network(*layers, inputs=inputs)
    built, config = builder.build_serialized_network(network, builder.create_builder_config())
    assert built is network
    return config.flags


# -- which entries


def test_every_version_that_is_supported_has_its_row() -> None:
    assert set(TABLE) == {"8", "10", "11", "rtx 1"}


@pytest.mark.parametrize(
    ("tier", "version", "row"),
    [
        ("gpu", "8.6.0", "8"),
        ("gpu", "8.6.1.post1", "8"),
        ("gpu", "10.0.1", "10"),
        ("gpu", "10.16.0.72", "10"),
        ("gpu", "11.1.0.106", "11"),
        ("rtx", "1.7.1.116", "rtx 1"),
    ],
)
def test_a_supported_version_gets_its_row(tier: str, version: str, row: str) -> None:
    assert entries(tier, version) is TABLE[row]


@pytest.mark.parametrize(
    ("tier", "version"),
    [("gpu", "7.2.3"), ("gpu", "8.5.3"), ("gpu", "9.3.0"), ("gpu", "12.0.0"), ("gpu", ""), ("rtx", "2.0.0")],
)
def test_another_version_is_an_import_error_that_names_it_and_what_to_use(tier: str, version: str) -> None:
    with pytest.raises(ImportError, match=r"is not supported: use TensorRT 8\.6, 10\.x or 11\.x") as caught:
        entries(tier, version)
    assert version in str(caught.value)


def test_installing_an_unsupported_version_raises_too() -> None:
    with pytest.raises(ImportError, match=r"TensorRT 9.3.0 is not supported"):
        _installed("9.3.0")


# -- 8.6


def test_8_makes_an_explicit_batch_network_of_a_strongly_typed_one() -> None:
    trt = _installed("8.6.1")
    flag = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED

    assert 1 << int(flag) == STRONGLY_TYPED_10
    assert trt.Builder().create_network(1 << int(flag)) == 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    assert trt.Builder().create_network() == 1
    assert trt.Builder().create_network(flags=2) == 1


def test_8_builds_a_float32_graph_without_any_flag_and_pins_nothing() -> None:
    layer = Layer(LayerType.CONVOLUTION, DataType.FLOAT)

    assert _built_with_8(layer) == set()
    assert layer.precision is None


@pytest.mark.parametrize("kind", ["CONSTANT", "CAST", "IDENTITY", "input"])
def test_8_allows_float16_exactly_where_the_graph_says_it(kind: str) -> None:
    half, single = DataType.HALF, DataType.FLOAT
    layer = Layer(LayerType.CONVOLUTION, single)
    if kind != "input":
        layer = Layer(LayerType[kind], half, reads=(Tensor("input 0", single),), sets=kind == "IDENTITY")
    flags = _built_with_8(layer, inputs=(half if kind == "input" else single,))

    assert flags == {BuilderFlag.FP16, BuilderFlag.PREFER_PRECISION_CONSTRAINTS}


def test_8_follows_float16_through_layers_that_call_their_outputs_float32() -> None:
    """To half, convolution, activation; to float, activation; to half, activation."""
    half, single = DataType.HALF, DataType.FLOAT
    steps = (
        (LayerType.CAST, half), (LayerType.CONVOLUTION, single), (LayerType.ACTIVATION, single),
        (LayerType.CAST, single), (LayerType.ACTIVATION, single),
        (LayerType.CAST, half), (LayerType.ACTIVATION, single),
    )  # fmt: skip
    layers: list[Layer] = []
    for kind, told in steps:
        before = layers[-1].outputs[0] if layers else Tensor("input 0", single)
        layers.append(Layer(kind, told, reads=(before, None)))

    _built_with_8(*layers)

    assert [layer.precision for layer in layers] == [None, None, None, None, DataType.FLOAT, None, None]


def test_8_takes_the_type_of_a_layer_from_its_first_floating_input() -> None:
    half, single, whole = DataType.HALF, DataType.FLOAT, DataType.INT32
    cast = Layer(LayerType.CAST, half, reads=(Tensor("input 0", single),))
    index = Tensor("an index", whole)
    in_half = Layer(LayerType.ACTIVATION, single, reads=(index, cast.outputs[0], Tensor("sizes", single)))
    in_single = Layer(LayerType.ACTIVATION, single, reads=(index, Tensor("input 0", single), cast.outputs[0]))
    counted = Layer(LayerType.ACTIVATION, whole, reads=(cast.outputs[0],))

    _built_with_8(cast, in_half, in_single, counted)

    assert [layer.precision for layer in (in_half, in_single, counted)] == [None, single, None]


def test_8_pins_what_the_graph_computes_in_float32_and_nothing_else() -> None:
    half = Layer(LayerType.CAST, DataType.HALF, reads=(Tensor("input 0", DataType.FLOAT),))
    pinned = [Layer(kind, DataType.FLOAT) for kind in (LayerType.CONVOLUTION, LayerType.ACTIVATION)]
    moves = [Layer(k, DataType.FLOAT) for k in (LayerType.CONSTANT, LayerType.CAST, LayerType.SHUFFLE, LayerType.SHAPE)]
    others = [
        *(Layer(kind, DataType.FLOAT) for kind in (LayerType.NORMALIZATION, LayerType.DEQUANTIZE)),
        Layer(LayerType.CONVOLUTION, DataType.HALF),
        Layer(LayerType.CONVOLUTION, DataType.FLOAT, DataType.HALF),
        Layer(LayerType.ACTIVATION, DataType.INT32),
        Layer(LayerType.ACTIVATION),
    ]

    _built_with_8(half, *pinned, *moves, *others)

    assert {layer.precision for layer in pinned} == {DataType.FLOAT}
    assert [layer.set_types for layer in pinned] == [{0: DataType.FLOAT}] * len(pinned)
    assert {layer.precision for layer in (*moves, *others)} == {None}
    assert not any(layer.set_types for layer in (*moves, *others))


@pytest.mark.parametrize("kinds", [("QUANTIZE", "DEQUANTIZE"), ("DEQUANTIZE",), ("QUANTIZE",)])
def test_8_allows_int8_exactly_where_the_graph_quantizes(kinds: tuple[str, ...]) -> None:
    layers = [Layer(LayerType[kind], DataType.INT8 if kind == "QUANTIZE" else DataType.FLOAT) for kind in kinds]

    assert _built_with_8(*layers) == {BuilderFlag.INT8}


def test_8_allows_both_where_the_graph_has_both() -> None:
    layers = Layer(LayerType.QUANTIZE, DataType.INT8), Layer(LayerType.DEQUANTIZE, DataType.HALF)

    assert _built_with_8(*layers) == set(BuilderFlag)


def test_8_gives_a_context_without_memory_of_its_own_under_the_name_that_10_has() -> None:
    trt = _installed("8.6.0")
    engine, strategies = trt.ICudaEngine(), trt.ExecutionContextAllocationStrategy

    assert [s.name for s in strategies] == ["STATIC", "ON_PROFILE_CHANGE", "USER_MANAGED"]
    assert engine.create_execution_context().own
    assert engine.create_execution_context(strategies.ON_PROFILE_CHANGE).own
    assert not engine.create_execution_context(strategies.USER_MANAGED).own
    assert engine.device_memory_size_v2 == 4096


def test_8_takes_memory_with_its_size_and_refuses_too_little() -> None:
    trt = _installed("8.6.0")
    context = trt.ICudaEngine().create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)

    context.set_device_memory(0x1000, 4096)
    assert context.device_memory == 0x1000
    with pytest.raises(ValueError, match=r"4095 bytes, the engine needs 4096"):
        context.set_device_memory(0x2000, 4095)
    assert context.device_memory == 0x1000


def test_8_tells_an_engine_in_json_that_can_be_read() -> None:
    inspector = _installed("8.6.0").EngineInspector()

    for text in (inspector.get_engine_information("JSON"), inspector.get_layer_information(0, "JSON")):
        assert json.loads(text) == {"Metadata": "[ONNX Layer: a]\x1e[ONNX Layer: b]"}


def test_8_names_the_node_of_a_parsers_error() -> None:
    trt = _installed("8.6.0")
    nodes = [onnx.helper.make_node(kind, ["x"], ["y"], name) for kind, name in (("Relu", "first"), ("Foo", "second"))]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))

    assert trt.OnnxParser().parse(model.SerializeToString())
    assert not trt.OnnxParser().parse(model.SerializeToString(), "path")
    assert (trt.ParserError(1).node_name(), trt.ParserError(1).node_operator()) == ("second", "Foo")
    for nowhere in (-1, 2):
        assert (trt.ParserError(nowhere).node_name(), trt.ParserError(nowhere).node_operator()) == ("", "")


def test_8_names_no_node_of_a_file_that_is_no_model() -> None:
    trt = _installed("8.6.0")
    trt.OnnxParser().parse(b"these are words")

    assert (trt.ParserError(0).node_name(), trt.ParserError(0).node_operator()) == ("", "")


def test_8_takes_int64_weights_as_the_int32_that_its_shapes_are() -> None:
    trt = _installed("8.6.0")
    wide = np.array([-1, 2**31 - 1, -(2**31)])

    for weights in (trt.Weights(wide), trt.Weights(a=wide)):
        assert weights.array.dtype == np.int32
        assert weights.array.tolist() == wide.tolist()
    assert trt.Weights(np.zeros(0, np.int64)).array.dtype == np.int32
    floats = np.ones(3, np.float32)
    assert trt.Weights(floats).array is floats
    assert trt.Weights().array is None
    for beyond in (2**31, -(2**31) - 1):
        with pytest.raises(OverflowError, match=r"TensorRT 8\.6 has no INT64"):
            trt.Weights(np.array([0, beyond]))


@pytest.mark.parametrize("kind", ["FLOAT", "HALF", "INT32"])
def test_8_takes_weights_by_their_address(kind: str) -> None:
    trt = _installed("8.6.0")
    values = np.arange(5, dtype=NUMPY[DataType[kind]])

    for weights in (
        trt.Weights(DataType[kind], values.ctypes.data, values.size),
        trt.Weights(type=DataType[kind], ptr=values.ctypes.data, count=values.size),
        trt.Weights(DataType[kind], values.ctypes.data, count=np.int64(values.size)),
    ):
        assert weights.array.dtype == values.dtype
        assert weights.array.tolist() == [0, 1, 2, 3, 4]
        assert weights.array.ctypes.data == values.ctypes.data


def test_8_takes_no_weights_at_all_by_their_address_and_by_their_type() -> None:
    trt = _installed("8.6.0")

    for weights in (trt.Weights(DataType.HALF, 0, 0), trt.Weights(DataType.HALF)):
        assert (weights.type, weights.array) == (DataType.HALF, None)


def test_8_refuses_weights_nowhere_or_without_their_count() -> None:
    trt = _installed("8.6.0")

    with pytest.raises(ValueError, match="3 numbers at address 0"):
        trt.Weights(DataType.FLOAT, 0, 3)
    with pytest.raises(ValueError, match="-1 numbers"):
        trt.Weights(DataType.FLOAT, 4096, -1)
    with pytest.raises(TypeError, match="and a count"):
        trt.Weights(DataType.FLOAT, 4096)


# -- 10, 11, RTX


def test_10_is_left_as_it_is() -> None:
    module, untouched = tensorrt("10.13.0"), tensorrt("10.13.0")
    before = dict(vars(module)), dict(vars(module.Builder))
    sys.modules["tensorrt"] = module

    install("gpu", {})

    assert (dict(vars(module)), dict(vars(module.Builder))) == before
    assert sys.modules["tensorrt"].Builder().create_network(2) == untouched.Builder().create_network(2) == 2


@pytest.mark.parametrize(("tier", "version"), [("gpu", "11.1.0"), ("rtx", "1.7.1.116")])
def test_versions_that_know_only_strong_typing_ignore_the_flags(tier: str, version: str) -> None:
    trt = _installed(version, tier)
    flags = trt.NetworkDefinitionCreationFlag

    assert (int(flags.EXPLICIT_BATCH), int(flags.STRONGLY_TYPED)) == (0, 1)
    for given in (0, 1, STRONGLY_TYPED_10, 3):
        assert trt.Builder().create_network(given) == 0
    assert trt.Builder().create_network(flags=2) == 0


# -- settings and the twin


@pytest.mark.parametrize("version", ["8.6.1", "10.13.0", "11.1.0"])
def test_a_config_gets_the_level_that_the_settings_ask_for_and_a_candidates_own_wins(version: str) -> None:
    trt = _installed(version, settings={"optimization_level": 1})
    config = trt.Builder().create_builder_config()

    assert config.builder_optimization_level == 1
    config.builder_optimization_level = 5
    assert config.builder_optimization_level == 5


@pytest.mark.parametrize(
    ("tier", "version", "settings"),
    [("gpu", "10.13.0", {}), ("gpu", "10.13.0", {"other": 1}), ("rtx", "1.7.1", {"optimization_level": 1})],
)
def test_without_such_settings_a_config_keeps_tensorrts_own_level(tier: str, version: str, settings: dict) -> None:
    trt = _installed(version, tier, settings)

    assert trt.Builder().create_builder_config().builder_optimization_level == 3


def test_the_twin_only_gets_its_folder_in_front() -> None:
    before = {name: module for name, module in sys.modules.items() if name.startswith("tensorrt")}

    install("twin", {"optimization_level": 1})

    assert sys.path[0] == str(bridge._TWIN)
    assert (bridge._TWIN / "tensorrt" / "__init__.py").is_file()
    assert {name: module for name, module in sys.modules.items() if name.startswith("tensorrt")} == before
