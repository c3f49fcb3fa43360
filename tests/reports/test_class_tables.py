"""A class's `grades.csv`, `junit.xml` and `results.json`: nbgrader's columns, Gradescope's schema, text as text."""

from __future__ import annotations

import csv
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from classes import FORMULA, MARKUP, PAYLOADS, hostile, one_exercise, record, write_class
from results import NASTY, result

from grader.batch.names import safe_name
from grader.batch.records import Record
from grader.reports.class_junit import write_class_junit
from grader.reports.class_results import read_class
from grader.reports.grades_csv import plain, write_grades_csv
from grader.reports.gradescope import write_gradescope
from grader.score import Status, TaskResult

#: As nbgrader 0.9.6 writes them (`nbgrader export`).
NBGRADER = (
    "assignment,duedate,timestamp,student_id,last_name,first_name,email,"
    "raw_score,late_submission_penalty,score,max_score"
)
#: Gradescope's autograder specification: what a result and a test in it may have.
RESULT = {
    "score": float, "execution_time": float, "output": str, "output_format": str, "test_output_format": str,
    "test_name_format": str, "visibility": str, "stdout_visibility": str, "extra_data": dict, "tests": list,
}  # fmt: skip
TEST = {
    "name": str, "name_format": str, "number": str, "score": float, "max_score": float, "status": str, "output": str,
    "output_format": str, "visibility": str,
}  # fmt: skip


def _csv(out: Path) -> list[dict[str, str]]:
    write_grades_csv(read_class(out), out / "grades.csv")
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _gradescope(tmp_path: Path, one: Record) -> dict[str, Any]:
    (person,) = read_class(write_class(tmp_path, [one])).people
    assert write_gradescope(person, tmp_path / "results.json")
    return json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))


def _junit(out: Path) -> ET.Element:
    write_class_junit(read_class(out), out / "junit.xml")
    return ET.parse(out / "junit.xml").getroot()


# -- grades.csv


def test_the_first_columns_are_nbgraders(tmp_path: Path) -> None:
    write_class(tmp_path, [])
    _csv(tmp_path)
    header = (tmp_path / "grades.csv").read_text().splitlines()[0].replace('"', "")
    assert header == f"{NBGRADER},earned,possible,not_run,tier,seed,error"


def test_a_row_has_the_marks_of_a_person_and_exercise(tmp_path: Path) -> None:
    one, two = _csv(write_class(tmp_path, [record("Ada", result(), seed=7)]))

    assert (one["student_id"], one["assignment"], two["assignment"]) == ("Ada", "x1_one", "x2_two")
    assert (one["raw_score"], one["score"], one["max_score"]) == ("10.0", "10.0", "35.0")
    assert (two["earned"], two["possible"], two["not_run"], two["max_score"]) == ("4", "14", "10", "4.0")
    assert (one["late_submission_penalty"], one["tier"], one["seed"], one["error"]) == ("0.0", "twin", "7", "")
    assert {one[name] for name in ("duedate", "timestamp", "last_name", "first_name", "email")} == {""}


def test_what_was_not_handed_in_is_zero_and_what_was_not_graded_is_no_mark(tmp_path: Path) -> None:
    only_one = one_exercise(TaskResult("a", "A", 5, Status.PASSED))
    people = [record("Ada", result()), record("Bo", only_one), record("Cy", error="a broken zip")]
    rows = {(row["student_id"], row["assignment"]): row for row in _csv(write_class(tmp_path, people))}

    absent = rows["Bo", "x2_two"]
    assert (absent["score"], absent["max_score"], absent["error"]) == ("0.0", "14.0", "not handed in")
    for exercise in ("x1_one", "x2_two"):
        row = rows["Cy", exercise]
        assert (row["raw_score"], row["score"], row["earned"], row["error"]) == ("", "", "", "a broken zip")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_cell_begins_as_a_formula_does(tmp_path: Path, start: str) -> None:
    name = f"{start}cmd"
    rows = _csv(write_class(tmp_path, [record(name, error=name)]))
    for cell in (rows[0]["student_id"], rows[0]["error"]):
        assert cell.startswith("'")
        assert cell.endswith("cmd")


@pytest.mark.parametrize("separator", [";", ",", "\t", "\n", '"', "|"])
def test_nor_does_what_another_separator_would_make_a_cell(separator: str) -> None:
    cell = plain(f"Ada{separator}=1+1")
    assert f"{separator}=" not in cell
    assert "'=1+1" in cell


