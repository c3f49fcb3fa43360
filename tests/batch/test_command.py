"""`trtprep batch` from the outside, on a course made for this."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from grader.batch.one import recorded
from grader.batch.records import BATCH, RESULTS, read_batch, read_records
from grader.score import ExerciseResult, RunResult, Status, TaskResult
from tests.small_course import EXERCISE, Done, SmallCourse, environment, heed_ctrl_c, says_in_one_line

POINTS = {"right": 3, "seeded": 1, "slow": 2}
CHECKS = """\
@pytest.mark.task("right")
def test_right(answer):
    if answer.call("begin").value != 1:
        fail("one was expected")


@pytest.mark.task("seeded")
def test_seeded(rng, record_property):
    record_property("drawn", int(rng.integers(10**9)))


@pytest.mark.task("slow")
def test_slow(answer):
    answer.call("wait", seconds=100)
"""
RIGHT = "def begin():\n    return 1\n\n\ndef wait():\n    pass\n"
WRONG = RIGHT.replace("1", "2")
HANGS = RIGHT.replace("pass", "import time; time.sleep(1000)")
EVIL = "raise SystemExit('this ran in the grader')\n"


class Class(SmallCourse):
    """The small course, and a class that has handed in answers to it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, POINTS, CHECKS, RIGHT)
        self.people, self.out = folder / "class", folder / "out"
        self.people.mkdir()

    def hand_in(self, **answers: str) -> None:
        for person, source in answers.items():
            path = self.people / person / EXERCISE / "stub.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)

    def words(self, *words: str) -> list[str]:
        return ["batch", str(self.people), "--out", str(self.out), "--tier", "twin", *words]

    def batch(self, *words: str) -> Done:
        return self.trtprep(*self.words(*words))

    def results(self) -> dict[str, Any]:
        return {record.person: record.result for record in read_records(self.out)}

    def marks(self) -> dict[str, Any]:
        return {person: result and result["earned"] for person, result in self.results().items()}

    def lines(self) -> list[str]:
        return [json.loads(line)["person"] for line in (self.out / RESULTS).read_text().splitlines()]


@pytest.fixture
def the_class(tmp_path: Path) -> Class:
    return Class(tmp_path)


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {t["id"]: t["status"] for e in result["exercises"] for t in e["tasks"]}


def test_a_class_is_graded_with_one_seed_and_graded_again_the_same(the_class: Class) -> None:
    the_class.hand_in(alice=RIGHT, bob=WRONG)
    done = the_class.batch("--seed", "7", "--jobs", "2")
    assert done.status == 0, done.err
    assert the_class.marks() == {"alice": 6, "bob": 3}
    first = the_class.results()
    drawn = [
        t["figures"]["drawn"] for r in first.values() for e in r["exercises"] for t in e["tasks"] if t["id"] == "seeded"
    ]
    assert len(set(drawn)) == 1 and len(drawn) == 2
    assert "alice" in done.out and "6 / 6 points" in done.out and "3 / 6 points" in done.out
    batch = read_batch(the_class.out)
    assert batch is not None and (batch.seed, batch.tier, batch.exercises) == (7, "twin", (EXERCISE,))
    assert batch.environment["tensorrt"] and batch.protections["landlock"] in (True, False)

    the_class.out = the_class.folder / "again"
    the_class.batch("--seed", "7")
    again = the_class.results()
    for result in (*first.values(), *again.values()):
        for task in result["exercises"][0]["tasks"]:
            del task["seconds"]
    assert again == first


def test_a_mark_is_that_of_run(the_class: Class) -> None:
    the_class.hand_in(bob=WRONG)
    the_class.batch("--seed", "7")
    report = the_class.folder / "run.json"
    the_class.trtprep("run", "--submission", str(the_class.people / "bob"), "--seed", "7", "--json", str(report))
    batch, run = the_class.results()["bob"], json.loads(report.read_text())
    assert statuses(batch) == statuses(run)
    assert (batch["earned"], batch["possible"], batch["not_run"]) == (run["earned"], run["possible"], run["not_run"])


def test_planted_files_do_nothing_in_the_grader(the_class: Class) -> None:
    the_class.hand_in(eve=RIGHT)
    folder = the_class.people / "eve" / EXERCISE
    for name in (
        "conftest.py",
        "numpy.py",
        "sitecustomize.py",
        "usercustomize.py",
        "pytest.py",
        "grader.py",
        "test_x.py",
    ):
        for place in (folder, folder.parent, the_class.people):
            (place / name).write_text(EVIL + f"open({str(the_class.folder / 'ran')!r}, 'w')\n")
    for name in ("pytest.ini", "tox.ini", "setup.cfg"):
        (folder / name).write_text("[pytest]\naddopts = --collect-only\n[tool:pytest]\naddopts = --collect-only\n")
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--collect-only'\n")
    done = the_class.batch()
    assert done.status == 0, done.out + done.err
    assert the_class.marks() == {"eve": 6}
    assert not (the_class.folder / "ran").exists()


def test_who_cannot_be_graded_is_named_and_stops_nobody(the_class: Class) -> None:
    the_class.hand_in(alice=RIGHT, zoe=WRONG)
    (the_class.people / "bad.zip").write_bytes(b"PK")
    (the_class.people / "empty").mkdir()
    (the_class.people / "notes.txt").write_text("")
    done = the_class.batch()
    assert done.status == 1
    assert the_class.marks() == {"alice": 6, "zoe": 3, "bad": None, "empty": None}
    assert "notes.txt" in done.out and "2 could not be graded" in done.out


