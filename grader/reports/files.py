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

from grader.score import RunResult, Status, TaskResult

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
    _write(path, json.dumps(result.as_data(), indent=2, allow_nan=False).encode() + b"\n")


def write_junit(result: RunResult, path: Path) -> None:
    """Write JUnit XML: a suite per exercise, a case per task. Raises ReportError."""
    suites = ET.Element("testsuites", name="trtprep")
    for exercise in result.exercises:
        statuses = [task.status for task in exercise.tasks]
        suite = ET.SubElement(
            suites, "testsuite", name=exercise.id, tests=str(len(statuses)),
            failures=str(statuses.count(Status.FAILED) + statuses.count(Status.BLOCKED)),
            skipped=str(statuses.count(Status.NOT_RUN) + statuses.count(Status.INCONCLUSIVE)),
        )  # fmt: skip
        for name in ("earned", "possible", "not_run"):
            properties = suite.find("properties")
            properties = ET.SubElement(suite, "properties") if properties is None else properties
            ET.SubElement(properties, "property", name=name, value=str(getattr(exercise, name)))
        for task in exercise.tasks:
            _case(suite, exercise.id, task)
    _write(path, ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def _case(suite: ET.Element, exercise_id: str, task: TaskResult) -> None:
    case = ET.SubElement(suite, "testcase", classname=exercise_id, name=task.id, time=f"{task.seconds:.3f}")
    message = _NOT_XML.sub("?", task.message)
    if task.status in (Status.FAILED, Status.BLOCKED):
        ET.SubElement(case, "failure", message=message, type=task.status.value)
    elif task.status is not Status.PASSED:
        ET.SubElement(case, "skipped", message=message)
    if task.output:
        ET.SubElement(case, "system-out").text = _NOT_XML.sub("?", task.output)


def _write(path: Path, data: bytes) -> None:
    """All or nothing: a report that is half written would be read as a whole one."""
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
