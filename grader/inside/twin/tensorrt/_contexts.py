"""What of `IExecutionContext` happens in the candidate's process: output allocators, and shape inputs' values.

The device never calls back: a run with allocators is asked for twice, first for the sizes, then with the addresses
that the allocators gave, which the device checks like any others.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import traceback
from typing import Any

import tensorrt_rtx as _rtx
from pycuda import _host
from trtprep_worker.addresses import on_device
from trtprep_worker.device_link import LogicError, connect

from . import _proxies

_ALIGNMENT = 256
_PIPED = 4096  # what any pipe takes at once
_libc = ctypes.CDLL(None, use_errno=True)


class IOutputAllocator:
    """Subclass it; define ``reallocate_output`` or ``reallocate_output_async``, and ``notify_shape``.

    ``reallocate_output(tensor_name, memory, size, alignment)`` gives an address, as an integer, of that many bytes or
    more; None where it has none. ``memory`` is what `set_tensor_address` was given.  The form with ``_async`` gets the
    stream as well.  ``notify_shape(tensor_name, shape)`` is called before `execute_async_v3` returns.
    """

    def __init__(self) -> None:
        pass


def install(context: type, engine: type) -> None:
    """Put these methods in the place of the proxy's plain ones."""
    methods = (
        set_tensor_address, execute_v2, execute_async_v3, infer_shapes, get_tensor_shape, get_tensor_strides,
        set_output_allocator, get_output_allocator,
    )  # fmt: skip
    for method in methods:
        method.__doc__ = method.__doc__ or getattr(getattr(context, method.__name__), "__doc__", None)
        setattr(context, method.__name__, method)
    specified = context.all_binding_shapes_specified  # type: ignore[attr-defined]

    def all_specified(self: Any) -> bool:
        _send_values(self)
        return specified.fget(self)

    context.all_binding_shapes_specified = property(all_specified, doc=specified.__doc__)  # type: ignore[attr-defined]
    engine.__iter__ = _names  # type: ignore[attr-defined]


def _names(self: Any) -> Any:
    """As Python makes one of ``__getitem__`` in TensorRT, which raises IndexError at the end."""
    return (self.get_tensor_name(index) for index in range(self.num_io_tensors))


# -- shape inputs


def set_tensor_address(self: Any, name: str, memory: Any) -> bool:
    done = self._call("set_tensor_address", (name, memory), {})
    address = _proxies.encode(memory)
    if done and type(address) is int:
        self.__dict__.setdefault("_tensors_at", {})[name] = address
        self.__dict__.get("_values_at", {}).pop(name, None)
        if address and not on_device(address):
            for _, tensor, size in _host_tensors(self):
                if tensor == name:
                    self.__dict__.setdefault("_values_at", {})[name] = (address, size)
    return done


def execute_v2(self: Any, bindings: Any) -> bool:
    bindings = list(bindings)
    if any(not on_device(_proxies.encode(b)) for b in bindings):
        for index, name, size in _host_tensors(self):
            if index < len(bindings):
                self.__dict__.setdefault("_values_at", {})[name] = (_proxies.encode(bindings[index]), size)
    _send_values(self)
    if not _host.has_mapped():
        return self._call("execute_v2", (bindings,), {})
    self.__dict__["_tensors_at"] = dict(zip(self.engine, map(_proxies.encode, bindings), strict=False))
    parts = _mapped_parts(self)
    _bring(parts, 0)
    done = self._call("execute_v2", (bindings,), {})
    if done and any(not is_input for is_input, *_ in parts):
        _fetch(parts, 0)
        connect().cuda("stream_synchronize", 0)
    return done


def infer_shapes(self: Any) -> list[str]:
    _send_values(self)
    return self._call("infer_shapes", (), {})


def get_tensor_shape(self: Any, name: str) -> Any:
    _send_values(self)
    return self._call("get_tensor_shape", (name,), {})


def get_tensor_strides(self: Any, name: str) -> Any:
    _send_values(self)
    return self._call("get_tensor_strides", (name,), {})


def _host_tensors(self: Any) -> list[tuple[int, str, int]]:
    if "_host_tensors" not in self.__dict__:
        self.__dict__["_host_tensors"] = self.engine._call("host_tensors", (), {})
    return self.__dict__["_host_tensors"]


def _send_values(self: Any) -> None:
    """Tell the device what lies at the addresses of shape inputs now."""
    for name, (address, size) in self.__dict__.get("_values_at", {}).items():
        data = _read(address, size)
        if data is None:
            problem = (
                f"shape input {name!r}: its values cannot be read at {address:#x}: give the address of host memory"
            )
            connect().cuda("host_misuse", "address", problem)
            raise LogicError(problem)
        self._call("set_shape_values", (name, data), {})


