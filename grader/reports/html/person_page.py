"""What a person's page tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grader.reports.class_results import ClassResults, Person, possible, share, title, totals
from grader.reports.html.charts import Part, parts
from grader.reports.html.class_page import FEW, KINDS, kind
from grader.reports.mistakes import Finding, findings
from grader.reports.terminal import grade
from grader.score import ExerciseResult, Status, TaskResult

_SIGNS = {"passed": "✓", "failed": "✗", "unwritten": "○", "blocked": "■", "not_run": "-"}
_WORDS = KINDS | {"inconclusive": "inconclusive"}


@dataclass(frozen=True)
class TaskView:
    """A task and how it is shown; ``finding`` is what is known of its failure."""

    task: TaskResult
    kind: str
    sign: str
    word: str
    finding: Finding | None


@dataclass(frozen=True)
class ExerciseView:
    """An exercise; ``result`` is None where it was not handed in."""

    id: str
    title: str
    points: int
    result: ExerciseResult | None
    grade: str
    share: float | None
    bar: tuple[Part, ...]
    tasks: tuple[TaskView, ...]

    @property
    def description(self) -> str:
        """The bar in words."""
        told = [(view.word, view.task.points) for view in self.tasks]
        sums = {word: sum(points for w, points in told if w == word) for word in dict.fromkeys(w for w, _ in told)}
        return ", ".join(f"{points} points {word}" for word, points in sums.items())


def person_page(results: ClassResults, person: Person) -> dict[str, Any]:
    """The values of `person.html`."""
    result, marks = person.result, totals(results, person)
    return {
        "results": results,
        "person": person,
        "few": FEW,
        "exercises": [_exercise(results, person, exercise_id) for exercise_id in results.exercises] if result else [],
        "grade": grade(marks.earned, marks.possible, marks.not_run) if marks else "",
        "off": [name for name, on in (result.protections if result else {}).items() if not on],
    }


def _exercise(results: ClassResults, person: Person, exercise_id: str) -> ExerciseView:
    result = person.exercise(exercise_id)
    points = possible(results, exercise_id)
    if result is None:
        return ExerciseView(exercise_id, title(exercise_id), points, None, f"0 / {points} points", 0.0, (), ())
    known = findings(result)
    tasks = tuple(_task(task, known.get(task.id)) for task in result.tasks)
    counts = {name: sum(view.task.points for view in tasks if view.kind == name) for name in KINDS}
    text = grade(result.earned, result.possible, result.not_run)
    return ExerciseView(exercise_id, result.title, points, result, text, share(result), parts(counts), tasks)


def _task(task: TaskResult, finding: Finding | None) -> TaskView:
    name = kind(task)
    word = _WORDS["inconclusive" if task.status is Status.INCONCLUSIVE else name]
    return TaskView(task, name, _SIGNS[name], word, finding)
