"""The runner's requests, whatever the tier: build, inspect, run."""

from __future__ import annotations

import socket
from dataclasses import asdict
from typing import Any

from grader.inside.trtprep_worker import wire

from .interface import EngineError, Engines


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
            reply = {"value": _do(engines, request)}
        except EngineError as error:
            reply = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 (some plan or model brought TensorRT, its binding or us to this)
            reply = {"error": f"{type(error).__name__}: {error}"[:2000]}
        wire.send(channel, reply)


def _do(engines: Engines, request: dict[str, Any]) -> Any:
    if request["do"] == "build":
        return engines.build(request["onnx"], request["profiles"], request["settings"])
    if request["do"] == "inspect":
        return asdict(engines.inspect(request["plan"]))
    if request["do"] == "measure":
        return engines.measure(*(request[name] for name in ("plan", "way", "inputs", "count", "passes")))
    return engines.run(request["plan"], request["inputs"])
