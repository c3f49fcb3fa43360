"""JSON (schema 1) and JUnit XML of a run."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from grader.score import ExerciseResult, RunResult, Status, TaskResult

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class ReportError(RuntimeError):
    """A report cannot be written where it was asked for; the text says where and why."""


def check_writable(path: Path) -> None:
    """Find out before a long run whether its report can be written. Raises ReportError."""
    with _spoken(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-"):
            pass


def write_json(result: RunResult, path: Path) -> None:
    """Write schema 1. Raises ReportError."""
    write_file(path, json.dumps(result.as_data(), indent=2, allow_nan=False).encode() + b"\n")


def write_junit(result: RunResult, path: Path) -> None:
    """Write JUnit XML: a suite per exercise, a case per task. Raises ReportError."""
    suites = ET.Element("testsuites", name="trtprep")
    for exercise in result.exercises:
        junit_suite(suites, exercise.id, exercise)
    write_file(path, ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def junit_suite(suites: ET.Element, name: str, exercise: ExerciseResult) -> None:
    """Add an exercise as a suite of this name, a case per task."""
    statuses = [task.status for task in exercise.tasks]
    suite = ET.SubElement(
        suites, "testsuite", name=name, tests=str(len(statuses)),
        failures=str(statuses.count(Status.FAILED) + statuses.count(Status.BLOCKED)),
        skipped=str(statuses.count(Status.NOT_RUN) + statuses.count(Status.INCONCLUSIVE)),
    )  # fmt: skip
    properties = ET.SubElement(suite, "properties")
    for mark in ("earned", "possible", "not_run"):
        ET.SubElement(properties, "property", name=mark, value=str(getattr(exercise, mark)))
    for task in exercise.tasks:
        _case(suite, name, task)


def xml_text(text: str) -> str:
    """Text with what XML cannot hold replaced by ``?``."""
    return _NOT_XML.sub("?", text)


def _case(suite: ET.Element, class_name: str, task: TaskResult) -> None:
    case = ET.SubElement(suite, "testcase", classname=class_name, name=task.id, time=f"{task.seconds:.3f}")
    message = xml_text(task.message)
    if task.status in (Status.FAILED, Status.BLOCKED):
        ET.SubElement(case, "failure", message=message, type=task.status.value)
    elif task.status is not Status.PASSED:
        ET.SubElement(case, "skipped", message=message)
    if task.output:
        ET.SubElement(case, "system-out").text = xml_text(task.output)


def write_file(path: Path, data: bytes) -> None:
    """All or nothing: a report that is half written would be read as a whole one. Raises ReportError."""
    with _spoken(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise


@contextlib.contextmanager
def _spoken(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(f"cannot write {path} ({error.strerror}): give another file") from error
