"""Proxy classes for TensorRT's objects, made from TensorRT-RTX's own class definitions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt_rtx as _rtx
from trtprep_worker.device_link import connect
from trtprep_worker.weight_bytes import raw_bytes

from ._logger import ILogger, listen

_REAL = type(_rtx.Builder)  # pybind11's metaclass: what is of it, and no enumeration or value, is proxied
_VALUES = ("Dims", "Dims2", "Dims3", "Dims4", "DimsHW", "Weights", "Permutation", "ILogger", "Logger", "IHostMemory")
_MADE = ("Builder", "OnnxParser", "Refitter", "Runtime")
_BY_NAME: dict[str, type[Proxy]] = {}


class IHostMemory(bytes):
    """A serialized plan. As TensorRT's: a buffer with ``nbytes`` and nothing else that bytes have."""

    @property
    def nbytes(self) -> int:
        return bytes.__len__(self)

    @property
    def dtype(self) -> _rtx.DataType:
        return _rtx.DataType.INT8

    def __enter__(self) -> IHostMemory:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __repr__(self) -> str:
        return f"<tensorrt.IHostMemory of {self.nbytes} bytes>"

    __str__ = __repr__


def _not_there(name: str) -> property:
    def get(self: IHostMemory) -> Any:
        raise AttributeError(
            f"'tensorrt.IHostMemory' object has no attribute {name!r} (bytes(plan) is a copy that has it)"
        )

    return property(get)


def _no_operator(what: str) -> Callable[..., Any]:
    def refuse(self: IHostMemory, *args: object) -> Any:
        raise TypeError(f"object of type 'IHostMemory' {what}")

    return refuse


for _name in dir(bytes):
    if not _name.startswith("_"):
        setattr(IHostMemory, _name, _not_there(_name))
IHostMemory.__len__ = _no_operator("has no len() (use .nbytes)")  # type: ignore[method-assign]
IHostMemory.__getitem__ = _no_operator("is not subscriptable (use bytes(plan))")  # type: ignore[method-assign]
IHostMemory.__iter__ = _no_operator("is not iterable (use bytes(plan))")  # type: ignore[method-assign]
IHostMemory.__add__ = _no_operator("cannot be added to (use bytes(plan))")  # type: ignore[method-assign]


class Proxy:
    """A handle of an object in the device process."""

    _id = 0
    _keeps: list[Any]
    logger: ILogger

    @classmethod
    def _of(cls, handle: int) -> Proxy:
        made = object.__new__(cls)
        made._id = handle
        return made

    def _call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        named = {key: encode(value) for key, value in kwargs.items()}
        return decode(connect().request("call", id=self._id, name=method, args=[encode(a) for a in args], kwargs=named))

    def __setattr__(self, name: str, value: Any) -> None:
        """As pybind11's classes: no new attributes, but a subclass of the user's own may have some."""
        own = _BY_NAME.get(type(self).__name__) is type(self)
        if own and not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__setattr__(name, value)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Proxy) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __del__(self) -> None:
        if self._id and connect is not None:  # None while the interpreter ends
            connect().drop(self._id)


def classes() -> dict[str, Any]:
    """Proxies by name, for every class of TensorRT-RTX that is not a plain value."""
    for name, real in vars(_rtx).items():
        if type(real) is _REAL and name not in _VALUES and not hasattr(real, "__members__"):
            _proxy_class(real)
    return dict(_BY_NAME)


def _proxy_class(real: type) -> type[Proxy]:
    name = real.__name__
    if name in _BY_NAME:
        return _BY_NAME[name]
    parents = [
        _proxy_class(base) for base in real.__bases__ if type(base) is _REAL and base.__name__ != "pybind11_object"
    ]
    body: dict[str, Any] = {"__doc__": real.__doc__, "__module__": "tensorrt"}
    for member, value in vars(real).items():
        if member in ("__len__", "__getitem__"):
            body[member] = _method(member, value)
        elif member.startswith("_") or (member == "logger" and name in _MADE):
            continue
        elif isinstance(value, type):
            body[member] = value  # an enumeration
        elif isinstance(value, property):
            body[member] = _property(member, value)
        elif callable(value):
            body[member] = _method(member, value)
    if name in _MADE:
        body["__init__"] = _maker(name)
    body |= _OWN.get(name, {})
    _BY_NAME[name] = made = type(name, tuple(parents) or (Proxy,), body)
    return made


def _method(name: str, real: Any) -> Callable[..., Any]:
    def method(self: Proxy, *args: Any, **kwargs: Any) -> Any:
        return self._call(name, args, kwargs)

    method.__name__, method.__doc__ = name, real.__doc__
    return method


def _property(name: str, real: property) -> property:
    def get(self: Proxy) -> Any:
        return decode(connect().request("get", id=self._id, name=name))

    def put(self: Proxy, value: Any) -> None:
        connect().request("set", id=self._id, name=name, value=encode(value))

    return property(get, put if real.fset else None, doc=real.__doc__)


