"""The first words between the grader and a trusted process: the seal's key out, "ready" back."""

from __future__ import annotations

from grader.inside.trtprep_worker import wire

from .child import Child
from .sandbox import SandboxError


def send_key(child: Child, key: bytes) -> None:
    """Hand over the key; the process may go on starting up meanwhile."""
    try:
        wire.send(child.channel, {"key": key})
    except wire.Closed:
        raise _failed(child) from None


def wait_ready(child: Child, seconds: float) -> None:
    """Wait until it serves. Raises SandboxError with what it printed when it ended instead."""
    child.deadline(seconds)
    try:
        wire.receive(child.channel)
    except wire.Closed:
        raise _failed(child) from None
    child.deadline(None)


def _failed(child: Child) -> SandboxError:
    ended = child.wait(10)
    printed = child.take_output().strip().splitlines()
    return SandboxError(
        f"a trusted process {ended.detail}: {printed[-1] if printed else 'it printed nothing'} (run `trtprep doctor`)"
    )
