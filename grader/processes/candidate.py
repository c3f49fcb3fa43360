"""A candidate's code at arm's length: its worker, its device, and what really happened in a call."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grader.inside.trtprep_worker import device_link, wire
from grader.tiers import Tier

from .child import Child
from .handshake import send_key, wait_ready
from .places import START_DEVICE, START_WORKER, device_policy, environment, worker_policy
from .sandbox import MIB, Limits

_WORKER = Limits(wall_s=60, cpu_s=600, memory_bytes=4096 * MIB, processes=256)
#: A real builder loads gigabytes of kernels and tries them on many threads.
_GPU_WORKER = Limits(wall_s=60, cpu_s=36000, memory_bytes=32768 * MIB, processes=2048, file_bytes=1024 * MIB)
_DEVICE = Limits(wall_s=60, cpu_s=3600, memory_bytes=8192 * MIB, processes=512)
_START_S = 60.0  # an import of a candidate's file included
#: Bounds on what a worker may send back.
_REPLY = wire.Bounds(json_bytes=4 << 20, blob_bytes=512 << 20, blobs=1024)


@dataclass(frozen=True)
class Finding:
    """Host code that a GPU would not survive, as the device saw it; ``line`` is the candidate's."""

    kind: str
    message: str
    line: str


@dataclass(frozen=True)
class Evidence:
    """The device's own account of one call. ``known`` is False on tiers that have no such device."""

    known: bool = False
    findings: tuple[Finding, ...] = ()
    runs: tuple[dict[str, Any], ...] = ()  #: plan digest, inputs, outputs and line of each execution
    builds: int = 0


@dataclass(frozen=True)
class Returned:
    """A call that ended well: what the worker says was returned, and what the device saw."""

    value: Any
    evidence: Evidence
    output: str
    seconds: float


@dataclass(frozen=True)
class Raised:
    """An exception in the candidate's code."""

    type: str
    bases: tuple[str, ...]
    message: str
    line: str
    traceback: str

    def __str__(self) -> str:
        where = f" ({self.line})" if self.line else ""
        return f"{self.type}: {self.message.strip() or 'no message'}{where}"


class CallFailed(Exception):
    """A call that gave no value.

    Attributes:
        reason: "raised", "import", "stub", "garbled", "device", or how the process ended (see `child.Ended`).
        detail: one line for the candidate.
        raised: the exception, when there was one.
        output: what was printed.
        evidence: the device's account, as far as the device lived.
    """

    def __init__(self, reason: str, detail: str, *, raised: Raised | None = None, output: str = "", evidence: Evidence | None = None):
        super().__init__(detail)
        self.reason, self.detail, self.raised, self.output = reason, detail, raised, output
        self.evidence = evidence or Evidence()


@dataclass(frozen=True)
class GivenFile:
    """An argument that the worker turns into the path of a file with this content in its scratch folder."""

    name: str
    data: bytes


@dataclass(frozen=True)
class GivenPath:
    """An argument that becomes a path in the scratch folder where nothing is."""

    name: str


