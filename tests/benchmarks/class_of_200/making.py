"""Makes the class: solutions, stubs and mutants, in folders, zip files and checkouts, and what each must earn."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from grader.course import EXERCISES, Exercise, find
from tests.grading import solution_source
from tests.mutants.test_mutants import MUTANTS

TIER = "twin"
SHORTS = ("c1", "q1")
SUBMISSIONS, RIGHT = "submissions", "right_marks.json"
#: Every so many submissions both answers are the solution, so that their memory can be compared.
SOLVED_EVERY = 20


@dataclass(frozen=True)
class Answer:
    """An answer, and the tasks that it fails."""

    name: str
    source: str
    fails: frozenset[str]


def make(folder: Path, count: int) -> int:
    """Write so many submissions, and their right marks beside them."""
    offered = {exercise: answers(exercise) for exercise in map(find, SHORTS)}
    right = {}
    for number in range(1, count + 1):
        person = f"student-{number:03}"
        chosen = {e: found[_which(number, place, len(found))] for place, (e, found) in enumerate(offered.items())}
        _hand_in(folder / SUBMISSIONS, person, number, {e.id: answer.source for e, answer in chosen.items()})
        right[person] = {
            "answers": {e.id: answer.name for e, answer in chosen.items()},
            "tasks": {e.id: _statuses(e, answer) for e, answer in chosen.items()},
            "earned": sum(t.points for e, a in chosen.items() for t in e.tasks if _status(t, a) == "passed"),
            "not_run": sum(t.points for e in chosen for t in e.tasks if not t.runs_on(TIER)),
        }
    (folder / RIGHT).write_text(json.dumps(right, indent=1) + "\n", encoding="utf-8")
    return count


def answers(exercise: Exercise) -> list[Answer]:
    """The solution first, then the stub, then the mutants.

    A mutant whose header says which other tasks may fail too has no one right mark: it is left out.
    """
    everything = frozenset(task.id for task in exercise.tasks)
    stub = (EXERCISES / exercise.id / "stub.py").read_text(encoding="utf-8")
    found = [Answer("solution", solution_source(exercise.id), frozenset()), Answer("stub", stub, everything)]
    for mutant in MUTANTS:
        if mutant.exercise == exercise.id and mutant.tier != "gpu" and not mutant.also:
            found.append(Answer(mutant.name, mutant.source(), frozenset({mutant.task})))
    return found


def _which(number: int, place: int, count: int) -> int:
    """Each answer to one exercise meets many to the other."""
    turn = number - number // SOLVED_EVERY
    return 0 if number % SOLVED_EVERY == 0 else (turn + place * (turn // count)) % count


def _statuses(exercise: Exercise, answer: Answer) -> dict[str, str]:
    return {task.id: _status(task, answer) for task in exercise.tasks}


def _status(task: object, answer: Answer) -> str:
    return "not_run" if not task.runs_on(TIER) else "failed" if task.id in answer.fails else "passed"  # type: ignore[attr-defined]


def _hand_in(folder: Path, person: str, number: int, sources: dict[str, str]) -> None:
    """In turn as a folder, as a zip file, and as a zip file of a folder with more in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if number % 3 == 0:
        for exercise, source in sources.items():
            path = folder / person / exercise / "stub.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        return
    inside = "" if number % 3 == 1 else f"{person}-main/exercises/"
    with zipfile.ZipFile(folder / f"{person}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for exercise, source in sources.items():
            archive.writestr(f"{inside}{exercise}/stub.py", source)
