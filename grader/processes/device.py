"""Starts the twin's device process, for graded and for ungraded running."""

from __future__ import annotations

import socket

from grader.tiers import Tier

from . import templates
from .child import Child
from .places import START_DEVICE, device_policy, environment
from .sandbox import Limits


def start_device(tier: Tier, limits: Limits, client: socket.socket) -> Child:
    """A device that serves ``client``, of which it inherits a copy. It wants its key next. Raises SandboxError."""
    return Child(
        ["-X", "utf8", str(START_DEVICE)], policy=device_policy(tier), limits=limits,
        env={**environment(tier), "TRTPREP_CLIENT_FD": str(client.fileno())}, pass_fds=(client.fileno(),),
        template=templates.of("trusted"),
    )  # fmt: skip
