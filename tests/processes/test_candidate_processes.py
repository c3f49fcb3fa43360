"""A candidate's code at arm's length: its processes, its files, and what its device saw."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from candidates import MISBEHAVING, PROGRAM, below, descriptors, line, start

from grader import tiers
from grader.course import CHECKS, ROOT, SOLUTIONS
from grader.processes import candidate as module
from grader.processes import view
from grader.processes.candidate import CallFailed, Candidate
from grader.processes.places import GRADER, INSIDE, worker_policy
from grader.processes.sandbox import MIB, Limits
from grader.twin.plan import digest


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Candidate]:
    """One candidate for many tests: each leaves it in order, which is what they are about."""
    with start(tmp_path_factory.mktemp("answer")) as candidate:
        yield candidate


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Candidate]:
    """A candidate that uses the device."""
    with start(tmp_path_factory.mktemp("program"), PROGRAM) as candidate:
        yield candidate


# -- what outlives a call


def test_a_thread_left_running_does_not_disturb_the_next_call(answer: Candidate) -> None:
    before = answer.call("token").value
    answer.call("leave_a_thread")

    assert answer.call("echo", 4).value == 4
    assert answer.call("token").value == before


def test_a_process_left_running_ends_with_its_candidate(tmp_path: Path) -> None:
    before = below()
    with start(tmp_path) as candidate:
        candidate.call("leave_a_process")
        assert candidate.call("echo", 5).value == 5
    assert below() <= before


def test_two_candidates_share_nothing(tmp_path: Path) -> None:
    with start(tmp_path) as first, start(tmp_path) as second:
        assert first.call("remember", "mine").value == ["mine"]
        assert second.call("recall").value == ([], False)
        assert first.call("recall").value == (["mine"], True)


def test_the_time_between_calls_counts_for_nobody(answer: Candidate) -> None:
    answer.call("echo", seconds=5)

    for child in (answer._worker, answer._device):
        assert child is not None
        assert child._keeper._deadline is None


def test_a_process_that_ended_between_two_calls_is_replaced(answer: Candidate) -> None:
    for ending in ("_device", "_worker"):
        answer.call("echo")
        child = getattr(answer, ending)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)

        assert answer.call("echo", 6).value == 6


# -- files


@pytest.mark.parametrize(
    "path",
    [
        SOLUTIONS / "c1_image_classification" / "solution.py",
        CHECKS / "test_c1_image_classification.py",
        ROOT / "exercises" / "c1_image_classification" / "exercise.toml",
        GRADER / "judging/judge.py",
        GRADER / "twin" / "plan.py",
        ROOT / "tests" / "processes" / "test_candidate.py",
        Path("/etc/passwd"),
    ],
    ids=lambda path: path.name,
)
def test_nothing_that_is_not_the_candidates_can_be_read(answer: Candidate, path: Path) -> None:
    assert path.exists()
    assert answer.call("reads", str(path)).value in ("FileNotFoundError", "PermissionError")


def test_another_candidates_folder_cannot_be_seen(tmp_path: Path) -> None:
    with start(tmp_path / "one" / "c1") as first, start(tmp_path / "two" / "c1") as second:
        own = str(tmp_path / "one" / "c1" / "answer.py")
        assert first.call("reads", own).value == len(MISBEHAVING)
        assert second.call("reads", own).value in ("FileNotFoundError", "PermissionError")


def test_an_answer_beside_the_grader_sees_neither_it_nor_the_solutions() -> None:
    seen = view.view_of(worker_policy(ROOT / "my_answer.py", tiers.choose("twin")))

    def shown(path: Path) -> bool:
        marks = dict(seen.marks)
        return next((marks[above] for above in (path, *path.parents) if above in marks), False)

    assert shown(ROOT / "my_answer.py")
    assert shown(INSIDE / "trtprep_worker" / "wire.py")
    for secret in (SOLUTIONS / "c1_image_classification" / "solution.py", CHECKS / "conftest.py", ROOT / "tests"):
        assert not shown(secret), secret


# -- importing the file


@pytest.mark.parametrize(
    ("text", "says", "kind"),
    [
        ("def f(:\n    pass\n", "answer.py:1", "SyntaxError"),
        ("import numpy\nimport nothing_of_the_kind\n", "nothing_of_the_kind' (answer.py:2)", "ModuleNotFoundError"),
        ("x = 1\n1 / 0\n", "ZeroDivisionError: division by zero (answer.py:2)", "ZeroDivisionError"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (answer.py:2)", "SystemExit"),
    ],
    ids=["syntax", "module", "raises", "exits"],
)
def test_a_file_that_does_not_import_says_why_and_where(tmp_path: Path, text: str, says: str, kind: str) -> None:
    with start(tmp_path, text) as candidate:
        with pytest.raises(CallFailed) as caught:
            candidate.call("f")
        with pytest.raises(CallFailed) as again:
            candidate.call("g")

    assert caught.value.reason == "import"
    assert caught.value.detail.startswith(f"your file does not import: {kind}: ")
    assert says in caught.value.detail
    assert again.value is caught.value, "it was tried once, which is enough"


def test_a_file_that_ends_the_process_while_it_is_imported_is_told_in_words(tmp_path: Path) -> None:
    text = "import os\nprint('goodbye', flush=True)\nos._exit(4)\n"
    with start(tmp_path, text) as candidate, pytest.raises(CallFailed) as caught:
        candidate.call("f")

    assert caught.value.reason == "import"
    assert caught.value.detail == "while your file was imported, your code ended by itself with status 4"
    assert caught.value.output == "goodbye\n"


def test_a_function_that_is_not_written_yet_is_a_stub(tmp_path: Path) -> None:
    text = 'def f():\n    raise NotImplementedError("write me")\n'
    with start(tmp_path, text) as candidate, pytest.raises(CallFailed) as caught:
        candidate.call("f")

    assert caught.value.reason == "stub"


# -- what the device saw


def test_the_device_tells_what_was_built_and_run(program: Candidate) -> None:
    built = program.call("build")
    batch = np.array([1, -2, 3, 4.5], np.float32)

    ran = program.call("run", built.value, batch)

    assert (built.evidence.builds, built.evidence.runs, built.evidence.findings) == (1, (), ())
    assert (ran.evidence.builds, ran.evidence.findings) == (0, ())
    (config,) = built.evidence.configs
    assert (config["plan"], config["verbosity"]) == (digest(built.value), "LAYER_NAMES_ONLY")
    assert (built.evidence.failed_configs, ran.evidence.configs) == ((), ())
    np.testing.assert_array_equal(ran.value, -batch)
    (run,) = ran.evidence.runs
    assert run["line"] == line(PROGRAM, "run")
    np.testing.assert_array_equal(run["inputs"]["given"], batch)
    np.testing.assert_array_equal(run["outputs"]["negated"], -batch)
    assert len(program.call("run", built.value, batch, twice=True).evidence.runs) == 2


def test_the_device_tells_what_was_wrong_and_where_once(tmp_path: Path) -> None:
    with start(tmp_path, PROGRAM) as candidate:
        (finding,) = candidate.call("leak").evidence.findings
        assert (finding.kind, finding.line) == ("leak", line(PROGRAM, "leak"))
        assert "1000 bytes" in finding.message


def test_what_the_device_saw_of_a_call_that_died_is_told_too(program: Candidate) -> None:
    with pytest.raises(CallFailed) as caught:
        program.call("misuse_and_die")

    assert caught.value.reason == "exit"
    assert [f.line for f in caught.value.evidence.findings] == [line(PROGRAM, "misuse")]
    assert program.call("build").evidence.findings == ()


@pytest.mark.slow
def test_a_device_that_runs_out_of_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DEVICE", Limits(wall_s=60, cpu_s=600, memory_bytes=1000 * MIB, processes=512))
    with start(tmp_path, PROGRAM) as candidate:
        with pytest.raises(CallFailed) as caught:
            candidate.call("hoard")
        assert candidate.call("build").evidence.builds == 1

    assert caught.value.reason == "device"
    assert "the twin's device process used more than 1000.0 MiB of memory" in caught.value.detail


# -- processes and descriptors


@pytest.mark.parametrize("count", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_closing_leaves_no_process_and_no_descriptor(tmp_path: Path, count: int) -> None:
    with start(tmp_path / "first") as candidate:  # what is kept for good is there after one
        candidate.call("echo")
    processes, opened = below(), descriptors()

    for number in range(count):
        with start(tmp_path / str(number)) as candidate:
            candidate.call("echo")
            if number % 3 == 0:
                with pytest.raises(CallFailed):
                    candidate.call("leave", 1)

    assert _settles(lambda: below() <= processes), below() - processes
    assert _settles(lambda: len(descriptors()) <= len(opened)), (descriptors(), opened)


def _settles(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it comes true: a killed process is in the table until it is reaped, which a busy machine delays."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        gc.collect()  # other tests of this worker may have left something to it
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize("where", ["worker_policy", "send_key", "wait_ready"])
def test_trouble_of_the_graders_while_it_starts_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def trouble(*_: object) -> None:
        raise RuntimeError("trouble of ours")

    candidate = start(tmp_path)
    before = below()
    with monkeypatch.context() as patch:
        patch.setattr(module, where, trouble)
        with pytest.raises(RuntimeError, match="trouble of ours"):
            candidate.call("echo")
    assert below() <= before

    assert candidate.call("echo", 7).value == 7
    candidate.close()
    assert below() <= before


def test_an_exception_of_the_checks_closes_a_candidate_in_a_with_block(tmp_path: Path) -> None:
    before = below()
    with pytest.raises(ZeroDivisionError), start(tmp_path) as candidate:  # noqa: PT012 (it is the check's)
        candidate.call("echo")
        raise ZeroDivisionError
    assert below() <= before


def test_closing_twice_and_before_a_call_is_no_error(tmp_path: Path) -> None:
    candidate = start(tmp_path)
    candidate.close()
    candidate.close()
