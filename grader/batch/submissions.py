"""Finds what people handed in, and takes from it what is graded: nothing is trusted, little is taken.

Each person has a folder or a zip file in SUBMISSIONS, which holds answers as `trtprep run --submission` takes them
(``c1_image_classification/stub.py``); nbgrader's ``submitted/<student>/<assignment>/`` is the same layout, with
notebooks. What is graded is a copy of a person's files, read once, so that nothing changes in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from grader import course
from grader.course import ANSWER_NAMES, Exercise

from . import notebook_answers
from .names import file_text, safe_name
from .trees import FILE, FOLDER, FolderTree, Parts, Refused, Tree, ZipTree

__all__ = [
    "Answers", "Submission", "SubmissionError", "answered", "find", "find_beside", "read", "safe_name", "write",
]  # fmt: skip

MOST_FILE_BYTES = 1 << 20  #: of one file; answers have some 10 KiB
MOST_BYTES = 8 << 20  #: of all files of a person
MOST_FILES = 100  #: of one exercise
MOST_FOLDERS = 100  #: beside the answers of a person
MOST_DEPTH = 4  #: folders below that of an exercise
MOST_WRAPPERS = 3  #: folders around the answers, each the only one in its own
_ZIP = ".zip"
#: Made by systems and Python beside an answer. Hidden files, whose names begin with a dot, are not taken either.
_NEVER = frozenset({"__pycache__", "__MACOSX", "Thumbs.db", "desktop.ini"})
_TOLD = 20  # of what is left out


class SubmissionError(ValueError):
    """A person's submission cannot be graded; the text says why, in one line."""


@dataclass(frozen=True)
class Submission:
    """Where one person's answers are."""

    person: str  #: untrusted text, never empty
    path: Path  #: a folder or a zip file


