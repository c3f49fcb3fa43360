"""Processes from which sandboxed ones are forked with their libraries loaded: the grader's side.

A batch starts them, since imports are a large part of what one submission costs. What is forked joins the namespaces of
a bubblewrap of its own and locks itself down as ever; `child.Child` confirms it from inside in the same way.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from grader.tiers import Tier

from . import sandbox
from .places import INSIDE, environment

KINDS = ("worker", "trusted")
_START = INSIDE / "start_template.py"
_START_S = 60.0
_NEEDED = frozenset({"mounts", "pid", "network", "user"})
_NAMESPACES = ("user", "net", "ipc", "uts", "pid", "mnt")


class TemplateError(OSError):
    """A process could not be forked."""


class Template:
    """One such process. It ends when every process that holds its socket has ended."""

    def __init__(self, kind: str, env: Mapping[str, str]) -> None:
        """Start it. Raises TemplateError."""
        self._jobs, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-u", "-X", "utf8", str(_START), kind, str(theirs.fileno())],
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **env}, cwd="/", pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Raises TemplateError."""
        self._jobs.settimeout(_START_S)
        try:
            ready = self._jobs.recv(16)
        except OSError as error:
            raise TemplateError(f"a template did not start: {error}") from error
        if ready != b"ready":
            raise TemplateError("a template ended while it imported its libraries")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(
        self, holder: int, argv: Sequence[str], env: Mapping[str, str], folder: str, tell: int, output: int,
        fds: Sequence[int],
    ) -> tuple[int, socket.socket]:  # fmt: skip
        """Fork a process into the namespaces of another.

        Args:
            holder: id of a process in these namespaces.
            argv: a Python file and its arguments.
            env: all of its environment.
            folder: where it starts, as it sees it.
            tell: descriptor to which its exit status is written as a line, 128 + N after signal N.
            output: descriptor of its stdout and stderr.
            fds: more descriptors, which it gets by the same numbers.

        Returns:
            The id of its parent, which stays until the socket that is returned too is closed; nothing comes on it.

        Raises:
            TemplateError: the template has ended.
            OSError: a namespace cannot be looked at.
        """
        ours, theirs = socket.socketpair()
        opened: list[int] = []
        try:
            for name in _NAMESPACES:
                opened.append(os.open(f"/proc/{holder}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC))
            request = {"argv": list(argv), "environment": dict(env), "folder": folder, "fds": list(fds)}
            with theirs:
                socket.send_fds(
                    self._jobs, [json.dumps(request).encode()], [theirs.fileno(), *opened, tell, output, *fds]
                )
            ours.settimeout(_START_S)
            told = ours.recv(32)
        except OSError as error:
            ours.close()
            raise TemplateError(f"a template does not answer: {error}") from error
        finally:
            for fd in opened:
                os.close(fd)
        if not told:
            ours.close()
            raise TemplateError("a template has ended")
        return int(told), ours

    def close(self) -> None:
        self._jobs.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()


_started: dict[str, Template] = {}


def start(tier: Tier) -> None:
    """Start one of each kind, for this process and those that it forks. Does nothing where they are of no use.

    Forking after a GPU's libraries were loaded is not allowed, and without namespaces to join there is no way in. The
    shell that holds these is bound by neither seccomp nor limits, and it is Landlock that keeps others from its memory.
    """
    if tier.devices or not sandbox.namespaces() >= _NEEDED or not sandbox.probe()["landlock"].active:
        return
    for kind in KINDS:
        _started[kind] = Template(kind, environment(tier))
    for template in _started.values():
        template.wait_ready()


def of(kind: str) -> Template | None:
    """The template of this kind, where there is one."""
    return _started.get(kind)


def all_alive() -> bool:
    return all(template.alive for template in _started.values())


def close() -> None:
    """End them."""
    while _started:
        _started.popitem()[1].close()


def holder_of(bwrap: int) -> int:
    """The id of the process that bubblewrap has started in the namespaces that it made. Raises OSError."""
    from .watchdog import children_of

    for _ in range(2):  # bwrap, its first process in the new PID namespace, and that one's child
        (bwrap,) = children_of(bwrap) or (0,)
    if not bwrap:
        raise TemplateError("bubblewrap has ended")
    return bwrap
