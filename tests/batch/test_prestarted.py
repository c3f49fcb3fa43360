"""The pre-started grader gives the marks of a lone run, and nothing of one submission reaches the next."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grader import course, tiers
from grader.batch.graders import Task
from grader.batch.prestarted import PrestartedGrader
from grader.fixtures import plans
from grader.fixtures.private.small_networks import SmallNetwork
from grader.fixtures.remembered import Memory, remembered, use
from grader.processes.runner import Runner
from grader.twin.plan import PlanError, unseal
from tests.mutants.test_mutants import MUTANTS

EXERCISES = ("c1_image_classification", "q1_how_it_works")
SEED = 5
#: Mistakes in building, running, reading plans and telling of errors; one whose message holds what a reference gave.
CHOSEN = (
    "c1-bgr_kept", "c1-fp16_ignored", "c1-not_synchronized", "c1-no_softmax", "c1-none_not_checked",
    "c1-batch_fixed_at_one",
)  # fmt: skip
FROM_Q1 = 4  # of the first mutants of q1


@contextlib.contextmanager
def grader(limit_s: float = 300.0, exercises: tuple[str, ...] = EXERCISES) -> Iterator[PrestartedGrader]:
    one = PrestartedGrader(Task(exercises, "twin", SEED, limit_s))
    try:
        one.start()
        yield one
    finally:
        one.close()


def marks(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        f"{exercise['id']}/{task['id']}": (task["status"], task["message"])
        for exercise in result["exercises"]
        for task in exercise["tasks"]
    }


def lone(folder: Path, report: Path) -> dict[str, Any]:
    """What ``trtprep run`` gives."""
    argv = [sys.executable, "-m", "grader", "run", "c1", "q1", "--submission", str(folder), "--seed", str(SEED)]
    argv += ["--tier", "twin", "--json", str(report)]
    subprocess.run(argv, cwd=course.ROOT, stdout=subprocess.DEVNULL, check=False, timeout=300)
    return json.loads(report.read_text())


def hand_in(folder: Path, sources: dict[str, str]) -> Path:
    for exercise, source in sources.items():
        (folder / exercise).mkdir(parents=True)
        (folder / exercise / "stub.py").write_text(source)
    return folder


@pytest.fixture(autouse=True)
def _no_memory() -> Iterator[None]:
    yield
    use(None)


def test_stubs_are_marked_as_by_a_lone_run(tmp_path: Path) -> None:
    with grader() as one:
        told = one.grade(course.EXERCISES, "somebody")
    assert told["error"] is None
    assert marks(told["result"]) == marks(lone(course.EXERCISES, tmp_path / "lone.json"))
    assert told["result"]["earned"] == 0
    assert all(told["result"]["protections"].values())
    assert told["peak_bytes"] > 10 << 20


def test_one_that_hangs_is_ended_and_the_next_is_graded(tmp_path: Path) -> None:
    hangs = hand_in(tmp_path / "hangs", {EXERCISES[0]: "import time\ntime.sleep(600)\n"})
    with grader(limit_s=4.0, exercises=EXERCISES[:1]) as one:
        told = one.grade(hangs, "somebody")
        assert told["result"] is None
        assert "not done after 4 s" in told["error"]
        assert one.grade(course.EXERCISES, "another")["error"] is None


def test_a_pre_started_process_that_is_killed_is_started_again() -> None:
    with grader(exercises=EXERCISES[:1]) as one:
        assert one._process is not None
        os.kill(one._process.pid, signal.SIGKILL)
        assert "pre-started grader is gone" in one.grade(course.EXERCISES, "somebody")["error"]
        assert one.grade(course.EXERCISES, "another")["error"] is None


def test_a_closed_grader_grades_no_more() -> None:
    with grader(exercises=EXERCISES[:1]) as one:
        one.close()
        assert one.grade(course.EXERCISES, "somebody") == {"result": None, "error": "stopped", "peak_bytes": 0}


def test_what_a_machine_lacks_is_the_error_of_each_submission() -> None:
    one = PrestartedGrader(Task(EXERCISES[:1], "gpu", SEED, 60.0))
    try:
        if not next(tier for tier in tiers.all_tiers() if tier.name == "gpu").missing:
            pytest.skip("this machine has that tier")
        one.start()
        assert "tier gpu" in one.grade(course.EXERCISES, "somebody")["error"]
    finally:
        one.close()


@pytest.mark.slow
def test_solutions_and_mutants_are_marked_as_by_a_lone_run(tmp_path: Path) -> None:
    chosen = [mutant for mutant in MUTANTS if str(mutant) in CHOSEN]
    assert len(chosen) == len(CHOSEN)
    chosen += [mutant for mutant in MUTANTS if str(mutant).startswith("q1-") and mutant.tier != "gpu"][:FROM_Q1]
    solutions = {name: (course.SOLUTIONS / name / "solution.py").read_text() for name in EXERCISES}
    folders = {"solution": hand_in(tmp_path / "solution", solutions)}
    for mutant in chosen:
        folders[str(mutant)] = hand_in(tmp_path / str(mutant), solutions | {mutant.exercise: mutant.source()})
    with grader() as one:  # twice the first: what was remembered must not make a difference
        told = [(name, one.grade(folders[name], name)) for name in ("solution", *folders)]
    for name, one_told in told:
        assert one_told["error"] is None
        assert marks(one_told["result"]) == marks(lone(folders[name], tmp_path / f"{name}.json")), name


# -- what is remembered


def test_the_same_question_is_answered_once_and_nobody_can_write_into_the_answer() -> None:
    asked = []

    def make() -> dict[str, np.ndarray]:
        asked.append(1)
        return {"y": np.arange(3.0)}

    use(Memory(1 << 20))
    for x in (1, 1, 2):
        answer = remembered("a sum", [x, np.ones(2, np.float32)], make)
        assert answer["y"].tolist() == [0, 1, 2]
        answer["y"][:] = 9
    assert len(asked) == 2
    remembered("another", [1, np.ones(2, np.float32)], make)
    remembered("a sum", [1, np.ones((2, 1), np.float32)], make)
    remembered("a sum", [1, np.ones(2, np.float64)], make)
    assert len(asked) == 5


def test_without_a_memory_nothing_is_remembered() -> None:
    assert [remembered("n", 1, lambda n=n: n) for n in range(3)] == [0, 1, 2]


def test_a_memory_learns_from_another_process_until_it_is_full() -> None:
    theirs, ours = Memory(1 << 20), Memory(1000)
    for number, size in enumerate((700, 700, 100)):
        theirs.ask("n", number, lambda size=size: bytes(size))
    ours.learn(theirs.learnt())
    assert theirs.learnt() == {}
    assert [len(ours.ask("n", number, lambda: b"")) for number in range(3)] == [700, 0, 100]


def test_a_remembered_plan_has_the_seal_of_each_run() -> None:
    tier = tiers.choose("twin")
    network = SmallNetwork.draw(np.random.default_rng(1))
    profiles = {network.input: network.profile}
    use(Memory(64 << 20))
    with Runner(tier, b"first" * 8) as first, Runner(tier, b"second" * 8) as second:
        one, other = (plans.trusted_plan(runner, tier, network.onnx, profiles) for runner in (first, second))
        batch = network.inputs(np.random.default_rng(2), 3)
        assert second._child is None  # it was not asked to build
        for runner, plan in ((first, one), (second, other)):
            got = runner.run(plan, {network.input: batch})[network.output]
            np.testing.assert_allclose(got, network.expected(batch), rtol=1e-4, atol=1e-5)
    assert unseal(one, b"first" * 8, tier.tensorrt) == unseal(other, b"second" * 8, tier.tensorrt)
    with pytest.raises(PlanError, match="was not built in this run"):
        unseal(one, b"second" * 8, tier.tensorrt)
