"""What a candidate's own exercises earned when they were last graded, for `trtprep list`.

Kept in the cache, by checkout: losing it costs nothing but the marks in that list.
"""

from __future__ import annotations

import json

from grader import course
from grader.fixtures.cache import cache_dir, write_atomically
from grader.score import RunResult, Status

_NAME = "progress.json"


def remember(result: RunResult) -> None:
    """Keep which tasks passed; one that was not run keeps what it had. Raises FixtureError when nothing can be kept."""
    everything = _read()
    for exercise in result.exercises:
        before = passed(exercise.id)
        everything[_key(exercise.id)] = [
            task.id
            for task in exercise.tasks
            if task.status is Status.PASSED or (task.status is Status.NOT_RUN and task.id in before)
        ]
    write_atomically(cache_dir() / _NAME, json.dumps(everything, indent=1).encode())


def passed(exercise_id: str) -> frozenset[str]:
    """Ids of the tasks that passed when this checkout's answer was last graded; empty when it never was."""
    return frozenset(_read().get(_key(exercise_id), ()))


def _key(exercise_id: str) -> str:
    return str(course.EXERCISES.resolve() / exercise_id)


def _read() -> dict[str, list[str]]:
    try:
        found = json.loads((cache_dir() / _NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # never written, or damaged: as if nothing had been graded
        return {}
    return found if isinstance(found, dict) else {}
