"""`trtprep batch`: from a folder of submissions to a folder of results."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from grader import course

from .graders import Task
from .here import Here, Site
from .pool import Pool, Skipped, could_be_graded
from .progress import Progress
from .records import BatchError, Record, Records
from .submissions import Submission, answered, find_beside

ALL_GRADED, SOME_UNGRADED, NONE_GRADED, INTERRUPTED = 0, 1, 2, 130
#: For one exercise of one submission on the twin: far more than one takes whose every call hangs until its own limit.
LIMIT_S = 1800.0


def batch(
    submissions: Path,
    out: Path,
    *,
    jobs: int | None,
    resume: bool,
    seed: int | None,
    names: Iterable[str],
    tier_name: str,
    ray: str | None,
    limit_s: float | None,
    console: Console,
) -> int:
    """Grade everybody and write the reports; returns the exit status. Raises what `errors.spoken_errors` names.

    Args:
        submissions: a folder or a zip file for each person.
        out: where results are kept.
        jobs: how many submissions at once; None: one for each core.
        resume: go on with the results that `out` has.
        seed: of the private inputs, the same for all; None: drawn, or when it goes on, that of before.
        names: exercises; none: all to which there is an answer, or when it goes on, those of before.
        tier_name: as `tiers.choose` takes it.
        ray: the address of a Ray cluster that grades; None: this machine does.
        limit_s: seconds for one submission; None: by the number of exercises.
        console: for what is told meanwhile.
    """
    named = tuple(dict.fromkeys(course.find(name) for name in names))
    out = out.resolve()  # graders start elsewhere
    found, passed_over = find_beside(submissions, out)
    with contextlib.closing(_site(tier_name, ray)) as site, Records(out) as records:
        before = records.batch() if resume else None
        if not resume and not records.empty:
            raise BatchError(f"{out} has results already: go on with --resume, or give another --out")
        exercises = named or tuple(course.find(name) for name in (before.exercises if before else ()))
        exercises = exercises or answered(found, submissions)
        if seed is None:
            seed = before.seed if before else secrets.randbelow(2**31)
        begun = site.begin(exercises, seed)
        now = begun.batch
        if before is None:
            records.begin(now)
        elif difference := now.difference(before):
            raise BatchError(f"{out} was graded otherwise, now {difference}: grade into another --out")
        if passed_over:
            console.print(escape(f"passed over, neither folders nor zip files: {', '.join(passed_over[:10])}"))
        task = Task(now.exercises, now.tier, now.seed, limit_s or LIMIT_S * len(exercises) * begun.patience)
        graders = site.graders(task, now, jobs, len(found))
        progress = Progress(console, now, len(found))
        with Pool(graders, exercises, now.seed, out, records.graded) as pool:
            status = _graded(pool, found, records, progress)
    if status == INTERRUPTED:
        words = f"trtprep batch {shlex.quote(str(submissions))} --out {shlex.quote(str(out))} --resume"
        console.print(
            f"interrupted: every submission that had ended is kept. Go on with: {escape(words)}", soft_wrap=True
        )
        return status
    progress.reports(_reports(out))
    return status


def _site(tier_name: str, ray: str | None) -> Site:
    if ray is None:
        return Here(tier_name)
    from .ray_site import RaySite

    return RaySite(ray, tier_name)


def _graded(pool: Pool, found: list[Submission], records: Records, progress: Progress) -> int:
    """Record each as it ends, and return the exit status."""
    graded = ungraded = 0

    def keep(told: Record | Skipped) -> None:
        nonlocal graded, ungraded
        if isinstance(told, Record):
            records.append(told)
        is_graded = isinstance(told, Skipped) or could_be_graded(told.result)
        graded, ungraded = graded + is_graded, ungraded + (not is_graded)
        progress.ended(told)

    try:
        with progress:
            for told in pool.results(found):
                keep(told)
    except KeyboardInterrupt:
        with _no_interrupts():
            pool.close()
            for told in pool.rest():
                keep(told)
        return INTERRUPTED
    progress.summary(graded, ungraded)
    if not graded:
        return NONE_GRADED
    return SOME_UNGRADED if ungraded else ALL_GRADED


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """A second Ctrl-C must not lose what the first one is keeping."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _reports(out: Path) -> list[Path]:
    """The reports of the class, where this installation can write them."""
    from grader import reports

    write = getattr(reports, "write_class_reports", None)
    return write(out) if write is not None else []
