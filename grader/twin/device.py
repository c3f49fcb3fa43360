"""The device process: trusted code that owns the twin's memory, its streams and TensorRT's objects.

Two channels come in.  On one the candidate's process sends commands.  On the other the grader, and
nobody else, asks what really happened: `begin` before a call and `audit` after it.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from grader.inside.trtprep_worker import wire

from .driver import Driver
from .misuse import Misuse
from .session import EXPECTED, Session

#: Commands of `Driver` that a client may name.
_DRIVER = {name for name in vars(Driver) if not name.startswith("_")} - {"finding", "need_context", "enqueue", "audit"}


class Device:
    def __init__(self, key: bytes) -> None:
        self.driver = Driver()
        self.session = Session(self.driver, key)

    # -- the candidate's side

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """One command of the client; never raises for what a client can send."""
        self.driver.line = str(request.get("line", ""))
        reply: dict[str, Any] = {}
        try:
            self.session.release(request.get("release", []))
            reply["value"] = self._do(request)
        except Misuse as misuse:
            self.driver.finding(misuse)
            reply["error"] = {"type": "Misuse", "message": misuse.message, "cuda": misuse.error}
        except tuple(kind for kind, _ in EXPECTED) as error:
            name = next(name for kind, name in EXPECTED if isinstance(error, kind))
            reply["error"] = {"type": name, "message": str(error)}
        delivered, self.driver.delivered = self.driver.delivered, []
        reply["copies"] = [{"id": c.id, "data": c.data} for c in delivered]
        reply["log"] = [[severity, text] for severity, text in self.session.records]
        self.session.records.clear()
        return reply

    def _do(self, request: dict[str, Any]) -> Any:
        do = request["do"]
        if do == "new":
            return self.session.new(request["class"], request["args"])
        if do == "call":
            return self.session.call(request["id"], request["name"], request["args"], request["kwargs"])
        if do == "get":
            return self.session.get(request["id"], request["name"])
        if do == "set":
            return self.session.set(request["id"], request["name"], request["value"])
        if do == "cuda" and request["name"] in _DRIVER:
            return getattr(self.driver, request["name"])(*request["args"])
        if do == "release":
            return None
        raise ValueError(f"unknown command {do!r}")

    # -- the grader's side

    def control(self, request: dict[str, Any]) -> dict[str, Any]:
        do = request["do"]
        if do == "begin":
            self.driver.findings.clear()
            self.session.world.runs.clear()
            self.session.builds = 0
            return {}
        if do == "audit":
            findings = [f.as_data() for f in self.driver.audit()]
            runs = [
                {"plan": r.plan, "inputs": r.inputs, "outputs": r.outputs, "line": r.line} for r in self.session.world.runs
            ]
            return {"findings": findings, "runs": runs, "builds": self.session.builds}
        raise ValueError(f"unknown control command {do!r}")


def serve(device: Device, client: socket.socket, control: socket.socket) -> None:
    """Until the control channel ends. A client that ends, or breaks the format, is only dropped."""
    open_channels = [control, client]
    while True:
        ready, _, _ = select.select(open_channels, [], [])
        if control in ready:
            try:
                wire.send(control, device.control(wire.receive(control)))
            except wire.Closed:
                return
        if client in ready:
            try:
                wire.send(client, device.serve(wire.receive(client)))
            except (wire.Closed, wire.WireError):
                open_channels.remove(client)
