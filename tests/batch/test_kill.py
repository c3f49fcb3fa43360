"""A batch that is killed with -9 at random moments, and goes on: nothing lost, doubled or left running."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from grader.batch.pool import WORKING
from grader.batch.records import RESULTS, read_records
from grader.course import EXERCISES, find
from tests.batch.test_command import RIGHT, WRONG, Class
from tests.grading import solution_source
from tests.mutants.test_mutants import MUTANTS
from tests.small_course import ROOT, environment

C1 = find("c1")


def started(argv: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the batch alone, and see that everything it had started ends by itself."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(below, timeout=20)
    assert alive == []


def persons(out: Path) -> list[str]:
    """Of each whole line."""
    return [record.person for record in read_records(out)] if (out / RESULTS).exists() else []


def grades(out: Path) -> dict[str, Any]:
    return {
        r.person: (r.digest, r.result["earned"], [t["status"] for e in r.result["exercises"] for t in e["tasks"]])
        for r in read_records(out)
        if r.result is not None
    }


def killed_and_resumed(argv: list[str], out: Path, people: int, seed: int, kills: int) -> None:
    moments = random.Random(seed)
    for _ in range(kills):
        process = started([*argv, "--resume"])
        wanted = moments.randrange(len(persons(out)), people)
        deadline = time.monotonic() + 300
        while len(persons(out)) < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 2))
        kill(process)
    last = started([*argv, "--resume"])
    assert last.wait(timeout=600) == 0
    lines = (out / RESULTS).read_bytes().splitlines()
    assert len(lines) == people
    assert not (out / WORKING).exists()


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_twice_it_ends_with_the_same_grades(seed: int, tmp_path: Path) -> None:
    the_class = Class(tmp_path)
    the_class.hand_in(**{f"p{n}": [RIGHT, WRONG, ""][n % 3] for n in range(6)})
    reference = the_class.folder / "reference"
    the_class.trtprep("batch", str(the_class.people), "--out", str(reference), "--seed", "5", "--jobs", "2")
    argv = the_class.command(*the_class.words("--seed", "5", "--jobs", "2"))
    killed_and_resumed(argv, the_class.out, 6, seed, kills=2)
    assert grades(the_class.out) == grades(reference)
    assert Counter(persons(the_class.out)) == Counter(f"p{n}" for n in range(6))


@pytest.mark.slow
def test_the_real_course_killed_twice_has_the_right_marks(tmp_path: Path) -> None:
    mutants = [m for m in MUTANTS if m.exercise == C1.id and m.tier == "twin" and not m.also][:3]
    sources = {"solution": solution_source(C1.id), "stub": (EXERCISES / C1.id / "stub.py").read_text()}
    sources |= {m.name: m.source() for m in mutants}
    for person, source in sources.items():
        path = tmp_path / "class" / person / C1.id / "stub.py"
        path.parent.mkdir(parents=True)
        path.write_text(source)
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "grader", "batch", str(tmp_path / "class"), "--out", str(out), "--tier", "twin"]
    killed_and_resumed([*argv, "--seed", "5", "--jobs", "2"], out, len(sources), seed=3, kills=2)
    right = {"solution": C1.points, "stub": 0} | {m.name: C1.points - C1.task(m.task).points for m in mutants}
    assert {person: earned for person, (_, earned, _) in grades(out).items()} == right


@pytest.mark.slow
def test_what_lies_beside_a_real_answer_changes_nothing(tmp_path: Path) -> None:
    """The pre-started grader forks: what one submission plants must not reach it, nor the next one."""
    evil = f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit('this ran in the grader')\n"
    for person in ("a-evil", "b-plain"):
        path = tmp_path / "class" / person / C1.id / "stub.py"
        path.parent.mkdir(parents=True)
        path.write_text(solution_source(C1.id))
    folder = tmp_path / "class" / "a-evil" / C1.id
    for name in ("conftest.py", "numpy.py", "sitecustomize.py", "usercustomize.py", "pytest.py", "test_x.py"):
        (folder / name).write_text(evil)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    os.symlink(ROOT / "solutions", folder / "solutions")
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "grader", "batch", str(tmp_path / "class"), "--out", str(out), "--jobs", "1"]
    done = subprocess.run(
        [*argv, "--tier", "twin"], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {person: earned for person, (_, earned, _) in grades(out).items()} == {"a-evil": 100, "b-plain": 100}
    assert not (tmp_path / "ran").exists()
    (evil_record,) = [r for r in read_records(out) if r.person == "a-evil"]
    assert len(evil_record.left_out) == 1 and "solutions" in evil_record.left_out[0]