def test_where_nobody_can_be_graded_the_status_says_so(the_class: Class) -> None:
    (the_class.people / EXERCISE).mkdir()
    says_in_one_line(the_class.batch(), "nobody in", "stub.py")
    (the_class.people / EXERCISE).rmdir()
    says_in_one_line(the_class.batch(), "no submission")
    (the_class.people / "empty").mkdir()
    done = the_class.batch("--exercise", "x1")
    assert done.status == 2 and "0 of 1 submission graded" in done.out


def test_a_submission_that_takes_too_long_is_stopped(the_class: Class) -> None:
    the_class.hand_in(alice=RIGHT, hangs=HANGS)
    done = the_class.batch("--limit", "8", "--jobs", "1")
    assert done.status == 1
    assert the_class.marks() == {"alice": 6, "hangs": None}
    assert "not done after 8 s" in done.out


def test_results_are_not_mixed(the_class: Class, tmp_path: Path) -> None:
    the_class.hand_in(alice=RIGHT)
    assert the_class.batch("--seed", "7").status == 0
    before = (the_class.out / RESULTS).read_bytes()
    says_in_one_line(the_class.batch(), "has results", "--resume")
    says_in_one_line(the_class.batch("--resume", "--seed", "8"), "seed 8 instead of 7")
    the_class.checks.write_text(the_class.checks.read_text() + "\n")
    says_in_one_line(the_class.batch("--resume"), "checks")
    assert (the_class.out / RESULTS).read_bytes() == before
    the_class.out = the_class.people
    says_in_one_line(the_class.batch(), "among the submissions")
    the_class.out = tmp_path / "file"
    the_class.out.touch()
    says_in_one_line(the_class.batch(), "file")


def test_going_on_grades_who_is_new_changed_or_had_no_result(the_class: Class) -> None:
    the_class.hand_in(alice=RIGHT, bob=WRONG, carl="")
    (the_class.people / "dora.zip").write_bytes(b"")
    assert the_class.batch().status == 1
    seed = read_batch(the_class.out).seed  # type: ignore[union-attr]
    began = json.loads((the_class.out / BATCH).read_text())["began"]
    the_class.hand_in(bob=RIGHT, dora=RIGHT, eve=WRONG)
    (the_class.people / "dora.zip").unlink()

    done = the_class.batch("--resume", "--jobs", "1")

    assert done.status == 0, done.err
    assert the_class.lines()[4:] == ["bob", "dora", "eve"]
    assert the_class.marks() == {"alice": 6, "bob": 6, "carl": 1, "dora": 6, "eve": 3}
    assert {result["seed"] for result in the_class.results().values()} == {seed}
    assert json.loads((the_class.out / BATCH).read_text())["began"] == began


def test_ctrl_c_keeps_what_had_ended_and_says_how_to_go_on(the_class: Class) -> None:
    the_class.hand_in(alice=RIGHT, hangs=HANGS, zoe=RIGHT)
    process = subprocess.Popen(
        the_class.command(*the_class.words("--jobs", "1")), env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while "alice" not in (the_class.lines() if (the_class.out / RESULTS).exists() else []):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert "--resume" in out and "Traceback" not in out + err
    assert the_class.lines() == ["alice"]
    the_class.hand_in(hangs=WRONG)
    assert the_class.batch("--resume").status == 0
    assert the_class.marks() == {"alice": 6, "hangs": 3, "zoe": 6}
    assert len(the_class.lines()) == 3


def test_what_a_candidate_raises_and_prints_is_kept_as_text(the_class: Class) -> None:
    say = "print('x' * 100_000 + '<i>\\x1b end')\n    raise ValueError('<b>' + 'y' * 100_000)"
    the_class.hand_in(eve=RIGHT.replace("return 1", say))
    done = the_class.batch()
    assert done.status == 0, done.err
    (task, *_) = the_class.results()["eve"]["exercises"][0]["tasks"]
    assert task["status"] == "failed" and "<b>yyy" in task["message"]
    assert len(task["message"]) < 10_000
    assert task["output"].strip().endswith("<i>\x1b end") and len(task["output"]) <= 4000


def test_half_a_character_does_not_reach_a_record() -> None:
    """JSON carries it, so a candidate's process can send it; no report could be written with it."""
    task = TaskResult("t", "T", 1, Status.FAILED, "a\ud800b", output="\udfff")
    result = RunResult("twin", 1, "s", {}, {}, [ExerciseResult("e", "E", [task])])
    (told,) = recorded(result)["exercises"][0]["tasks"]
    assert (told["message"], told["output"]) == ("a\\ud800b", "\\udfff")


def test_names_of_people_are_text(the_class: Class) -> None:
    names = ["[bold red]x", "a\x1b[2Jb", "=1+1", "<b>x", "-rf", "\u202etxt", "x" * 200]
    the_class.hand_in(**dict.fromkeys(names, ""))
    done = the_class.batch("--jobs", "2")
    assert done.status == 0, done.err
    assert set(the_class.marks()) == set(names)
    assert "[bold red]x" in done.out and "\x1b" not in done.out and "\u202e" not in done.out
    assert "x" * 100 not in done.out
