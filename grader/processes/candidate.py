"""A candidate's code at arm's length: its worker, its device, and what really happened in a call."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grader.inside.trtprep_worker import device_link, wire
from grader.inside.trtprep_worker.worker import REPLY
from grader.tiers import Tier

from . import templates
from .child import Child
from .device import start_device
from .handshake import send_key, wait_ready
from .places import HIDDEN_PACKAGES, START_WORKER, worker_environment, worker_policy
from .sandbox import MIB, Limits

_WORKER = Limits(wall_s=60, cpu_s=600, memory_bytes=4096 * MIB, processes=256)
#: A real builder loads gigabytes of kernels and tries them on many threads.
_GPU_WORKER = Limits(wall_s=60, cpu_s=36000, memory_bytes=32768 * MIB, processes=2048, file_bytes=1024 * MIB)
_DEVICE = Limits(wall_s=60, cpu_s=3600, memory_bytes=8192 * MIB, processes=512)
_START_S = 60.0  # an import of a candidate's file included
_DEVICE_SLACK_S = 30.0  # beyond the call's own time: the device may be the one that is slow
_AUDIT_S = 30.0
_KEPT_OUTPUT = 64 * 1024  # characters, over calls
_LAST_WORDS_S = 10.0  # between the end of a process's channel and its own: a GPU's memory is given back in between

_LOGGED = ("do", "stream", "bytes", "line", "captured")


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
    configs: tuple[dict[str, Any], ...] = ()  #: what each build that ended well was set to (see `twin.configs`)
    failed_configs: tuple[dict[str, Any], ...] = ()  #: the same of builds that gave no plan
    #: what the device was asked to do, in order: "do" (alloc, free, htod, htod_async, dtoh, dtoh_async, dtod, memset,
    #: launch, event_record, event_wait, stream_sync, event_sync, context_sync, capture_begin, capture_end,
    #: graph_instantiate, graph_update, graph_launch, elementwise), "stream", "bytes", "line", and "captured": written
    #: down in a capture instead of done. What a graph's launch runs is that one entry. "bytes" of event_record and
    #: event_wait is the event's number.
    log: tuple[dict[str, Any], ...] = ()
    dropped_log: int = 0  #: entries that the log had no room for


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


class CallFailed(Exception):  # noqa: N818 (it reads as what happened)
    """A call that gave no value.

    Attributes:
        reason: "raised", "import", "stub", "garbled", "device", or how the process ended (see `child.Ended`).
        detail: one line for the candidate.
        raised: the exception, when there was one.
        output: what was printed.
        evidence: the device's account, as far as the device lived.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        raised: Raised | None = None,
        output: str = "",
        evidence: Evidence | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.raised, self.output = reason, detail, raised, output
        self.evidence = evidence or Evidence()


@dataclass(frozen=True)
class GivenFile:
    """An argument that the worker turns into the path of a file with this content in its scratch folder.

    ``beside`` are files that are written as well, by their names in the scratch folder.
    """

    name: str
    data: bytes
    beside: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class GivenFolder:
    """An argument that becomes the path of a folder with these files, by their paths in it; a new one for each name."""

    name: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class GivenPath:
    """An argument that becomes a path in the scratch folder where nothing is."""

    name: str


@dataclass(frozen=True)
class GivenModule:
    """An argument that becomes a ``torch.nn.Module``: ``name(**options)`` of this source file, with these weights.

    It comes as PyTorch makes it, in training mode.
    """

    source: str
    name: str
    options: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]  #: a whole state dict


@dataclass(frozen=True)
class GivenTensor:
    """An argument that becomes a ``torch.Tensor``."""

    array: np.ndarray