def _maker(name: str) -> Callable[..., None]:
    def make(self: Proxy, *args: Any, **kwargs: Any) -> None:
        values = [*args, *kwargs.values()]
        loggers = [value for value in values if isinstance(value, ILogger)]
        if not loggers:
            raise TypeError(f"trt.{name} needs a logger (a trt.Logger or your own trt.ILogger)")
        self._keeps = values  # a network must outlive its parser, a logger its builder
        object.__setattr__(self, "logger", loggers[0])
        listen(loggers[0])
        rest = [encode(value) for value in values if not isinstance(value, ILogger)]
        self._id = connect().request("new", **{"class": name}, args=rest)["id"]

    return make


# -- values across


def encode(value: Any) -> Any:
    """What of ``value`` can cross to the device."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, bytearray, memoryview, np.ndarray)):
        return value
    if isinstance(value, Proxy):
        if not value._id:
            raise NotImplementedError(f"the twin cannot call back into your {type(value).__name__}")
        return {"@": "object", "id": value._id}
    if isinstance(value, _rtx.Weights):
        data = value.numpy() if value.size else np.empty(0, np.uint8)
        raw = data.tobytes() if isinstance(data, np.ndarray) else raw_bytes(value)
        return {"@": "weights", "dtype": value.dtype.name, "data": raw}
    if isinstance(value, _rtx.Dims):
        return {"@": "dims", "values": list(value)}
    if hasattr(type(value), "__members__") and hasattr(value, "name"):
        return {"@": "enum", "class": type(value).__name__, "name": value.name}
    if isinstance(value, (list, tuple)):
        return type(value)(encode(item) for item in value)
    if hasattr(value, "__index__"):  # NumPy integers, pycuda.driver.DeviceAllocation
        return value.__index__()
    if isinstance(value, np.floating):
        return float(value)
    raise TypeError(f"TensorRT takes no {type(value).__module__}.{type(value).__name__} here")


def decode(value: Any) -> Any:
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict) or "@" not in value:
        return value
    kind = value["@"]
    if kind == "object":
        return _BY_NAME[value["class"]]._of(value["id"])
    if kind == "enum":
        return getattr(_rtx, value["class"]).__members__[value["name"]]
    if kind == "dims":
        return _rtx.Dims(value["values"])
    return IHostMemory(value["data"])


# -- where TensorRT 10's dialect, or the process boundary, asks for more than passing a call on


def _create_network(self: Proxy, flags: int = 0) -> Any:
    if int(flags) & ~0b11:
        raise ValueError(f"create_network({flags}): TensorRT 10 has the flags EXPLICIT_BATCH and STRONGLY_TYPED")
    return self._call("create_network", (0,), {})


def _parse(self: Proxy, model: Any, path: str | None = None) -> bool:
    folder = Path(path).parent if path is not None else None
    return self._call("parse", (_whole(bytes(memoryview(model)), folder),), {})


def _parse_from_file(self: Proxy, model: str) -> bool:
    """Reads the file here: the device process cannot see the candidate's files."""
    try:
        return _parse(self, Path(model).read_bytes(), str(model))
    except OSError as error:
        connect().log(int(_rtx.ILogger.Severity.ERROR), f"could not open file {model}: {error.strerror}")
        return self._call("parse", (b"\xff",), {})  # refused, so that the parser has an error to tell


def _whole(model: bytes, folder: Path | None) -> bytes:
    """The model with the tensors that lie in files of their own."""
    if folder is None or b"location" not in model:
        return model
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    loaded = onnx.load_from_string(model)
    load_external_data_for_model(loaded, str(folder))
    return loaded.SerializeToString()


def _named_method(name: str, doc: str) -> Callable[..., Any]:
    """A method of TensorRT 10 that TensorRT-RTX's class of the same name no longer has."""

    def method(self: Proxy, *args: Any, **kwargs: Any) -> Any:
        return self._call(name, args, kwargs)

    method.__name__, method.__doc__ = name, doc
    return method


def _device_memory_size(self: Proxy) -> int:
    """TensorRT 10's older name of ``device_memory_size_v2``."""
    return decode(connect().request("get", id=self._id, name="device_memory_size"))


def _get_layer(self: Proxy, index: int) -> Any:
    """A bare ILayer, as TensorRT's own: setting its ``__class__`` gives it the attributes of its kind."""
    layer = self._call("get_layer", (index,), {})
    if layer is not None:  # there is such a layer
        layer.__class__ = _BY_NAME["ILayer"]
    return layer


def _layer_type(self: Proxy) -> Any:
    """The LayerType; activations and poolings of their own class have another ``type``, as in TensorRT."""
    return decode(connect().request("get", id=self._id, name="layer_type"))


_OWN: dict[str, dict[str, Any]] = {
    "Builder": {"create_network": _create_network, "platform_has_fast_fp16": True, "platform_has_fast_int8": True},
    "INetworkDefinition": {"get_layer": _get_layer},
    "ILayer": {"type": property(_layer_type)},
    "OnnxParser": {"parse": _parse, "parse_from_file": _parse_from_file},
    "ICudaEngine": {
        "device_memory_size": property(_device_memory_size),
        "get_device_memory_size_for_profile": _named_method(
            "get_device_memory_size_for_profile", "TensorRT 10's older name of ``..._v2``."
        ),
        "create_execution_context_without_device_memory": _named_method(
            "create_execution_context_without_device_memory", "A context that needs ``set_device_memory``."
        ),
    },
}
