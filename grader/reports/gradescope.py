"""A person's `results.json` as Gradescope's autograder takes it.

Every text is declared as plain text: Gradescope's own default for the text of the whole submission would take HTML.
A task that was not run has neither score nor status, so that it is shown and counts as nothing. Its format has no place
for the possible points (the assignment's settings have them): `extra_data` says those, and what was not run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grader.reports.class_results import Person, title
from grader.reports.files import write_file
from grader.reports.terminal import grade, shown
from grader.score import RunResult, Status, TaskResult

#: A long text is cut: Gradescope shows it in one block.
_MOST = 20_000
_WORDS = {
    Status.BLOCKED: "A task that this one needs failed.",
    Status.NOT_RUN: "This was not run here, and does not count.",
    Status.INCONCLUSIVE: "What was measured was too uneven to judge, and does not count.",
}


def write_gradescope(person: Person, path: Path) -> bool:
    """Write it for a person who was graded, and tell whether there was something to write.

    Who could not be graded has no such file, so that no mark is made of it. Raises ReportError.
    """
    if person.result is None:
        path.unlink(missing_ok=True)
        return False
    write_file(path, json.dumps(_results(person, person.result), indent=2, allow_nan=False).encode() + b"\n")
    return True


def _results(person: Person, result: RunResult) -> dict[str, Any]:
    lines = [f"{e.id}: {grade(e.earned, e.possible, e.not_run)}" for e in result.exercises]
    return {
        "score": float(result.earned),
        "execution_time": round(person.seconds, 3),
        "output": "\n".join([*lines, f"tier {result.tier}, seed {result.seed}"]),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {
            "possible": result.possible,
            "not_run": result.not_run,
            "tier": result.tier,
            "seed": result.seed,
            "digest": shown(person.digest),
        },
        "tests": [
            _test(f"{m}.{n}", f"{title(exercise.id)}: {task.title}", task)
            for m, exercise in enumerate(result.exercises, 1)
            for n, task in enumerate(exercise.tasks, 1)
        ],
    }


def _test(number: str, name: str, task: TaskResult) -> dict[str, Any]:
    test: dict[str, Any] = {"name": shown(name), "name_format": "text", "number": number}
    if not task.not_run:
        status = "passed" if task.status is Status.PASSED else "failed"
        test |= {"score": float(task.earned), "max_score": float(task.points), "status": status}
    return test | {"output": _output(task), "output_format": "text", "visibility": "visible"}


def _output(task: TaskResult) -> str:
    hint = f"hint: {task.hint}" if task.status is Status.FAILED and task.hint else ""
    printed = f"your code printed:\n{task.output.strip()}" if task.output.strip() else ""
    parts = [_WORDS.get(task.status, ""), task.message, hint, printed]
    text = shown("\n\n".join(part for part in parts if part))
    return text if len(text) <= _MOST else f"{text[:_MOST]}\n[... {len(text) - _MOST} characters left out]"
