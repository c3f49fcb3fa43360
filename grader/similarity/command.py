"""`trtprep similar`: from a folder of submissions to the pairs that are alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track

from grader import course, extras
from grader.batch.names import file_text
from grader.batch.submissions import Submission, SubmissionError, answered, find_beside, read
from grader.course import ANSWER_NAMES, EXERCISES, SOLUTIONS, Exercise
from grader.reports.files import ReportError, check_writable
from grader.reports.html import many
from grader.reports.html.similarity_page import write_similarity_page
from grader.reports.similarity_csv import write_similarity_csv
from grader.reports.terminal import shown

from .compare import Answer, Pair, Stub, answer, pairs, sorted_pairs
from .reader import NotCompared, Reader, Tokens

PAGE, TABLE = "similarity.html", "similarity.csv"
SOLUTION = "published solution"
_TOLD = 20  # of what is not compared, in the terminal
_CHARACTERS = 300  # of each


@dataclass
class Similarity:
    """What was found. ``left_out``: what was not compared and why, one line each, untrusted text."""

    exercises: tuple[str, ...]
    least: float
    answers: int = 0
    pairs: list[Pair] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def similar(submissions: Path, out: Path, *, names: Iterable[str], least: float, console: Console) -> None:
    """Compare everybody's answers and write `similarity.html` and `similarity.csv`.

    Args:
        submissions: a folder or a zip file for each person, as `trtprep batch` takes them.
        out: where the two files are written, a batch's folder or another.
        names: exercises; none: all to which there is an answer.
        least: how much alike a pair is that is told, 0 to 1.
        console: for what is told meanwhile.

    Raises what `errors.spoken_errors` names.
    """
    if absent := extras.missing(["copydetect"]):
        raise ReportError(f"comparing submissions needs copydetect: {extras.mend(absent)}")
    found, passed_over = find_beside(submissions, out)
    chosen = tuple(dict.fromkeys(course.find(name) for name in names)) or answered(found, submissions)
    for name in (PAGE, TABLE):
        check_writable(out / name)
    similarity = Similarity(tuple(exercise.id for exercise in chosen), least)
    similarity.left_out += [f"{name}: neither a folder nor a zip file" for name in passed_over]
    for answers in _answers(found, chosen, similarity, console):
        similarity.answers += sum(not one.is_solution for one in answers)
        total = len(answers) * (len(answers) - 1) // 2
        told = track(
            pairs(answers, least), f"comparing {answers[0].exercise.split('_')[0]}", total,
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        similarity.pairs += [pair for pair in told if pair is not None]
    if not similarity.answers:
        raise SubmissionError(f"nothing in {submissions} can be compared{_why(similarity.left_out)}")
    similarity.pairs = sorted_pairs(similarity.pairs)
    write_similarity_csv(similarity.pairs, out / TABLE)
    write_similarity_page(similarity, out / PAGE)
    _summary(similarity, out, console)


def _answers(
    found: list[Submission], chosen: tuple[Exercise, ...], similarity: Similarity, console: Console
) -> list[list[Answer]]:
    """For each exercise everybody's answer, as far as it can be compared, and last the published solution."""
    with Reader() as reader:
        stubs: dict[str, Stub] = {}
        solutions: dict[str, Answer] = {}
        answers: dict[str, list[Answer]] = {exercise.id: [] for exercise in chosen}
        for exercise in chosen:
            given = (EXERCISES / exercise.id / ANSWER_NAMES[0]).read_bytes()
            published = (SOLUTIONS / exercise.id / ANSWER_NAMES[1]).read_bytes()
            stub = stubs[exercise.id] = Stub(reader.read(given))
            files = [(ANSWER_NAMES[1], reader.read(published))]
            solutions[exercise.id] = answer(exercise.id, SOLUTION, files, stub, is_solution=True)
        for submission in track(found, "reading", console=console, disable=not console.is_terminal):
            try:
                taken = read(submission, chosen)
            except SubmissionError as why:
                similarity.left_out.append(f"{submission.person}: {why}")
                continue
            reasons = [f"{exercise_id}: {why}" for exercise_id, why in taken.refused.items()] + [*taken.left_out]
            similarity.left_out += [f"{submission.person}: {reason}" for reason in reasons]
            for exercise_id in sorted(taken.exercises):
                theirs = {parts[1:]: data for parts, data in taken.files.items() if parts[0] == exercise_id}
                if files := list(_files(reader, submission.person, exercise_id, theirs, similarity.left_out)):
                    answers[exercise_id].append(answer(exercise_id, submission.person, files, stubs[exercise_id]))
    return [[*theirs, solutions[exercise_id]] for exercise_id, theirs in answers.items()]


def _files(
    reader: Reader, person: str, exercise_id: str, files: dict[tuple[str, ...], bytes], left_out: list[str]
) -> Iterator[tuple[str, Tokens]]:
    """The Python files of an answer, the answer itself first: its own modules count too."""
    for parts in sorted(files, key=lambda parts: (parts[0] not in ANSWER_NAMES or len(parts) > 1, parts)):
        if not parts[-1].endswith(".py"):
            continue
        name = file_text("/".join(parts))
        try:
            yield name, reader.read(files[parts])
        except NotCompared as why:
            left_out.append(f"{person}: {exercise_id}/{name}: {why}")


def _summary(similarity: Similarity, out: Path, console: Console) -> None:
    for line in similarity.left_out[:_TOLD]:
        console.print(f"not compared: {escape(shown(line)[:_CHARACTERS])}", soft_wrap=True)
    if len(similarity.left_out) > _TOLD:
        console.print(f"not compared: {len(similarity.left_out) - _TOLD} more, see {PAGE}")
    published = sum(pair.other.is_solution for pair in similarity.pairs)
    console.print(
        f"{many(similarity.answers, 'answer')} compared; alike by {100 * similarity.least:.0f}% or more: "
        f"{many(len(similarity.pairs) - published, 'pair')} of submissions, "
        f"{many(published, 'submission')} with the {SOLUTION}",
        soft_wrap=True,
    )
    console.print(escape(f"{out / PAGE}, {out / TABLE}: hints for a person to look at, never a mark"), soft_wrap=True)


def _why(left_out: list[str]) -> str:
    return f" ({shown(left_out[0])[:_CHARACTERS]})" if left_out else ": there is no answer to these exercises"
