"""Grades a submission: runs the checks with pytest in this process and gathers what came out."""

from __future__ import annotations

import contextlib
import io
import os
import platform
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import pytest

from grader import plugin
from grader.course import CHECKS, Exercise
from grader.score import ExerciseResult, RunResult, TaskResult
from grader.tiers import Tier

_NO_AUTOLOAD = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"


class GraderError(RuntimeError):
    """The checks could not be run at all; the text says why."""


def grade(
    chosen: tuple[Exercise, ...],
    submission: Path,
    tier: Tier,
    seed: int,
    on_result: Callable[[RunResult, ExerciseResult, TaskResult], None] = lambda run, exercise, task: None,
    only: Mapping[str, Collection[str]] | None = None,
) -> RunResult:
    """Grade ``submission``'s answers to the chosen exercises; ``on_result`` is told of each task as it ends.

    ``only`` names tasks by exercise; an exercise's others are then not run.

    A KeyboardInterrupt ends it early, with what there is so far. Raises GraderError.
    """
    recorder = plugin.Recorder(submission, tier, seed, only)
    run = RunResult(tier.name, seed, str(submission), environment(tier), recorder.protections, [])

    def report(exercise: ExerciseResult, task: TaskResult) -> None:
        run.exercises = list(recorder.results.values())
        on_result(run, exercise, task)

    recorder.on_result = report
    # pytest's own report is for those who run pytest; ours is made from the recorder.
    arguments = ["--rootdir", str(CHECKS), "-c", str(CHECKS / "pytest.ini"), "-p", "no:terminal", "--capture=no"]
    watch, printed = _Watch(recorder), io.StringIO()
    with contextlib.redirect_stderr(printed), _no_plugins_of_the_users():
        code = pytest.main([*arguments, *(str(path) for e in chosen for path in e.checks)], plugins=[watch])
    run.exercises, run.interrupted = list(recorder.results.values()), watch.interrupted
    if not run.interrupted and (code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not run.exercises):
        trouble = "\n".join([*watch.troubles, printed.getvalue()]).strip()
        raise GraderError(f"the checks could not be run (pytest ended with {int(code)}): {trouble[-2000:]}")
    return run


@contextlib.contextmanager
def _no_plugins_of_the_users() -> Iterator[None]:
    """What a user has set for their own pytest (options, plugins) must not change a mark."""
    kept = {name: os.environ.pop(name, None) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", _NO_AUTOLOAD)}
    os.environ[_NO_AUTOLOAD] = "1"
    try:
        yield
    finally:
        del os.environ[_NO_AUTOLOAD]
        os.environ.update({name: value for name, value in kept.items() if value is not None})


def environment(tier: Tier) -> dict[str, str]:
    """Versions that a mark depends on."""
    here = {"python": platform.python_version(), "system": platform.platform()}
    return {"tensorrt": tier.tensorrt, "gpu": tier.gpu} | here


class _Watch:
    """Hands the recorder that was made here to the plugin, and notes what ended pytest early."""

    def __init__(self, recorder: plugin.Recorder) -> None:
        self._recorder = recorder
        self.interrupted = False
        self.troubles: list[str] = []

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.interrupted = type(excinfo.value) is KeyboardInterrupt  # pytest has subclasses of it for its own ends

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.troubles.append(str(report.longrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        plugin.use(config, self._recorder)
