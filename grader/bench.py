"""``trtprep bench``: whole-process times of warm runs, solution and stub in turn, and where they go."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from grader.course import EXERCISES, SOLUTIONS, Exercise
from grader.run import GraderError


@dataclass
class Measurement:
    """Seconds of each run of one submission: the whole process, and each task within it."""

    name: str
    wall: list[float] = field(default_factory=list)
    tasks: dict[str, list[float]] = field(default_factory=dict)


def measure(exercise: Exercise, repeat: int) -> list[Measurement]:
    """Interleaved runs after one of each that is not counted."""
    found = [Measurement("solution"), Measurement("stub")]
    for turn in range(repeat + 1):
        for measurement, submission in zip(found, (SOLUTIONS, EXERCISES), strict=True):
            wall, tasks = _run(exercise, submission)
            if turn:
                measurement.wall.append(wall)
                for name, seconds in tasks.items():
                    measurement.tasks.setdefault(name, []).append(seconds)
    return found


def _run(exercise: Exercise, submission: Path) -> tuple[float, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "run.json")
        options = ["--submission", str(submission), "--json", str(report)]
        argv = [sys.executable, "-m", "grader", "run", exercise.id, *options]
        began = time.perf_counter()
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        wall = time.perf_counter() - began
        if not report.exists():
            raise GraderError(f"a run did not end: {done.stderr.strip()[-2000:]}")
        tasks = json.loads(report.read_text())["exercises"][0]["tasks"]
    return wall, {task["id"]: task["seconds"] for task in tasks}


def print_measurements(found: list[Measurement], console: Console) -> None:
    table = Table("seconds", *(f"{m.name}: median (min to max)" for m in found))
    for task in found[0].tasks:
        table.add_row(task, *(_spread(m.tasks[task]) for m in found))
    rest = [[wall - sum(m.tasks[t][i] for t in m.tasks) for i, wall in enumerate(m.wall)] for m in found]
    table.add_row("start, processes, report", *map(_spread, rest))
    table.add_row("whole process", *(_spread(m.wall) for m in found), style="bold")
    console.print(table)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
