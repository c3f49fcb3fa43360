"""The command line, ``trtprep``.

Exit status: 0 nothing failed; 1 something failed (with ``--strict``, or was not run); 2 nothing
could be graded; 130 interrupted (Ctrl-C).  Heavy modules are imported by the commands that need them, so that ``trtprep
list`` answers at once.
"""

from __future__ import annotations

import io
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from grader import course
from grader.course import CourseError, Exercise

if TYPE_CHECKING:
    from grader.score import ExerciseResult, RunResult, TaskResult

FAILED, UNGRADED, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Practise TensorRT interview questions; every mark comes from a real TensorRT build.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...", help="exercises, as c1, or one task of one, as c1/run; all without", show_default=False
    ),
]
TierName = Annotated[str, typer.Option("--tier", help="gpu, rtx, twin, or auto: the first that works here")]


@app.command("list")
def list_exercises() -> None:
    """Exercises, their tasks and points, and which tasks passed when your answer was last graded."""
    from grader.extras import missing
    from grader.progress import passed

    for exercise in course.exercises():
        done = passed(exercise.id)
        earned = sum(task.points for task in exercise.tasks if task.id in done)
        about = f"({exercise.id}, {earned} of {exercise.points} points)"
        _console.print(f"[bold]{exercise.short}[/bold]  {escape(exercise.title)}  [dim]{about}[/dim]", soft_wrap=True)
        width = max(len(task.id) for task in exercise.tasks)
        for task in exercise.tasks:
            mark = "[green]✓[/green]" if task.id in done else " "
            where = f", only on {' or '.join(task.tiers)}" if task.tiers else ""
            if absent := missing(task.needs):
                where += f", not without {' and '.join(absent)}: see `trtprep doctor`"
            about = f"[dim]{task.function}(){where}[/dim]"
            line = f"  {mark} {task.points:>3}  {task.id:<{width}}  {escape(task.title)}  {about}"
            _console.print(line, soft_wrap=True)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="the same as data")] = False) -> None:
    """What works on this machine, what is missing, and the command that mends it."""
    from grader.doctor import examine
    from grader.reports.doctor import print_examination

    examination = examine()
    if as_json:
        typer.echo(json.dumps(examination.as_data(), indent=2))
    else:
        print_examination(examination, _console)
    if not examination.can_grade:
        raise typer.Exit(UNGRADED)


@app.command()
def run(
    ids: Ids = None,
    submission: Annotated[Path, typer.Option(help="folder with the answers")] = course.EXERCISES,
    tier: TierName = "auto",
    seed: Annotated[int | None, typer.Option(min=0, help="repeat a run's private inputs")] = None,
    strict: Annotated[bool, typer.Option(help="what was not run counts as failed in the exit status")] = False,
    hints: Annotated[bool, typer.Option(help="show each failed task's first hint")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="write the result as JSON")] = None,
    junit_file: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="the same as JUnit XML")] = None,
) -> None:
    """Grade a submission (default: what is in exercises/).

    Exit status: 0 nothing failed; 1 something failed (with --strict, or was not run); 2 nothing could be graded;
    130 interrupted, with what had ended in the reports.
    """
    from grader.score import Status

    try:
        result = _graded(ids, submission, tier, seed, hints, json_file, junit_file)
    except KeyboardInterrupt:
        _errors.print("[red]trtprep:[/red] interrupted before anything was graded")
        raise typer.Exit(INTERRUPTED) from None
    if result.interrupted:
        _errors.print("[red]trtprep:[/red] interrupted: what had not ended by then counts as not run")
        raise typer.Exit(INTERRUPTED)
    statuses = {task.status for task in result.tasks()}
    if statuses <= {Status.NOT_RUN, Status.INCONCLUSIVE}:
        raise typer.Exit(UNGRADED)
    bad = {Status.FAILED, Status.BLOCKED} | ({Status.NOT_RUN, Status.INCONCLUSIVE} if strict else set())
    raise typer.Exit(FAILED if statuses & bad else 0)


def _graded(
    ids: list[str] | None,
    submission: Path,
    tier: str,
    seed: int | None,
    hints: bool,
    json_file: Path | None,
    junit_file: Path | None,
) -> RunResult:
    """Grades and reports: as text while it runs, and into the files."""
    from grader import tiers
    from grader.fixtures import prepare
    from grader.progress import remember
    from grader.reports.files import check_writable, write_json, write_junit
    from grader.reports.terminal import TerminalReport
    from grader.run import grade

    chosen, only = _with_answers(ids, submission)
    found = tiers.choose(tier)
    for file in filter(None, (json_file, junit_file)):
        check_writable(file)
    for exercise in chosen:
        prepare(exercise.fixtures)
    report = TerminalReport(_console, hints=hints)

    def show(result: RunResult, exercise: ExerciseResult, task: TaskResult) -> None:
        report.task(exercise, task)
        if json_file is not None:  # as they come: a run that is cut short leaves what it had
            write_json(result, json_file)

    result = grade(chosen, submission, found, secrets.randbelow(2**31) if seed is None else seed, show, only)
    report.summary(result)
    if submission.resolve() == course.EXERCISES.resolve():
        remember(result)
    if json_file is not None:
        write_json(result, json_file)
    if junit_file is not None:
        write_junit(result, junit_file)
    return result


