"""Grades one submission: a process that `graders.FreshGrader` starts, told what to do on stdin."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grader.score import RunResult

MOST_SLACK = 4.0
OUTPUT_CHARACTERS = 4000  #: of what a task printed


def main() -> None:
    """Read the wish, grade, and write {"result", "error"} as JSON to the descriptor that it names."""
    wish = json.load(sys.stdin)
    die_with(wish["parent"])
    with os.fdopen(wish["told"], "wb") as told:
        told.write(json.dumps(graded(wish), allow_nan=False).encode())


def graded(wish: dict[str, Any]) -> dict[str, Any]:
    """Grade a folder. What a machine lacks comes back as the error, in one line; a defect of ours is raised."""
    from grader import course, run, tiers
    from grader.errors import spoken_errors

    if not Path(wish["folder"]).is_dir():  # every task would fail for want of an answer
        return {"result": None, "error": f"the copy to be graded is gone from {wish['folder']}"}
    try:
        chosen = tuple(course.find(name) for name in wish["exercises"])
        tier = dataclasses.replace(tiers.choose(wish["tier"]), slack=busy())
        result = run.grade(chosen, Path(wish["folder"]), tier, wish["seed"])
    except spoken_errors() as error:
        return {"result": None, "error": str(error)}
    if result.interrupted:
        return {"result": None, "error": "interrupted"}
    return {"result": recorded(result), "error": None}


def busy() -> float:
    """How many processes want each core, 1 to 4: nobody shall lose points to what else a machine does."""
    return min(MOST_SLACK, max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0))))


def recorded(result: RunResult) -> dict[str, Any]:
    """A result as a batch records it: schema 1, and for each task what the candidate's code printed, cut to its end."""
    data = result.as_data()
    for exercise, found in zip(data["exercises"], result.exercises, strict=True):
        for task, kept in zip(exercise["tasks"], found.tasks, strict=True):
            task["output"] = _writable(kept.output[-OUTPUT_CHARACTERS:])
            task["message"] = _writable(task["message"])
    return data


def _writable(text: str) -> str:
    """A candidate's text without the halves of characters that JSON can carry and no file can."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def die_with(parent: int) -> None:
    """Have the kernel end this process when the one that started it ends, however it ends."""
    from grader.inside.trtprep_worker.reaper import PR_SET_PDEATHSIG, prctl

    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
