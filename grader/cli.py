"""The command line, ``trtprep``.

Exit status: 0 nothing failed; 1 something failed (with ``--strict``, or was not run); 2 nothing
could be graded.  Heavy modules are imported by the commands that need them, so that ``trtprep
list`` answers at once.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.markup import escape

from grader import course
from grader.course import CourseError, Exercise

FAILED, UNGRADED = 1, 2

app = typer.Typer(
    help="Practise TensorRT interview questions; every mark comes from a real TensorRT build.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)

Ids = Annotated[Optional[list[str]], typer.Argument(metavar="[ID]...", help="exercises, as c1 or in full; all without", show_default=False)]
TierName = Annotated[str, typer.Option("--tier", help="gpu, rtx, twin, or auto: the first that works here")]


@app.command("list")
def list_exercises() -> None:
    """Exercises, their tasks and points."""
    for exercise in course.exercises():
        _console.print(f"[bold]{exercise.short}[/bold]  {escape(exercise.title)}  [dim]({exercise.id}, {exercise.points} points)[/dim]")
        for task in exercise.tasks:
            _console.print(f"    {task.points:>3}  {escape(task.title)}  [dim]{task.function}()[/dim]")


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="the same as data")] = False) -> None:
    """What works on this machine, what is missing, and the command that mends it."""
    from grader.doctor import examine
    from grader.reports.doctor import print_examination

    examination = examine()
    if as_json:
        _console.print_json(data=examination.as_data())
    else:
        print_examination(examination, _console)
    if not examination.can_grade:
        raise typer.Exit(UNGRADED)


@app.command()
def run(
    ids: Ids = None,
    submission: Annotated[Path, typer.Option(help="folder with the answers")] = course.EXERCISES,
    tier: TierName = "auto",
    seed: Annotated[Optional[int], typer.Option(help="repeat a run's private inputs")] = None,
    strict: Annotated[bool, typer.Option(help="what was not run counts as failed in the exit status")] = False,
    hints: Annotated[bool, typer.Option(help="show each failed task's first hint")] = False,
    json_file: Annotated[Optional[Path], typer.Option("--json", metavar="FILE", help="write the result as JSON")] = None,
    junit_file: Annotated[Optional[Path], typer.Option("--junit", metavar="FILE", help="write the result as JUnit XML")] = None,
) -> None:
    """Grade a submission (default: what is in exercises/)."""
    from grader import tiers
    from grader.fixtures import prepare
    from grader.reports.files import write_json, write_junit
    from grader.reports.terminal import TerminalReport
    from grader.run import grade
    from grader.score import ExerciseResult, RunResult, Status, TaskResult

    chosen = _with_answers(ids, submission)
    found = tiers.choose(tier)
    for exercise in chosen:
        prepare(exercise.fixtures)
    report = TerminalReport(_console, hints=hints)

    def show(result: RunResult, exercise: ExerciseResult, task: TaskResult) -> None:
        report.task(exercise, task)
        if json_file is not None:  # as they come: a run that is cut short leaves what it had
            write_json(result, json_file)

    result = grade(chosen, submission, found, secrets.randbelow(2**31) if seed is None else seed, show)
    report.summary(result)
    if json_file is not None:
        write_json(result, json_file)
    if junit_file is not None:
        write_junit(result, junit_file)
    statuses = {task.status for task in result.tasks()}
    bad = {Status.FAILED, Status.BLOCKED} | ({Status.NOT_RUN, Status.INCONCLUSIVE} if strict else set())
    raise typer.Exit(FAILED if statuses & bad else 0)


@app.command()
def hint(
    exercise: Annotated[str, typer.Argument(help="exercise, as c1")],
    task: Annotated[Optional[str], typer.Argument(help="task id, as in `trtprep list`; default: the first")] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="1 is the gentlest")] = 1,
) -> None:
    """One hint at a time."""
    found = course.find(exercise)
    chosen = found.task(task) if task else found.tasks[0]
    if number > len(chosen.hints):
        raise CourseError(f"{found.short} {chosen.id} has {len(chosen.hints)} hints")
    _console.print(f"[bold]{escape(chosen.title)}[/bold] (hint {number} of {len(chosen.hints)})")
    _console.print(escape(chosen.hints[number - 1]))
    others = ", ".join(t.id for t in found.tasks if t is not chosen)
    _console.print(f"[dim]`-n {number + 1}` for the next one; other tasks: {others}[/dim]")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def python(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="a Python file; what follows it are its arguments")],
    tier: TierName = "auto",
) -> None:
    """Run a file of yours with this machine's tensorrt and pycuda, debugger included."""
    from grader.playground import run_python

    if not file.is_file():
        raise CourseError(f"there is no file {file}")
    raise typer.Exit(run_python(tier, [str(file), *context.args], _errors))


@app.command()
def shell(tier: TierName = "auto") -> None:
    """An interactive Python with this machine's tensorrt and pycuda."""
    from grader.playground import run_python

    raise typer.Exit(run_python(tier, [], _errors))


@app.command()
def bench(
    exercise: Annotated[str, typer.Argument(help="exercise, as c1")],
    repeat: Annotated[int, typer.Option("--repeat", "-n", min=1, help="runs of each")] = 5,
) -> None:
    """Where the time of a warm run goes: the solution and the stub in turn, as whole processes."""
    from grader.bench import measure, print_measurements

    found = course.find(exercise)
    with _errors.status("measuring"):
        measurements = measure(found, repeat)
    print_measurements(measurements, _console)


def _with_answers(ids: list[str] | None, submission: Path) -> tuple[Exercise, ...]:
    """The exercises to grade: those named, or all that the submission has an answer to. Raises CourseError."""
    named = tuple(dict.fromkeys(course.find(name) for name in ids or ()))
    if named:
        for exercise in named:
            exercise.answer(submission)
        return named
    problems, found = [], []
    for exercise in course.exercises():
        try:
            exercise.answer(submission)
            found.append(exercise)
        except CourseError as error:
            problems.append(str(error))
    if not found:
        raise CourseError(problems[0])
    return tuple(found)


def main() -> None:
    """Entry point: an error that a user can cause ends in one line and status 2."""
    from grader.errors import spoken_errors

    try:
        app()
    except spoken_errors() as error:
        _errors.print(f"[red]trtprep:[/red] {escape(str(error))}")
        sys.exit(UNGRADED)


if __name__ == "__main__":
    main()
