"""Grades the answer of a notebook as `trtprep run` does: by calling it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grader.course import ANSWER_NAMES, ROOT, Exercise
from grader.notebooks.cells import Answer

_MOST_S = 1800


class GradingError(RuntimeError):
    """`trtprep run` could not grade; the text is what it said."""


def grade(
    exercise: Exercise, answer: Answer, *, tasks: Iterable[str] = (), tier: str = "auto", seed: int | None = None
) -> dict[str, Any]:
    """What `trtprep run --json` says of an answer (schema 1), with messages in lines of cells.

    Args:
        exercise: what it answers.
        answer: from `reading.answer` or `cells.assemble`.
        tasks: the only ones to judge; all without.
        tier: as for `trtprep run`.
        seed: of the private inputs, to repeat a run.

    Raises:
        GradingError: there is no result.
    """
    with tempfile.TemporaryDirectory(prefix="trtprep-") as folder:
        submission, told = Path(folder) / "submission", Path(folder) / "told.json"
        file = submission / exercise.id / ANSWER_NAMES[0]
        file.parent.mkdir(parents=True)
        file.write_text(answer.source, encoding="utf-8", newline="")
        ids = [f"{exercise.id}/{task}" for task in tasks] or [exercise.id]
        options = ["--submission", str(submission), "--tier", tier, "--json", str(told)]
        options += [] if seed is None else ["--seed", str(seed)]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "grader", "run", *ids, *options], cwd=ROOT,
                capture_output=True, text=True, errors="replace", timeout=_MOST_S, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise GradingError(f"grading took more than {_MOST_S} s") from None
        if not told.is_file():
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise GradingError(said[-1] if said else f"grading ended with {done.returncode} and said nothing")
        result = json.loads(told.read_text(encoding="utf-8"))
    for task in result["exercises"][0]["tasks"]:
        task["message"] = answer.in_cells(task["message"])
    return result


def told(task: dict[str, Any]) -> str:
    """How a task ended, in words for its author."""
    points, status = task["points"], task["status"]
    if status == "passed":
        return f"✓ {task['title']}: {points} of {points} points"
    if status in ("not_run", "inconclusive"):
        return f"- {task['title']}: not judged here ({points} points are open): {task['message']}"
    return f"✗ {task['title']}: 0 of {points} points\n{task['message']}"
