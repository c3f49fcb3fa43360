"""What a batch wrote, read back: `batch.json` and `results.jsonl` (schema 1) as the results of a class."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.batch.records import Record, read_batch, read_records
from grader.course import CourseError, find
from grader.reports.files import ReportError
from grader.score import ExerciseResult, RunResult, Status, TaskResult


@dataclass(frozen=True)
class Person:
    """One person's submission as it was graded.

    Every text of it came from outside and may hold anything. ``result`` is None where nothing could be graded, and
    ``error`` then says why; ``seconds`` is wall time, ``peak_bytes`` the most memory that one of its processes had,
    ``left_out`` the files that were handed in and not taken.
    """

    name: str
    source: str
    digest: str
    seed: int
    seconds: float
    peak_bytes: int
    result: RunResult | None
    error: str
    left_out: tuple[str, ...] = ()

    def exercise(self, exercise_id: str) -> ExerciseResult | None:
        """What came out for one exercise; None where it was not handed in or nothing could be graded."""
        for found in self.result.exercises if self.result else ():
            if found.id == exercise_id:
                return found
        return None


@dataclass(frozen=True)
class Marks:
    """Points."""

    earned: int
    possible: int
    not_run: int


@dataclass(frozen=True)
class ClassResults:
    """All of a batch. ``exercises`` are ids, ``began`` is a time in UTC (ISO)."""

    seed: int
    tier: str
    exercises: tuple[str, ...]
    environment: dict[str, str]
    protections: dict[str, bool]
    began: str
    people: tuple[Person, ...]

    @property
    def graded(self) -> list[Person]:
        return [person for person in self.people if person.result]

    def marks(self, exercise_id: str) -> list[float]:
        """Of each person who handed it in, earned / (possible - not run), where anything counted."""
        results = (person.exercise(exercise_id) for person in self.people)
        found = (share(result) for result in results if result)
        return [mark for mark in found if mark is not None]


def totals(results: ClassResults, person: Person) -> Marks | None:
    """All exercises of the batch together; one that was not handed in earns nothing of its points. None ungraded."""
    if person.result is None:
        return None
    absent = sum(possible(results, e) for e in results.exercises if person.exercise(e) is None)
    return Marks(person.result.earned, person.result.possible + absent, person.result.not_run)


def share(result: ExerciseResult | Marks) -> float | None:
    """earned / (possible - not run), 0 to 1; None where nothing counts."""
    counted = result.possible - result.not_run
    return result.earned / counted if counted else None


def title(exercise_id: str) -> str:
    """The title in the exercise's manifest; the id where there is none."""
    try:
        return find(exercise_id).title
    except CourseError:
        return exercise_id


def possible(results: ClassResults, exercise_id: str) -> int:
    """The points of an exercise, from its manifest or, where that is gone, from who was graded."""
    try:
        return find(exercise_id).points
    except CourseError:
        found = (person.exercise(exercise_id) for person in results.people)
        return max((result.possible for result in found if result), default=0)


def median(values: Iterable[float]) -> float | None:
    """The middle one; None of nothing."""
    found = list(values)
    return statistics.median(found) if found else None


def read_class(out: Path) -> ClassResults:
    """The results in a batch's folder, people by their names; of two records of one person the later counts.

    Raises ReportError where there is no batch, and BatchError where it cannot be read.
    """
    batch = read_batch(out)
    if batch is None:
        raise ReportError(f"there is no batch in {out}: give the folder that `trtprep batch` wrote to")
    people = sorted(map(_person, read_records(out)), key=lambda p: (p.name.casefold(), p.name))
    named = dict.fromkeys(batch.exercises)
    for person in people:
        named |= dict.fromkeys(e.id for e in person.result.exercises) if person.result else {}
    return ClassResults(
        seed=batch.seed,
        tier=batch.tier,
        exercises=tuple(named),
        environment=batch.environment,
        protections=batch.protections,
        began=batch.began,
        people=tuple(people),
    )


def _person(record: Record) -> Person:
    result, error = None, record.error or "no reason was recorded"
    if record.result is not None:
        try:
            result, error = _run(record.result), ""
        except (KeyError, TypeError, ValueError, AttributeError):
            error = "its record is damaged: grade it again"
    return Person(
        name=record.person,
        source=record.source,
        digest=record.digest,
        seed=record.seed,
        seconds=record.seconds,
        peak_bytes=record.peak_bytes,
        result=result,
        error=error,
        left_out=record.left_out,
    )


def _run(data: dict[str, Any]) -> RunResult:
    exercises = [ExerciseResult(e["id"], title(e["id"]), [_task(t) for t in e["tasks"]]) for e in data["exercises"]]
    head = (data["tier"], data["seed"], data["submission"], data["environment"], data["protections"])
    return RunResult(*head, exercises)


def _task(data: dict[str, Any]) -> TaskResult:
    """``output``, what a candidate's code printed, is in a batch's records and not in `trtprep run --json`."""
    return TaskResult(
        id=data["id"],
        title=data["title"],
        points=int(data["points"]),
        status=Status(data["status"]),
        message=str(data["message"]),
        hint=str(data["hint"]),
        seconds=float(data["seconds"]),
        figures=dict(data["figures"]),
        output=str(data.get("output", "")),
    )
