"""The runner's requests, whatever the tier: build, inspect, run."""

from __future__ import annotations

import socket
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from grader.inside.trtprep_worker import wire


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


def engines_of(tier: str, key: bytes) -> Engines:
    if tier == "twin":
        from .twin import TwinEngines

        return TwinEngines(key)
    from .hardware import HardwareEngines

    return HardwareEngines(tier)


def serve(channel: socket.socket, tier: str) -> None:
    """Until the grader closes the channel. The first message carries the seal's key."""
    engines = engines_of(tier, wire.receive(channel)["key"])
    wire.send(channel, {"value": None})
    while True:
        try:
            request = wire.receive(channel)
        except wire.Closed:
            return
        try:
            wire.send(channel, {"value": _do(engines, request)})
        except EngineError as error:
            wire.send(channel, {"error": str(error)})


def _do(engines: Engines, request: dict[str, Any]) -> Any:
    if request["do"] == "build":
        return engines.build(request["onnx"], request["profiles"], request["settings"])
    if request["do"] == "inspect":
        return asdict(engines.inspect(request["plan"]))
    return engines.run(request["plan"], request["inputs"])
