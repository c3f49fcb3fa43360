"""Grades many submissions at once: a thread for each job, which takes the next one, copies it and has it graded."""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.course import Exercise
from grader.score import Status

from .graders import Grader
from .names import file_text, safe_name
from .records import BatchError, Record
from .submissions import Answers, Submission, SubmissionError, read, write

WORKING = ".working"
_END_S = 10.0


@dataclass(frozen=True)
class Skipped:
    """A submission that was graded before, and has not changed since."""

    person: str


class Pool:
    """Grades submissions with one of ``graders`` for each job; as a context manager it ends them."""

    def __init__(
        self, graders: Iterable[Grader], exercises: tuple[Exercise, ...], seed: int, out: Path,
        graded: Mapping[str, str],
    ) -> None:  # fmt: skip
        """``graded``: the digests of what was graded before, by person. Copies are made in a folder of ``out``."""
        self._graders, self._exercises, self._seed, self._graded = list(graders), exercises, seed, graded
        self._working = out / WORKING
        self._ended: queue.Queue[Record | Skipped | BaseException | None] = queue.Queue()
        self._next = threading.Lock()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def results(self, submissions: Iterable[Submission]) -> Iterator[Record | Skipped]:
        """Each submission's record as it ends, in no order. Raises BatchError where no more can be graded."""
        with _spoken(self._working):
            shutil.rmtree(self._working, ignore_errors=True)  # of a run that was killed
            self._working.mkdir(mode=0o700)
        todo = iter(submissions)
        for grader in self._graders:
            thread = threading.Thread(target=self._work, args=(grader, todo), name="trtprep-batch", daemon=True)
            self._threads.append(thread)
            thread.start()
        left = len(self._threads)
        while left:
            told = self._ended.get()
            if told is None:
                left -= 1
            elif isinstance(told, BaseException):
                raise told
            else:
                yield told

    def close(self) -> None:
        """End what runs, within seconds, and remove the copies."""
        self._stopping = True
        for grader in self._graders:
            grader.close()
        deadline = time.monotonic() + _END_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        shutil.rmtree(self._working, ignore_errors=True)

    def rest(self) -> Iterator[Record | Skipped]:
        """After `close`: what had ended by then, and `results` had not come to."""
        while True:
            try:
                told = self._ended.get_nowait()
            except queue.Empty:
                return
            if isinstance(told, (Record, Skipped)):
                yield told

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- in a job's thread

    def _work(self, grader: Grader, todo: Iterator[Submission]) -> None:
        try:
            grader.start()
            while not self._stopping:
                with self._next:
                    submission = next(todo, None)
                if submission is None:
                    break
                told = self._ended_somehow(grader, submission)
                if not self._stopping:  # else it was cut short, and is for the next run
                    self._ended.put(told)
        except BaseException as error:  # noqa: BLE001 (the main thread raises it)
            self._ended.put(error)
        self._ended.put(None)

    def _ended_somehow(self, grader: Grader, submission: Submission) -> Record | Skipped:
        """Whatever one submission brings about: the next one is graded. Raises BatchError."""
        began = time.monotonic()
        try:
            return self._one(grader, submission)
        except BatchError:
            raise
        except Exception as error:  # noqa: BLE001 (a defect of ours, which somebody's files have found)
            told = {"result": None, "error": f"the grader broke on it, please report this: {error!r}"}
            return self._record(submission, Answers({}), began, told)

    def _one(self, grader: Grader, submission: Submission) -> Record | Skipped:
        began = time.monotonic()
        try:
            answers = read(submission, self._exercises)
            if not answers.files:
                names = ", ".join(f"{exercise.id}/stub.py" for exercise in self._exercises)
                raise SubmissionError(f"{file_text(submission.path.name)}: no answer in it, expected {names}")
        except SubmissionError as error:
            return self._record(submission, Answers({}), began, {"result": None, "error": str(error)})
        if self._graded.get(submission.person) == answers.digest:
            return Skipped(submission.person)
        folder = self._working / safe_name(submission.person)
        try:
            with _spoken(self._working):
                write(answers, folder)
            told = grader.grade(folder, submission.person)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if told["result"] is not None:
            _name_the_source(told["result"], folder, submission.path.name, answers.refused)
        return self._record(submission, answers, began, told)

    def _record(self, submission: Submission, answers: Answers, began: float, told: dict[str, Any]) -> Record:
        return Record(
            person=submission.person, source=file_text(submission.path.name),
            digest=answers.digest if answers.files else "", seed=self._seed,
            seconds=round(time.monotonic() - began, 3), peak_bytes=told.get("peak_bytes", 0),
            result=told["result"], error=_one_line(told["error"]), left_out=answers.left_out,
        )  # fmt: skip


def could_be_graded(result: dict[str, Any] | None) -> bool:
    """Whether a result has any mark in it."""
    unmarked: Collection[str] = (Status.NOT_RUN.value, Status.INCONCLUSIVE.value)
    return result is not None and any(t["status"] not in unmarked for e in result["exercises"] for t in e["tasks"])


def _name_the_source(result: dict[str, Any], folder: Path, source: str, refused: Mapping[str, str]) -> None:
    """Where a result names the folder of the copy, let it name what was handed in."""
    result["submission"] = file_text(source)
    for exercise in result["exercises"]:
        for task in exercise["tasks"]:
            task["message"] = task["message"].replace(str(folder), file_text(source))
            if exercise["id"] in refused and task["status"] == Status.FAILED.value:
                task["message"] = f"no answer was taken: {refused[exercise['id']]}"


def _one_line(error: str | None) -> str | None:
    return None if error is None else " ".join(error.split())


@contextlib.contextmanager
def _spoken(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BatchError(
            f"cannot copy submissions into {folder} ({error.strerror}): mend that, and go on with --resume"
        ) from error
