"""The exercises, read from their manifests (`exercises/<id>/exercise.toml`)."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader import extras

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
EXERCISES = ROOT / "exercises"
SOLUTIONS = ROOT / "solutions"
CHECKS = ROOT / "grader" / "checks"
MANIFEST = "exercise.toml"
#: The file of an answer, in the order it is looked for in a submission's folder of the exercise.
ANSWER_NAMES = ("stub.py", "solution.py")


class CourseError(ValueError):
    """No such exercise or answer, or a manifest that is not one; the text says what to do."""


@dataclass(frozen=True)
class Task:
    """One graded step of an exercise.

    ``function`` is where a candidate starts; ``tiers`` are those that can judge it, empty where all can; ``needs`` are
    packages, by the names that are imported, without which it is not run.
    """

    id: str
    title: str
    points: int
    function: str
    hints: tuple[str, ...]
    tiers: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def runs_on(self, tier: str) -> bool:
        return not self.tiers or tier in self.tiers

    def why_not_on(self, tier: str) -> str:
        """Why this task cannot be judged on a tier, as this machine is; "" when it can."""
        if not self.runs_on(tier):
            return f"only the tier {' or '.join(self.tiers)} can judge this: it needs a GPU"
        absent = extras.missing(self.needs)
        verb = "is" if len(absent) == 1 else "are"
        return f"{' and '.join(absent)} {verb} not installed: {extras.mend(absent)}" if absent else ""


@dataclass(frozen=True)
class FollowUp:
    """A question an interviewer asks next, and what a good answer says."""

    question: str
    answer: str


@dataclass(frozen=True)
class Exercise:
    id: str
    title: str
    question: str
    fixtures: tuple[str, ...]  #: see `grader.fixtures.prepare`
    tasks: tuple[Task, ...]
    follow_ups: tuple[FollowUp, ...]

    @property
    def short(self) -> str:
        return self.id.split("_")[0]

    @property
    def points(self) -> int:
        return sum(task.points for task in self.tasks)

    @functools.cached_property  # asked for every check
    def checks(self) -> tuple[Path, ...]:
        """The files of what is asked: ``test_<id>.py``, or several of them, ``test_<id>_<part>.py``."""
        return tuple(sorted(CHECKS.glob(f"test_{self.id}.py")) + sorted(CHECKS.glob(f"test_{self.id}_*.py")))

    def task(self, task_id: str) -> Task:
        for task in self.tasks:
            if task.id == task_id:
                return task
        raise CourseError(f"{self.short} has no task {task_id!r}: it has {', '.join(t.id for t in self.tasks)}")

    def answer(self, submission: Path) -> Path:
        """The file of this exercise's answer in a submission. Raises CourseError."""
        if not submission.exists():
            raise CourseError(f"there is no submission {submission}: give a folder with --submission")
        if submission.is_file():
            return submission.resolve()
        own = submission.resolve()
        for folder in (own / self.id, *([own] if own.name == self.id else [])):
            for name in ANSWER_NAMES:
                if (folder / name).is_file():
                    return (folder / name).resolve()
        raise CourseError(f"no answer to {self.short} in {submission}: expected {self.id}/{ANSWER_NAMES[0]} there")


@functools.cache
def exercises() -> tuple[Exercise, ...]:
    """All exercises, in the order of their ids. Raises CourseError for a broken manifest."""
    return tuple(_read(path) for path in sorted(EXERCISES.glob(f"*/{MANIFEST}")))


def find(name: str) -> Exercise:
    """The exercise with this id, or whose id starts with it (``c1``). Raises CourseError."""
    matches = [e for e in exercises() if e.id == name] or [e for e in exercises() if e.short == name]
    if not matches:
        known = ", ".join(e.short for e in exercises())
        raise CourseError(f"no such exercise: {name} (there are {known}; see `trtprep list`)")
    return matches[0]


def _read(path: Path) -> Exercise:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        tasks = tuple(map(_task, data["tasks"]))
        follow_ups = tuple(FollowUp(f["question"], f["answer"]) for f in data.get("follow_ups", ()))
        fixtures = tuple(data.get("fixtures", ()))
        return Exercise(path.parent.name, data["title"], data["question"], fixtures, tasks, follow_ups)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CourseError(f"{path} is not a manifest: {error!r}") from error


def _task(data: dict[str, Any]) -> Task:
    texts = (tuple(data["hints"]), tuple(data.get("tiers", ())), tuple(data.get("needs", ())))
    return Task(data["id"], data["title"], data["points"], data["function"], *texts)
