"""Handles and structures of `cuda.bindings.runtime`."""

from __future__ import annotations

import operator
from typing import Any

from pycuda import _attributes

from ._numbers import cudaGraphExecUpdateResult


class _Handle:
    """A number that CUDA gave, in a class of its own."""

    _name = ""

    def __init__(self, init_value: Any = 0) -> None:
        self._value = operator.index(init_value)

    def __int__(self) -> int:
        return self._value

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Handle) and type(other)._name == self._name and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"<{self._name} {self._value:#x}>"


class cudaStream_t(_Handle):
    _name = "CUstream"


class cudaEvent_t(_Handle):
    _name = "CUevent"


class CUdevice(_Handle):
    _name = "CUdevice"


class CUcontext(_Handle):
    _name = "CUcontext"


class cudaGraph_t(_Handle):
    _name = "CUgraph"


class cudaGraphExec_t(_Handle):
    _name = "CUgraphExec"


class cudaGraphNode_t(_Handle):
    _name = "CUgraphNode"


class cudaGraphExecUpdateResultInfo:
    """What `cudaGraphExecUpdate` gives where it succeeds."""

    def __init__(self) -> None:
        self.result = cudaGraphExecUpdateResult.cudaGraphExecUpdateSuccess
        self.errorNode = cudaGraphNode_t()
        self.errorFromNode = cudaGraphNode_t()


class cudaDeviceProp:
    """The twin's one device, as far as it has properties."""

    def __init__(self) -> None:
        self.name = _attributes.NAME.encode()
        self.major, self.minor = _attributes.CAPABILITY
        self.totalGlobalMem = _attributes.TOTAL_BYTES
        self.asyncEngineCount = 2
        self.concurrentKernels = 1
        self.unifiedAddressing = 1
        self.canMapHostMemory = 1

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the twin's device has no property {name!r}")
