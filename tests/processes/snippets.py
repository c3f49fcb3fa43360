"""Runs pieces of Python in the sandbox, for its tests."""

from __future__ import annotations

import os
import textwrap
import time
import uuid
from pathlib import Path

import psutil
import pytest

from grader.inside.trtprep_worker import lockdown
from grader.processes import sandbox
from grader.processes.child import Child
from grader.processes.sandbox import MIB, Limits, Policy, Status

HERE = Path(__file__).resolve().parent
START = HERE / "run_snippet.py"
INSIDE = HERE.parents[1] / "grader" / "inside"
LIMITS = Limits(wall_s=20, cpu_s=20, memory_bytes=512 * MIB, processes=64)


class Snippet:
    """One piece of Python in a sandboxed process of its own; a context manager."""

    def __init__(
        self,
        code: str,
        names: dict[str, object] | None = None,
        *,
        policy: Policy | None = None,
        limits: Limits = LIMITS,
        env: dict[str, str] | None = None,
        off: frozenset[str] = frozenset(),
    ) -> None:
        """Start `code` with the given global `names`."""
        self.token = uuid.uuid4().hex  # in the command line, and so in that of every fork
        self.child = Child(
            [str(START), self.token],
            policy=policy or Policy(readable=(INSIDE, START)),
            limits=limits,
            env=env,
            off=off,
        )
        lockdown.send(self.child.channel, {"code": textwrap.dedent(code), "names": names or {}})

    def told(self, timeout_s: float = 20.0) -> object:
        """Return what the snippet told, or raise LockdownError if it ended without telling anything."""
        self.child.channel.settimeout(timeout_s)
        return lockdown.receive(self.child.channel)["value"]

    def __enter__(self) -> Snippet:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()


def processes_with(token: str) -> list[int]:
    """Return the ids of all processes with `token` in their command line, zombies' parents included."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(token in word for word in process.cmdline()):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            continue  # another user's, so none of ours
    return found


def gone(token: str, within_s: float = 5.0) -> bool:
    """Wait for all processes with `token` to end; False if some are left."""
    deadline = time.monotonic() + within_s
    while processes_with(token):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the grader believe, for one test, that bwrap can do nothing here."""
    statuses = sandbox.probe()
    for name in sandbox.NAMESPACES - {"user"}:
        statuses[name] = Status(False, "denied")
    monkeypatch.setattr(sandbox, "probe", lambda: statuses)
    monkeypatch.setattr(sandbox, "namespaces", frozenset)
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
