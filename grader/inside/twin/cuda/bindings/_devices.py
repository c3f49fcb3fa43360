"""Errors, versions and the one device."""

from __future__ import annotations

import operator

from ._answers import Answer, command, cuda, last
from ._numbers import CUDART_VERSION, TEXTS, cudaError_t
from ._types import cudaDeviceProp


@command()
def cudaGetErrorName(error: cudaError_t) -> tuple[bytes]:
    return (cudaError_t(error.value).name.encode(),)


@command()
def cudaGetErrorString(error: cudaError_t) -> tuple[bytes]:
    return (TEXTS.get(cudaError_t(error.value), error.name).encode(),)


def cudaGetLastError() -> tuple[cudaError_t]:
    (error,) = cudaPeekAtLastError()
    last.error = cudaError_t.cudaSuccess
    return (error,)


def cudaPeekAtLastError() -> tuple[cudaError_t]:
    return (getattr(last, "error", cudaError_t.cudaSuccess),)


@command(1)
def cudaRuntimeGetVersion() -> tuple[int]:
    return (CUDART_VERSION,)


@command(1)
def cudaDriverGetVersion() -> tuple[int]:
    return (CUDART_VERSION,)


@command(1)
def cudaGetDeviceCount() -> tuple[int]:
    return (1,)


@command(1)
def cudaGetDevice() -> tuple[int]:
    return (0,)


@command()
def cudaSetDevice(device: int) -> tuple[()]:
    _need_device(device)
    cuda("set_device")
    return ()


@command(1)
def cudaGetDeviceProperties(device: int) -> tuple[cudaDeviceProp]:
    _need_device(device)
    return (cudaDeviceProp(),)


@command()
def cudaDeviceSynchronize() -> tuple[()]:
    cuda("context_synchronize")
    return ()


def _need_device(device: int) -> None:
    if operator.index(device) != 0:
        raise Answer(cudaError_t.cudaErrorInvalidDevice)
