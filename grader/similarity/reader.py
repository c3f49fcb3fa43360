"""Submissions' texts as tokens, made by a sandboxed process: a lexer's patterns may hang on a text made for that."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from grader.inside.trtprep_worker import wire
from grader.processes.child import Child
from grader.processes.handshake import wait_ready
from grader.processes.places import GRADER, INSIDE, PACKAGES_VARIABLE, package_folders
from grader.processes.sandbox import MIB, Limits, Policy

MOST_BYTES = 256 * 1024  #: of one file
SECONDS = 10.0  #: for one file
_START_S = 60.0
_LIMITS = Limits(wall_s=_START_S, cpu_s=3600, memory_bytes=1024 * MIB, processes=64)
_START = Path(__file__).with_name("start_reader.py")


class NotCompared(ValueError):  # noqa: N818 (it reads as what happened)
    """A file cannot be compared; the text says why, in one line."""


@dataclass(frozen=True)
class Tokens:
    """A file: `code` has one character per token, `lines` the number of each one's line in `text`, from 1."""

    text: tuple[str, ...]
    code: str
    lines: tuple[int, ...]


class Reader:
    """As a context manager; the process starts with the first file, and again after one that it did not survive."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._child: Child | None = None

    def read(self, data: bytes) -> Tokens:
        """A file's tokens. Raises NotCompared, or SandboxError: the process cannot be started."""
        if len(data) > MOST_BYTES:
            raise NotCompared(f"larger than {MOST_BYTES >> 10} KiB")
        try:
            text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError as error:
            raise NotCompared("not UTF-8 text") from error
        reply = self._ask(text)
        if "error" in reply:
            raise NotCompared(reply["error"])
        return Tokens(tuple(text.split("\n")), "".join(map(chr, reply["code"])), tuple(reply["lines"].tolist()))

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, text: str) -> dict:
        child = self._child = self._child or _started()
        child.deadline(self._seconds)
        try:
            wire.send(child.channel, {"text": text})
            reply = wire.receive(child.channel)
        except wire.Closed:
            ended = child.wait(10)
            self.close()
            raise NotCompared(f"the process that reads it {ended.detail}") from None
        except BaseException:  # in the middle of a message: what comes next would be misread
            self.close()
            raise
        child.deadline(None)
        return reply


def _started() -> Child:
    own = [Path(location) for location in importlib.util.find_spec("pygments").submodule_search_locations]  # type: ignore[union-attr]
    packages = {*package_folders(), *(location.resolve().parent for location in own)}
    policy = Policy(readable=(GRADER / "__init__.py", INSIDE, _START.parent, *packages), listed=(GRADER.parent, GRADER))
    env = {"PYTHONDONTWRITEBYTECODE": "1", PACKAGES_VARIABLE: os.pathsep.join(map(str, sorted(packages)))}
    child = Child(["-X", "utf8", str(_START)], policy=policy, limits=_LIMITS, env=env)
    try:
        wait_ready(child, _START_S)
    except BaseException:
        child.close()
        raise
    return child
