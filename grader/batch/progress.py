"""What a person sees while a class is graded: a bar with the time left, or lines where there is no terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from grader.reports.terminal import grade, shown

from .pool import Skipped
from .records import Batch, Record

_NAME_CHARACTERS = 60


class Progress:
    """As a context manager it shows the bar."""

    def __init__(self, console: Console, batch: Batch, total: int) -> None:
        self._console, self._total, self._ended = console, total, 0
        shorts = ", ".join(name.split("_")[0] for name in batch.exercises)
        console.print(f"{_submissions(total)}: {escape(shorts)}, tier {batch.tier}, seed {batch.seed}")
        self._bar = Bar(
            TextColumn("[progress.description]{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("grading", total=total)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def ended(self, told: Record | Skipped) -> None:
        """One submission has ended."""
        self._ended += 1
        self._bar.update(self._task, advance=1)
        if isinstance(told, Record):
            line = f"[{self._ended}/{self._total}] {_name(told.person)}  {_outcome(told)}  {told.seconds:.1f} s"
            self._console.print(escape(line), soft_wrap=True)

    def summary(self, graded: int, ungraded: int) -> None:
        """What came of it all."""
        tail = f", {ungraded} could not be graded" if ungraded else ""
        self._console.print(f"{graded} of {_submissions(self._total)} graded{tail}")

    def reports(self, paths: list[Path]) -> None:
        """Where the reports are: the page of the class first."""
        pages = [path for path in paths if path.suffix in (".html", ".csv") and "people" not in path.parts]
        for path in pages:
            self._console.print(escape(shown(str(path))), soft_wrap=True)


def _outcome(record: Record) -> str:
    if record.result is None:
        return f"not graded: {shown(record.error or '')[:500]}"
    return grade(record.result["earned"], record.result["possible"], record.result["not_run"])


def _name(person: str) -> str:
    name = shown(person)
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}..."


def _submissions(count: int) -> str:
    return f"{count} submission{'' if count == 1 else 's'}"