def _read(address: int, size: int) -> bytes | None:
    """The bytes there, None where no memory is. The kernel looks first: a bad address ends nothing."""
    if on_device(address):
        return None
    source, sink = os.pipe()
    try:
        parts = []
        for start in range(0, size, _PIPED):
            part = min(_PIPED, size - start)
            if _libc.write(sink, ctypes.c_void_p(address + start), ctypes.c_size_t(part)) != part:
                return None
            parts.append(os.read(source, part))
        return b"".join(parts)
    finally:
        os.close(source)
        os.close(sink)


# -- tensors in mapped host memory: what a run reads is sent before it, what it writes fetched after it


def _mapped_parts(self: Any) -> list[tuple[bool, Any, str, int]]:
    """(whether it is an input, its bytes on the host, their dtype, their address on the device) of such tensors."""
    parts = []
    for name, address in self.__dict__.get("_tensors_at", {}).items():
        shape = self.get_tensor_shape(name) if _host.mapped_part(address, 1) else None
        if shape is None or any(d < 0 for d in shape):
            continue
        dtype = self.engine.get_tensor_dtype(name)
        found = _host.mapped_part(address, math.prod(shape) * dtype.itemsize)
        if found is not None:  # the device says what is too small
            is_input = self.engine.get_tensor_mode(name) == _rtx.TensorIOMode.INPUT
            parts.append((is_input, *found, address))
    return parts


def _bring(parts: list[tuple[bool, Any, str, int]], stream: int) -> None:
    for is_input, pinned, dtype, address in parts:
        if is_input:
            connect().copy_to_device(address, pinned, dtype, stream, mapped=True)


def _fetch(parts: list[tuple[bool, Any, str, int]], stream: int) -> None:
    for is_input, pinned, dtype, address in parts:
        if not is_input:
            connect().copy_to_host(pinned, dtype, address, stream, mapped=True)


# -- output allocators


def set_output_allocator(self: Any, name: str, output_allocator: IOutputAllocator | None) -> bool:
    if output_allocator is not None and not isinstance(output_allocator, IOutputAllocator):
        raise TypeError(
            f"set_output_allocator: a trt.IOutputAllocator is needed, not {type(output_allocator).__name__}"
        )
    done = self._call("set_output_allocator", (name, output_allocator is not None), {})
    if done:
        allocators = self.__dict__.setdefault("_allocators", {})
        allocators.pop(name, None)
        if output_allocator is not None:
            allocators[name] = output_allocator
    return done


def get_output_allocator(self: Any, name: str) -> IOutputAllocator | None:
    """None where none was set."""
    return self.__dict__.get("_allocators", {}).get(name)


def execute_async_v3(self: Any, stream_handle: Any) -> bool:
    _send_values(self)
    if not _host.has_mapped():
        return _enqueue(self, stream_handle)
    parts, stream = _mapped_parts(self), _proxies.encode(stream_handle)
    _bring(parts, stream)
    done = _enqueue(self, stream_handle)
    if done:
        _fetch(parts, stream)
    return done


def _enqueue(self: Any, stream_handle: Any) -> bool:
    allocators = self.__dict__.get("_allocators")
    if not allocators:
        return self._call("execute_async_v3", (stream_handle,), {})
    wanted = self._call("plan_outputs", (stream_handle,), {})
    if wanted is None:
        return False
    stream = _proxies.encode(stream_handle)
    given = [(n, _memory(allocators[n], n, address, size, stream)) for n, address, size, _ in wanted]
    done = self._call("execute_async_v3", (stream_handle, given), {})
    for name, _, _, shape in wanted if done else ():
        _call_back("notify_shape", allocators[name].notify_shape, name, _proxies.decode({"@": "dims", "values": shape}))
    return done


def _memory(allocator: Any, name: str, address: int, size: int, stream: int) -> int:
    """What the allocator gives, 0 for nothing."""
    if hasattr(allocator, "reallocate_output_async"):
        given = _call_back(
            "reallocate_output_async", allocator.reallocate_output_async, name, address, size, _ALIGNMENT, stream
        )
    else:
        given = _call_back("reallocate_output", allocator.reallocate_output, name, address, size, _ALIGNMENT)
    if given is None:
        return 0
    if not hasattr(given, "__index__"):
        print(f"[ERROR] reallocate_output gave a {type(given).__name__}, not an address", file=sys.stderr)
        return 0
    return given.__index__()


def _call_back(what: str, method: Any, *args: Any) -> Any:
    """As TensorRT's binding does it: an exception is printed, and counts as None."""
    try:
        return method(*args)
    except Exception:  # noqa: BLE001 (whatever it is, it is the candidate's)
        print(f"[ERROR] Exception caught in {what}():\n{traceback.format_exc()}", file=sys.stderr)
        return None
