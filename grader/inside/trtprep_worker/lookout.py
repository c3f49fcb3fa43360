"""A short look for what is about to come, before a process sleeps for it.

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

    def look(self) -> None:
        """Returns when one of them can be read, or after `LOOK_S`."""
        if _ALONE:
            return
        until = time.perf_counter() + LOOK_S
        while not self._poll.poll(0) and time.perf_counter() < until:
            os.sched_yield()
