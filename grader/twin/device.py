"""The device process: trusted code that owns the twin's memory, its streams and TensorRT's objects.

Two channels come in.  On one the candidate's process sends commands.  On the other the grader, and
nobody else, asks what really happened: `begin` before a call and `audit` after it.
"""

from __future__ import annotations

import inspect
import select
import socket
import typing
from typing import Any

from grader.inside.trtprep_worker import wire
from grader.inside.trtprep_worker.lookout import Lookout

from .driver import COMMANDS, Driver
from .misuse import Misuse
from .session import EXPECTED, Session


def _parameters(name: str) -> tuple[int, list[tuple[str, Any]]]:
    """How many arguments a command needs at least, and the names and annotations of all."""
    method = getattr(Driver, name)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    hints = typing.get_type_hints(method)
    least = sum(parameter.default is parameter.empty for parameter in parameters)
    return least, [(parameter.name, hints[parameter.name]) for parameter in parameters]


_PARAMETERS = {name: _parameters(name) for name in COMMANDS}
_STALLED_S = 10.0  # a client that stops in the middle of a frame is dropped, or the grader could not ask any more
_FIELDS: dict[str, dict[str, type]] = {
    "new": {"class": str, "args": list},
    "call": {"id": int, "name": str, "args": list, "kwargs": dict},
    "get": {"id": int, "name": str},
    "set": {"id": int, "name": str, "value": object},
    "cuda": {"name": str, "args": list},
    "release": {},
}