@dataclass
class Candidate:
    """One submission's answer to one exercise. Processes start with the first call and again after a crash."""

    answer: Path  #: the file
    tier: Tier
    key: bytes
    off: frozenset[str] = frozenset()  #: protections left out, for tests alone
    limits: Limits | None = None  #: of the worker; by the tier without
    seen_protections: dict[str, bool] = field(default_factory=dict)  #: of the last worker, as verified from inside
    calls: int = 0  #: how many there were
    printed: str = ""  #: what calls have printed; whoever reads it may empty it
    unwritten: frozenset[str] = frozenset()  #: functions that are still the stub's, as the worker says once it started
    _starting: threading.RLock = field(
        default_factory=threading.RLock, init=False
    )  # a run starts it from another thread
    _worker: Child | None = field(default=None, init=False)
    _device: Child | None = field(default=None, init=False)
    _refused: CallFailed | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the processes ahead of the first call, which raises what fails here."""
        with contextlib.suppress(CallFailed):  # kept, and raised by every call
            self._started()

    def call(self, function: str, *args: Any, seconds: float = 30.0, **kwargs: Any) -> Returned:
        """Call ``function`` of the candidate's file. Raises CallFailed.

        Args:
            seconds: wall time for the call on the twin; other tiers get ``tier.patience`` times as much.
        """
        worker = self._started()
        self.calls += 1
        self._control({"do": "begin"})
        worker.deadline(seconds * self.tier.patience)
        if self._device is not None:
            self._device.deadline(seconds * self.tier.patience + _DEVICE_SLACK_S)
        request: dict[str, Any] = {"do": "call", "function": function, "args": [_given(a) for a in args]}
        request["kwargs"] = {k: _given(v) for k, v in kwargs.items()}
        began = time.perf_counter()
        try:
            reply = self._ask(worker, request)
        except CallFailed as failure:
            self._keep(failure.output)
            with contextlib.suppress(CallFailed):  # how the worker ended says more than that the device did too
                failure.evidence = self._audit()
            raise
        elapsed = time.perf_counter() - began
        worker.deadline(None)
        evidence = self._audit()
        output = worker.take_output()
        self._keep(output)
        if "error" in reply:
            raised = _raised(reply["error"])
            ours = raised.message.startswith("the twin")
            reason = "stub" if raised.type == "NotImplementedError" and not ours else "raised"
            raise CallFailed(reason, str(raised), raised=raised, output=output, evidence=evidence)
        return Returned(reply["value"], evidence, output, elapsed)

    def _keep(self, output: str) -> None:
        self.printed = (self.printed + output)[-_KEPT_OUTPUT:]

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
        with self._starting:
            return self._started_once()

    def _started_once(self) -> Child:
        if self._refused is not None:
            raise self._refused
        if self._worker is not None and all(c is None or c.ended() is None for c in (self._worker, self._device)):
            return self._worker
        self.close()
        try:
            worker = self._worker = self._start()
        except BaseException:
            self.close()
            raise
        self.seen_protections = worker.protections
        self._import(worker)
        return worker

    def _start(self) -> Child:
        """A worker, and on the twin the device that it is connected to."""
        if self.tier.name != "twin":
            return self._start_worker({}, ())
        ours, theirs = socket.socketpair()
        with ours, theirs:  # our copies of both ends
            self._device = start_device(self.tier, _DEVICE, ours)
            send_key(self._device, self.key)
            worker = self._start_worker({device_link.FD_VARIABLE: str(theirs.fileno())}, (theirs.fileno(),))
        self._worker = worker
        wait_ready(self._device, _START_S)
        return worker

    def _start_worker(self, env: dict[str, str], fds: tuple[int, ...]) -> Child:
        return Child(
            ["-u", "-X", "utf8", str(START_WORKER)], policy=worker_policy(self.answer, self.tier),
            limits=self.limits or (_GPU_WORKER if self.tier.devices else _WORKER),
            env=worker_environment(self.tier) | env, pass_fds=fds, off=self.off, template=templates.of("worker"),
        )  # fmt: skip

    def _import(self, worker: Child) -> None:
        worker.deadline(_START_S)
        request = {
            "do": "import",
            "folder": str(self.answer.parent),
            "module": self.answer.stem,
            "tier": self.tier.name,
            "absent": list(HIDDEN_PACKAGES),
        }
        try:
            reply = self._ask(worker, request | {"settings": self.tier.settings})
        except CallFailed as failure:
            detail = f"while your file was imported, {failure.detail}"
            self._refused = CallFailed("import", detail, output=failure.output)
            raise self._refused from failure
        worker.deadline(None)
        if "error" in reply:
            raised = _raised(reply["error"])
            detail = f"your file does not import: {raised}"
            self._refused = CallFailed("import", detail, raised=raised, output=worker.take_output())
            raise self._refused
        told = reply["value"].get("unwritten") if isinstance(reply["value"], dict) else None
        self.unwritten = (
            frozenset(name for name in told if isinstance(name, str)) if isinstance(told, list) else frozenset()
        )

    def _ask(self, worker: Child, request: dict[str, Any]) -> dict[str, Any]:
        try:
            wire.send(worker.channel, request)  # a WireError here would be a mistake of the check, not of the candidate
        except wire.Closed:
            raise _gone(worker) from None
        try:
            reply = wire.receive(worker.channel, REPLY)
        except wire.Closed:
            raise _gone(worker) from None
        except wire.WireError as error:
            raise _garbled(worker, f" ({error})") from None
        if not isinstance(reply, dict) or ("value" in reply) == ("error" in reply):
            raise _garbled(worker)
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
            output = (self._worker.take_output() if self._worker else "") + self._device.take_output()
            self.close()
            raise CallFailed("device", f"the twin's device process {ended.detail}", output=output) from None

    def _audit(self) -> Evidence:
        if self._device is None:
            return Evidence()
        self._device.deadline(_AUDIT_S)
        told = self._control({"do": "audit"})
        self._device.deadline(None)
        findings = tuple(Finding(**f) for f in told["findings"])
        return Evidence(
            True, findings, whole_runs(told["runs"]), told["builds"],
            configs=tuple(told["configs"]), failed_configs=tuple(told["failed_configs"]),
            log=tuple(dict(zip(_LOGGED, entry, strict=True)) for entry in told["log"]), dropped_log=told["dropped_log"],
        )  # fmt: skip


def whole_runs(runs: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The device's runs, with the inputs that it left out since they are those of the run before."""
    for before, run in itertools.pairwise(runs):
        run["inputs"] |= {name: before["inputs"][name] for name in run["as_before"]}
    for run in runs:
        del run["as_before"]
    return tuple(runs)


