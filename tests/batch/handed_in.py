"""Submissions that tests make, and what is taken of them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from grader.batch.submissions import Answers, Submission, SubmissionError, read
from grader.course import Exercise, exercises, find

C1, Q1 = find("c1"), find("q1")


def folder_of(tmp_path: Path, files: Mapping[str, bytes], name: str = "class/alice") -> Path:
    for path, data in files.items():
        target = tmp_path / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return tmp_path / name


def zip_of(tmp_path: Path, files: Mapping[str, bytes], name: str = "class/alice.zip") -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    return path


def taken(path: Path, *chosen: Exercise) -> Answers:
    return read(Submission("alice", path), chosen or exercises())


def paths(answers: Answers) -> set[str]:
    return {"/".join(parts) for parts in answers.files}


def refusal(path: Path, *chosen: Exercise) -> str:
    with pytest.raises(SubmissionError) as error:
        taken(path, *chosen)
    assert "\n" not in str(error.value)
    return str(error.value)
