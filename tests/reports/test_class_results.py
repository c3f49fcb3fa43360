"""What is read of a batch's folder, and what is written into it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from classes import FORMULA, MARKUP, hostile, one_exercise, record, write_class
from results import result

from grader.batch.names import safe_name
from grader.batch.records import RESULTS
from grader.reports import write_class_reports
from grader.reports.class_results import median, read_class, share, totals
from grader.reports.files import ReportError
from grader.score import Status, TaskResult


def test_a_result_is_read_back_as_it_was(tmp_path: Path) -> None:
    run = result("why", "printed")
    (person,) = read_class(write_class(tmp_path, [record("Ada", run, left_out=("x",))])).people

    assert person.result is not None
    assert person.result.as_data() == run.as_data()
    assert [task.output for task in person.result.tasks()] == ["", "printed", "", "", "", ""]
    assert (person.name, person.seed, person.seconds, person.peak_bytes) == ("Ada", 42, 2.0, 2**29)
    assert (person.error, person.left_out) == ("", ("x",))


def test_of_two_records_the_later_counts_and_a_line_that_was_broken_off_is_left_out(tmp_path: Path) -> None:
    write_class(tmp_path, [record("Bo", error="first"), record("Ada", result()), record("Bo", error="second")])
    with (tmp_path / RESULTS).open("a") as file:
        file.write('{"schema": 1, "person": "Zoe", "sou')

    assert [(person.name, person.error) for person in read_class(tmp_path).people] == [("Ada", ""), ("Bo", "second")]


def test_people_come_by_their_names_whatever_their_case(tmp_path: Path) -> None:
    write_class(tmp_path, [record(name, error="x") for name in ("bo", "Cy", "Ada")])
    assert [person.name for person in read_class(tmp_path).people] == ["Ada", "bo", "Cy"]


def test_a_damaged_result_is_somebody_who_could_not_be_graded(tmp_path: Path) -> None:
    write_class(tmp_path, [record("Ada", result())])
    line = json.loads((tmp_path / RESULTS).read_text())
    del line["result"]["exercises"][0]["tasks"][0]["points"]
    (tmp_path / RESULTS).write_text(json.dumps(line) + "\n")

    (person,) = read_class(tmp_path).people
    assert (person.result, person.error) == (None, "its record is damaged: grade it again")


def test_a_folder_without_a_batch_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="there is no batch in") as caught:
        write_class_reports(tmp_path)
    assert "\n" not in str(caught.value)


def test_marks_are_earned_over_what_counts(tmp_path: Path) -> None:
    zero = one_exercise(TaskResult("a", "A", 5, Status.NOT_RUN))
    found = read_class(write_class(tmp_path, [record("Ada", result()), record("Bo", zero), record("Cy", error="x")]))
    ada, bo, cy = found.people

    assert found.marks("x1_one") == [10 / 35]  # nothing of Bo's counts
    assert found.marks("x2_two") == [4 / 4]
    assert [share(e) for e in ada.result.exercises] == [10 / 35, 1.0]  # type: ignore[union-attr]
    assert share(bo.result.exercises[0]) is None  # type: ignore[union-attr]
    assert totals(found, cy) is None
    assert median(found.marks("x3")) is None


def test_an_exercise_that_was_not_handed_in_counts_in_the_total(tmp_path: Path) -> None:
    only_one = one_exercise(TaskResult("a", "A", 5, Status.PASSED))
    found = read_class(write_class(tmp_path, [record("Ada", result()), record("Bo", only_one)]))
    marks = totals(found, found.people[1])

    assert marks is not None
    assert (marks.earned, marks.possible, marks.not_run) == (5, 5 + 14, 0)


def test_every_report_of_a_class_is_written_and_named(tmp_path: Path) -> None:
    written = write_class_reports(write_class(tmp_path, [record("Ada", result()), record("Bo", error="x")]))

    assert written[0] == tmp_path / "index.html"
    made = {path.relative_to(tmp_path).as_posix() for path in written}
    people = {"people/Ada/index.html", "people/Ada/results.json", "people/Bo/index.html"}
    assert made == {"index.html", "grades.csv", "junit.xml", *people}
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there - made == {"batch.json", "results.jsonl", ".lock"}


def test_nobodys_name_leads_out_of_the_folder_or_into_anothers(tmp_path: Path) -> None:
    names = ["../../x", "/etc/x", ".", "", "a/b", "a\\b", "a\x00b", "\ud800", "W" * 5000, MARKUP, FORMULA]
    out = write_class(tmp_path / "in" / "out", [record(name, result()) for name in names])
    write_class_reports(out)

    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["out"]
    assert {path.name for path in (out / "people").iterdir()} == {safe_name(name) for name in names}
    assert len({safe_name(name) for name in names}) == len(names)


def test_a_class_of_nobody_and_one_of_hostile_people_have_reports(tmp_path: Path) -> None:
    assert len(write_class_reports(write_class(tmp_path / "none", []))) >= 2
    assert len(write_class_reports(write_class(tmp_path / "hostile", hostile()))) >= 2 + len(hostile())


def test_writing_again_gives_the_same_files(tmp_path: Path) -> None:
    out = write_class(tmp_path, hostile())
    first = {path: path.read_bytes() for path in write_class_reports(out)}
    assert {path: path.read_bytes() for path in write_class_reports(out)} == first


def test_who_can_no_longer_be_graded_keeps_no_old_marks(tmp_path: Path) -> None:
    write_class_reports(write_class(tmp_path, [record("Ada", result())]))
    assert (tmp_path / "people" / "Ada" / "results.json").exists()
    write_class_reports(write_class(tmp_path, [record("Ada", error="gone")]))
    assert not (tmp_path / "people" / "Ada" / "results.json").exists()
