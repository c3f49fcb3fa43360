"""Serves TensorRT's objects to a candidate's process: handles out, calls in.

The real builder, network, parser and config live here, in the trusted device process, so that a
plan can only come out of them: a candidate's process cannot forge one.  Calls are passed on by
name to the real object, as far as `names` allows; what differs from plain TensorRT-RTX is in `_OWN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorrt_rtx as trt
from google.protobuf.message import EncodeError

from . import names, trace
from . import plan as plans
from .configs import Configs
from .driver import Driver
from .layers import Unsupported
from .layers.graph import layer_type
from .loaded import LoadedPlans
from .misuse import Misuse
from .models import checked
from .runtime import ICudaEngine, IExecutionContext, Runtime, World
from .walk import all_names, as_own_class, io_tensors, layer_infos, refuse_what_crashes, walk

_ERROR = trt.ILogger.Severity.ERROR
#: Classes that the client may make.
_MAKES = ("Builder", "OnnxParser", "Runtime")
_MOST_LOG_BYTES = 4 << 20  # of records that go with one reply; a verbose build can have many
_MOST_RECORD_BYTES = 1 << 20  # of one record; the one with EfficientNet-Lite0's kernels has 62 thousand
_MOST_DEPTH = 16


@dataclass(frozen=True)
class _SealedPlan:
    """A plan on its way out; bytes stay bytes."""

    data: bytes


class Session:
    """The objects of one candidate process."""

    def __init__(self, driver: Driver, key: bytes) -> None:
        self.world = World(driver, self._log, key, LoadedPlans(key, trt.__version__))
        self.records: list[tuple[int, str]] = []  #: log records since the last reply
        self.builds = 0
        self.configs = Configs()
        self._log_bytes = 0
        self._objects: dict[int, Any] = {}
        self._ids: dict[int, int] = {}
        self._counts: dict[int, int] = {}  # how often the client was given a handle
        self._next = 1
        self._keep: list[Any] = []  # what TensorRT's objects may point into for as long as they live
        self._told: list[str] | None = None  # what the builder logs, while it builds
        self._untold = False  # whether its kernels are kept from the client
        self._ours = False  # whether what is logged comes of our own questions
        self._logger = _Collector(self._log)

    # -- commands of the client

    def new(self, cls: str, args: list[Any]) -> Any:
        """Make a Builder, an OnnxParser or a Runtime; loggers stay in the client."""
        if cls not in _MAKES:
            raise Unsupported(f"the twin cannot make a trt.{cls!s:.80} yet")
        if cls == "Runtime":
            return self._out(Runtime(self.world))
        return self._out(getattr(trt, cls)(*self._in_all(args), self._logger))

    def call(self, handle: int, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        target = self._object(handle)
        own = _OWN.get((type(target).__name__, name)) if type(name) is str else None
        function = own.__get__(self) if own is not None else names.method(target, name)
        values, named = self._in_all(args), {k: self._in(v) for k, v in kwargs.items()}
        return self._out(function(target, *values, **named) if own is not None else function(*values, **named))

    def get(self, handle: int, name: str) -> Any:
        target = self._object(handle)
        if name == "layer_type" and isinstance(target, trt.ILayer):  # ILayer.type, which some of its classes hide
            return self._out(layer_type(target))
        own = _OWN_PROPERTIES.get((type(target).__name__, name)) if type(name) is str else None
        return self._out(names.value(target, name) if own is None else own[0](self.configs, target))

    def set(self, handle: int, name: str, value: Any) -> None:
        target = self._object(handle)
        own = _OWN_PROPERTIES.get((type(target).__name__, name)) if type(name) is str else None
        if own is None:
            names.assign(target, name, self._in(value))
        else:
            own[1](self.configs, target, self._in(value))

    def release(self, handles: list[int]) -> None:
        """The client dropped a reference to each of these."""
        for handle in handles:
            if self._counts.get(handle, 0) > 1:
                self._counts[handle] -= 1
            elif handle in self._objects:
                self._forget(handle)

    def _forget(self, handle: int) -> None:
        target = self._objects.pop(handle)
        self._ids.pop(id(target), None)
        self._counts.pop(handle, None)
        if isinstance(target, IExecutionContext) and (pending := target.pending()) is not None:
            message = f"an execution context was let go while its {pending.what} ({pending.line}) was still to run"
            self.world.driver.finding(Misuse("freed", f"{message}: synchronize the stream first"), pending.line)
        if isinstance(target, IExecutionContext):
            target.let_go()
        if not isinstance(target, (*names.TWIN, trt.ILayer, trt.ITensor)):
            self._keep.append(target)  # others may point to it, as a parser does to its network

    # -- what differs from plain TensorRT-RTX

    def _add_optimization_profile(self, config: trt.IBuilderConfig, profile: trt.IOptimizationProfile) -> int:
        return self.configs.add_profile(config, profile)

    def _limit_memory(self, config: trt.IBuilderConfig, pool: trt.MemoryPoolType, pool_size: int) -> None:
        self.configs.limit(config, pool, pool_size)

    def _reset_config(self, config: trt.IBuilderConfig) -> None:
        self.configs.reset(config)

    def _parse(self, parser: trt.OnnxParser, model: bytes, path: object = None) -> bool:
        """Without the path: it is one of the client's, who sends models with everything in them."""
        return parser.parse(checked(model))

    def _supports_model(self, parser: trt.OnnxParser, model: bytes, path: object = None) -> bool:
        return parser.supports_model_v2(checked(model))

    def _serialize(self, engine: ICudaEngine) -> _SealedPlan:
        return _SealedPlan(engine.serialize())

    def _build(self, builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig) -> Any:
        """The real build; then, from the same network, what the twin needs to run it."""
        if not isinstance(network, trt.INetworkDefinition) or not isinstance(config, trt.IBuilderConfig):
            raise TypeError("build_serialized_network(network, config): a network and a builder config are needed")
        refuse_what_crashes(network)
        with self._unlogged():
            described = self.configs.describe(config, network)
            profiles = self.configs.profiles(config, network)
        plan: bytes | None = None
        name: str | None = None
        try:
            engine, told = self._build_traced(builder, network, config)
            if engine is not None:
                description = plans.Description(
                    network.name, trt.__version__, io_tensors(network), profiles,
                    layer_infos(network), trace.traced(told, all_names(network)), described["verbosity"],
                    "REQUIRE_USER_ALLOCATION" in described["flags"],
                )  # fmt: skip
                plan, name = plans.sealed(plans.Plan(memoryview(engine), walk(network), description), self.world.key)
        except Unsupported as error:
            self._log(_ERROR, f"the engine was built, but cannot run here: {error}")
            raise
        finally:
            self.configs.record(described, name)
        if plan is None:
            return None
        self.builds += 1
        return _SealedPlan(plan)

    def _build_traced(
        self, builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig
    ) -> tuple[trt.IHostMemory | None, list[str]]:
        """The real build, with its kernels logged whatever verbosity was asked for; and all that it logged."""
        asked = config.profiling_verbosity
        told: list[str] = []
        self._told = told
        self._untold = asked != trt.ProfilingVerbosity.DETAILED
        try:
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
            return builder.build_serialized_network(network, config), told
        finally:
            config.profiling_verbosity = asked
            self._told, self._untold = None, False

    @contextmanager
    def _unlogged(self) -> Iterator[None]:
        """Around questions of ours: TensorRT logs an error where a profile has no shape for an input."""
        self._ours = True
        try:
            yield
        finally:
            self._ours = False

    # -- values in and out

    def _object(self, handle: Any) -> Any:
        if type(handle) is not int or handle not in self._objects:
            raise ValueError(f"no object has the handle {handle!r:.80}")
        return self._objects[handle]

    def _in_all(self, values: list[Any]) -> list[Any]:
        return [self._in(value) for value in values]

    def _in(self, value: Any, depth: int = 0) -> Any:
        if depth > _MOST_DEPTH:
            raise ValueError("nested too deeply")
        if isinstance(value, np.ndarray):
            self._keep.append(value)
            return value
        if isinstance(value, (list, tuple)):
            return type(value)(self._in(item, depth + 1) for item in value)
        if not isinstance(value, dict):
            return value
        kind = value.get("@")
        if kind == "object":
            return self._object(value["id"])
        if kind == "enum":
            return _enumeration(value["class"], value["name"])
        if kind == "dims":
            return trt.Dims([_integer(d) for d in value["values"]])
        if kind == "weights":
            return self._weights(value["dtype"], value["data"])
        raise ValueError(f"unknown value {kind!r:.80}")

    def _weights(self, dtype: str, data: bytes) -> trt.Weights:
        """The count follows from the bytes that came, never from what the client says of them."""
        kind = _enumeration("DataType", dtype)
        if not isinstance(data, bytes):
            raise TypeError("weights are bytes")
        count = int(len(data) / kind.itemsize)
        if not count:
            return trt.Weights(kind)
        array = np.frombuffer(data, np.uint8)
        self._keep.append(array)
        return trt.Weights(kind, array.ctypes.data, count)

    def _out(self, value: Any) -> Any:
        if isinstance(value, _SealedPlan):
            return {"@": "host_memory", "data": value.data}
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        if isinstance(value, np.ndarray):
            return value.copy()
        if isinstance(value, trt.Weights):
            array = value.numpy()
            if not isinstance(array, np.ndarray):  # itself, for the types that NumPy lacks
                raise Unsupported(f"the twin cannot hand out weights of type {value.dtype.name}")
            return array.copy()
        if isinstance(value, trt.Dims):
            return {"@": "dims", "values": list(value)}
        if isinstance(value, trt.Permutation):
            return list(value)
        if hasattr(type(value), "__members__"):
            return {"@": "enum", "class": type(value).__name__, "name": value.name}
        if isinstance(value, (list, tuple)):
            return [self._out(item) for item in value]
        if isinstance(value, trt.IHostMemory):
            return {"@": "host_memory", "data": bytes(memoryview(value))}
        if isinstance(value, trt.ILayer):
            value = as_own_class(value)
        return self._handle(value)

    def _handle(self, value: Any) -> dict[str, Any]:
        if not names.is_served(value):
            raise Unsupported(f"the twin cannot hand out a {type(value).__name__}")
        handle = self._ids.get(id(value))
        if handle is None:
            handle, self._next = self._next, self._next + 1
            self._objects[handle] = value
            self._ids[id(value)] = handle
        self._counts[handle] = self._counts.get(handle, 0) + 1
        return {"@": "object", "id": handle, "class": type(value).__name__}

    def _log(self, severity: trt.ILogger.Severity, text: str) -> None:
        if self._ours:
            return
        is_trace = text.startswith(trace.RECORD)
        if self._told is not None:
            self._told.append(text)
            if is_trace and self._untold:
                return
        if not self.records:
            self._log_bytes = 0
        text = text[:_MOST_RECORD_BYTES]
        self._log_bytes += len(text)
        if self._log_bytes < _MOST_LOG_BYTES or is_trace or int(severity) <= int(_ERROR):
            self.records.append((int(severity), text))


