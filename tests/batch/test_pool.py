"""The pool, with graders that are made for these tests."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from grader import tiers
from grader.batch import graders, one
from grader.batch.graders import FreshGrader, Task
from grader.batch.pool import WORKING, Pool, Skipped, could_be_graded
from grader.batch.records import BatchError, Record
from grader.batch.submissions import Submission, find
from grader.course import find as exercise
from grader.score import RunResult

C1, Q1 = exercise("c1"), exercise("q1")


def result(folder: Path, message: str = "", status: str = "failed") -> dict[str, Any]:
    task = {"id": "t", "status": status, "message": message}
    found = [{"id": e.id, "tasks": [dict(task)]} for e in (C1, Q1)]
    return {"submission": str(folder), "exercises": found, "earned": 0, "possible": 10, "not_run": 0}


class Scripted:
    """A grader that does what it is told for each person."""

    def __init__(self, do: Callable[[Path, str], dict[str, Any]]) -> None:
        self.do, self.closed = do, threading.Event()

    def start(self) -> None:
        pass

    def grade(self, folder: Path, person: str) -> dict[str, Any]:
        return self.do(folder, person)

    def close(self) -> None:
        self.closed.set()


def ok(folder: Path, person: str) -> dict[str, Any]:
    return {"result": result(folder), "error": None, "peak_bytes": 5}


@pytest.fixture
def people(tmp_path: Path) -> list[Submission]:
    for name in ("alice", "bob", "carl", "dora"):
        path = tmp_path / "class" / name / C1.id / "stub.py"
        path.parent.mkdir(parents=True)
        path.write_text(f"# {name}")
    return find(tmp_path / "class")[0]


def pool(tmp_path: Path, *each: Any, graded: dict[str, str] | None = None) -> Pool:
    (tmp_path / "out").mkdir(exist_ok=True)
    return Pool(each, (C1, Q1), 7, tmp_path / "out", graded or {})


def by_person(told: list[Record | Skipped]) -> dict[str, Any]:
    assert len({t.person for t in told}) == len(told)
    return {t.person: t for t in told}


def test_everybody_is_graded_once_from_a_copy_of_their_own(tmp_path: Path, people: list[Submission]) -> None:
    seen: dict[str, tuple[str, Path]] = {}

    def look(folder: Path, person: str) -> dict[str, Any]:
        seen[person] = (folder / C1.id / "stub.py").read_text(), folder
        time.sleep(0.02)
        return ok(folder, person)

    with pool(tmp_path, Scripted(look), Scripted(look)) as running:
        told = by_person(list(running.results(people)))
    assert set(told) == {"alice", "bob", "carl", "dora"}
    assert {person: text for person, (text, _) in seen.items()} == {person: f"# {person}" for person in told}
    assert len({folder for _, folder in seen.values()}) == 4
    assert not any(p.path in folder.parents or p.path == folder for p in people for _, folder in seen.values())
    assert not (tmp_path / "out" / WORKING).exists()
    record = told["alice"]
    assert (record.source, record.seed, record.peak_bytes, record.error) == ("alice", 7, 5, None)
    assert record.result["submission"] == "alice"  # not where the copy was
    assert len(record.digest) == 64 and record.seconds >= 0.02


def test_what_is_graded_is_what_was_there_when_its_turn_came(tmp_path: Path, people: list[Submission]) -> None:
    def change(folder: Path, person: str) -> dict[str, Any]:
        (tmp_path / "class" / person / C1.id / "stub.py").write_text("changed meanwhile")
        return ok(folder, (folder / C1.id / "stub.py").read_text())

    with pool(tmp_path, Scripted(change)) as running:
        before = by_person(list(running.results(people)))
    with pool(tmp_path, Scripted(ok)) as running:
        after = by_person(list(running.results(people)))
    assert len({r.digest for r in before.values()}) == 4
    assert len({r.digest for r in after.values()}) == 1
    assert {r.digest for r in before.values()}.isdisjoint({r.digest for r in after.values()})


def test_who_was_graded_and_has_not_changed_is_passed_by(tmp_path: Path, people: list[Submission]) -> None:
    with pool(tmp_path, Scripted(ok)) as running:
        digests = {r.person: r.digest for r in running.results(people) if isinstance(r, Record)}
    (tmp_path / "class" / "bob" / C1.id / "stub.py").write_text("# better")
    del digests["carl"]
    asked = []

    def note(folder: Path, person: str) -> dict[str, Any]:
        asked.append(person)
        return ok(folder, person)

    with pool(tmp_path, Scripted(note), graded=digests) as running:
        told = by_person(list(running.results(people)))
    assert asked == ["bob", "carl"]
    assert told["alice"] == Skipped("alice") and told["dora"] == Skipped("dora")


def test_no_submission_stops_the_others(tmp_path: Path, people: list[Submission]) -> None:
    (tmp_path / "class" / "empty").mkdir()
    (tmp_path / "class" / "bad.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    os.symlink("/etc", tmp_path / "class" / "linked")

    def fail(folder: Path, person: str) -> dict[str, Any]:
        if person == "bob":
            raise RecursionError("a defect\nof ours")
        if person == "carl":
            return {"result": None, "error": "the grading process was killed\nby SIGSEGV", "peak_bytes": 9}
        return ok(folder, person)

    with pool(tmp_path, Scripted(fail)) as running:
        told = by_person(list(running.results(find(tmp_path / "class")[0])))
    errors = {person: record.error for person, record in told.items() if record.result is None}
    assert set(errors) == {"bob", "carl", "empty", "bad", "linked"}
    assert "RecursionError" in errors["bob"]
    assert errors["carl"] == "the grading process was killed by SIGSEGV"
    assert C1.id in errors["empty"] and "zip" in errors["bad"] and "link" in errors["linked"]
    assert not any("\n" in error for error in errors.values())


def test_messages_name_what_was_handed_in_and_why_an_answer_was_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "class" / "eve"
    (folder / C1.id).mkdir(parents=True)
    (folder / C1.id / "stub.py").write_text("")
    (folder / Q1.id).mkdir()
    os.symlink("/etc/passwd", folder / Q1.id / "stub.py")

    def say(path: Path, person: str) -> dict[str, Any]:
        return {"result": result(path, f"no answer in {path}: expected one"), "error": None, "peak_bytes": 0}

    with pool(tmp_path, Scripted(say)) as running:
        (record,) = running.results(find(tmp_path / "class")[0])
    assert isinstance(record, Record) and record.result is not None
    messages = [e["tasks"][0]["message"] for e in record.result["exercises"]]
    assert messages[0] == "no answer in eve: expected one"
    assert Q1.id in messages[1] and "link" in messages[1]


def test_a_full_disk_ends_the_run_in_one_line(
    tmp_path: Path, people: list[Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("grader.batch.pool.write", full)
    with pool(tmp_path, Scripted(ok)) as running, pytest.raises(BatchError, match=r"No space left.*--resume"):
        list(running.results(people))


def test_a_run_that_is_stopped_keeps_what_had_ended_and_nothing_half(tmp_path: Path, people: list[Submission]) -> None:
    def slow(folder: Path, person: str) -> dict[str, Any]:
        if person != "alice":
            grader.closed.wait(20)
            return {"result": None, "error": "stopped", "peak_bytes": 0}
        return ok(folder, person)

    grader = Scripted(slow)
    running = pool(tmp_path, grader)
    began = time.monotonic()
    told = [next(iter(running.results(people)))]
    running.close()
    told += running.rest()
    assert time.monotonic() - began < 10
    assert [t.person for t in told] == ["alice"]
    assert not (tmp_path / "out" / WORKING).exists()


def test_copies_of_a_run_that_was_killed_are_removed(tmp_path: Path, people: list[Submission]) -> None:
    left = tmp_path / "out" / WORKING / "alice" / C1.id
    left.mkdir(parents=True)
    (left / "stub.py").write_text("of the run that was killed")
    texts = []

    def look(folder: Path, person: str) -> dict[str, Any]:
        texts.append((folder / C1.id / "stub.py").read_text())
        return ok(folder, person)

    with pool(tmp_path, Scripted(look)) as running:
        list(running.results(people))
    assert texts == ["# alice", "# bob", "# carl", "# dora"]


@pytest.mark.parametrize(
    ("statuses", "could"),
    [(["passed"], True), (["failed", "not_run"], True), (["not_run", "inconclusive"], False), ([], False)],
)
def test_a_result_without_a_mark_is_none(statuses: list[str], could: bool) -> None:
    assert could_be_graded({"exercises": [{"tasks": [{"status": s} for s in statuses]}]}) is could
    assert could_be_graded(None) is False


@pytest.mark.parametrize(("load", "slack"), [(0.1, 1.0), (2.0, 1.0), (5.0, 2.5), (10_000.0, 4.0)])
def test_a_busy_machine_costs_nobody_points(load: float, slack: float, tmp_path: Path, monkeypatch: Any) -> None:
    given = []
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("grader.run.grade", lambda chosen, folder, tier, seed: given.append(tier) or RESULT)
    one.graded({"folder": str(tmp_path), "exercises": ["c1"], "tier": "twin", "seed": 1})
    assert given[0].patience == slack * tiers.choose("twin").patience


RESULT = RunResult("twin", 1, "s", {}, {}, [])


# -- processes for each submission


def command(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    head = "import json, os, sys, time; wish = json.load(sys.stdin)\n"
    monkeypatch.setattr(graders, "COMMAND", (sys.executable, "-S", "-c", head + program))


def fresh(limit_s: float = 30.0) -> FreshGrader:
    return FreshGrader(Task(("c1",), "twin", 7, limit_s))


def test_a_result_comes_over_a_pipe_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library prints is no result."""
    say = """print('{"result": 1, "error": null}')
hog = bytearray(b"1") * (50 << 20)
with os.fdopen(wish["told"], "w") as told:
    json.dump({"result": {"seed": wish["seed"], "folder": wish["folder"]}, "error": None}, told)
"""
    command(monkeypatch, say)
    told = fresh().grade(tmp_path, "alice")
    assert told["result"] == {"seed": 7, "folder": str(tmp_path)} and told["error"] is None
    # Linux counts what its starter, this very process, held until exec.
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 50 << 20 < told["peak_bytes"] < max(200 << 20, ours + (1 << 20))


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("os.kill(os.getpid(), 9)", "out of memory"),
        ("sys.exit(3)", "status 3"),
        ("raise ValueError('what happened')", "what happened"),
        ("pass", "status 0"),
        ("os.write(wish['told'], b'{\"result\": 1')", "status 0"),
        ("os.write(wish['told'], b'[1, 2]')", "status 0"),
        ("time.sleep(60)", "not done after 1 s"),
        ("os.close(wish['told']); time.sleep(60)", "not done after 1 s"),
        ("os.write(wish['told'], b'{\"result\": 1, \"error\": null}'); time.sleep(60)", "not done after 1 s"),
    ],
)  # fmt: skip
def test_a_process_that_ends_badly_is_an_error(
    program: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(monkeypatch, program)
    monkeypatch.setattr(graders, "_END_S", 1.0)
    began = time.monotonic()
    told = fresh(limit_s=1).grade(tmp_path, "alice")
    assert time.monotonic() - began < 10
    assert told["result"] is None and said in told["error"]


def test_what_a_process_has_left_running_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(
        monkeypatch,
        f"""import subprocess
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
os.write(wish["told"], b'{{"result": {{}}, "error": null}}')
""",
    )
    assert fresh().grade(tmp_path, "alice")["result"] == {}
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_a_closed_grader_ends_at_once_and_grades_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, "time.sleep(60)")
    grader = fresh()
    threading.Timer(0.5, grader.close).start()
    began = time.monotonic()
    assert grader.grade(tmp_path, "alice")["result"] is None
    assert grader.grade(tmp_path, "bob")["result"] is None
    assert time.monotonic() - began < 10


def test_a_grading_process_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """The pool is killed with -9: nothing of it goes on."""
    program = f"""
import sys
from pathlib import Path
from grader.batch import graders, one
inner = '''import json, os, sys, time
from pathlib import Path
from grader.batch.one import die_with
wish = json.load(sys.stdin)
die_with(wish["parent"])
Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
time.sleep(60)'''
graders.COMMAND = (sys.executable, "-c", inner)
graders.FreshGrader(graders.Task(("c1",), "twin", 7, 60)).grade(Path("/"), "alice")
"""
    root = Path(__file__).resolve().parents[2]
    outer = subprocess.Popen([sys.executable, "-c", program], cwd=root)
    try:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
    finally:
        outer.send_signal(signal.SIGKILL)
        outer.wait()
    wait_until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
