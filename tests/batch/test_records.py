"""Results that outlive whatever ends a run."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grader.batch.records import BATCH, RESULTS, Batch, BatchError, Record, Records, read_batch, read_records

BATCH_OF_TESTS = Batch(
    7, "twin", ("c1_x",), {"tensorrt": "1.7", "system": "Linux-6"}, {"mounts": True}, "2026-01-01T00:00:00"
)
ALICE = Record("alice", "alice.zip", "d1", 7, 1.5, 1000, {"earned": 3, "exercises": []}, None, ("x: large",))
BOB = Record("bob", "bob", "", 7, 0.1, 0, None, "bob: a damaged zip file")


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / RESULTS).read_text().splitlines()]


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    with Records(tmp_path / "out") as records:
        assert records.empty and records.batch() is None
        records.begin(BATCH_OF_TESTS)
        records.append(BOB)
        records.append(ALICE)
    assert read_batch(tmp_path / "out") == BATCH_OF_TESTS
    assert read_records(tmp_path / "out") == [ALICE, BOB]
    assert {line["schema"] for line in lines(tmp_path / "out")} == {1}
    with Records(tmp_path / "out") as records:
        assert not records.empty
        assert records.graded == {"alice": "d1"}  # bob has no result: he is graded again


def test_the_last_record_of_a_person_counts(tmp_path: Path) -> None:
    with Records(tmp_path) as records:
        for record in (ALICE, BOB, replace(ALICE, digest="d2")):
            records.append(record)
    assert read_records(tmp_path) == [replace(ALICE, digest="d2"), BOB]
    with Records(tmp_path) as records:
        assert records.graded == {"alice": "d2"}


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_line_that_a_kill_has_broken_is_cut_off(cut: int, tmp_path: Path) -> None:
    with Records(tmp_path) as records:
        records.append(BOB)
        records.append(ALICE)
    path = tmp_path / RESULTS
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_records(tmp_path) == [BOB]  # who only reads changes nothing
    with Records(tmp_path) as records:
        assert records.graded == {}
        records.append(ALICE)
    assert [line["person"] for line in lines(tmp_path)] == ["bob", "alice"]


def test_a_damaged_line_costs_that_record_alone(tmp_path: Path) -> None:
    with Records(tmp_path) as records:
        records.append(ALICE)
    with (tmp_path / RESULTS).open("ab") as file:
        file.write(b'{"schema": 1, "person": "eve"}\n\0\0\0\n[]\n{"schema": 2, "person": "new"}\n')
    with Records(tmp_path) as records:
        records.append(BOB)
    assert read_records(tmp_path) == [ALICE, BOB]


@pytest.mark.parametrize("text", ["a\nb", "\udce9", "\0", "</script>", "\u2028", "\r\n", "=1+1"])
def test_any_text_stays_in_its_line(text: str, tmp_path: Path) -> None:
    strange = replace(ALICE, person=text, source=text, result={"text": text}, left_out=(text,))
    with Records(tmp_path) as records:
        records.append(strange)
        records.append(BOB)
    assert len((tmp_path / RESULTS).read_bytes().splitlines()) == 2
    assert {r.person: r for r in read_records(tmp_path)}[text] == strange


def test_a_full_disk_is_one_line_and_costs_the_record_in_hand_alone(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: both end a write in the middle."""
    program = f"""
        import resource, signal, sys
        from pathlib import Path
        from tests.batch.test_records import ALICE, BOB, BatchError, Records, replace
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with Records(Path({str(tmp_path)!r})) as records:
            records.append(ALICE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
            try:
                records.append(replace(BOB, error="x" * 1000))
            except BatchError as error:
                print(error)
            records.append(BOB)
    """
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], text=True, capture_output=True, cwd=root, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 and "--resume" in done.stdout and str(tmp_path) in done.stdout
    assert read_records(tmp_path) == [ALICE, BOB]


def test_each_record_is_on_the_disk_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_write, real_fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda handle, data: order.append("write") or real_write(handle, data))
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("fsync") or real_fsync(handle))
    with Records(tmp_path) as records:
        order.clear()
        records.append(ALICE)
        records.append(BOB)
    assert order == ["write", "fsync"] * 2


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with Records(tmp_path), pytest.raises(BatchError, match="another batch"):
        Records(tmp_path)
    Records(tmp_path).close()


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BatchError, match="file"):
        Records(tmp_path / "file" / "out")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 2}', '{"schema": 1, "seed": 1, "x": 2}'])
def test_what_is_no_batch_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / BATCH).write_text(text)
    with pytest.raises(BatchError, match=BATCH):
        read_batch(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 8}, "seed 8 instead of 7"), ({"tier": "gpu"}, "tier gpu instead of twin"),
        ({"exercises": ("c1_x", "q1_x")}, "exercises c1_x q1_x instead of c1_x"),
        ({"environment": {"tensorrt": "1.8", "system": "Linux-6"}}, "tensorrt 1.8 instead of 1.7"),
        ({"environment": {"system": "Linux-6"}}, "tensorrt none instead of 1.7"),
        ({"environment": {"tensorrt": "1.7", "system": "Linux-7"}}, ""), ({"began": "later"}, ""),
        ({"protections": {"mounts": False}}, ""),
    ],
)  # fmt: skip
def test_what_would_change_marks_is_a_difference(change: dict[str, Any], said: str) -> None:
    assert replace(BATCH_OF_TESTS, **change).difference(BATCH_OF_TESTS) == said


def test_memory_is_not_kept_for_records(tmp_path: Path) -> None:
    big = replace(ALICE, result={"text": "x" * 200_000})
    with Records(tmp_path) as records:
        for number in range(5):
            records.append(replace(big, person=f"p{number}"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(5, 300):
            records.append(replace(big, person=f"p{number}"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB; all of them are 60 MB
