"""Ungraded running: a user's own Python with this tier's tensorrt and pycuda. No sandbox, it is their own code.

On the twin the device process still stands apart; what it found wrong is printed at the end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from grader import tiers
from grader.inside.trtprep_worker import device_link, wire
from grader.processes.child import Child
from grader.processes.device import start_device
from grader.processes.handshake import send_key, wait_ready
from grader.processes.places import INSIDE
from grader.processes.sandbox import MIB, Limits
from grader.reports.terminal import shown

_LIMITS = Limits(wall_s=60, cpu_s=1e6, memory_bytes=16384 * MIB, processes=512)
_KEY = b""  # plans that a user builds can be loaded again another day; graded runs have keys of their own


def run_python(tier_name: str, arguments: list[str], console: Console) -> int:
    """Run a file with arguments, or a prompt without; returns its exit status. Raises NoTier, SandboxError."""
    tier = tiers.choose(tier_name)
    argv = [sys.executable, "-X", "utf8", str(INSIDE / "start_python.py"), tier.name, *arguments]
    if tier.name != "twin":
        return _call(argv, {}, ())
    with device_for(tier) as (device, client):
        status = _call(argv, {device_link.FD_VARIABLE: str(client.fileno())}, (client.fileno(),))
        for where, message in _findings(device):
            console.print(f"[yellow]trtprep:[/yellow] {escape(where)}{escape(message)}", soft_wrap=True)
    return status


def _findings(device: Child) -> list[tuple[str, str]]:
    """(line, message) of everything that the device found wrong."""
    try:
        wire.send(device.channel, {"do": "audit"})
        found = wire.receive(device.channel)["findings"]
    except wire.Closed:
        return [("", f"the twin's device process {device.wait(10).detail}")]
    return [(shown(f"{f['line']}: " if f["line"] else ""), shown(f["message"])) for f in found]


@contextmanager
def device_for(tier: tiers.Tier) -> Iterator[tuple[Child, socket.socket]]:
    """A device process, and the client's end of its other channel."""
    ours, theirs = socket.socketpair()
    with ours, theirs, start_device(tier, _LIMITS, ours) as child:
        ours.close()
        send_key(child, _KEY)
        wait_ready(child, _LIMITS.wall_s)
        yield child, theirs


def _call(argv: list[str], env: dict[str, str], fds: tuple[int, ...]) -> int:
    # Ctrl-C is for the user's program, which may be a debugger; this process waits for it to decide.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(argv, env={**os.environ, **env}, pass_fds=fds, preexec_fn=_default_interrupt)
        status = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return 128 - status if status < 0 else status


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
