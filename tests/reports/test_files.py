"""JSON (schema 1) and JUnit: what is in them, for any text of a candidate's, and how they are written."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from results import NASTY, result

from grader.reports import files
from grader.reports.files import ReportError, check_writable, write_json, write_junit
from grader.score import RunResult

#: DESIGN, "The command line": schema 1, and the types of what is in it.
RUN = {
    "schema": int, "tier": str, "seed": int, "environment": dict, "protections": dict, "submission": str,
    "earned": int, "possible": int, "not_run": int, "exercises": list,
}  # fmt: skip
EXERCISE = {"id": str, "earned": int, "possible": int, "not_run": int, "tasks": list}
TASK = {
    "id": str, "title": str, "points": int, "status": str, "message": str, "hint": str, "seconds": float,
    "figures": dict,
}  # fmt: skip
WRITERS = pytest.mark.parametrize("write", [write_json, write_junit])


def _json(path: Path, run: RunResult) -> dict[str, Any]:
    write_json(run, path / "r.json")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads((path / "r.json").read_text(encoding="utf-8"), parse_constant=refuse)


def _junit(path: Path, run: RunResult) -> ET.Element:
    write_junit(run, path / "r.xml")
    return ET.parse(path / "r.xml").getroot()


def _has(data: dict[str, Any], keys: dict[str, type]) -> None:
    assert list(data) == list(keys)
    for key, kind in keys.items():
        assert type(data[key]) is kind, key


# -- JSON


def test_json_has_exactly_the_keys_of_schema_1_with_their_types(tmp_path: Path) -> None:
    data = _json(tmp_path, result())

    _has(data, RUN)
    assert data["schema"] == 1
    for exercise in data["exercises"]:
        _has(exercise, EXERCISE)
        for task in exercise["tasks"]:
            _has(task, TASK)
    assert {type(v) for v in data["environment"].values()} == {str}
    assert {type(v) for v in data["protections"].values()} == {bool}


def test_json_has_the_marks_and_the_five_statuses(tmp_path: Path) -> None:
    data = _json(tmp_path, result())

    assert (data["earned"], data["possible"], data["not_run"]) == (14, 49, 10)
    assert [(e["id"], e["earned"], e["possible"], e["not_run"]) for e in data["exercises"]] == [
        ("x1_one", 10, 35, 0),
        ("x2_two", 4, 14, 10),
    ]
    statuses = [t["status"] for e in data["exercises"] for t in e["tasks"]]
    assert statuses == ["passed", "failed", "blocked", "not_run", "inconclusive", "passed"]
    assert data["exercises"][0]["tasks"][0]["seconds"] == 1.235
    assert data["exercises"][0]["tasks"][0]["figures"] == {"speed": 1.5}
    assert (data["tier"], data["seed"], data["submission"]) == ("twin", 42, "exercises")


def test_json_carries_any_text_and_nothing_that_was_printed(tmp_path: Path) -> None:
    data = _json(tmp_path, result(NASTY, "a secret that was printed"))

    assert data["exercises"][0]["tasks"][1]["message"] == NASTY
    assert "a secret that was printed" not in (tmp_path / "r.json").read_text()


# -- JUnit


def test_junit_has_a_suite_per_exercise_and_a_case_per_task_with_right_counts(tmp_path: Path) -> None:
    root = _junit(tmp_path, result())

    assert root.tag == "testsuites"
    counts = [(s.get("name"), s.get("tests"), s.get("failures"), s.get("skipped")) for s in root.iter("testsuite")]
    assert counts == [("x1_one", "3", "2", "0"), ("x2_two", "3", "0", "2")]
    for suite in root.iter("testsuite"):
        cases = suite.findall("testcase")
        assert str(len(cases)) == suite.get("tests")
        assert str(len(suite.findall("testcase/failure"))) == suite.get("failures")
        assert str(len(suite.findall("testcase/skipped"))) == suite.get("skipped")
        assert {case.get("classname") for case in cases} == {suite.get("name")}


def test_junit_has_statuses_messages_times_and_marks(tmp_path: Path) -> None:
    root = _junit(tmp_path, result("why", "printed"))
    cases = {case.get("name"): case for case in root.iter("testcase")}

    assert [child.tag for child in cases["a"]] == []
    assert cases["a"].get("time") == "1.235"
    failure, printed = cases["b"]
    assert (failure.tag, failure.get("message"), failure.get("type")) == ("failure", "why", "failed")
    assert (printed.tag, printed.text) == ("system-out", "printed")
    assert (cases["c"][0].get("type"), cases["c"][0].get("message")) == ("blocked", "needs b")
    assert [(cases[n][0].tag, cases[n][0].get("message")) for n in "de"] == [
        ("skipped", "no timings here"),
        ("skipped", "too noisy"),
    ]
    properties = {p.get("name"): p.get("value") for p in root.find("testsuite/properties") or ()}
    assert properties == {"earned": "10", "possible": "35", "not_run": "0"}


@pytest.mark.parametrize("text", [NASTY, "".join(map(chr, range(32))), "\ufffe\uffff", "a\r\nb"])
def test_junit_parses_whatever_a_candidate_said_or_printed(tmp_path: Path, text: str) -> None:
    case = _junit(tmp_path, result(text, text)).findall(".//testcase")[1]

    message, printed = case[0].get("message"), case[1].text
    assert message is not None
    assert printed is not None
    for visible in ("[red]", "<b>&amp;</b>", "]]>", "é", "深", "a", "b"):
        assert (visible in text) <= (visible in message)
        assert (visible in text) <= (visible in printed)


# -- writing


@WRITERS
def test_a_report_may_go_into_a_folder_that_is_not_there_yet(write: Callable, tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "report"
    check_writable(path)
    write(result(), path)

    assert path.stat().st_size > 100
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@WRITERS
def test_a_report_is_replaced_as_a_whole_so_that_no_reader_sees_half(write: Callable, tmp_path: Path) -> None:
    path = tmp_path / "report"
    write(result("x" * 200_000), path)
    whole = path.read_bytes()
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen.append(path.read_bytes() == whole)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        write(result("x" * 200_000), path)
    stop.set()
    reader.join()

    assert seen
    assert all(seen)
    assert os.listdir(tmp_path) == ["report"]


@WRITERS
def test_a_failure_while_writing_leaves_the_old_report_and_nothing_else(
    write: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report"
    path.write_text("the old one")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(ReportError, match=r"cannot write .*report \(No space left on device\)"):
        write(result(), path)

    assert path.read_text() == "the old one"
    assert os.listdir(tmp_path) == ["report"]


@pytest.mark.parametrize("where", ["a folder", "below a file", "no such place"])
def test_a_place_that_cannot_be_written_is_told_in_one_line_beforehand(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    path = {"a folder": tmp_path, "below a file": tmp_path / "file" / "r", "no such place": Path("/proc/none/r")}[where]

    for attempt in (lambda: check_writable(path), lambda: write_json(result(), path)):
        with pytest.raises(ReportError) as caught:
            attempt()
        assert str(caught.value).startswith(f"cannot write {path} (")
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_finding_out_whether_a_report_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("the old one")
    check_writable(tmp_path / "r.json")

    assert os.listdir(tmp_path) == ["r.json"]
    assert (tmp_path / "r.json").read_text() == "the old one"