@app.command()
def batch(
    submissions: Annotated[
        Path, typer.Argument(help="a folder or zip file for each person; nbgrader's submitted/ is such a folder")
    ],
    out: Annotated[Path, typer.Option(help="folder for results and reports")],
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="submissions at once", show_default="one for each core")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on: grade who is new, changed or had no result")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="repeat a batch's private inputs")] = None,
    exercise: Annotated[
        list[str] | None,
        typer.Option("--exercise", help="as c1; repeat it for more", show_default="all that somebody has answered"),
    ] = None,
    tier: TierName = "auto",
    limit: Annotated[
        float | None,
        typer.Option(min=1, help="seconds for one submission", show_default="1800 for each exercise"),
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="grade on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT")
    ] = None,
    gradebook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="nbgrader's gradebook to write the marks into too, as sqlite:////PATH"),
    ] = None,
) -> None:
    """Grade a class: each submission in processes of its own, all with one seed.

    Results are kept as they come, in OUT/results.jsonl. Exit status: 0 all were graded; 1 some could not be; 2 none
    could be; 130 interrupted (--resume goes on).
    """
    from grader.batch.command import ALL_GRADED, SOME_UNGRADED
    from grader.batch.command import batch as grade_all

    if gradebook is not None:
        from grader.reports.gradebook import check_gradebook, write_gradebook

        check_gradebook(gradebook)
    try:
        status = grade_all(
            submissions, out, jobs=jobs, resume=resume, seed=seed, names=exercise or (), tier_name=tier, ray=ray,
            limit_s=limit, console=_console,
        )  # fmt: skip
    except KeyboardInterrupt:  # before the first submission or after the last
        _errors.print("[red]trtprep:[/red] interrupted: --resume goes on with what is kept")
        raise typer.Exit(INTERRUPTED) from None
    if gradebook is not None and status in (ALL_GRADED, SOME_UNGRADED):
        _console.print(f"marks of {write_gradebook(out, gradebook)} answers are in {escape(gradebook)}", soft_wrap=True)
    raise typer.Exit(status)


@app.command()
def similar(
    submissions: Annotated[Path, typer.Argument(help="a folder or zip file for each person, as for `trtprep batch`")],
    out: Annotated[Path, typer.Option(help="folder for similarity.html and similarity.csv, a batch's or another")],
    exercise: Annotated[
        list[str] | None,
        typer.Option("--exercise", help="as c1; repeat it for more", show_default="all that somebody has answered"),
    ] = None,
    least: Annotated[float, typer.Option(min=0, max=1, help="how much alike a pair is that is told")] = 0.5,
) -> None:
    """Which answers of a class are alike beyond the stub, or like the published solution: a hint, never a mark.

    Nothing of a submission is run. Exit status: 0 compared; 2 nothing could be; 130 interrupted.
    """
    from grader.similarity.command import similar as compare_all

    try:
        compare_all(submissions, out, names=exercise or (), least=least, console=_console)
    except KeyboardInterrupt:
        _errors.print("[red]trtprep:[/red] interrupted before anything was written")
        raise typer.Exit(INTERRUPTED) from None


@app.command()
def hint(
    exercise: Annotated[str, typer.Argument(help="exercise, as c1")],
    task: Annotated[str | None, typer.Argument(help="task id, as in `trtprep list`; default: the first")] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="1 is the gentlest")] = 1,
) -> None:
    """One hint at a time."""
    found = course.find(exercise)
    chosen = found.task(task) if task else found.tasks[0]
    if number > len(chosen.hints):
        count = f"{len(chosen.hints)} hint{'' if len(chosen.hints) == 1 else 's'}"
        raise CourseError(f"{found.short} {chosen.id} has {count}: there is no number {number}")
    _console.print(f"[bold]{escape(chosen.title)}[/bold] (hint {number} of {len(chosen.hints)})")
    _console.print(escape(chosen.hints[number - 1]))
    following = f"`-n {number + 1}` for the next one; " if number < len(chosen.hints) else ""
    others = ", ".join(t.id for t in found.tasks if t is not chosen)
    _console.print(f"[dim]{following}other tasks: {others}[/dim]")


# What follows the file is the file's, even where it looks like an option of ours.
@app.command(context_settings={"allow_extra_args": True, "allow_interspersed_args": False})
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


@app.command("new-exercise")
def new_exercise(name: Annotated[str, typer.Argument(help="as q5_profiling")]) -> None:
    """Write the skeleton of a new exercise: a whole small one that passes the project's own rules, to be changed."""
    from grader.new_exercise import what_next, write

    for path in write(name, course.ROOT):
        _console.print(f"wrote {path}", soft_wrap=True)
    _console.print(escape(what_next(name)), soft_wrap=True)


def _with_answers(ids: list[str] | None, submission: Path) -> tuple[tuple[Exercise, ...], dict[str, set[str]]]:
    """The exercises to grade: those named, or all that the submission has an answer to. Raises CourseError.

    And, of exercises of which only tasks were named (``c1/run``), those tasks.
    """
    named: dict[Exercise, set[str]] = {}
    whole = set()
    for words in ids or ():
        name, _, task = words.partition("/")
        exercise = course.find(name)
        exercise.answer(submission)
        named.setdefault(exercise, set()).update([exercise.task(task).id] if task else ())
        if not task:
            whole.add(exercise)
    if named:
        return tuple(named), {e.id: tasks for e, tasks in named.items() if e not in whole}
    problems, found = [], []
    for exercise in course.exercises():
        try:
            exercise.answer(submission)
            found.append(exercise)
        except CourseError as error:
            problems.append(str(error))
    if not found:
        raise CourseError(problems[0])
    return tuple(found), {}


def main() -> None:
    """Entry point: an error that a user can cause ends in one line and status 2."""
    from grader.errors import spoken_errors

    for stream in (sys.stdout, sys.stderr):  # a terminal without some character shows an escape, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except KeyboardInterrupt:  # so early that no command had begun
        sys.exit(INTERRUPTED)
    except spoken_errors() as error:
        _errors.print(f"[red]trtprep:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(UNGRADED)


if __name__ == "__main__":
    main()
