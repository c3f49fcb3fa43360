"""Folders as a batch leaves them, with people whose every text is a payload."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from results import result

from grader import course
from grader.batch.one import recorded
from grader.batch.records import Batch, Record, Records
from grader.score import ExerciseResult, RunResult, Status, TaskResult

ENVIRONMENT = {"tensorrt": "1.7", "gpu": "", "python": "3.11", "system": "Linux"}
MARKUP = "<img src=x onerror=alert(1)>"
CLOSING = "</pre></svg></style><script>alert(2)</script>"
FORMULA = "=cmd|' /C calc'!A0"
PAYLOADS = (MARKUP, CLOSING, FORMULA)


def record(person: str, graded: RunResult | None = None, error: str | None = None, **more: Any) -> Record:
    """A record as a batch makes it: of this result, or of none with the error."""
    data = {"source": person, "digest": "0" * 64, "seed": 42, "seconds": 2.0, "peak_bytes": 2**29} | more
    return Record(person=person, result=recorded(graded) if graded else None, error=error, **data)


def write_class(
    out: Path, people: Iterable[Record], exercises: tuple[str, ...] = ("x1_one", "x2_two"), **more: Any
) -> Path:
    """A batch's folder with these records."""
    began = "2026-01-02T03:04:05+00:00"
    head = {"seed": 42, "tier": "twin", "environment": ENVIRONMENT, "protections": {"mounts": True}, "began": began}
    with Records(out) as records:
        records.begin(Batch(exercises=exercises, **head | more))
        for one in people:
            records.append(one)
    return out


def one_exercise(*tasks: TaskResult, exercise_id: str = "x1_one") -> RunResult:
    """A run of one exercise with these tasks."""
    return RunResult("twin", 42, "s", ENVIRONMENT, {"mounts": True}, [ExerciseResult(exercise_id, "One", list(tasks))])


def hostile() -> list[Record]:
    """A person per payload, with it in everything that came from them, one with a very long name, and one ungraded."""
    found = []
    for payload in PAYLOADS:
        run = result(payload, payload)
        run.submission = payload
        failed = run.exercises[0].tasks[1]
        failed.figures = {payload: payload}
        found.append(record(payload, run, source=payload, left_out=(payload,)))
    long = "W" * 5000
    found.append(record(long, result(long, long), source=long))
    found.append(record(f"{MARKUP} ungraded", error=f"{MARKUP} {FORMULA}"))
    return found


def lifelike(people: int) -> list[Record]:
    """People with an answer to every exercise of the course, whose tasks end in all ways."""
    ends = (Status.PASSED, Status.PASSED, Status.FAILED, Status.BLOCKED, Status.NOT_RUN, Status.INCONCLUSIVE)
    found = []
    for number in range(people):
        exercises = []
        for exercise in course.exercises():
            tasks = []
            for n, task in enumerate(exercise.tasks):
                status = ends[(n * (number + 1) + number) % len(ends)]
                message = "" if status is Status.PASSED else f"the output {n} differs by 0.{number}: " + "why " * 40
                message = "not written yet: start with f()" if status is Status.FAILED and n % 3 == 0 else message
                told = TaskResult(task.id, task.title, task.points, status, message, task.hints[0], 0.1 * n)
                told.figures, told.output = {"kernels": 8 + n, "spread": [0.25] * 40}, "printed " * 200
                tasks.append(told)
            exercises.append(ExerciseResult(exercise.id, exercise.title, tasks))
        graded = RunResult("twin", 42, "s", ENVIRONMENT, {"mounts": True, "pid": False}, exercises)
        found.append(record(f"Person {number}", graded, seconds=1.5 + number))
    return found
