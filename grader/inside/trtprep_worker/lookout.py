"""Waits for what is about to come, and looks for a moment before it sleeps.

A core that sleeps takes some 50 microseconds to wake, twice for each command to the twin's device; most answers come
sooner than that.
"""

from __future__ import annotations

import os
import select
import socket
import time

LOOK_S = 150e-6
_ALONE = len(os.sched_getaffinity(0)) < 2  # on one core, whoever looks keeps the other from answering


class Lookout:
    """Watches sockets."""

    def __init__(self, *channels: socket.socket) -> None:
        self._poll = select.poll()
        for channel in channels:
            self._poll.register(channel, select.POLLIN)

    def wait(self) -> list[int]:
        """The file descriptors of those that can be read, or were closed: one at least."""
        if not _ALONE:
            until = time.perf_counter() + LOOK_S
            while time.perf_counter() < until:
                if ready := self._poll.poll(0):
                    return [number for number, _ in ready]
                os.sched_yield()
        return [number for number, _ in self._poll.poll()]
