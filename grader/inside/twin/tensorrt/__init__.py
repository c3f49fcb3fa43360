"""``import tensorrt`` on a machine without a GPU: TensorRT 10's names over TensorRT-RTX and the twin.

Enumerations, `Dims` and `Weights` are TensorRT-RTX's own.  Every other class is a proxy: the real
object lives in the device process (see `grader/twin/session.py`), which hands out handles.
"""

from __future__ import annotations

import enum

import tensorrt_rtx as _rtx
from tensorrt_rtx import *  # noqa: F403 (enumerations, values, nptype, volume)

from . import _contexts, _proxies
from ._logger import ILogger, Logger

#: The dialect, then what is really beneath.
__version__ = f"10.13.0+twin.rtx{_rtx.__version__}"

globals().update(_proxies.classes())

IHostMemory = _proxies.IHostMemory
IOutputAllocator = _contexts.IOutputAllocator
_contexts.install(globals()["IExecutionContext"], globals()["ICudaEngine"])


class NetworkDefinitionCreationFlag(enum.IntEnum):
    """TensorRT 10's. TensorRT-RTX networks are always explicit-batch and strongly typed."""

    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    """True: TensorRT-RTX has no plugins of its own to register."""
    return True


__all__ = [name for name in vars() if not name.startswith("_")]
_ = (Logger, ILogger)
