"""Grades a submission in a process of its own: pytest cannot run inside pytest.

Imported, it offers `grade` and `answer_file`; run as a script, it is that process.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Task:
    """How one task ended; ``checks`` maps the names of its pytest functions to their statuses."""

    status: str
    message: str
    points: int
    checks: dict[str, str]


@dataclass(frozen=True)
class Graded:
    """One graded exercise."""

    earned: int
    not_run: int  #: points of tasks that this tier cannot judge
    tasks: dict[str, Task]
    modules: tuple[str, ...]  #: files of the modules that the grader's process had imported in the end

    def not_passed(self) -> set[str]:
        """Tasks that were judged and earned nothing."""
        return {name for name, task in self.tasks.items() if task.status not in ("passed", "not_run")}

    def killers(self) -> set[str]:
        """Checks that ran and did not pass."""
        ended = {check: status for task in self.tasks.values() for check, status in task.checks.items()}
        return {check for check, status in ended.items() if status not in ("passed", "not_run")}


def solution_source(exercise: str) -> str:
    """The reference solution's text."""
    return (ROOT / "solutions" / exercise / "solution.py").read_text(encoding="utf-8")


def answer_file(submission: Path, exercise: str, source: str) -> Path:
    """Write an answer where a candidate would, and return the submission's folder."""
    path = submission / exercise / "stub.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return submission


def grade(
    submission: Path,
    exercise: str,
    *,
    seed: int = 1,
    cwd: Path | None = None,
    limits: dict[str, float] | None = None,
    patience: float | None = None,
    tier: str = "twin",
    tasks: Collection[str] = (),
) -> Graded:
    """Grade one exercise.

    Args:
        submission: the folder with the answers.
        exercise: its id.
        seed: of the private inputs.
        cwd: where the grader is started.
        limits: the fields of `grader.processes.sandbox.Limits`, if the candidate's process gets others than usual.
        patience: factor on the time that a call may take, if not the tier's own.
        tier: "twin", or "gpu" where there is one.
        tasks: the only ones to judge, if not all.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        wish = {
            "submission": str(submission.resolve()), "exercise": exercise, "seed": seed,
            "limits": limits or {}, "patience": patience, "tier": tier, "tasks": list(tasks), "told": str(told),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, __file__, json.dumps(wish)], cwd=cwd or folder, text=True, capture_output=True,
            env=os.environ | {"PYTHONPATH": _path()}, check=False,
            timeout=_TIMEOUT_S * (1 if tier == "twin" else 3),
        )  # fmt: skip
        if done.returncode != 0 or not told.exists():
            raise RuntimeError(f"the grading ended with {done.returncode}\n{(done.stdout + done.stderr)[-6000:]}")
        data = json.loads(told.read_text(encoding="utf-8"))
    ended = {name: Task(**task) for name, task in data["tasks"].items()}
    return Graded(data["earned"], data["not_run"], ended, tuple(data["modules"]))


def _path() -> str:
    """This repository before whatever the environment adds, as a machine with a GPU may for TensorRT."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def _main(wish: dict[str, Any]) -> None:
    from grader import plugin, run, tiers
    from grader.course import find
    from grader.processes.candidate import Candidate
    from grader.processes.sandbox import Limits

    if wish["limits"]:
        limits = Limits(**wish["limits"])
        plugin.Candidate = functools.partial(Candidate, limits=limits)  # type: ignore[misc]
    tier = tiers.choose(wish["tier"])
    if wish["patience"] is not None:
        tier = type("Hasty", (tiers.Tier,), {"patience": wish["patience"]})(**vars(tier))
    only = {wish["exercise"]: wish["tasks"]} if wish["tasks"] else {}
    result = run.grade((find(wish["exercise"]),), Path(wish["submission"]), tier, wish["seed"], only=only)
    tasks = {
        t.id: {
            "status": t.status.value,
            "message": t.message,
            "points": t.points,
            "checks": {name: status.value for name, status in t.checks.items()},
        }
        for t in result.tasks()
    }
    modules = sorted({f for m in list(sys.modules.values()) if isinstance(f := getattr(m, "__file__", None), str)})
    told = {"earned": result.earned, "not_run": result.not_run, "tasks": tasks, "modules": modules}
    Path(wish["told"]).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
