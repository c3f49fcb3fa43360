"""One dialect for every tier: TensorRT 10's names, over 8.6, 10, 11, TensorRT-RTX or the twin.

`TABLE` is the whole of it: per version, what a candidate's TensorRT 10 code would miss and what
stands in for it.  Where nothing can stand in, the entry says so and nothing is installed.
"""

from __future__ import annotations

import ctypes
import enum
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from . import torchaudio_stand_in

_TWIN = Path(__file__).resolve().parents[1] / "twin"
_GIVEN = Path(__file__).resolve().parents[1] / "given"  # modules that exercises give: the schema of Caffe's files


class Flag10(enum.IntEnum):
    """TensorRT 10's `NetworkDefinitionCreationFlag`."""

    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class Strategy10(enum.IntEnum):
    """TensorRT 10's `ExecutionContextAllocationStrategy`."""

    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


def install(tier: str, settings: dict[str, Any]) -> None:
    """Make ``import tensorrt`` give TensorRT 10's names in this process.

    Args:
        tier: "twin", "rtx" or "gpu".
        settings: ``optimization_level`` (int), optional: the default of configs on the gpu tier, so that
            grading does not wait for tactics that no task times.
    """
    sys.path.append(str(_GIVEN))
    torchaudio_stand_in.install()
    if tier == "twin":
        sys.path.insert(0, str(_TWIN))
        return
    module = importlib.import_module("tensorrt_rtx" if tier == "rtx" else "tensorrt")
    sys.modules["tensorrt"] = module
    for entry in entries(tier, module.__version__):
        entry(module)
    if tier == "gpu" and settings:
        _default_settings(module, settings)


def entries(tier: str, version: str) -> list[Callable[[ModuleType], None]]:
    """The table's rows for a tier and its TensorRT version. Raises ImportError for one that is not supported."""
    major, _, rest = version.partition(".")
    name, key = ("TensorRT-RTX", f"rtx {major}") if tier == "rtx" else ("TensorRT", major)
    if key not in TABLE or (key == "8" and not rest.startswith("6")):
        raise ImportError(f"{name} {version} is not supported: use TensorRT 8.6, 10.x or 11.x, or TensorRT-RTX 1.x")
    return TABLE[key]


def _strongly_typed_8(trt: ModuleType) -> None:
    """8.6 has no strongly typed networks: an explicit-batch one, and the flags that the graph's types need."""
    make = trt.Builder.create_network
    build = trt.Builder.build_serialized_network

    def create_network(self: Any, flags: int = 0) -> Any:
        return make(self, 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))

    def build_serialized_network(self: Any, network: Any, config: Any) -> Any:
        layers = [network.get_layer(i) for i in range(network.num_layers)]
        types = _types_8(trt, network, layers)
        if trt.DataType.HALF in types.values():
            config.set_flag(trt.BuilderFlag.FP16)
            config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
            _keep_float32(trt, layers, types)
        if {layer.type for layer in layers} & {trt.LayerType.QUANTIZE, trt.LayerType.DEQUANTIZE}:
            config.set_flag(trt.BuilderFlag.INT8)
        return build(self, network, config)

    trt.Builder.create_network = create_network
    trt.Builder.build_serialized_network = build_serialized_network
    trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED = Flag10.STRONGLY_TYPED


def _types_8(trt: ModuleType, network: Any, layers: list[Any]) -> dict[str, Any]:
    """The type of every tensor as a strongly typed network would have it, by the tensor's name.

    8.6 calls what comes out of a layer float32, of a cast to float16 and of a constant too, so the types are followed
    from where they are said: at the network's inputs, casts, constants' weights, and outputs whose type was set.
    """
    floats = (trt.DataType.FLOAT, trt.DataType.HALF)
    inputs = (network.get_input(i) for i in range(network.num_inputs))
    types = {tensor.name: tensor.dtype for tensor in inputs}
    for layer in layers:
        given = (layer.get_input(i) for i in range(layer.num_inputs))
        flowing = [k for t in given if t is not None and (k := types.get(t.name, t.dtype)) in floats]
        own = _said_8(trt, layer)
        for index in range(layer.num_outputs):
            told = own or layer.get_output_type(index)
            said = own or layer.output_type_is_set(index) or told not in floats
            if (tensor := layer.get_output(index)) is not None:
                types[tensor.name] = told if said or not flowing else flowing[0]
    return types


