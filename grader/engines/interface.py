"""What a tier's engines offer to the grader, and in which words they answer."""

from __future__ import annotations

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
class Inspection:
    """What the engine says of itself; ``layers`` are (name, type, precision) as far as the tier tells."""

    tensors: tuple[Tensor, ...]
    layers: tuple[tuple[str, str, str], ...]


class Engines(Protocol):
    """What a tier must offer. Every method raises EngineError."""

    def build(self, onnx: bytes, profiles: dict[str, Any], settings: dict[str, Any]) -> bytes: ...

    def inspect(self, plan: bytes) -> Inspection: ...

    def run(self, plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]: ...