def _gone(worker: Child) -> CallFailed:
    """The failure of a call whose worker ended, or closed its channel to go on without us."""
    try:
        ended = worker.wait(_LAST_WORDS_S)
        reason, detail = ended.reason, f"your code {ended.detail}"
    except TimeoutError:
        worker.kill()
        reason, detail = "garbled", "your code closed the channel that its answers go through, and went on"
    return CallFailed(reason, detail, output=worker.take_output())


def _garbled(worker: Child, what: str = "") -> CallFailed:
    worker.kill()
    detail = f"your code wrote something that is not an answer to the grader{what}"
    return CallFailed("garbled", detail, output=worker.take_output())


def _given(value: Any) -> Any:
    if isinstance(value, GivenFile):
        return {"@": "file", "name": value.name, "data": value.data, "beside": dict(value.beside)}
    if isinstance(value, GivenFolder):
        return {"@": "folder", "name": value.name, "files": dict(value.files)}
    if isinstance(value, GivenPath):
        return {"@": "path", "name": value.name}
    if isinstance(value, GivenModule):
        told = {"source": value.source, "name": value.name, "options": dict(value.options)}
        return {"@": "torch.nn.Module", "weights": dict(value.weights)} | told
    if isinstance(value, GivenTensor):
        return {"@": "torch.Tensor", "array": value.array}
    if isinstance(value, (list, tuple)):
        return type(value)(_given(item) for item in value)
    if isinstance(value, dict):
        return {key: _given(item) for key, item in value.items()}
    return value


def _raised(error: Any) -> Raised:
    """The error as a worker tells it; whatever is missing or odd becomes empty text."""
    told = error if isinstance(error, dict) else {}
    bases = told.get("bases")
    texts = (_text(told.get(name, ""), most) for name, most in (("message", 8000), ("line", 200), ("traceback", 8000)))
    kinds = tuple(_text(base, 200) for base in bases) if isinstance(bases, list) else ()
    return Raised(_text(told.get("type", ""), 200), kinds, *texts)


def _text(value: Any, most: int) -> str:
    """Text that can be printed and written to any file: half surrogate pairs cannot."""
    return str(value)[:most].encode("utf-8", "replace").decode()
