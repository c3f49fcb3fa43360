"""Which known mistake was made by how many: failed tasks' messages, held against the exercise's mutants.

A mutant (`tests/mutants`) is a wrong answer that somebody would give, with the message that it gets. They lie beside
the exercises in the repository and are read there; without them messages are grouped by their wording.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from grader.course import ROOT
from grader.reports.class_results import ClassResults, Person
from grader.score import ExerciseResult, Status, TaskResult

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MUTANTS = ROOT / "tests" / "mutants"
#: How a message begins where a function is still the stub's.
UNWRITTEN = "not written yet"
#: A candidate may write the message: what is searched in it is bounded, and so is what is shown.
_SEARCHED, _SHOWN = 2000, 200
_ABBREVIATION = re.compile(r"\b(?:[bf]?fp?\d{2}|tf32|int8|bgr|api|ctc|gpu|ir|lrn|nhwc|onnx)\b")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Mistake:
    """A known one. ``often_quoted``: the often-quoted answer to the question has it."""

    name: str
    why: str
    often_quoted: bool
    task: str
    also: tuple[str, ...]  #: tasks that it may fail as well
    says: str  #: a regular expression, found in the message of its task


@dataclass
class Group:
    """People who made the same mistake in a task: one of ``mistakes``, or where that is empty, a message alike."""

    task: str
    mistakes: tuple[Mistake, ...]
    wording: str  #: of the first of them; without its numbers where the mistake is not known
    people: list[Person] = field(default_factory=list)


@dataclass(frozen=True)
class Finding:
    """What is known of a failed task: it may be one of ``mistakes``, or it follows from the one in task ``follows``."""

    mistakes: tuple[Mistake, ...]
    follows: str = ""


def unwritten(task: TaskResult) -> bool:
    """Whether a task failed because nothing was written for it yet."""
    return task.status is Status.FAILED and task.message.startswith(UNWRITTEN)


@functools.cache
def known(exercise_id: str) -> tuple[Mistake, ...]:
    """The mistakes that are known of an exercise; none where the repository's mutants are not here."""
    return tuple(_read(exercise_id))


def _read(exercise_id: str) -> Iterator[Mistake]:
    if not re.fullmatch(r"\w+", exercise_id):
        return
    for path in sorted((MUTANTS / exercise_id).glob("*.toml")):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        name = _ABBREVIATION.sub(lambda found: found[0].upper(), path.stem.replace("_", " "))
        name, also = name[:1].upper() + name[1:], tuple(data.get("also", ()))
        yield Mistake(name, data["why"], data.get("article", False), data["task"], also, data["says"])


def findings(result: ExerciseResult) -> dict[str, Finding]:
    """What is known of each task of an exercise that failed, by the tasks' ids. What is not written yet is no mistake.

    A task follows from an earlier one where each mistake that this may be fails both (the mutants' ``also``).
    """
    failed = [task for task in result.tasks if task.status is Status.FAILED and not unwritten(task)]
    found = {task.id: Finding(_may_be(result.id, task)) for task in failed}
    for task in failed:
        cause = found[task.id]
        if cause.mistakes and not cause.follows:
            for other in set.intersection(*(set(mistake.also) for mistake in cause.mistakes)) & set(found):
                if not found[other].follows:
                    found[other] = Finding((), task.id)
    return found


def _may_be(exercise_id: str, task: TaskResult) -> tuple[Mistake, ...]:
    message = task.message[:_SEARCHED]
    return tuple(m for m in known(exercise_id) if m.task == task.id and re.search(m.says, message))


def groups(results: ClassResults, exercise_id: str) -> list[Group]:
    """Mistakes in one exercise, those of the most people first. A task that follows from another is not told again."""
    found: dict[tuple[str, object], Group] = {}
    for person in results.people:
        result = person.exercise(exercise_id)
        known_of = findings(result) if result else {}
        for task in result.tasks if result else ():
            finding = known_of.get(task.id)
            if finding is None or finding.follows:
                continue
            wording = without_numbers(task.message)
            shown = _first_line(task.message) if finding.mistakes else wording
            key = (task.id, finding.mistakes or wording)
            found.setdefault(key, Group(task.id, finding.mistakes, shown)).people.append(person)
    return sorted(found.values(), key=lambda group: -len(group.people))


def without_numbers(message: str) -> str:
    """A message's first line, so that two which differ in their figures only are the same."""
    return _NUMBER.sub("…", _first_line(message))


def _first_line(message: str) -> str:
    line = next((line.strip() for line in message[:_SEARCHED].splitlines() if line.strip()), "no message")
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