def test_numbers_stay_numbers_and_common_names_stay_as_they_are(tmp_path: Path) -> None:
    for name in ("Ada Lovelace", "Jean-Luc", "o'neil", "a.b+c@example.org", "Dvořáková 深", "007"):
        assert plain(name) == name
    _csv(write_class(tmp_path, [record("Ada", result())]))
    line = (tmp_path / "grades.csv").read_text().splitlines()[1]
    assert ",10.0,0.0,10.0,35.0,10,35,0," in line


def test_the_file_is_utf8_without_control_characters(tmp_path: Path) -> None:
    _csv(write_class(tmp_path, [record(NASTY, error=NASTY), record("é 深", result())]))
    text = (tmp_path / "grades.csv").read_bytes().decode("utf-8")
    assert "é 深" in text
    assert [c for c in text if ord(c) < 32 and c != "\n"] == []
    assert len(text.splitlines()) == 1 + 2 * 2


# -- Gradescope


def test_gradescopes_result_has_its_keys_with_their_types(tmp_path: Path) -> None:
    found = _gradescope(tmp_path, record("Ada", result("why", "printed"), seconds=2.5))

    assert {key: type(value) for key, value in found.items()} == RESULT
    for test in found["tests"]:
        assert set(test) - set(TEST) == set()
        assert {key: type(value) for key, value in test.items()} == {key: TEST[key] for key in test}
    assert (found["score"], found["execution_time"]) == (14.0, 2.5)
    assert found["extra_data"]["possible"] == 49
    assert found["extra_data"]["not_run"] == 10


def test_gradescopes_tests_have_the_points_and_add_up(tmp_path: Path) -> None:
    found = _gradescope(tmp_path, record("Ada", result("why", "printed")))
    marks = [(t["number"], t.get("score"), t.get("max_score"), t.get("status")) for t in found["tests"]]

    assert marks == [
        ("1.1", 10.0, 10.0, "passed"),
        ("1.2", 0.0, 20.0, "failed"),
        ("1.3", 0.0, 5.0, "failed"),
        ("2.1", None, None, None),
        ("2.2", None, None, None),
        ("2.3", 4.0, 4.0, "passed"),
    ]
    assert sum(test.get("score", 0) for test in found["tests"]) == found["score"]
    failed = found["tests"][1]["output"]
    assert "why" in failed
    assert "hint: hint b" in failed
    assert "printed" in failed
    assert "does not count" in found["tests"][3]["output"]


@pytest.mark.parametrize("text", [*PAYLOADS, NASTY])
def test_everything_for_gradescope_is_declared_as_text(tmp_path: Path, text: str) -> None:
    found = _gradescope(tmp_path, record(text, result(text, text), digest=text))

    assert {found["output_format"], found["test_output_format"], found["test_name_format"]} == {"text"}
    for test in found["tests"]:
        assert (test["output_format"], test["name_format"]) == ("text", "text")
    told = json.dumps(found, ensure_ascii=False)
    told.encode()
    assert [c for c in told if ord(c) < 32 and c != "\n"] == []


def test_a_long_output_is_cut_for_gradescope(tmp_path: Path) -> None:
    found = _gradescope(tmp_path, record("Ada", result("m" * 100_000, "x" * 4000)))
    assert len(found["tests"][1]["output"]) < 21_000
    assert "characters left out" in found["tests"][1]["output"]


# -- JUnit


def test_junit_has_a_suite_per_person_and_exercise_and_an_error_for_who_was_not_graded(tmp_path: Path) -> None:
    root = _junit(write_class(tmp_path, [record("Ada", result()), record("Bo", error="a broken zip")]))

    suites = {suite.get("name"): suite for suite in root.findall("testsuite")}
    assert list(suites) == ["Ada/x1_one", "Ada/x2_two", "Bo"]
    assert [case.get("name") for case in suites["Ada/x1_one"].findall("testcase")] == ["a", "b", "c"]
    assert suites["Ada/x1_one"].get("failures") == "2"
    assert suites["Bo"].get("errors") == "1"
    error = suites["Bo"].find("testcase/error")
    assert error is not None
    assert error.get("message") == "a broken zip"


def test_junit_of_hostile_people_parses_with_their_texts_as_text(tmp_path: Path) -> None:
    root = _junit(write_class(tmp_path, [*hostile(), record(NASTY, result(NASTY, NASTY)), record("x", error=NASTY)]))

    names = {suite.get("name", "").rsplit("/", 1)[0] for suite in root}
    assert {MARKUP, FORMULA} <= names
    assert {child.tag for child in root.iter()} <= {
        "testsuites", "testsuite", "properties", "property", "testcase", "failure", "skipped", "system-out", "error"
    }  # fmt: skip
    for payload in PAYLOADS:
        assert safe_name(payload) not in names
        assert payload in {element.text for element in root.iter("system-out")}
