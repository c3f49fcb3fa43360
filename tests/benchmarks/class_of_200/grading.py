"""Has the class graded, and compares what came with what is right."""

from __future__ import annotations

import json
import random
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from grader.batch.records import RESULTS, Record, read_batch, read_records
from tests.benchmarks.class_of_200.making import RIGHT, SHORTS, SOLVED_EVERY, SUBMISSIONS, TIER

ROOT = Path(__file__).resolve().parents[3]
_MIB = 1 << 20
_KILLS = 2
_END_S = 5.0  # for what a killed batch had started


@dataclass(frozen=True)
class Run:
    """One `trtprep batch`: wall seconds, CPU seconds and the most memory of all its processes, how many it graded."""

    seconds: float
    cpu_s: float
    submissions: int


def graded(folder: Path, out: Path, jobs: int, seed: int) -> Run:
    """Grade what is not graded yet."""
    before, used = _count(out), resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    status = subprocess.run(_command(folder, out, jobs, seed), cwd=ROOT, check=False).returncode
    seconds, now = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        print(f"trtprep batch ended with {status}")
    cpu_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return Run(seconds, cpu_s, _count(out) - before)


def measured(out: Path, run: Run) -> list[str]:
    """What it took, for a person. Memory of equal answers alone is compared: see `making.SOLVED_EVERY`."""
    told = [f"{run.submissions} submissions of {' and '.join(SHORTS)} in {run.seconds:.1f} s"]
    if run.submissions:
        each, cpu = run.seconds / run.submissions, run.cpu_s / run.submissions
        told.append(f"{each:.2f} s of wall time and {cpu:.2f} s of CPU time for each")
    records = {record.person: record for record in read_records(out)}
    seconds = sorted(record.seconds for record in records.values())
    if len(seconds) > 1:
        quartiles = statistics.quantiles(seconds, n=4)
        told.append("seconds of one while others are graded: " + ", ".join(f"{value:.2f}" for value in quartiles))
    solved = [record for person, record in sorted(records.items()) if int(person.split("-")[1]) % SOLVED_EVERY == 0]
    if len(solved) > 1:
        peaks = ", ".join(f"{record.peak_bytes / _MIB:.0f}" for record in solved)
        change = solved[-1].peak_bytes / solved[0].peak_bytes - 1
        told.append(f"peak MiB of every {SOLVED_EVERY}th: {peaks} (the last is {change:+.1%} of the first)")
    return told


def killed(folder: Path, out: Path, jobs: int, seed: int, moments: random.Random) -> list[str]:
    """Grade the class, killed twice: each time when a random share of it has been graded, and a random while later."""
    told = []
    everybody = len(json.loads((folder / RIGHT).read_text(encoding="utf-8")))
    for share in sorted(moments.uniform(0.05, 0.9) for _ in range(_KILLS)):
        process = subprocess.Popen(_command(folder, out, jobs, seed), cwd=ROOT, stdout=subprocess.DEVNULL)
        while _count(out) < share * everybody and process.poll() is None:
            time.sleep(0.05)
        time.sleep(moments.uniform(0, 3))
        told.append(f"killed with {_count(out)} of {everybody} graded; left running: {_kill(process)}")
    run = graded(folder, out, jobs, seed)
    return [*told, f"the last {run.submissions} were graded by --resume"]


def wrong(folder: Path, out: Path) -> list[str]:
    """Every task of every person that did not end as it must, in a line each; and who is missing."""
    right: dict[str, Any] = json.loads((folder / RIGHT).read_text(encoding="utf-8"))
    found = {record.person: record for record in read_records(out)}
    told = [f"{person}: nobody handed this in" for person in sorted(set(found) - set(right))]
    for person, wanted in right.items():
        record = found.get(person)
        if record is None or record.result is None:
            told.append(f"{person}: {record.error if record else 'missing'}")
            continue
        told += _wrong_tasks(person, wanted, record.result)
    return told


def differences(out: Path, other: Path) -> list[str]:
    """Grades that differ between two batches of the same class and seed."""
    ours, theirs = read_batch(out), read_batch(other)
    told = [] if ours and theirs and ours.seed == theirs.seed else ["they have not the same seed"]
    grades = [{record.person: _grades(record) for record in read_records(folder)} for folder in (out, other)]
    people = sorted(set(grades[0]) | set(grades[1]))
    return told + [f"{person}: {[g.get(person) for g in grades]}" for person in people if len({
        json.dumps(g.get(person), sort_keys=True) for g in grades}) > 1]  # fmt: skip


def _grades(record: Record) -> Any:
    """All of a result but the times, and messages and outputs, which may name one."""
    if record.result is None:
        return record.error
    statuses = {e["id"]: {t["id"]: t["status"] for t in e["tasks"]} for e in record.result["exercises"]}
    return [record.digest, record.result["earned"], record.result["possible"], record.result["not_run"], statuses]


def _wrong_tasks(person: str, wanted: dict[str, Any], result: dict[str, Any]) -> list[str]:
    ended = {e["id"]: {t["id"]: t for t in e["tasks"]} for e in result["exercises"]}
    told = []
    for exercise, tasks in wanted["tasks"].items():
        for task, status in tasks.items():
            came = ended.get(exercise, {}).get(task, {"status": "missing", "message": ""})
            if came["status"] != status:
                answer = wanted["answers"][exercise]
                told.append(f"{person} ({answer}): {exercise}/{task} {came['status']}, not {status}: {came['message']}")
    for mark in ("earned", "not_run"):
        if result[mark] != wanted[mark]:
            told.append(f"{person}: {mark} {result[mark]}, not {wanted[mark]}")
    return told


def _command(folder: Path, out: Path, jobs: int, seed: int) -> list[str]:
    words = ["batch", str(folder / SUBMISSIONS), "--out", str(out), "--resume", "--tier", TIER]
    words += ["--jobs", str(jobs), "--seed", str(seed)]
    return [sys.executable, "-m", "grader", *words, *(w for short in SHORTS for w in ("--exercise", short))]


def _count(out: Path) -> int:
    """How many records there are."""
    try:
        return (out / RESULTS).read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _kill(process: subprocess.Popen[bytes]) -> int:
    """Kill a batch, and count what it had started and what runs on."""
    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    process.kill()
    process.wait()
    return len(psutil.wait_procs(started, timeout=_END_S)[1])
