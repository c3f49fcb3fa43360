"""Candidates for tests: answers from the folder beside this, and what must hold after a call that failed."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from grader import tiers
from grader.processes.candidate import CallFailed, Candidate
from grader.processes.sandbox import Limits

KEY = b"key of the tests"
ANSWERS = Path(__file__).resolve().parent / "answers"
MISBEHAVING = (ANSWERS / "misbehaving.py").read_text(encoding="utf-8")
PROGRAM = (ANSWERS / "program.py").read_text(encoding="utf-8")


def line(text: str, mark: str) -> str:
    return f"answer.py:{next(n for n, line in enumerate(text.splitlines(), 1) if f'# <{mark}>' in line)}"


def start(folder: Path, text: str = MISBEHAVING, *, limits: Limits | None = None) -> Candidate:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answer.py").write_text(text)
    return Candidate(folder / "answer.py", tiers.choose("twin"), KEY, limits=limits)


def fails(candidate: Candidate, function: str, *args: object, seconds: float = 20) -> CallFailed:
    """The failure of a call, after which another one works."""
    with pytest.raises(CallFailed) as caught:
        candidate.call(function, *args, seconds=seconds)
    assert candidate.call("echo", 1).value == 1, "the next call does not work"
    assert str(caught.value) == caught.value.detail
    assert "\n" not in caught.value.detail
    return caught.value


def restarts(candidate: Candidate, function: str, *args: object, seconds: float = 20) -> CallFailed:
    """As `fails`, where the next call finds a fresh process."""
    before = candidate.call("token").value
    failure = fails(candidate, function, *args, seconds=seconds)
    assert candidate.call("token").value != before, "the process was not replaced"
    return failure


def below() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))
