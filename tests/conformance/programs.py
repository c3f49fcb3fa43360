"""The twin's own test programs, legal and illegal, on the twin and on a GPU: which there are, and what came of them.

A GPU's copy of a program is without its lines that say ``# twin``, which hold for the twin alone (that memory which
nothing wrote is NaN, say). A program that says ``# lacking 8: why`` does not run on TensorRT 8.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import json
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from grader import tiers
from tests.twin import harness
from tests.twin.harness import KEY, Twin, Zygotes
from tests.twin.test_misuse import ALL_CASES, _arm

_LEGAL = ("test_legal_programs.py", "test_graphs.py", "test_cudart.py", "test_context_memory.py", "test_streams.py")
_TESTS = Path(__file__).parents[1] / "twin"
_PROCESS = Path(__file__).with_name("program_process.py")
_PATIENCE_S, _BUILDING_S = 60.0, 600.0


@dataclass(frozen=True)
class Program:
    """``legal``: whether CUDA, PyCUDA and TensorRT allow what it does. ``kind``: the twin's finding where not."""

    name: str
    legal: bool
    body: str
    prelude: str
    arguments: tuple[Any, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Told:
    """``good``: it ended without an exception, and on the twin without a finding. ``says``: how it ended.

    ``kinds``: of the twin's findings.
    """

    good: bool
    says: str
    kinds: tuple[str, ...] = ()


def programs() -> list[Program]:
    """The right and the wrong arm of each mistake, and the programs of the tests of legal host code."""
    found = []
    for case in ALL_CASES:
        prelude = case.prelude or harness._PRELUDE
        found.append(Program(f"{case.title}, put right", True, _arm(case.code, wrong=False), prelude))
        found.append(Program(case.title, False, _arm(case.code, wrong=True), prelude, kind=case.kind))
    return [*_recorded(), *found]


class _Recorded(Exception):  # noqa: N818
    """Thrown through a test once its program is known."""


def _recorded() -> list[Program]:
    """The programs that the tests of these files hand to the fixture ``twin`` and expect to be clean."""
    found: list[Program] = []
    for item in _items():
        given = dict(getattr(item, "callspec", None).params) if hasattr(item, "callspec") else {}
        wanted = set(inspect.signature(item.function).parameters) - set(given)
        if wanted != {"twin"} or "clean()" not in inspect.getsource(item.function):
            continue

        def twin(body: str, *arguments: Any, prelude: str = harness._PRELUDE, name: str = item.name, **_: Any) -> None:
            found.append(Program(name, True, textwrap.dedent(body), prelude, arguments))
            raise _Recorded

        with contextlib.suppress(Exception):
            item.function(**given, twin=twin)
    return found


def _items() -> list[Any]:
    class Collected:
        items: list[Any] = []

        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            Collected.items = list(items)

    arguments = [str(_TESTS / name) for name in _LEGAL]
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "-q", "-p", "no:xdist", *arguments], plugins=[Collected()])
    return Collected.items


class TwinPrograms:
    """Runs them on the twin, each with a device and a program process of its own."""

    at_once = 1  #: one template process starts them all

    def __init__(self) -> None:
        from tests.twin.plans import all_plans  # needs TensorRT-RTX, which a GPU box may lack

        self._folder = tempfile.TemporaryDirectory()
        for name, data in all_plans(KEY).items():
            Path(self._folder.name, f"{name}.plan").write_bytes(data)
        self._zygotes = Zygotes()
        self._twin = Twin(self._zygotes, Path(self._folder.name))
        self.lacking: dict[str, str] = {}

    def run(self, program: Program) -> Told:
        outcome = self._twin(program.body, *program.arguments, prelude=program.prelude)
        kinds = sorted(set(outcome.kinds))
        parts = [f"finding {', '.join(kinds)}"] if kinds else []
        if outcome.type:
            parts.append(f"{outcome.type}: {outcome.message.splitlines()[0][:100] if outcome.message else ''}")
        return Told(not parts, "; ".join(parts) or "ends well", tuple(kinds))

    def __enter__(self) -> TwinPrograms:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._zygotes.close()
        self._folder.cleanup()


class GpuPrograms:
    """Runs them on a GPU, each in a process of its own with a time limit."""

    at_once = 8  #: most of a program's seconds are imports, so several share the GPU

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._numbers = itertools.count()
        done = self._process("plans", self._folder.name, patience=_BUILDING_S)
        told = json.loads(done.stdout.strip().splitlines()[-1])
        self.lacking: dict[str, str] = told["missing"]  #: plan -> why this TensorRT does not build it
        self._major = told["tensorrt"].split(".")[0]

    def run(self, program: Program) -> Told:
        source = Path(self._folder.name, f"answer{next(self._numbers)}.py")  # several may run at once
        body = "".join(line for line in program.body.splitlines(True) if not re.search(r"#.*\btwin\b", line))
        text = f"{program.prelude}def main(*args):\n{textwrap.indent(textwrap.dedent(body), '    ')}"
        source.write_text(text)
        if lacks := re.search(rf"# (lacking) {self._major}(: .*)", body):
            return Told(True, lacks[1] + lacks[2])
        if name := next((name for name in self.lacking if f'"{name}"' in program.body), ""):
            return Told(True, f"lacking: no plan {name!r} ({self.lacking[name][:100]})")
        try:
            done = self._process("run", str(source), self._folder.name, json.dumps(program.arguments))
        except subprocess.TimeoutExpired:
            return Told(False, f"hangs: ended after {_PATIENCE_S:.0f} s")
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            return Told(False, f"killed by {name}{_where(source, done.stderr, text)}")
        try:
            told = json.loads(done.stdout.strip().splitlines()[-1])
        except (IndexError, json.JSONDecodeError):
            return Told(False, f"ended with status {done.returncode}: {done.stderr.strip()[-200:]}")
        if told["type"]:
            message = " ".join(told["message"].split())[:200]
            return Told(False, f"{told['type']}: {message}{_quoted(told.get('line', ''))}")
        if done.returncode:
            return Told(False, f"ends well, then status {done.returncode}")
        return Told(True, "ends well")

    def _process(self, *arguments: str, patience: float = _PATIENCE_S) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(_PROCESS), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)

    def __enter__(self) -> GpuPrograms:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._folder.cleanup()


def _quoted(line: str) -> str:
    return f" at `{line.strip()[:120]}`" if line.strip() else ""


def _where(source: Path, errors: str, text: str) -> str:
    """The program's line that a process ended in, as faulthandler tells it; else what was printed last."""
    if found := re.search(rf'File "[^"]*{re.escape(source.name)}", line (\d+)', errors):
        return _quoted(text.splitlines()[int(found[1]) - 1])
    printed = [line.strip() for line in errors.splitlines() if line.strip(" -")]
    return f": {printed[-1][:200]}" if printed else ""


@contextlib.contextmanager
def runner(tier: tiers.Tier) -> Iterator[TwinPrograms | GpuPrograms]:
    """The runner of a tier."""
    with TwinPrograms() if tier.name == "twin" else GpuPrograms() as made:
        yield made