def _said_8(trt: ModuleType, layer: Any) -> Any:
    """The type of what comes out of a cast or a constant of floats; None of others."""
    if layer.type == trt.LayerType.CAST:
        layer.__class__ = trt.ICastLayer  # a network returns the base class
        return layer.to_type
    if layer.type == trt.LayerType.CONSTANT:
        layer.__class__ = trt.IConstantLayer
        return trt.DataType.HALF if layer.weights.dtype == np.float16 else None
    return None


def _keep_float32(trt: ModuleType, layers: list[Any], types: dict[str, Any]) -> None:
    """With FP16 allowed, 8.6 would take it anywhere: layers that the graph computes in float32 stay there.

    But for normalisations, which 8.6 computes in float32 by itself: with one of them pinned, it finds no float16 kernel
    for the region around them, and takes float32 for all of it (Whisper's decoder on an H100: twice the time). And but
    for quantizing and dequantizing, to which it gives no other precision than INT8.
    """
    kinds = trt.LayerType
    moves_data = (kinds.CONSTANT, kinds.SHAPE, kinds.CAST, kinds.SHUFFLE)
    chooses_itself = (kinds.NORMALIZATION, kinds.QUANTIZE, kinds.DEQUANTIZE)
    for layer in layers:
        outputs = [tensor for i in range(layer.num_outputs) if (tensor := layer.get_output(i)) is not None]
        if layer.type in (*moves_data, *chooses_itself):
            continue
        if outputs and all(types[t.name] == trt.DataType.FLOAT for t in outputs):
            layer.precision = trt.DataType.FLOAT
            for index in range(layer.num_outputs):  # or a sum of float32 could still be stored in float16
                layer.set_output_type(index, trt.DataType.FLOAT)


def _context_memory_8(trt: ModuleType) -> None:
    """8.6 names a context without memory of its own otherwise; ON_PROFILE_CHANGE, which it lacks, only saves memory."""
    make = trt.ICudaEngine.create_execution_context

    def create_execution_context(self: Any, strategy: Any = Strategy10.STATIC) -> Any:
        if strategy == Strategy10.USER_MANAGED:
            return self.create_execution_context_without_device_memory()
        return make(self)

    def set_device_memory(self: Any, memory: int, size: int) -> None:
        if size < self.engine.device_memory_size:  # 8.6 does not ask for the size, and would write past the end
            raise ValueError(f"set_device_memory: {size} bytes, the engine needs {self.engine.device_memory_size}")
        self.device_memory = memory

    trt.ExecutionContextAllocationStrategy = Strategy10  # type: ignore[attr-defined]
    trt.ICudaEngine.create_execution_context = create_execution_context
    trt.ICudaEngine.device_memory_size_v2 = property(lambda self: self.device_memory_size)
    trt.IExecutionContext.set_device_memory = set_device_memory


def _inspector_8(trt: ModuleType) -> None:
    """8.6 parts a fused layer's names by a raw control character, which no JSON reader accepts."""
    for name in ("get_engine_information", "get_layer_information"):
        _escaping(trt.EngineInspector, name)


def _escaping(cls: Any, name: str) -> None:
    tell = getattr(cls, name)

    def escaped(self: Any, *args: Any, **kwargs: Any) -> str:
        return re.sub(r"[\x00-\x08\x0b-\x1f]", lambda found: f"\\u{ord(found[0]):04x}", tell(self, *args, **kwargs))

    setattr(cls, name, escaped)


