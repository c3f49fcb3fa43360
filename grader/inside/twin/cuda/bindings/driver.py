"""`cuda.bindings.driver` over the twin, as far as samples for TensorRT use it: errors, the device, its primary context.

Memory, streams, events and graphs are `cuda.bindings.runtime`'s and `pycuda.driver`'s; kernels cannot be loaded.
"""

from __future__ import annotations

import operator
from typing import Any

from pycuda import _attributes
from trtprep_worker.device_link import connect

from ._answers import Answer, command, handle_of
from ._driver_numbers import CUdevice_attribute, CUresult
from ._numbers import CUDART_VERSION, TEXTS, cudaError_t
from ._types import CUcontext, CUdevice, cudaEvent_t, cudaGraph_t, cudaGraphExec_t, cudaStream_t

CUstream, CUevent, CUgraph, CUgraphExec = cudaStream_t, cudaEvent_t, cudaGraph_t, cudaGraphExec_t
CUDA_VERSION = CUDART_VERSION


@command(kind=CUresult)
def cuInit(Flags: int) -> tuple[()]:
    if operator.index(Flags) != 0:
        raise Answer(CUresult.CUDA_ERROR_INVALID_VALUE)
    connect().cuda("init")
    return ()


@command(1, kind=CUresult)
def cuDriverGetVersion() -> tuple[int]:
    return (CUDA_VERSION,)


@command(1, kind=CUresult)
def cuDeviceGetCount() -> tuple[int]:
    return (1,)


@command(1, kind=CUresult)
def cuDeviceGet(ordinal: int) -> tuple[CUdevice]:
    if operator.index(ordinal) != 0:
        raise Answer(CUresult.CUDA_ERROR_INVALID_DEVICE)
    return (CUdevice(0),)


@command(1, kind=CUresult)
def cuDeviceGetName(length: int, dev: Any) -> tuple[bytes]:
    _need_device(dev)
    return (_attributes.NAME.encode()[: operator.index(length) - 1],)


@command(1, kind=CUresult)
def cuDeviceTotalMem(dev: Any) -> tuple[int]:
    _need_device(dev)
    return (_attributes.TOTAL_BYTES,)


@command(1, kind=CUresult)
def cuDeviceGetAttribute(attrib: CUdevice_attribute, dev: Any) -> tuple[int]:
    _need_device(dev)
    return (_attributes.VALUES[attrib.value],)


@command(1, kind=CUresult)
def cuDevicePrimaryCtxRetain(dev: Any) -> tuple[CUcontext]:
    _need_device(dev)
    return (CUcontext(connect().cuda("retain_primary_context") + _FIRST_CONTEXT),)


@command(kind=CUresult)
def cuCtxSetCurrent(ctx: Any) -> tuple[()]:
    """The primary context, the only one that is made here; or none, in the place of the current one."""
    handle = handle_of(ctx)
    if handle not in (0, _FIRST_CONTEXT):
        raise Answer(CUresult.CUDA_ERROR_INVALID_CONTEXT)
    connect().cuda("set_device" if handle else "pop_context")
    return ()


@command(kind=CUresult)
def cuCtxSynchronize() -> tuple[()]:
    connect().cuda("context_synchronize")
    return ()


@command(1, kind=CUresult)
def cuGetErrorName(error: CUresult) -> tuple[bytes]:
    return (CUresult(error.value).name.encode(),)


@command(1, kind=CUresult)
def cuGetErrorString(error: CUresult) -> tuple[bytes]:
    known = {int(e) for e in cudaError_t}
    text = TEXTS.get(cudaError_t(error.value)) if error.value in known else None
    return ((text or CUresult(error.value).name).encode(),)


_FIRST_CONTEXT = 0x4400_0000  # so that no context is null


def _need_device(device: Any) -> None:
    if handle_of(device) != 0:
        raise Answer(CUresult.CUDA_ERROR_INVALID_DEVICE)


__all__ = [_name for _name in vars() if _name.startswith(("cu", "CU")) and not _name.startswith(("cuda", "CUDART"))]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"the twin's cuda.bindings.driver has no {name!r}: docs/twin.md says what it has")
