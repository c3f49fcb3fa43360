"""The grader's side of the engine runner: trusted code in a sandbox that runs what candidates emitted."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grader.engines.interface import EngineError, Inspection
from grader.inside.trtprep_worker import wire
from grader.tiers import Tier

from . import templates
from .child import Child
from .handshake import send_key, wait_ready
from .places import START_RUNNER, environment, runner_policy
from .sandbox import MIB, Limits

_LIMITS = Limits(wall_s=60, cpu_s=36000, memory_bytes=32768 * MIB, processes=2048, file_bytes=1024 * MIB)
#: Input name -> (min, opt, max) shapes, or a list of such where the engine has several profiles.
Profiles = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Runner:
    """Builds, inspects and runs plans in a process of its own, which is started again when a plan kills it.

    Raises EngineError from every method: the plan is refused, does not run, or ended the process.
    """

    def __init__(self, tier: Tier, key: bytes) -> None:
        self._tier, self.key = tier, key  #: the seal's
        self._child: Child | None = None
        self._starting = threading.Lock()  # a run may start it ahead, from another thread

    def another(self) -> Runner:
        """One of the same tier and seal, whose process has seen nothing of what this one's has."""
        return Runner(self._tier, self.key)

    def start(self) -> None:
        """Start the process ahead of the first request. Raises SandboxError."""
        self._started()

    def build(self, onnx: bytes, profiles: Profiles | None = None, *, contexts: int = 1, seconds: float = 60) -> bytes:
        """A trusted plan of an ONNX model.

        ``profiles``: input name -> (min, opt, max) shapes, or a list of such. ``contexts``: how often the engine has
        a single profile, since before TensorRT 10 one profile serves one context at a time.
        """
        listed = [dict(profiles)] * contexts if isinstance(profiles, Mapping) else [dict(p) for p in profiles or ()]
        return self._ask({"do": "build", "onnx": onnx, "profiles": listed, "settings": self._tier.settings}, seconds)

    def inspect(self, plan: bytes) -> Inspection:
        """I/O names, types, shapes, profile bounds, layers, kernels and activation memory, as the engine has them."""
        return Inspection.from_data(self._ask({"do": "inspect", "plan": plan}, 60))

    def run(self, plan: bytes, inputs: dict[str, np.ndarray], *, seconds: float = 60) -> dict[str, np.ndarray]:
        """Outputs by name."""
        return self._ask({"do": "run", "plan": plan, "inputs": inputs}, seconds)

    def measure(self, plan: bytes, way: str, inputs: dict[str, np.ndarray], count: int, passes: int) -> float:
        """Seconds per pass over ``count`` batches like ``inputs``: see `grader.engines.measure`. Only on a GPU."""
        request = {"do": "measure", "plan": plan, "way": way, "inputs": inputs, "count": count, "passes": passes}
        return self._ask(request, 60)

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], seconds: float) -> Any:
        child = self._started()
        child.deadline(seconds * self._tier.patience)
        try:
            wire.send(child.channel, request)
            reply = self._reply(child)
        except wire.Closed:
            ended = child.wait(10)
            self.close()
            raise EngineError(f"the engine runner {ended.detail}") from None
        except BaseException:  # in the middle of a message: what comes next on the channel would be misread
            self.close()
            raise
        child.deadline(None)
        if "error" in reply:
            raise EngineError(reply["error"])
        return reply["value"]

    def _reply(self, child: Child) -> Any:
        try:
            return wire.receive(child.channel)
        except wire.WireError as error:  # outputs beyond what a message holds
            raise EngineError(f"what the engine gives cannot be taken in: {error}") from None

    def _started(self) -> Child:
        with self._starting:
            return self._started_once()

    def _started_once(self) -> Child:
        if self._child is not None and self._child.ended() is None:
            return self._child
        self.close()
        child = Child(
            ["-X", "utf8", str(START_RUNNER)], policy=runner_policy(self._tier), limits=_LIMITS,
            env={**environment(self._tier), "TRTPREP_TIER": self._tier.name}, template=templates.of("trusted"),
        )  # fmt: skip
        try:
            send_key(child, self.key)
            wait_ready(child, 60 * self._tier.patience)
        except BaseException:
            child.close()
            raise
        self._child = child
        return child
