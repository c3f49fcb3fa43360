"""Grades a submission: runs the checks with pytest in this process and gathers what came out."""

from __future__ import annotations

import contextlib
import io
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from grader import plugin
from grader.course import CHECKS, Exercise
from grader.score import ExerciseResult, RunResult, TaskResult
from grader.tiers import Tier


class GraderError(RuntimeError):
    """The checks could not be run at all; the text says why."""


def grade(
    chosen: tuple[Exercise, ...],
    submission: Path,
    tier: Tier,
    seed: int,
    on_result: Callable[[RunResult, ExerciseResult, TaskResult], None] = lambda run, exercise, task: None,
) -> RunResult:
    """Grade ``submission``'s answers to the chosen exercises; ``on_result`` is told of each task as it ends.

    Raises GraderError.
    """
    recorder = plugin.Recorder(submission, tier, seed)
    run = RunResult(tier.name, seed, str(submission), environment(tier), recorder.protections, [])

    def report(exercise: ExerciseResult, task: TaskResult) -> None:
        run.exercises = list(recorder.results.values())
        on_result(run, exercise, task)

    recorder.on_result = report
    # pytest's own report is for those who run pytest; ours is made from the recorder.
    arguments = ["--rootdir", str(CHECKS), "-c", str(CHECKS / "pytest.ini"), "-p", "no:terminal", "--capture=no"]
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        code = pytest.main([*arguments, *(str(e.checks) for e in chosen)], plugins=[_Handing(recorder)])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED) or not run.exercises:
        raise GraderError(f"the checks could not be run (pytest ended with {int(code)}): {printed.getvalue()[-2000:]}")
    return run


def environment(tier: Tier) -> dict[str, str]:
    """Versions that a mark depends on."""
    return {"tensorrt": tier.tensorrt, "gpu": tier.gpu, "python": platform.python_version(), "system": platform.platform()}


class _Handing:
    """Hands the recorder that was made here to the plugin, which otherwise makes one from its options."""

    def __init__(self, recorder: plugin.Recorder) -> None:
        self._recorder = recorder

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        plugin.use(config, self._recorder)
