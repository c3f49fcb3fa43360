"""What a tier's engines offer to the grader, and in which words they answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class EngineError(RuntimeError):
    """The plan cannot be loaded or run, or the network not built; the text says why."""


@dataclass(frozen=True)
class Tensor:
    """An input or output as the engine has it: -1 where dynamic; (min, opt, max) per profile for inputs."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_input: bool
    profiles: tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True)
class Port:
    """A tensor that a kernel reads or writes: -1 where dynamic; ``format`` is dtype and memory layout in one text."""

    name: str
    shape: tuple[int, ...]
    format: str


@dataclass(frozen=True)
class Kernel:
    """One kernel of an engine, which TensorRT calls a layer of it.

    ``layers`` are the names of the ONNX nodes that became it, in the order told: none for a kernel that no node asked
    for, such as a change of memory layout.
    """

    name: str
    type: str
    layers: tuple[str, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True)
class Inspection:
    """What the engine says of itself.

    Attributes:
        tensors: inputs and outputs.
        layers: (name, type, precision) as the tier tells it: the kernels on a GPU, the network's layers on the twin.
        kernels: in the order in which they run.
        activation_bytes: the device memory that one execution context needs, over all profiles.
        untold: why there are no kernels, where the tier could not tell them; "" when it could.
        hardware_compatibility: the name of its HardwareCompatibilityLevel; "" on the twin, which knows configs instead.
    """

    tensors: tuple[Tensor, ...]
    layers: tuple[tuple[str, str, str], ...]
    kernels: tuple[Kernel, ...] = ()
    activation_bytes: int = 0
    untold: str = ""
    hardware_compatibility: str = ""

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Inspection:
        """The inverse of `dataclasses.asdict`, after a journey that made lists of tuples."""
        tensors = (
            Tensor(
                t["name"],
                t["dtype"],
                tuple(t["shape"]),
                t["is_input"],
                tuple(tuple(map(tuple, p)) for p in t["profiles"]),
            )
            for t in data["tensors"]
        )
        kernels = (
            Kernel(k["name"], k["type"], tuple(k["layers"]), _ports(k["inputs"]), _ports(k["outputs"]))
            for k in data["kernels"]
        )
        layers = tuple(map(tuple, data["layers"]))
        rest = (data["activation_bytes"], data["untold"], data["hardware_compatibility"])
        return cls(tuple(tensors), layers, tuple(kernels), *rest)


def within(shape: tuple[int, ...], bounds: tuple[tuple[int, ...], ...]) -> bool:
    """Whether a profile takes this shape; ``bounds`` are its (min, opt, max) shapes."""
    low, _, high = bounds
    return len(shape) == len(low) and all(a <= d <= b for a, d, b in zip(low, shape, high, strict=True))


def onnx_layers(metadata: str) -> tuple[str, ...]:
    """Names of the ONNX nodes in a kernel's metadata, ``[ONNX Layer: a]<separator>[ONNX Layer: b]``, in its order.

    The separator is the ASCII control character 30 or 31. Other pieces are a network's own words and name no node.
    """
    pieces = re.split("[\x1e\x1f]", metadata)
    start, end = "[ONNX Layer: ", "]"
    return tuple(p[len(start) : -len(end)] for p in pieces if p.startswith(start) and p.endswith(end))


def _ports(data: list[dict[str, Any]]) -> tuple[Port, ...]:
    return tuple(Port(p["name"], tuple(p["shape"]), p["format"]) for p in data)


class Engines(Protocol):
    """What a tier must offer. Every method raises EngineError."""

    def build(self, onnx: bytes, profiles: list[dict[str, Any]], settings: dict[str, Any]) -> bytes: ...

    def inspect(self, plan: bytes) -> Inspection: ...

    def run(self, plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]: ...

    def measure(self, plan: bytes, way: str, inputs: dict[str, np.ndarray], count: int, passes: int) -> float: ...