def _parser_errors_8(trt: ModuleType) -> None:
    """8.6 numbers the node that an error is about, 10 names it: looked up in the model that was parsed last."""
    parse, last = trt.OnnxParser.parse, [b""]

    def remembering(self: Any, model: Any, *args: Any, **kwargs: Any) -> bool:
        last[0] = bytes(model)
        return parse(self, model, *args, **kwargs)

    def node(error: Any) -> Any:
        import onnx

        try:
            nodes = onnx.load_from_string(last[0]).graph.node
        except Exception:  # noqa: BLE001 (protobuf raises what it likes; what does not decode has no nodes)
            return onnx.NodeProto()
        return nodes[error.node()] if 0 <= error.node() < len(nodes) else onnx.NodeProto()

    trt.OnnxParser.parse = remembering
    trt.ParserError.node_name = lambda self: node(self).name
    trt.ParserError.node_operator = lambda self: node(self).op_type


def _int64_weights_8(trt: ModuleType) -> None:
    """8.6 has no INT64: its shapes are INT32, and so become the constants that TensorRT 10's are calculated with."""
    import numpy as np

    make = trt.Weights.__init__
    limits = np.iinfo(np.int32)

    def narrowed(given: Any) -> Any:
        if not isinstance(given, np.ndarray) or given.dtype != np.int64:
            return given
        if given.size and not limits.min <= given.min() <= given.max() <= limits.max:
            raise OverflowError("these weights do not fit INT32, and TensorRT 8.6 has no INT64")
        return given.astype(np.int32)

    def narrowing(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *map(narrowed, args), **{name: narrowed(value) for name, value in kwargs.items()})

    trt.Weights.__init__ = narrowing  # arrays that are given for weights go through it as well


def _weights_by_address_8(trt: ModuleType) -> None:
    """8.6 takes an array or a type alone: (type, address, count) becomes an array over that memory, which 8.6 keeps."""
    make = trt.Weights.__init__

    def by_address(self: Any, *args: Any, **kwargs: Any) -> None:
        given = dict(zip(("type", "ptr", "count"), args, strict=False)) | kwargs
        if len(args) < 2 and not given.keys() >= {"ptr", "count"}:
            make(self, *args, **kwargs)
            return
        if given.keys() != {"type", "ptr", "count"} or len(args) + len(kwargs) != 3:
            raise TypeError("Weights takes an array, a type, or a type, an address (ptr) and a count")
        kind, address, count = given["type"], int(given["ptr"]), int(given["count"])
        if count < 0 or (count and not address):
            raise ValueError(f"Weights: {count} numbers at address {address}")
        dtype: np.dtype[Any] = np.dtype(_NUMPY_8[kind.name])
        if not count:
            make(self, kind)
            return
        memory = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(address)
        make(self, np.ctypeslib.as_array(memory).view(dtype))

    trt.Weights.__init__ = by_address


#: The types of weights that 8.6 has. Its own `nptype` asks NumPy for names that NumPy 1.24 took away.
_NUMPY_8: dict[str, Any] = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "BOOL": np.bool_, "UINT8": np.uint8,
}  # fmt: skip


def _creation_flags(trt: ModuleType) -> None:
    """11 and RTX know strongly typed networks only, and number the flag differently."""
    make = trt.Builder.create_network

    def create_network(self: Any, flags: int = 0) -> Any:
        return make(self, 0)

    trt.Builder.create_network = create_network
    trt.NetworkDefinitionCreationFlag = Flag10  # type: ignore[attr-defined]


def _default_settings(trt: ModuleType, settings: dict[str, Any]) -> None:
    make = trt.Builder.create_builder_config

    def create_builder_config(self: Any) -> Any:
        config = make(self)
        if "optimization_level" in settings:
            config.builder_optimization_level = settings["optimization_level"]
        return config

    trt.Builder.create_builder_config = create_builder_config


TABLE: dict[str, list[Callable[[ModuleType], None]]] = {
    "8": [
        _strongly_typed_8,
        _context_memory_8,
        _inspector_8,
        _parser_errors_8,
        _int64_weights_8,
        _weights_by_address_8,
    ],
    "10": [],
    "11": [_creation_flags],
    "rtx 1": [_creation_flags],
}
