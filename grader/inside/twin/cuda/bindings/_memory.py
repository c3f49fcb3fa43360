"""Memory of the device and pinned memory of the host, and copies."""

from __future__ import annotations

import operator
from typing import Any

from trtprep_worker.device_link import connect

from . import _host
from ._answers import command, cuda, size_of, stream_of
from ._numbers import cudaHostAllocMapped, cudaMemcpyKind


@command(1)
def cudaMalloc(size: int) -> tuple[int]:
    return (cuda("mem_alloc", size_of(size)),)


@command()
def cudaFree(devPtr: Any) -> tuple[()]:
    address = _host.pointer(devPtr).address
    if address:
        cuda("mem_free", address)
    else:
        cuda("init")  # cudaFree(0) is how programs make the primary context
    return ()


@command(1)
def cudaMallocAsync(size: int, hStream: Any) -> tuple[int]:
    return (cuda("mem_alloc_async", size_of(size), stream_of(hStream)),)


@command()
def cudaFreeAsync(devPtr: Any, hStream: Any) -> tuple[()]:
    cuda("mem_free_async", _host.pointer(devPtr).address, stream_of(hStream))
    return ()


@command(1)
def cudaMallocHost(size: int) -> tuple[int]:
    return (_host.allocate(size_of(size)),)


@command(1)
def cudaHostAlloc(size: int, flags: int) -> tuple[int]:
    return (_host.allocate(size_of(size), mapped=bool(operator.index(flags) & cudaHostAllocMapped)),)


@command(1)
def cudaHostGetDevicePointer(pHost: Any, flags: int) -> tuple[int]:
    return (_host.device_pointer(_host.pointer(pHost)),)


@command()
def cudaFreeHost(ptr: Any) -> tuple[()]:
    _host.free(_host.pointer(ptr))
    return ()


@command()
def cudaHostRegister(ptr: Any, size: int, flags: int) -> tuple[()]:
    _host.register(_host.pointer(ptr), size_of(size), mapped=bool(operator.index(flags) & cudaHostAllocMapped))
    return ()


@command()
def cudaHostUnregister(ptr: Any) -> tuple[()]:
    _host.unregister(_host.pointer(ptr))
    return ()


@command(2)
def cudaMemGetInfo() -> tuple[int, int]:
    free, total = cuda("mem_get_info")
    return free, total


@command()
def cudaMemcpy(dst: Any, src: Any, count: int, kind: cudaMemcpyKind) -> tuple[()]:
    to, of, count = _host.pointer(dst), _host.pointer(src), size_of(count)
    way = _way(to, of, kind)
    if way == cudaMemcpyKind.cudaMemcpyHostToDevice:
        _host.need_host(of, count, "cudaMemcpy")
        cuda("memcpy_htod", _host.need_device(to, "cudaMemcpy"), _host.read(of, count), of.dtype)
    elif way == cudaMemcpyKind.cudaMemcpyDeviceToHost:
        _host.need_host(to, count, "cudaMemcpy")
        _host.write(to, cuda("memcpy_dtoh", _host.need_device(of, "cudaMemcpy"), count, to.dtype))
    elif way == cudaMemcpyKind.cudaMemcpyDeviceToDevice:
        cuda("memcpy_dtod", _host.need_device(to, "cudaMemcpy"), _host.need_device(of, "cudaMemcpy"), count)
    else:
        _host.need_host(of, count, "cudaMemcpy")
        _host.need_host(to, count, "cudaMemcpy")
        _host.write(to, _host.read(of, count))
    return ()


@command()
def cudaMemcpyAsync(dst: Any, src: Any, count: int, kind: cudaMemcpyKind, stream: Any) -> tuple[()]:
    to, of, count, handle = _host.pointer(dst), _host.pointer(src), size_of(count), stream_of(stream)
    way, what = _way(to, of, kind), "cudaMemcpyAsync"
    if way == cudaMemcpyKind.cudaMemcpyHostToDevice:
        _host.need_host(of, count, what)
        pinned = _host.need_pinned(of, count, what)
        connect().copy_to_device(_host.need_device(to, what), pinned, of.dtype, handle, runtime=True)
    elif way == cudaMemcpyKind.cudaMemcpyDeviceToHost:
        _host.need_host(to, count, what)
        pinned = _host.need_pinned(to, count, what)
        connect().copy_to_host(pinned, to.dtype, _host.need_device(of, what), handle, runtime=True)
    elif way == cudaMemcpyKind.cudaMemcpyDeviceToDevice:
        cuda("memcpy_dtod", _host.need_device(to, what), _host.need_device(of, what), count, handle)
    else:
        raise NotImplementedError("the twin has no asynchronous copy from host to host")
    return ()


@command()
def cudaMemset(devPtr: Any, value: int, count: int) -> tuple[()]:
    cuda("memset", _host.pointer(devPtr).address, bytes([value & 0xFF]), size_of(count))
    return ()


@command()
def cudaMemsetAsync(devPtr: Any, value: int, count: int, stream: Any) -> tuple[()]:
    cuda("memset", _host.pointer(devPtr).address, bytes([value & 0xFF]), size_of(count), stream_of(stream))
    return ()


def _way(to: _host.Pointer, of: _host.Pointer, kind: cudaMemcpyKind) -> cudaMemcpyKind:
    way = cudaMemcpyKind(kind.value)
    if way != cudaMemcpyKind.cudaMemcpyDefault:
        return way
    return cudaMemcpyKind(2 * of.on_device + to.on_device)  # as CUDA numbers them: 1 to the device, 2 from it, 3 both