@dataclass
class Candidate:
    """One submission's answer to one exercise. Processes start with the first call and again after a crash."""

    answer: Path  #: the file
    tier: Tier
    key: bytes
    off: frozenset[str] = frozenset()  #: protections left out, for tests alone
    limits: Limits | None = None  #: of the worker; by the tier without
    seen_protections: dict[str, bool] = field(default_factory=dict)  #: of the last worker, as verified from inside
    _worker: Child | None = field(default=None, init=False)
    _device: Child | None = field(default=None, init=False)
    _refused: CallFailed | None = field(default=None, init=False)

    def call(self, function: str, *args: Any, seconds: float = 30.0, **kwargs: Any) -> Returned:
        """Call ``function`` of the candidate's file. Raises CallFailed.

        Args:
            seconds: wall time for the call on the twin; other tiers get ``tier.patience`` times as much.
        """
        worker = self._started()
        self._control({"do": "begin"})
        worker.deadline(seconds * self.tier.patience)
        if self._device is not None:
            self._device.deadline(seconds * self.tier.patience + 30)
        began = time.perf_counter()
        request = {"do": "call", "function": function, "args": [_given(a) for a in args]}
        reply = self._ask(worker, request | {"kwargs": {k: _given(v) for k, v in kwargs.items()}})
        elapsed = time.perf_counter() - began
        worker.deadline(None)
        evidence = self._audit()
        output = worker.take_output()
        if "error" in reply:
            raised = _raised(reply["error"])
            reason = "stub" if raised.type == "NotImplementedError" and not raised.message.startswith("the twin") else "raised"
            raise CallFailed(reason, str(raised), raised=raised, output=output, evidence=evidence)
        return Returned(reply["value"], evidence, output, elapsed)

    def close(self) -> None:
        """End both processes."""
        for child in (self._worker, self._device):
            if child is not None:
                child.close()
        self._worker = self._device = None

    def __enter__(self) -> Candidate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- processes

    def _started(self) -> Child:
        if self._refused is not None:
            raise self._refused
        if self._worker is not None and self._worker.ended() is None:
            return self._worker
        self.close()
        env, fds = environment(self.tier), ()
        if self.tier.name == "twin":
            ours, theirs = socket.socketpair()
            self._device = Child(
                ["-X", "utf8", str(START_DEVICE)], policy=device_policy(self.tier), limits=_DEVICE,
                env={**environment(self.tier), "TRTPREP_CLIENT_FD": str(ours.fileno())}, pass_fds=(ours.fileno(),),
            )  # fmt: skip
            ours.close()
            send_key(self._device, self.key)
            env |= {device_link.FD_VARIABLE: str(theirs.fileno())}
            fds = (theirs.fileno(),)
        self._worker = Child(
            ["-X", "utf8", str(START_WORKER)], policy=worker_policy(self.answer, self.tier),
            limits=self.limits or (_GPU_WORKER if self.tier.devices else _WORKER), env=env, pass_fds=fds, off=self.off,
        )  # fmt: skip
        if self._device is not None:
            theirs.close()
            wait_ready(self._device, _START_S)
        self.seen_protections = self._worker.protections
        self._import(self._worker)
        return self._worker

    def _import(self, worker: Child) -> None:
        worker.deadline(_START_S)
        request = {"do": "import", "folder": str(self.answer.parent), "module": self.answer.stem, "tier": self.tier.name}
        try:
            reply = self._ask(worker, request | {"settings": self.tier.settings})
        except CallFailed as failure:
            self._refused = CallFailed("import", f"while it was imported, your file {failure.detail}", output=failure.output)
            raise self._refused from failure
        worker.deadline(None)
        if "error" in reply:
            raised = _raised(reply["error"])
            detail = f"your file does not import: {raised}"
            self._refused = CallFailed("import", detail, raised=raised, output=worker.take_output())
            raise self._refused

    def _ask(self, worker: Child, request: dict[str, Any]) -> dict[str, Any]:
        try:
            wire.send(worker.channel, request)
            reply = wire.receive(worker.channel, _REPLY)
        except wire.Closed:
            ended = worker.wait(10)
            raise CallFailed(ended.reason, f"your code {ended.detail}", output=worker.take_output()) from None
        except wire.WireError as error:
            worker.kill()
            detail = f"your code wrote something that is not an answer to the grader ({error})"
            raise CallFailed("garbled", detail, output=worker.take_output()) from None
        if not isinstance(reply, dict) or ("value" in reply) == ("error" in reply):
            worker.kill()
            raise CallFailed("garbled", "your code wrote something that is not an answer to the grader")
        return reply

    # -- the device's side

    def _control(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._device is None:
            return {}
        try:
            wire.send(self._device.channel, request)
            return wire.receive(self._device.channel)
        except wire.Closed:
            ended = self._device.wait(10)
            output = self._device.take_output()
            self.close()
            raise CallFailed("device", f"the twin's device process {ended.detail}", output=output) from None

    def _audit(self) -> Evidence:
        if self._device is None:
            return Evidence()
        told = self._control({"do": "audit"})
        findings = tuple(Finding(**f) for f in told["findings"])
        return Evidence(True, findings, tuple(told["runs"]), told["builds"])


def _given(value: Any) -> Any:
    if isinstance(value, GivenFile):
        return {"@": "file", "name": value.name, "data": value.data}
    if isinstance(value, GivenPath):
        return {"@": "path", "name": value.name}
    if isinstance(value, (list, tuple)):
        return [_given(item) for item in value]
    return value


def _raised(error: Any) -> Raised:
    """The error as a worker tells it; whatever is missing or odd becomes empty text."""
    told = error if isinstance(error, dict) else {}
    bases = told.get("bases")
    text = {name: str(told.get(name, ""))[:8000] for name in ("type", "message", "line", "traceback")}
    return Raised(text["type"], tuple(map(str, bases)) if isinstance(bases, list) else (), text["message"], text["line"], text["traceback"])


