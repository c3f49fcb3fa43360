"""Serves TensorRT's objects to a candidate's process: handles out, calls in.

The real builder, network, parser and config live here, in the trusted device process, so that a
plan can only come out of them: a candidate's process cannot forge one.  Calls are passed on by
name to the real object; what differs from plain TensorRT-RTX is in `_OWN`, and what would need a
callback into the candidate's process is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorrt_rtx as trt

from . import plan as plans
from .driver import Driver
from .layers import Unsupported
from .misuse import Misuse
from .runtime import EngineInspector, ICudaEngine, IExecutionContext, Runtime, World
from .walk import as_own_class, io_tensors, layer_infos, walk

_ERROR = trt.ILogger.Severity.ERROR
#: Classes that the client may make, and the twin's own runtime classes.
_MAKES = {"Builder": trt.Builder, "OnnxParser": trt.OnnxParser, "Refitter": None, "Runtime": Runtime}
_TWIN = (Runtime, ICudaEngine, IExecutionContext, EngineInspector)
_CALLBACKS = {
    "progress_monitor", "gpu_allocator", "error_recorder", "profiler", "temporary_allocator",
    "set_output_allocator", "set_debug_listener", "build_serialized_network_to_stream",
}  # fmt: skip
_VALUES = tuple(c for c in vars(trt).values() if isinstance(c, type) and issubclass(c, trt.Dims))


class Session:
    """The objects of one candidate process."""

    def __init__(self, driver: Driver, key: bytes) -> None:
        self.world = World(driver, self._log, key)
        self.records: list[tuple[int, str]] = []  #: log records since the last reply
        self.builds = 0
        self._objects: dict[int, Any] = {}
        self._ids: dict[int, int] = {}
        self._next = 1
        self._keep: list[Any] = []  # weights that networks point into until they are built
        self._profiles: dict[int, list[Any]] = {}  # id of a config -> its profiles
        self._logger = _Collector(self.records)

    # -- commands of the client

    def new(self, cls: str, args: list[Any]) -> Any:
        """Make a Builder, an OnnxParser or a Runtime; loggers stay in the client."""
        if _MAKES.get(cls) is None:
            raise Unsupported(f"trt.{cls} cannot be made on the twin yet")
        if cls == "Runtime":
            return self._out(Runtime(self.world))
        return self._out(_MAKES[cls](*self._in_all(args), self._logger))

    def call(self, handle: int, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        target = self._objects[handle]
        own = _OWN.get((type(target).__name__, name))
        values, named = self._in_all(args), {k: self._in(v) for k, v in kwargs.items()}
        if own is not None:
            return self._out(own(self, target, *values, **named))
        return self._out(self._attribute(target, name)(*values, **named))

    def get(self, handle: int, name: str) -> Any:
        return self._out(self._attribute(self._objects[handle], name))

    def set(self, handle: int, name: str, value: Any) -> None:
        target = self._objects[handle]
        self._attribute_exists(target, name)
        setattr(target, name, self._in(value))

    def release(self, handles: list[int]) -> None:
        """The client dropped its last reference to these."""
        for handle in handles:
            target = self._objects.pop(handle, None)
            self._ids.pop(id(target), None)

    # -- what differs from plain TensorRT-RTX

    def _add_optimization_profile(self, config: trt.IBuilderConfig, profile: trt.IOptimizationProfile) -> int:
        index = config.add_optimization_profile(profile)
        if index >= 0:
            self._profiles.setdefault(id(config), []).append(profile)
            self._keep.append(config)  # its id must stay its own
        return index

    def _build(self, builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig) -> Any:
        """The real build; then, from the same network, what the twin needs to run it."""
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
        return {"@": "host_memory", "data": plans.seal(plan, self.world.key)}

    # -- values in and out

    def _attribute(self, target: Any, name: str) -> Any:
        self._attribute_exists(target, name)
        return getattr(target, name)

    def _attribute_exists(self, target: Any, name: str) -> None:
        if name in _CALLBACKS or name.startswith("_") and name not in ("__len__", "__getitem__"):
            raise Unsupported(f"{type(target).__name__}.{name} is not on the twin: it needs a GPU, or calls back")
        if not hasattr(type(target), name) and not hasattr(target, name):
            where = " on the twin yet" if isinstance(target, _TWIN) else ""
            raise AttributeError(f"{type(target).__name__!r} object has no attribute {name!r}{where}")

    def _in_all(self, values: list[Any]) -> list[Any]:
        return [self._in(value) for value in values]

    def _in(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            self._keep.append(value)
            return value
        if isinstance(value, (list, tuple)):
            return type(value)(self._in(item) for item in value)
        if not isinstance(value, dict) or "@" not in value:
            return value
        kind = value["@"]
        if kind == "object":
            return self._objects[value["id"]]
        if kind == "enum":
            return getattr(trt, value["class"]).__members__[value["name"]]
        if kind == "dims":
            return trt.Dims(value["values"])
        if kind == "weights":
            return self._weights(value["dtype"], value["data"])
        raise ValueError(f"unknown value {kind!r}")

    def _weights(self, dtype: str, data: bytes) -> trt.Weights:
        kind = trt.DataType.__members__[dtype]
        if not data:
            return trt.Weights(kind)
        array = np.frombuffer(data, np.uint8)
        self._keep.append(array)
        return trt.Weights(kind, array.ctypes.data, int(len(data) / kind.itemsize))

    def _out(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, str, bytes, dict)):
            return value
        if isinstance(value, np.ndarray):
            return value.copy()
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
        handle = self._ids.get(id(value))
        if handle is None:
            handle, self._next = self._next, self._next + 1
            self._objects[handle] = value
            self._ids[id(value)] = handle
        return {"@": "object", "id": handle, "class": type(value).__name__}

    def _log(self, severity: trt.ILogger.Severity, text: str) -> None:
        self.records.append((int(severity), text))


class _Collector(trt.ILogger):
    """TensorRT's logger of this process: keeps records; an exception here would end the process."""

    def __init__(self, records: list[tuple[int, str]]) -> None:
        trt.ILogger.__init__(self)
        self._records = records

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        self._records.append((int(severity), msg))


def _profile_shapes(profile: trt.IOptimizationProfile, name: str) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for shape in profile.get_shape(name))


_OWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("Builder", "build_serialized_network"): Session._build,
    ("IBuilderConfig", "add_optimization_profile"): Session._add_optimization_profile,
}

#: Errors of a command that are the candidate's to see, by the name under which the client raises them.
EXPECTED = (
    (Misuse, "Misuse"), (Unsupported, "NotImplementedError"), (IndexError, "IndexError"), (AttributeError, "AttributeError"),
    (TypeError, "TypeError"), (KeyError, "ValueError"), (ValueError, "ValueError"), (RuntimeError, "RuntimeError"),
)  # fmt: skip