class Device:
    def __init__(self, key: bytes) -> None:
        self.driver = Driver()
        self.session = Session(self.driver, key)
        self._audited: tuple[int, int, int] | None = None  # log entries, dropped ones and builds when a call ended

    # -- the candidate's side

    def serve(self, request: Any) -> tuple[bytes, list[memoryview]]:
        """One command of the client, and the packed reply; never raises for what a client can send."""
        reply: dict[str, Any] = {}
        try:
            reply["value"] = self._do(request)
        except Misuse as misuse:
            self.driver.finding(misuse)
            reply["error"] = {"type": "Misuse", "message": misuse.message, "cuda": misuse.error, "code": misuse.code}
        except tuple(kind for kind, _ in EXPECTED) as error:
            name = next(name for kind, name in EXPECTED if isinstance(error, kind))
            reply["error"] = {"type": name, "message": str(error)[:4000]}
        if self.driver.delivered:
            delivered, self.driver.delivered = self.driver.delivered, []
            reply["copies"] = [{"id": c.id, "data": c.data, "late": c.late} for c in delivered]
        if self.session.records:
            reply["log"] = [[severity, text] for severity, text in self.session.records]
            self.session.records.clear()
        try:
            return wire.pack(reply)
        except wire.WireError as error:  # a value of TensorRT's that has no place in a message
            del reply["value"]
            reply["error"] = {"type": "TypeError", "message": f"the twin cannot send {error}"}
            return wire.pack(reply)

    def _do(self, request: Any) -> Any:
        if not isinstance(request, dict):
            raise ValueError("a request is a dict")
        do, line, thread = request.get("do"), request.get("line", ""), request.get("thread", 0)
        if type(do) is not str or do not in _FIELDS:
            raise ValueError(f"unknown command {do!r:.80}")
        for name, kind in _FIELDS[do].items():
            if (
                name not in request
                or not isinstance(request[name], kind)
                or (kind is int and isinstance(request[name], bool))
            ):
                raise ValueError(f"command {do!r} needs {name!r}")
        released = request.get("release", [])
        if not isinstance(released, list) or not all(type(h) is int for h in released):
            raise ValueError("what is released are handles")
        self.driver.line = line[:200] if isinstance(line, str) else ""
        self.driver.thread = thread if type(thread) is int else 0
        self.session.release(released)
        if do == "new":
            return self.session.new(request["class"], request["args"])
        if do == "call":
            return self.session.call(request["id"], request["name"], request["args"], request["kwargs"])
        if do == "get":
            return self.session.get(request["id"], request["name"])
        if do == "set":
            return self.session.set(request["id"], request["name"], request["value"])
        if do == "cuda" and request.get("runtime") is True:
            self.driver.use_primary_context()
        return self._cuda(request["name"], request["args"]) if do == "cuda" else None

    def _cuda(self, name: str, args: list[Any]) -> Any:
        if name not in COMMANDS:
            raise ValueError(f"unknown CUDA command {name!r:.80}")
        least, hints = _PARAMETERS[name]
        if not least <= len(args) <= len(hints):
            raise TypeError(f"{name} takes {', '.join(parameter for parameter, _ in hints)}, not {len(args)} values")
        for value, (parameter, hint) in zip(args, hints, strict=False):
            if not _fits(value, hint):
                raise TypeError(f"{name}: {parameter} cannot be {value!r:.80}")
        return getattr(self.driver, name)(*args)

    # -- the grader's side

    def control(self, request: dict[str, Any]) -> dict[str, Any]:
        do = request["do"]
        if do == "begin":
            since = self._asked_since_the_audit()
            self.driver.findings.clear()
            self.driver.mind_contexts()
            self.driver.log.clear()
            self.session.world.forget_runs()
            self.session.builds = 0
            self.session.configs.forget()
            self._audited = None
            if since:
                self.driver.finding(since, since.line)
            return {}
        if do == "audit":
            log = self.driver.log
            told = {"log": list(log.entries), "dropped_log": log.dropped}  # the audit's own work is none of the call's
            findings = [f.as_data() for f in self.driver.audit()]
            self._audited = len(log.entries), log.dropped, self.session.builds
            world = self.session.world
            return {
                "findings": findings,
                "runs": world.told_runs(),
                "dropped_runs": world.dropped_runs,
                "builds": self.session.builds,
                "configs": self.session.configs.built,
                "failed_configs": self.session.configs.failed,
                **told,
            }
        raise ValueError(f"unknown control command {do!r}")

    def _asked_since_the_audit(self) -> Misuse | None:
        """What a thread of the candidate's asked for after its call had ended, and no call answers for."""
        if self._audited is None:
            return None
        entries, dropped, builds = self._audited
        log = self.driver.log
        late = [entry for entry in log.entries[entries:] if entry[0] != "free"]  # finalizers run when they like
        if not late and log.dropped == dropped and self.session.builds == builds:
            return None
        message = "your code went on using TensorRT or the device after its function had returned: wait for its threads"
        return Misuse("between-calls", message, line=late[0][3] if late else "")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from a client is of the kind that a command's annotation says."""
    if hint is int:
        return type(value) is int and -(1 << 63) <= value < 1 << 64
    if hint in (str, bytes, bool):
        return type(value) is hint
    arguments = typing.get_args(hint)
    if type(None) in arguments:
        return value is None or _fits(value, arguments[0])
    if typing.get_origin(hint) is list:
        return isinstance(value, (list, tuple)) and all(_fits(v, arguments[0]) for v in value)
    many = isinstance(value, (list, tuple)) and len(value) == len(arguments)
    return many and all(_fits(v, h) and (h is not int or v >= 0) for v, h in zip(value, arguments, strict=True))


def serve(device: Device, client: socket.socket, control: socket.socket) -> None:
    """Until the control channel ends. A client that ends, stalls, or breaks the format, is only dropped."""
    client.settimeout(_STALLED_S)
    open_channels = [control, client]
    lookout = Lookout(*open_channels)
    while True:
        lookout.look()
        ready, _, _ = select.select(open_channels, [], [])
        if control in ready:
            try:
                wire.send(control, device.control(wire.receive(control)))
            except wire.Closed:
                return
        elif client in ready:
            try:
                wire.send_packed(client, *device.serve(wire.receive(client)))
            except (wire.Closed, wire.WireError, TimeoutError):
                open_channels.remove(client)
                lookout = Lookout(control)
                client.close()
