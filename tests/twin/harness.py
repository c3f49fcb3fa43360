"""Runs a candidate-like program against a device of its own; both are fresh processes."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.inside.trtprep_worker import wire
from grader.processes.candidate import whole_runs

KEY = b"key of the tests"
_ZYGOTE = Path(__file__).with_name("zygote.py")
_PATIENCE_S = 30.0
_PRELUDE = """\
import numpy as np
import tensorrt as trt
import pycuda.driver as cuda
import pycuda.autoinit
from helpers import *
"""


@dataclass(frozen=True)
class Outcome:
    """What came of a program, and what the device saw of it."""

    value: Any
    type: str  #: of the exception; "" when there was none
    message: str
    line: str
    trace: str
    printed: str
    findings: tuple[dict[str, str], ...]
    runs: tuple[dict[str, Any], ...]
    builds: int
    log: tuple[tuple[Any, ...], ...]  #: of the commands: do, stream, bytes, line, captured
    marks: dict[str, str]  #: "here" of a comment `# <here>` -> the line it stands on, as "answer.py:12"

    @property
    def kinds(self) -> list[str]:
        return [f["kind"] for f in self.findings]

    def clean(self) -> Outcome:
        """Itself. Fails the test unless the program ended well with nothing found."""
        assert not self.type, self.trace
        assert self.findings == (), self.findings
        return self

    def found(self, kind: str, *words: str, at: str = "here") -> Outcome:
        """Itself. Fails the test unless there is such a finding, at the marked line, with these words in its text."""
        of_kind = [f for f in self.findings if f["kind"] == kind]
        assert of_kind, f"no {kind}: {self.findings} {self.trace}"
        assert any(f["line"] == self.marks[at] and all(w in f["message"] for w in words) for f in of_kind), (
            self.marks, of_kind, self.trace
        )  # fmt: skip
        return self


class Zygotes:
    """The two processes that the tests' processes are forked from."""

    def __init__(self) -> None:
        self._ends: dict[str, socket.socket] = {}
        self._processes = []
        for role in ("device", "program"):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
            command = (
                [sys.executable, "-P", str(_ZYGOTE), role]
                if sys.version_info >= (3, 11)
                else [sys.executable, str(_ZYGOTE), role]
            )
            self._processes.append(subprocess.Popen(command, stdin=theirs, env=environment))
            theirs.close()
            self._ends[role] = ours

    def start(self, role: str, request: dict[str, Any], *channels: socket.socket) -> None:
        socket.send_fds(self._ends[role], [json.dumps(request).encode()], [c.fileno() for c in channels])

    def close(self) -> None:
        for end in self._ends.values():
            end.close()
        for process in self._processes:
            process.wait(10)


class RawDevice:
    """A device with the test itself as its client, for what no client of ours would send."""

    def __init__(self, zygotes: Zygotes, key: bytes = KEY) -> None:
        self.client, theirs = socket.socketpair()
        self._control, control = socket.socketpair()
        self._control.settimeout(_PATIENCE_S)  # not the client: the program that it goes to would inherit that
        zygotes.start("device", {"key": key.hex()}, theirs, control)
        theirs.close()
        control.close()

    def ask(self, request: Any) -> dict[str, Any]:
        self.client.settimeout(_PATIENCE_S)
        wire.send(self.client, request)
        return wire.receive(self.client)

    def control(self, do: str) -> dict[str, Any]:
        wire.send(self._control, {"do": do})
        return wire.receive(self._control)

    def close(self) -> None:
        self.client.close()
        self._control.close()


class Twin:
    """Runs programs. Each call makes a device and a program process of its own."""

    def __init__(self, zygotes: Zygotes, folder: Path) -> None:
        self.folder = folder
        self._zygotes = zygotes
        self._numbers = itertools.count()

    def __call__(self, body: str, *arguments: Any, prelude: str = _PRELUDE, key: bytes = KEY) -> Outcome:
        """Run ``body`` as a function after ``prelude``; ``arguments`` are its ``args``."""
        text = prelude + "def main(*args):\n" + textwrap.indent(textwrap.dedent(body), "    ")
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        source = folder / "answer.py"
        source.write_text(text)
        device = RawDevice(self._zygotes, key)
        told_here, outcome = socket.socketpair()
        told_here.settimeout(_PATIENCE_S)
        request = {"file": str(source), "folder": str(self.folder), "arguments": arguments}
        self._zygotes.start("program", request, device.client, outcome)
        device.client.close()
        outcome.close()
        told = json.loads(b"".join(iter(lambda: told_here.recv(1 << 16), b"")) or b'{"type": "the process died"}')
        audit = device.control("audit")
        told_here.close()
        device.close()
        return Outcome(
            *(told.get(k) for k in ("value", "type", "message", "line", "trace", "printed")),
            tuple(audit["findings"]), whole_runs(audit["runs"]), audit["builds"],
            tuple(map(tuple, audit["log"])), _marks(text),
        )  # fmt: skip


def _marks(text: str) -> dict[str, str]:
    found = ((re.search(r"#.*<(\w+)>", line), number) for number, line in enumerate(text.splitlines(), 1))
    return {match[1]: f"answer.py:{number}" for match, number in found if match}
