"""A result with a task of every status and texts that a report must bear."""

from __future__ import annotations

from grader.score import ExerciseResult, RunResult, Status, TaskResult

NASTY = "[red]not red[/red] [/] [bold] \\[x] <b>&amp;</b> ]]> \x00\x07\x1b[2J\x1b]0;title\x07 \u202e \ud800 \x85 é 深"


def result(message: str = "why", output: str = "") -> RunResult:
    """Six tasks in two exercises; the failed one has this message and output."""
    one = [
        TaskResult("a", "Passed", 10, Status.PASSED, seconds=1.23456, hint="hint a", figures={"speed": 1.5}),
        TaskResult("b", "Failed", 20, Status.FAILED, message, "hint b", 0.5, output=output),
        TaskResult("c", "Blocked", 5, Status.BLOCKED, "needs b", "hint c"),
    ]
    two = [
        TaskResult("d", "Not run", 7, Status.NOT_RUN, "no timings here"),
        TaskResult("e", "Inconclusive", 3, Status.INCONCLUSIVE, "too noisy"),
        TaskResult("f", "Passed too", 4, Status.PASSED),
    ]
    environment = {"tensorrt": "1.7", "gpu": "", "python": "3.11", "system": "Linux"}
    exercises = [ExerciseResult("x1_one", "One", one), ExerciseResult("x2_two", "Two", two)]
    return RunResult("twin", 42, "exercises", environment, {"mounts": True, "pid": False}, exercises)
