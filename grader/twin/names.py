"""Which attributes of which objects a client may name: an allow-list, since names arrive as text.

Of TensorRT-RTX's classes it is their public methods and properties, less those that read files,
load libraries, take addresses of host memory or call back.  Of the twin's own it is what stands
here; where those take addresses, they are numbers that the twin's own memory gave out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorrt_rtx as trt

from .context import IExecutionContext
from .layers import Unsupported
from .runtime import EngineInspector, ICudaEngine, Runtime

#: Refused wherever they occur, and why.
_CALLS_BACK = dict.fromkeys(
    ("progress_monitor", "gpu_allocator", "error_recorder", "profiler", "temporary_allocator",
     "set_debug_listener", "get_debug_listener", "build_serialized_network_to_stream", "logger"),
    "it would have to call back into your process",
)  # fmt: skip
_FILES = dict.fromkeys(
    ("parse_from_file", "get_plugin_registry", "load_runtime", "plugins_to_serialize", "temporary_directory",
     "tempfile_control_flags", "get_used_vc_plugin_libraries"),
    "it would read files or load libraries in the device process",
)  # fmt: skip
_POINTERS = dict.fromkeys(
    (
        "load_initializer",
        "load_model_proto",
        "parse_model_proto",
        "profile_stream",
    ),
    "it takes addresses of your process, which mean nothing in the device process",
)
REFUSED = _CALLS_BACK | _FILES | _POINTERS

_METHODS: dict[type, frozenset[str]] = {
    Runtime: frozenset({"deserialize_cuda_engine"}),
    ICudaEngine: frozenset(
        {
            "get_tensor_name", "get_tensor_mode", "get_tensor_dtype", "get_tensor_shape", "get_tensor_location",
            "get_tensor_format",
            "get_tensor_format_desc", "get_tensor_vectorized_dim", "get_tensor_bytes_per_component",
            "is_shape_inference_io",
            "get_tensor_components_per_element", "get_tensor_profile_shape", "create_execution_context",
            "create_execution_context_without_device_memory", "get_device_memory_size_for_profile",
            "get_device_memory_size_for_profile_v2", "create_engine_inspector",
            "serialize", "__getitem__", "get_tensor_profile_values", "host_tensors",
        }
    ),
    IExecutionContext: frozenset(
        {
            "set_optimization_profile_async", "set_input_shape", "get_tensor_shape", "get_tensor_strides",
            "get_max_output_size",
            "infer_shapes", "set_device_memory", "update_device_memory_size_for_shapes",
            "set_tensor_address", "get_tensor_address", "execute_v2", "execute_async_v3", "set_output_allocator",
            "plan_outputs", "set_shape_values", "set_input_consumed_event", "get_input_consumed_event",
        }
    ),
    EngineInspector: frozenset({"get_layer_information", "get_engine_information"}),
}  # fmt: skip
_PROPERTIES: dict[type, frozenset[str]] = {
    Runtime: frozenset(),
    ICudaEngine: frozenset(
        {
            "name", "num_io_tensors", "num_layers", "num_optimization_profiles", "device_memory_size_v2",
            "device_memory_size", "refittable", "num_aux_streams", "profiling_verbosity",
        }
    ),
    IExecutionContext: frozenset(
        {"engine", "name", "active_optimization_profile", "all_binding_shapes_specified", "device_memory"}
    ),
    EngineInspector: frozenset({"execution_context"}),
}  # fmt: skip
#: Properties that may be set, and to what.
_SETTABLE: dict[tuple[type, str], type | tuple[type, ...]] = {
    (IExecutionContext, "name"): str,
    (IExecutionContext, "device_memory"): int,
    (EngineInspector, "execution_context"): (IExecutionContext, type(None)),
}
TWIN = tuple(_METHODS)
_DUNDERS = ("__len__", "__getitem__")
_REAL = type(trt.Builder)


def is_served(value: Any) -> bool:
    """Whether a client may have a handle of it."""
    real = type(type(value)) is _REAL and not isinstance(value, trt.ILogger)
    return real or isinstance(value, TWIN)


def method(target: Any, name: Any) -> Callable[..., Any]:
    """The bound method. Raises AttributeError or Unsupported."""
    _refuse(target, name)
    if isinstance(target, TWIN):
        allowed = name in _METHODS[type(target)]
    else:
        allowed = callable(_defined(target, name)) and (name in _DUNDERS or not name.startswith("_"))
    if not allowed:
        raise _missing(target, name)
    return getattr(target, name)


def value(target: Any, name: Any) -> Any:
    """A property's value. Raises AttributeError or Unsupported."""
    _refuse(target, name)
    if isinstance(target, TWIN):
        allowed = name in _PROPERTIES[type(target)]
    else:
        allowed = isinstance(_defined(target, name), property) and not name.startswith("_")
    if not allowed:
        raise _missing(target, name)
    return getattr(target, name)


def assign(target: Any, name: Any, new: Any) -> None:
    """Set a property. Raises AttributeError, TypeError or Unsupported."""
    _refuse(target, name)
    if isinstance(target, TWIN):
        kind = _SETTABLE.get((type(target), name))
        if kind is None:
            raise AttributeError(f"property {name!r} of {type(target).__name__!r} object has no setter")
        if not isinstance(new, kind):
            raise TypeError(f"{type(target).__name__}.{name} cannot be a {type(new).__name__}")
    elif not isinstance(_defined(target, name), property) or name.startswith("_"):
        raise _missing(target, name)
    setattr(target, name, new)


def _refuse(target: Any, name: Any) -> None:
    if type(name) is not str:
        raise TypeError("an attribute's name is text")
    if name in REFUSED and (_defined(target, name) is not None or _real_has(type(target), name)):
        raise Unsupported(f"the twin has no {type(target).__name__}.{name}: {REFUSED[name]}")


def _defined(target: Any, name: str) -> Any:
    """What TensorRT-RTX's own classes define under this name; nothing that Python adds."""
    classes = [c for c in type(target).__mro__ if type(c) is _REAL and c.__name__ != "pybind11_object"]
    return next((vars(c)[name] for c in classes if name in vars(c)), None)


def _real_has(kind: type, name: str) -> bool:
    """Whether TensorRT's class of the same name has it, and has it of its own."""
    real = getattr(trt, kind.__name__, None)
    return isinstance(real, type) and name in vars(real)


def _missing(target: Any, name: str) -> Exception:
    kind = type(target)
    if (
        kind in _METHODS
        and name not in _METHODS[kind] | _PROPERTIES[kind]
        and not name.startswith("_")
        and _real_has(kind, name)
    ):
        return Unsupported(f"the twin has no {kind.__name__}.{name} yet")
    return AttributeError(f"{kind.__name__!r} object has no attribute {name[:200]!r}")
