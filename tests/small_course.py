"""A course of one small exercise in a folder of the test's own, and the real commands upon it.

Imported, it offers `SmallCourse`; run as a script with the folder and a command line, it is `trtprep` there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXERCISE = "x1_of_tests"
_TIMEOUT_S = 120
_ONE = "grade-one"  # the process that `trtprep batch` starts for a submission
_CONFTEST = """\
from pathlib import Path

from grader import course

course.CHECKS = Path(__file__).resolve().parent
course.EXERCISES = course.CHECKS.parent / "exercises"
pytest_plugins = ("grader.plugin",)
"""
_IMPORTS = """\
import os
import time
from pathlib import Path

import numpy as np
import pytest

from grader.engines.interface import EngineError
from grader.fixtures.cache import FixtureError
from grader.judging.judge import Inconclusive, fail
from grader.processes.sandbox import SandboxError

"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def lines_of_error(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.strip()]


class SmallCourse:
    """The exercise ``x1_of_tests`` with a task for each of ``points`` and these checks."""

    def __init__(
        self, folder: Path, points: dict[str, int], checks: str, answer: str = "", *, on_a_gpu: tuple[str, ...] = (),
        needs: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """``on_a_gpu``: the tasks that only the tier gpu can judge. ``needs``: packages, by task."""
        self.folder = folder
        self.checks = folder / "checks" / f"test_{EXERCISE}.py"
        self.submission = folder / "submission"
        manifest = ['title = "An exercise"', 'question = "What?"']
        for task, worth in points.items():
            manifest += ["[[tasks]]", f'id = "{task}"', f'title = "Task {task}"', f"points = {worth}"]
            manifest += ['tiers = ["gpu"]'] if task in on_a_gpu else []
            manifest += [f"needs = {json.dumps(needs[task])}"] if task in needs else []
            manifest += ['function = "begin"', f'hints = ["think of {task}", "think again"]']
        texts = {
            folder / "exercises" / EXERCISE / "exercise.toml": "\n".join(manifest),
            folder / "checks" / "conftest.py": _CONFTEST,
            folder / "checks" / "pytest.ini": (ROOT / "grader" / "checks" / "pytest.ini").read_text(),
            self.checks: _IMPORTS + textwrap.dedent(checks),
            self.submission / EXERCISE / "stub.py": textwrap.dedent(answer),
        }
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def command(self, *words: str) -> list[str]:
        """The command line of `trtprep` with these words."""
        return [sys.executable, __file__, str(self.folder), *words]

    def trtprep(self, *words: str, env: dict[str, str] | None = None) -> Done:
        """Run `trtprep`; for `run`, with the submission of this course."""
        more = ["--submission", str(self.submission)] if words[:1] == ("run",) and "--submission" not in words else []
        return run(self.command(*words, *more), env=env)

    def graded(self, *words: str) -> dict[str, Any]:
        """What `trtprep run` wrote as JSON."""
        report = self.folder / "report.json"
        self.trtprep("run", "--json", str(report), *words)
        return json.loads(report.read_text(encoding="utf-8"))

    def pytest(self, *words: str, cwd: Path = ROOT) -> Done:
        """Run a bare pytest on the checks."""
        argv = [sys.executable, "-m", "pytest", str(self.checks.parent), "--submission", str(self.submission), *words]
        return run(argv, cwd=cwd)


def tasks(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A report's tasks by their ids."""
    return {task["id"]: task for exercise in report["exercises"] for task in exercise["tasks"]}


def run(argv: Sequence[str], *, cwd: Path = ROOT, env: dict[str, str] | None = None, stdin: str = "") -> Done:
    """Run a command from the repository's root to its end."""
    done = subprocess.run(
        argv, cwd=cwd, input=stdin, text=True, encoding="utf-8", errors="surrogateescape", capture_output=True,
        env=environment() | (env or {}), timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def environment() -> dict[str, str]:
    """This process's, without what pytest or a terminal has put there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "PYTHONUTF8": "1", "NO_COLOR": "1"}


def heed_ctrl_c() -> None:
    """For `preexec_fn`: a shell makes what it starts in the background ignore Ctrl-C, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def trtprep(*words: str, env: dict[str, str] | None = None, cwd: Path = ROOT, stdin: str = "") -> Done:
    """Run the real `trtprep` on the real course."""
    return run([sys.executable, "-m", "grader", *words], cwd=cwd, env=env, stdin=stdin)


def _main(folder: Path, words: list[str]) -> None:
    from grader import cli, course
    from grader import run as grading
    from grader.batch import graders, here, one

    course.EXERCISES, course.CHECKS = folder / "exercises", folder / "checks"
    grading.CHECKS = course.CHECKS
    graders.COMMAND = (sys.executable, __file__, str(folder), _ONE)
    here.new_grader = graders.FreshGrader  # the pre-started process would be one of the real course
    if words == [_ONE]:
        one.main()
        return
    sys.argv = ["trtprep", *words]
    cli.main()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2:])


def says_in_one_line(done: Done, *words: str, status: int = 2) -> None:
    """One line on stderr with these words, no traceback, and this status."""
    assert done.status == status, done.out + done.err
    assert len(done.lines_of_error) == 1, done.err
    assert done.err.startswith("trtprep: ")
    assert "Traceback" not in done.out + done.err
    for word in words:
        assert word in done.err
