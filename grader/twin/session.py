"""Serves TensorRT's objects to a candidate's process: handles out, calls in.

The real builder, network, parser and config live here, in the trusted device process, so that a
plan can only come out of them: a candidate's process cannot forge one.  Calls are passed on by
name to the real object, as far as `names` allows; what differs from plain TensorRT-RTX is in `_OWN`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorrt_rtx as trt
from google.protobuf.message import EncodeError

from . import names
from . import plan as plans
from .driver import Driver
from .layers import Unsupported
from .loaded import LoadedPlans
from .misuse import Misuse
from .models import checked
from .runtime import ICudaEngine, IExecutionContext, Runtime, World
from .walk import as_own_class, io_tensors, layer_infos, walk

_ERROR = trt.ILogger.Severity.ERROR
#: Classes that the client may make.
_MAKES = ("Builder", "OnnxParser", "Runtime")
_VALUES: tuple[Any, ...] = tuple(c for c in vars(trt).values() if isinstance(c, type) and issubclass(c, trt.Dims))
_MOST_LOG_BYTES = 4 << 20  # of records that go with one reply; a verbose build can have many
_MOST_DEPTH = 16


class _SealedPlan(bytes):
    """A plan on its way out; other bytes stay bytes."""


class Session:
    """The objects of one candidate process."""

    def __init__(self, driver: Driver, key: bytes) -> None:
        self.world = World(driver, self._log, key, LoadedPlans(key, trt.__version__))
        self.records: list[tuple[int, str]] = []  #: log records since the last reply
        self.builds = 0
        self._log_bytes = 0
        self._objects: dict[int, Any] = {}
        self._ids: dict[int, int] = {}
        self._counts: dict[int, int] = {}  # how often the client was given a handle
        self._next = 1
        self._keep: list[Any] = []  # what TensorRT's objects may point into for as long as they live
        self._profiles: dict[int, list[Any]] = {}  # id of a config -> its profiles
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
        return self._out(names.value(self._object(handle), name))

    def set(self, handle: int, name: str, value: Any) -> None:
        names.assign(self._object(handle), name, self._in(value))

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
        if not isinstance(target, (*names.TWIN, trt.ILayer, trt.ITensor)):
            self._keep.append(target)  # others may point to it, as a parser does to its network

    # -- what differs from plain TensorRT-RTX

    def _add_optimization_profile(self, config: trt.IBuilderConfig, profile: trt.IOptimizationProfile) -> int:
        index = config.add_optimization_profile(profile)
        if index >= 0:
            self._profiles.setdefault(id(config), []).append(profile)
            self._keep.append(config)  # its id must stay its own
        return index

    def _reset_config(self, config: trt.IBuilderConfig) -> None:
        config.reset()
        self._profiles.pop(id(config), None)

    def _parse(self, parser: trt.OnnxParser, model: bytes, path: object = None) -> bool:
        """Without the path: it is one of the client's, who sends models with everything in them."""
        return parser.parse(checked(model))

    def _supports_model(self, parser: trt.OnnxParser, model: bytes, path: object = None) -> bool:
        return parser.supports_model_v2(checked(model))

    def _serialize(self, engine: ICudaEngine) -> bytes:
        return _SealedPlan(engine.serialize())

    def _build(self, builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig) -> Any:
        """The real build; then, from the same network, what the twin needs to run it."""
        if not isinstance(network, trt.INetworkDefinition) or not isinstance(config, trt.IBuilderConfig):
            raise TypeError("build_serialized_network(network, config): a network and a builder config are needed")
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            return None
        io = io_tensors(network)
        profiles = tuple(
            {t.name: shapes for t in io if t.is_input and (shapes := _profile_shapes(profile, t.name))}
            for profile in self._profiles.get(id(config), ())
        )
        try:
            description = plans.Description(network.name, trt.__version__, io, profiles, layer_infos(network))
            plan = plans.Plan(bytes(memoryview(engine)), walk(network), description)
        except Unsupported as error:
            self._log(_ERROR, f"the engine was built, but cannot run here: {error}")
            raise
        self.builds += 1
        return _SealedPlan(plans.seal(plan, self.world.key))

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
            return {"@": "host_memory", "data": bytes(value)}
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        if isinstance(value, np.ndarray):
            return value.copy()
        if isinstance(value, trt.Weights):
            return value.numpy().copy()
        if isinstance(value, _VALUES):
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
        if not self.records:
            self._log_bytes = 0
        self._log_bytes += len(text)
        if self._log_bytes < _MOST_LOG_BYTES or int(severity) <= int(_ERROR):
            self.records.append((int(severity), text[:10_000]))


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


def _profile_shapes(profile: trt.IOptimizationProfile, name: str) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for shape in profile.get_shape(name))


_OWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("Builder", "build_serialized_network"): Session._build,
    ("IBuilderConfig", "add_optimization_profile"): Session._add_optimization_profile,
    ("IBuilderConfig", "reset"): Session._reset_config,
    ("OnnxParser", "parse"): Session._parse,
    ("OnnxParser", "supports_model_v2"): Session._supports_model,
    ("ICudaEngine", "serialize"): Session._serialize,
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
