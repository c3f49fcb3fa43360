"""What the class's page tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grader.reports import mistakes
from grader.reports.class_results import ClassResults, Marks, median, possible, share, title, totals
from grader.reports.html.charts import Histogram, Part, even_edges, histogram, parts
from grader.reports.mistakes import Group
from grader.score import ExerciseResult, Status, TaskResult

#: Kinds of ends, in the order of a bar, each with the words for it.
KINDS = {
    "passed": "passed",
    "failed": "failed",
    "unwritten": "not written",
    "blocked": "blocked",
    "not_run": "not run",
}
_SLOWEST = 5
FEW = 4  #: known mistakes that are named at once where a message fits several
_TENTHS = [10.0 * n for n in range(11)]


@dataclass(frozen=True)
class TaskCount:
    """How a task ended, over all who handed it in."""

    id: str
    title: str
    points: int
    counts: dict[str, int]
    bar: tuple[Part, ...]

    @property
    def description(self) -> str:
        return ", ".join(f"{count} {KINDS[kind]}" for kind, count in self.counts.items() if count)


@dataclass(frozen=True)
class ExerciseCount:
    """One exercise, over all who handed it in. Marks are earned / (possible - not run), 0 to 1."""

    id: str
    title: str
    points: int
    handed_in: int
    median: float | None
    mean: float | None
    full: int
    chart: Histogram | None
    tasks: tuple[TaskCount, ...]
    mistakes: tuple[Group, ...]

    @property
    def short(self) -> str:
        return self.id.split("_")[0]

    @property
    def all_run(self) -> bool:
        return not any(task.counts["not_run"] for task in self.tasks)


def class_page(results: ClassResults) -> dict[str, Any]:
    """The values of `class.html`."""
    times = [person.seconds for person in results.graded]
    middle = median(times)
    return {
        "results": results,
        "ungraded": [person for person in results.people if person.result is None],
        "exercises": [_exercise(results, exercise_id) for exercise_id in results.exercises],
        "median_seconds": middle,
        "total_seconds": sum(person.seconds for person in results.people),
        "median_bytes": median(person.peak_bytes for person in results.graded),
        "most_bytes": max((person.peak_bytes for person in results.graded), default=0),
        "slowest": sorted(results.graded, key=lambda person: -person.seconds)[:_SLOWEST],
        "times": histogram(times, even_edges(times), middle, " s") if middle is not None else None,
        "off": [name for name, on in results.protections.items() if not on],
        "kinds": KINDS,
        "few": FEW,
        "mark": mark,
        "share": share,
        "totals": totals,
    }


def kind(task: TaskResult) -> str:
    """A task's end as one of `KINDS`."""
    if mistakes.unwritten(task):
        return "unwritten"
    return "not_run" if task.status is Status.INCONCLUSIVE else task.status.value


def mark(result: ExerciseResult | Marks | None) -> str:
    """``40 / 55``: earned of what counts."""
    return "-" if result is None else f"{result.earned} / {result.possible - result.not_run}"


def _exercise(results: ClassResults, exercise_id: str) -> ExerciseCount:
    marks = results.marks(exercise_id)
    middle = median(marks)
    in_percent = [100 * value for value in marks]
    found = [result for person in results.people if (result := person.exercise(exercise_id))]
    return ExerciseCount(
        id=exercise_id,
        title=title(exercise_id),
        points=possible(results, exercise_id),
        handed_in=len(found),
        median=middle,
        mean=sum(marks) / len(marks) if marks else None,
        full=sum(value == 1 for value in marks),
        chart=histogram(in_percent, _TENTHS, 100 * middle, "%") if middle is not None else None,
        tasks=_tasks(found),
        mistakes=tuple(mistakes.groups(results, exercise_id)),
    )


def _tasks(found: list[ExerciseResult]) -> tuple[TaskCount, ...]:
    ended: dict[str, list[TaskResult]] = {}
    for result in found:
        for task in result.tasks:
            ended.setdefault(task.id, []).append(task)
    counted = []
    for task_id, tasks in ended.items():
        counts = {name: sum(kind(task) == name for task in tasks) for name in KINDS}
        counted.append(TaskCount(task_id, tasks[0].title, tasks[0].points, counts, parts(counts)))
    return tuple(counted)