class _Collector(trt.ILogger):
    """TensorRT's logger of this process: keeps records; an exception here would end the process."""

    def __init__(self, keep: Callable[[trt.ILogger.Severity, str], None]) -> None:
        trt.ILogger.__init__(self)
        self._record = keep

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        self._record(severity, msg)


def _enumeration(cls: Any, name: Any) -> Any:
    """A member of one of TensorRT's enumerations. Raises ValueError."""
    found = vars(trt).get(cls) if type(cls) is str else None
    members = getattr(found, "__members__", None)
    if not isinstance(found, type) or not isinstance(members, dict) or type(name) is not str or name not in members:
        raise ValueError(f"no such value: {cls!r:.80}.{name!r:.80}")
    return members[name]


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"a dimension is an integer, not {value!r:.80}")
    return value


_OWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("Builder", "build_serialized_network"): Session._build,
    ("IBuilderConfig", "add_optimization_profile"): Session._add_optimization_profile,
    ("IBuilderConfig", "set_memory_pool_limit"): Session._limit_memory,
    ("IBuilderConfig", "reset"): Session._reset_config,
    ("OnnxParser", "parse"): Session._parse,
    ("OnnxParser", "supports_model_v2"): Session._supports_model,
    ("ICudaEngine", "serialize"): Session._serialize,
}

#: Properties, by class and name: how they are read and set.
_OWN_PROPERTIES: dict[tuple[str, str], tuple[Callable[..., Any], Callable[..., None]]] = {
    ("IBuilderConfig", "hardware_compatibility_level"): (Configs.hardware_level, Configs.set_hardware_level),
}

#: Errors of a command that are the candidate's to see, by the name under which the client raises them.
EXPECTED = (
    (Misuse, "Misuse"),
    (Unsupported, "NotImplementedError"),
    (IndexError, "IndexError"),
    (AttributeError, "AttributeError"),
    (TypeError, "TypeError"),
    (LookupError, "ValueError"),
    (ValueError, "ValueError"),
    (RuntimeError, "RuntimeError"),
    (ArithmeticError, "ValueError"),
    (MemoryError, "RuntimeError"),
    (BufferError, "ValueError"),
    (EncodeError, "ValueError"),
)