@dataclass(frozen=True)
class Answers:
    """What is graded of a submission.

    Attributes:
        files: contents by their paths, which begin with the id of an exercise.
        left_out: what lies beside the answers and was not taken, with the reason; untrusted text.
        refused: why an exercise's answer is not taken, by its id, while others are; untrusted text.
    """

    files: dict[Parts, bytes]
    left_out: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def exercises(self) -> frozenset[str]:
        """The exercises that have an answer."""
        return frozenset(parts[0] for parts in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 of all files and their names, in hexadecimal."""
        found = hashlib.sha256()
        for parts, data in sorted(self.files.items()):
            for piece in (os.fsencode("/".join(parts)), data):
                found.update(len(piece).to_bytes(8, "big") + piece)
        return found.hexdigest()


def find(folder: Path) -> tuple[list[Submission], list[str]]:
    """Everybody's submission in a folder, in the order of their names, and the names of what was passed over.

    Raises SubmissionError: there is no such folder, or it cannot be read.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise SubmissionError(
            f"cannot read {folder} ({error.strerror}): give a folder that has a folder or a zip file for each person"
        ) from error
    taken: set[str] = set()
    found, passed_over = [], []
    for entry in sorted(entries, key=lambda entry: not _is_folder(entry)):  # folders first: they keep their names
        name = file_text(entry.name)
        is_zip = entry.name.lower().endswith(_ZIP) and len(entry.name) > len(_ZIP)
        if entry.name.startswith(".") or entry.name in _NEVER:
            continue
        if not (_is_folder(entry) or is_zip or entry.is_symlink()):
            passed_over.append(name)
            continue
        person = name[: -len(_ZIP)] if is_zip and name[: -len(_ZIP)] not in taken else name
        taken.add(person)
        found.append(Submission(person, Path(entry.path)))
    return sorted(found, key=lambda submission: submission.person), passed_over


def find_beside(folder: Path, out: Path) -> tuple[list[Submission], list[str]]:
    """The same, where results are written to `out`, which is nobody's submission. Raises SubmissionError."""
    found, passed_over = find(folder)
    found = [submission for submission in found if submission.path.resolve() != out.resolve()]
    if folder.resolve() == out.resolve():
        raise SubmissionError(f"results in {out} would lie among the submissions: give another --out")
    if not found:
        raise SubmissionError(f"{folder} has no submission: a folder or a zip file for each person is expected")
    return found, passed_over


def answered(found: list[Submission], folder: Path) -> tuple[Exercise, ...]:
    """The exercises to which there is an answer. Raises SubmissionError where there is none."""
    everything = course.exercises()
    there: set[str] = set()
    for submission in found:
        if len(there) == len(everything):
            break
        with contextlib.suppress(SubmissionError):  # said when it is its turn
            there |= read(submission, everything).exercises
    chosen = tuple(exercise for exercise in everything if exercise.id in there)
    if not chosen:
        first = everything[0].id
        raise SubmissionError(
            f"nobody in {folder} has an answer: expected PERSON/{first}/stub.py, or a zip file with it"
        )
    return chosen


def read(submission: Submission, exercises: Iterable[Exercise]) -> Answers:
    """A person's answers to these exercises, as far as there are any. Raises SubmissionError."""
    try:
        tree: Tree = FolderTree(submission.path) if _is_plain_folder(submission.path) else ZipTree(submission.path)
    except Refused as why:
        raise SubmissionError(f"{file_text(submission.path.name)}: {why}") from why
    try:
        return _Reader(tree).answers(list(exercises))
    except Refused as why:
        raise SubmissionError(f"{file_text(submission.path.name)}: {why}") from why
    finally:
        tree.close()


def write(answers: Answers, folder: Path) -> None:
    """Write the files below a new folder that only this user can read. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True)
    for parts, data in answers.files.items():
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class _Reader:
    """Takes one person's files out of a tree, within the bounds."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._files: dict[Parts, bytes] = {}
        self._left_out: list[str] = []
        self._folders = 0

    def answers(self, exercises: list[Exercise]) -> Answers:
        """Raises Refused: not one answer can be taken, though there are some."""
        inside = self._inside(exercises)
        refused: dict[str, str] = {}
        for exercise in exercises:
            try:
                self._take(exercise, (*inside, exercise.id) if len(exercises) > 1 else self._alone(inside, exercise))
            except Refused as why:
                refused[exercise.id] = str(why)
        if refused and not self._files:
            raise Refused("; ".join(refused.values()))
        more = len(self._left_out) - _TOLD
        told = [*self._left_out[:_TOLD], *([f"and {more} more"] if more > 0 else [])]
        return Answers(self._files, tuple(told), refused)

    def _inside(self, exercises: list[Exercise]) -> Parts:
        """The folder in which the exercises' folders are: this one, ``exercises`` in it, or a single folder's."""
        wanted = {exercise.id for exercise in exercises}
        inside: Parts = ()
        for _ in range(MOST_WRAPPERS + 1):
            entries = self._tree.entries(inside)
            if wanted & set(entries) or set(ANSWER_NAMES) & set(entries):
                return inside
            if entries.get("exercises") == FOLDER:  # a whole checkout
                return (*inside, "exercises")
            folders = [
                name for name, kind in entries.items() if kind == FOLDER and name[0] != "." and name not in _NEVER
            ]
            if len(folders) != 1:
                return inside
            inside = (*inside, folders[0])
        return inside

    def _alone(self, inside: Parts, exercise: Exercise) -> Parts:
        """The folder of the only exercise, whose answer may also lie where its folder would."""
        entries = self._tree.entries(inside)
        return inside if exercise.id not in entries and set(ANSWER_NAMES) & set(entries) else (*inside, exercise.id)

    def _take(self, exercise: Exercise, folder: Parts) -> None:
        """Take the answer and what lies beside it. Raises Refused, with nothing taken, for the answer alone."""
        entries = self._tree.entries(folder)
        there = [name for name in ANSWER_NAMES if name in entries]
        answer = next((name for name in there if entries[name] == FILE), there[0] if there else None)
        if answer is not None:
            try:
                self._add(exercise, folder, (answer,))
            except Refused as why:
                raise Refused(f"{file_text('/'.join((*folder, answer)))}: {why}") from why
            self._beside(exercise, folder, (), entries)
        elif notebook := notebook_answers.choose(exercise, entries):
            data = self._tree.read((*folder, notebook), notebook_answers.MOST_BYTES)
            self._files[exercise.id, ANSWER_NAMES[0]] = notebook_answers.source(exercise, data)

    def _beside(self, exercise: Exercise, folder: Parts, below: Parts, entries: dict[str, str]) -> None:
        """What lies beside an answer, where its own modules may be. Nobody but the candidate's process looks at it."""
        for name, kind in sorted(entries.items()):
            path = (*below, name)
            if name.startswith(".") or name in _NEVER or (exercise.id, *path) in self._files:
                continue
            try:
                if kind == FILE:
                    self._add(exercise, folder, path)
                elif kind != FOLDER:
                    raise Refused("neither a folder nor a plain file (links are not followed)")
                elif len(path) > MOST_DEPTH or self._folders >= MOST_FOLDERS:
                    raise Refused(f"not looked into: more than {MOST_DEPTH} folders deep or {MOST_FOLDERS} in all")
                else:
                    self._folders += 1
                    self._beside(exercise, folder, path, self._tree.entries((*folder, *path)))
            except Refused as why:
                self._left_out.append(f"{file_text('/'.join((*folder, *path)))}: {why}")

    def _add(self, exercise: Exercise, folder: Parts, path: Parts) -> None:
        """Take one file of an exercise's folder. Raises Refused."""
        if sum(parts[0] == exercise.id for parts in self._files) >= MOST_FILES:
            raise Refused(f"more than {MOST_FILES} files")
        data = self._tree.read((*folder, *path), MOST_FILE_BYTES)
        if sum(map(len, self._files.values())) + len(data) > MOST_BYTES:
            raise Refused(f"more than {MOST_BYTES >> 20} MiB in all")
        self._files[(exercise.id, *path)] = data


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
