"""The one command for a GPU box: rows as they come, a run that goes on where it was broken off, and the table."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from grader import tiers
from tests.conformance import __main__ as suite
from tests.conformance import cost, programs
from tests.conformance.programs import GpuPrograms, Program, TwinPrograms

_PLANS = 'import json; print(json.dumps({"tensorrt": "8.6.0", "missing": {"scalar": "no such shape"}}))'


@pytest.fixture(scope="module")
def all_programs() -> list[Program]:
    return programs.programs()


def test_the_suite_has_each_mistake_in_both_arms_and_the_tests_of_legal_code(all_programs: list[Program]) -> None:
    count = Counter(program.legal for program in all_programs)
    assert count[False] == len(programs.ALL_CASES) and count[True] >= count[False] + 40
    names = [(program.legal, program.name) for program in all_programs]
    assert len(set(names)) == len(names)
    assert any(
        program.name == "test_a_double_buffered_pipeline" and "slots" in program.body for program in all_programs
    )
    assert all(program.kind for program in all_programs if not program.legal)


def test_a_legal_and_an_illegal_program_on_the_twin(all_programs: list[Program]) -> None:
    with TwinPrograms() as twin:
        good = twin.run(next(p for p in all_programs if p.name == "freed address, put right"))
        bad = twin.run(next(p for p in all_programs if p.name == "freed address"))
    assert (good.good, good.says, good.kinds) == (True, "ends well", ())
    assert not bad.good and bad.kinds == ("freed",) and "LogicError" in bad.says


@pytest.mark.slow
def test_all_programs_do_on_the_twin_what_they_should(tmp_path: Path) -> None:
    counts = suite.run(tiers.choose("twin"), tmp_path / "rows", ["legal", "illegal"], 0)
    assert counts.keys() == {"agrees"} and counts["agrees"] > 250


@pytest.mark.parametrize(
    ("script", "good", "says"),
    [
        ('print(json.dumps({"type": "", "message": ""}))', True, "ends well"),
        (
            'print("noise"); print(json.dumps({"type": "LogicError", "message": "no\\nmore"}))',
            False,
            "LogicError: no more",
        ),
        (
            'print(json.dumps({"type": "AssertionError", "message": "", "line": "    assert x == 3"}))',
            False,
            "AssertionError:  at `assert x == 3`",
        ),
        ("os.kill(os.getpid(), 11)", False, "killed by SIGSEGV"),
        (
            "print('the stack\\n---', file=sys.stderr, flush=True); os.kill(os.getpid(), 6)",
            False,
            "killed by SIGABRT: the stack",
        ),
        (
            "print(f'File \"{sys.argv[2]}\", line 2 in main', file=sys.stderr, flush=True); os.kill(os.getpid(), 11)",
            False,
            "killed by SIGSEGV at `load()`",
        ),
        ('print(json.dumps({"type": "", "message": ""})); sys.exit(3)', False, "ends well, then status 3"),
        ("sys.exit('no GPU')", False, "ended with status 1: no GPU"),
        ("time.sleep(60)", False, "hangs: ended after 2 s"),
    ],
)
def test_whatever_becomes_of_a_program_on_a_gpu_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, good: bool, says: str
) -> None:
    process = tmp_path / "process.py"
    process.write_text(f"import json, os, sys, time\nif sys.argv[1] == 'plans':\n    {_PLANS}\nelse:\n    {script}\n")
    monkeypatch.setattr(programs, "_PROCESS", process)
    monkeypatch.setattr(programs, "_PATIENCE_S", 2.0)
    with GpuPrograms() as gpu:
        told = gpu.run(Program("p", True, "load()", ""))
        assert (told.good, told.says) == (good, says)
        assert gpu.run(Program("p", True, 'load("scalar")', "")).says == "lacking: no plan 'scalar' (no such shape)"


def test_a_gpus_copy_is_without_the_lines_for_the_twin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    process = tmp_path / "process.py"
    told = 'print(json.dumps({"type": "E", "message": open(sys.argv[2]).read()}))'
    process.write_text(f"import json, sys\nif sys.argv[1] == 'plans':\n    {_PLANS}\nelse:\n    {told}\n")
    monkeypatch.setattr(programs, "_PROCESS", process)
    body = "a = 1\nassert poison  # wrong, twin\nb = 2  # twin: why\ntwin = 3\n"
    with GpuPrograms() as gpu:
        assert gpu.run(Program("p", True, body, "")).says == "E: def main(*args): a = 1 twin = 3"
        assert gpu.run(Program("p", True, "# lacking 8: no flag\na = 1", "")).says == "lacking: no flag"
        assert "a = 1" in gpu.run(Program("p", True, "# lacking 10: no flag\na = 1", "")).says


def test_a_run_goes_on_behind_its_last_whole_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twin, out = tiers.choose("twin"), tmp_path / "rows.jsonl"
    counts = suite.run(twin, out, ["random"], 2)
    assert counts == {"agrees": 2}
    out.write_text(out.read_text() + '{"machine": "tw')
    assert suite.run(twin, out, ["random"], 3) == {"agrees": 1}
    assert [row["case"] for row in suite.read(out)] == ["seed 0", "seed 1", "seed 2"]
    assert suite.run(twin, out, ["random"], 3) == {}


def test_rows_of_another_machine_are_not_mixed_in(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    row = {"machine": "gpu, TensorRT 8.6.0", "group": "random", "case": "seed 0", "outcome": "agrees", "says": ""}
    out.write_text(json.dumps(row) + "\n")
    with pytest.raises(SystemExit, match="has rows of gpu"):
        suite.run(tiers.choose("twin"), out, ["random"], 1)


def test_the_table_says_who_agrees() -> None:
    def row(machine: str, group: str, case: str, outcome: str, says: str) -> dict[str, str]:
        return {"machine": machine, "group": group, "case": case, "outcome": outcome, "says": says}

    twin = [row("twin", "layers", "a", "agrees", "error 1e-7"), row("twin", "layers", "b", "agrees", "x|y"),
            row("twin", "illegal", "c", "agrees", "finding freed"), row("twin", "random", "seed 0", "agrees", ""),
            row("twin", "layers", "d", "agrees", "")]  # fmt: skip
    gpu = [row("gpu", "layers", "a", "agrees", "error 2e-7"), row("gpu", "layers", "b", "differs", "error 0.3"),
           row("gpu", "illegal", "c", "open", "ends well"), row("gpu", "random", "seed 0", "differs", "tensor 3"),
           row("gpu", "layers", "e", "lacking", "no such axis")]  # fmt: skip
    assert suite.table([twin, gpu]).splitlines() == [
        "| case | twin | gpu | agree |",
        "|---|---|---|---|",
        "| layers: a | error 1e-7 | error 2e-7 | yes |",
        "| layers: b | x\\|y | error 0.3 | no |",
        "| illegal: c | finding freed | ends well | open |",
        "| random: seed 0 |  | tensor 3 | no |",
        "| layers: d |  | not run | - |",
        "| layers: e | not run | no such axis | lacking |",
        "| random: all | 1 of 1 agree | 0 of 1 agree | |",
    ]


def test_the_cost_of_every_call_and_of_a_classification_is_measured() -> None:
    """Figures, not bars: those are for a quiet machine (`python -m tests.conformance.cost`)."""
    spent = cost.calls(5)
    assert {"context.execute_async_v3", "cuda.memcpy_htod_async", "cuda.mem_alloc"} <= spent.keys()
    assert all(0.5 < s.low <= s.median <= s.high < 1e6 for s in spent.values())
    assert str(cost.Spread.of([1.0, 2.0, 3.0, 4.0, 5.0])) == "     3.0 (2.0 to 4.0)"


@pytest.mark.slow
def test_a_classification_is_measured_both_ways_in_turn() -> None:
    found = cost.classification(3)
    assert found.twin.median > 1 and found.alone.median > 1
