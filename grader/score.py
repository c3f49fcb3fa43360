"""What came out: the marks of tasks, exercises and a whole run, and their JSON form (schema 1)."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SCHEMA = 1


class Status(str, enum.Enum):
    """How a task ended. Only ``passed`` earns; ``not_run`` and ``inconclusive`` are taken out of the possible."""

    PASSED = "passed"
    FAILED = "failed"
    BLOCKED = "blocked"
    NOT_RUN = "not_run"
    INCONCLUSIVE = "inconclusive"


#: When several checks of one task disagree, the first of these that occurs is the task's status.
_WORST_FIRST = (Status.FAILED, Status.BLOCKED, Status.INCONCLUSIVE, Status.NOT_RUN, Status.PASSED)


def _worse(status: Status, than: Status) -> bool:
    return _WORST_FIRST.index(status) < _WORST_FIRST.index(than)


@dataclass
class TaskResult:
    """``message`` is for the candidate, ``output`` what their code printed, ``figures`` what was measured."""

    id: str
    title: str
    points: int
    status: Status = Status.NOT_RUN
    message: str = ""
    hint: str = ""
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    checks: dict[str, Status] = field(default_factory=dict)  #: by the name of the pytest function

    @property
    def earned(self) -> int:
        return self.points if self.status is Status.PASSED else 0

    @property
    def not_run(self) -> int:
        return self.points if self.status in (Status.NOT_RUN, Status.INCONCLUSIVE) else 0

    def add(self, check: str, status: Status, message: str, seconds: float) -> None:
        """Take in one more check of this task."""
        if not self.checks or _worse(status, self.status):
            self.status, self.message = status, message
        if check not in self.checks or _worse(status, self.checks[check]):
            self.checks[check] = status
        self.seconds += seconds


@dataclass
class ExerciseResult:
    id: str
    title: str
    tasks: list[TaskResult]

    @property
    def earned(self) -> int:
        return sum(task.earned for task in self.tasks)

    @property
    def possible(self) -> int:
        return sum(task.points for task in self.tasks)

    @property
    def not_run(self) -> int:
        return sum(task.not_run for task in self.tasks)


@dataclass
class RunResult:
    """One ``trtprep run``."""

    tier: str
    seed: int
    submission: str
    environment: dict[str, str]
    protections: dict[str, bool]
    exercises: list[ExerciseResult]
    interrupted: bool = False  #: by the user: what was to come is not run

    @property
    def earned(self) -> int:
        return sum(e.earned for e in self.exercises)

    @property
    def possible(self) -> int:
        return sum(e.possible for e in self.exercises)

    @property
    def not_run(self) -> int:
        return sum(e.not_run for e in self.exercises)

    def tasks(self) -> Iterable[TaskResult]:
        return (task for exercise in self.exercises for task in exercise.tasks)

    def as_data(self) -> dict[str, Any]:
        """Schema 1. What candidates' code printed is not in it: it may be long, and theirs to keep."""
        return {
            "schema": SCHEMA,
            "tier": self.tier,
            "seed": self.seed,
            "environment": self.environment,
            "protections": self.protections,
            "submission": self.submission,
            "earned": self.earned,
            "possible": self.possible,
            "not_run": self.not_run,
            "exercises": [_exercise_data(e) for e in self.exercises],
        }


def _exercise_data(result: ExerciseResult) -> dict[str, Any]:
    tasks = [
        {
            "id": t.id,
            "title": t.title,
            "points": t.points,
            "status": t.status.value,
            "message": t.message,
            "hint": t.hint,
            "seconds": round(t.seconds, 3),
            "figures": {name: _plain(value) for name, value in t.figures.items()},
        }
        for t in result.tasks
    ]
    marks = {"earned": result.earned, "possible": result.possible, "not_run": result.not_run}
    return {"id": result.id} | marks | {"tasks": tasks}


def _plain(figure: Any) -> Any:
    """A figure as JSON knows it: NumPy's numbers become Python's, NaN and infinity become null."""
    if isinstance(figure, (np.generic, np.ndarray)):
        figure = figure.tolist()
    if isinstance(figure, (list, tuple)):
        return [_plain(item) for item in figure]
    if isinstance(figure, float):
        return figure if math.isfinite(figure) else None
    return figure if figure is None or isinstance(figure, (bool, int, str)) else str(figure)
