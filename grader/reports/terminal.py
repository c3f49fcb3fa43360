"""What a person sees: a line per task as it ends, then what failed and why."""

from __future__ import annotations

import os
import re

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from grader.score import ExerciseResult, RunResult, Status, TaskResult

_LOOK = {
    Status.PASSED: ("green", "✓"),
    Status.FAILED: ("red", "✗"),
    Status.BLOCKED: ("yellow", "■"),
    Status.NOT_RUN: ("dim", "-"),
    Status.INCONCLUSIVE: ("yellow", "~"),
}
_OUTPUT_LINES = 12
_LINE_CHARACTERS = 500
_MESSAGE_CHARACTERS = 2000
#: What would move the cursor, change colours or the window's title, were it printed.
_CONTROL = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")


class TerminalReport:
    def __init__(self, console: Console, *, hints: bool = False) -> None:
        self._console, self._hints = console, hints
        self._exercise = ""

    def task(self, exercise: ExerciseResult, task: TaskResult) -> None:
        """One task has ended."""
        if exercise.id != self._exercise:
            self._exercise = exercise.id
            self._console.print(f"\n[bold]{escape(exercise.id)}[/bold]  {escape(exercise.title)}")
        colour, mark = _LOOK[task.status]
        points = f"{task.earned}/{task.points}"
        self._console.print(
            f"  [{colour}]{mark}[/{colour}] {escape(task.title):<58} {points:>7}  {task.seconds:5.1f} s"
        )
        if task.status is not Status.PASSED and task.message:
            self._console.print(Padding(Text(_cut(shown(task.message), _MESSAGE_CHARACTERS)), (0, 0, 0, 6)))
        if self._hints and task.status is Status.FAILED and task.hint:
            self._console.print(Padding(Text(f"hint: {task.hint}", style="cyan"), (0, 0, 0, 6)))
        if task.status is Status.FAILED and task.output.strip():
            lines = task.output.strip().splitlines()
            last = [_cut(shown(line), _LINE_CHARACTERS) for line in lines[-_OUTPUT_LINES:]]
            cut = f" (last {_OUTPUT_LINES} of {len(lines)} lines)" if len(lines) > len(last) else ""
            self._console.print(Padding(Text(f"your code printed{cut}:", style="dim"), (0, 0, 0, 6)))
            self._console.print(Padding(Text("\n".join(last), style="dim"), (0, 0, 0, 8)))

    def summary(self, result: RunResult) -> None:
        """The marks, and what they were made with."""
        marks = Table.grid(padding=(0, 2))
        for exercise in result.exercises:
            marks.add_row(exercise.id, grade(exercise.earned, exercise.possible, exercise.not_run))
        if len(result.exercises) > 1:
            marks.add_row("together", grade(result.earned, result.possible, result.not_run), style="bold")
        self._console.print()
        self._console.print(marks)
        off = [name for name, on in result.protections.items() if not on]
        guard = f"without {', '.join(off)} (see `trtprep doctor`)" if off else "all protections on"
        if not result.protections:
            guard = "no candidate code was run"
        tensorrt = result.environment.get("tensorrt", "")
        self._console.print(f"[dim]tier {result.tier} (TensorRT {tensorrt}), seed {result.seed}, {guard}[/dim]")
        messages = [task.message for task in result.tasks() if task.status is not Status.NOT_RUN]
        if messages and result.earned == 0 and all(message.startswith("not written yet") for message in messages):
            self._welcome(result)

    def _welcome(self, result: RunResult) -> None:
        first = result.exercises[0]
        short = first.id.split("_")[0]
        self._console.print(
            f"\nNothing is written yet, so there is nothing to mark. Start here: open [bold]{first.id}/stub.py[/bold]"
            f" in {escape(os.path.relpath(result.submission))}, read its docstrings, write the first function, and run"
            f" `trtprep run {short}` again. `trtprep hint {short}` gives a first hint."
        )


def shown(text: str) -> str:
    """Text of a candidate's as it may be printed: control characters as their escapes."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} [... {len(text) - most} characters left out]"


def grade(earned: int, possible: int, not_run: int) -> str:
    """``earned / (possible - not run)``, with both numbers."""
    counted = possible - not_run
    tail = f" ({not_run} of {possible} points were not run)" if not_run else ""
    return f"{earned} / {counted} points{tail}"
