"""A candidate's code at arm's length: whatever it does in a call has a name, and the next call works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from candidates import MISBEHAVING, below, fails, line, restarts, start

from grader.inside.trtprep_worker import wire
from grader.processes import candidate as module
from grader.processes.candidate import CallFailed, Candidate, GivenFile, GivenFolder, GivenPath
from grader.processes.sandbox import MIB, Limits


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Candidate]:
    """One candidate for many tests: each leaves it in order, which is what they are about."""
    with start(tmp_path_factory.mktemp("answer")) as candidate:
        yield candidate


# -- calls that end well


def test_a_value_comes_back_with_what_was_printed(answer: Candidate) -> None:
    value = {"text": "ä", "list": [1, 2.5, None, True], "tuple": (1, (2,)), "bytes": b"\0\xff", "$": "kept"}

    returned = answer.call("echo", value)

    assert returned.value == value
    assert returned.output == "echo was called\n"
    assert returned.seconds > 0
    assert returned.evidence.known
    assert (returned.evidence.findings, returned.evidence.runs, returned.evidence.builds) == ((), (), 0)


def test_what_a_call_printed_comes_with_that_call_even_when_the_watching_thread_is_late(
    answer: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer.call("echo")
    assert answer._worker is not None
    late, go_on = threading.Event(), threading.Event()

    def stall() -> None:
        late.set()
        go_on.wait(60)

    monkeypatch.setattr(answer._worker._keeper, "_over_output", stall)
    late.wait(60)
    try:
        assert answer.call("echo").output == "echo was called\n"
    finally:
        go_on.set()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_an_array_keeps_its_bytes_dtype_and_shape(answer: Candidate, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)[:, ::-1]

    back = answer.call("echo", array).value

    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_keyword_arguments_are_passed_on(answer: Candidate) -> None:
    assert answer.call("echo", 1, named=2).value == (1, 2)


def test_not_a_number_and_infinity_come_back_as_they_are(answer: Candidate) -> None:
    number, array = answer.call("not_a_number").value

    assert np.isnan(number)
    np.testing.assert_array_equal(array, np.array([1, np.nan, np.inf], np.float32))


def test_files_that_are_given_have_their_names_and_bytes_wherever_they_stand(answer: Candidate) -> None:
    first, second = GivenFile("a.bin", b"\0\r\n\xff"), GivenFile("deep/b.txt", b"")

    assert answer.call("contents", first).value == ("a.bin", b"\0\r\n\xff")
    assert answer.call("contents", [first, second]).value == [("a.bin", b"\0\r\n\xff"), ("b.txt", b"")]
    assert answer.call("contents", (first,)).value == (("a.bin", b"\0\r\n\xff"),)
    assert set(answer.call("echo", {"file": first}).value) == {"file"}
    assert answer.call("echo", {"file": first}).value["file"].endswith("/a.bin")


def test_files_are_written_beside_the_one_that_is_given(answer: Candidate) -> None:
    given = GivenFile("with/others.bin", b"first", {"with/others.json": b"{}", "elsewhere.txt": b"third"})

    assert answer.call("contents", given).value == ("others.bin", b"first")
    assert answer.call("contents", GivenPath("with/others.json")).value == ("others.json", b"{}")
    assert answer.call("contents", GivenPath("elsewhere.txt")).value == ("elsewhere.txt", b"third")


def test_a_folder_that_is_given_holds_its_files_and_no_others(answer: Candidate) -> None:
    given = GivenFolder("model", {"a.bin": b"first", "deep/b.bin": b""})

    assert answer.call("echo", given).value.endswith("/model")
    assert answer.call("contents", GivenPath("model/a.bin")).value == ("a.bin", b"first")
    assert answer.call("contents", GivenPath("model/deep/b.bin")).value == ("b.bin", b"")
    with pytest.raises(CallFailed, match="FileExistsError"):
        answer.call("echo", given)


def test_a_path_that_is_given_leads_to_nothing_in_a_folder_that_exists(answer: Candidate) -> None:
    assert answer.call("kind_of", GivenPath("nothing.jpg")).value == (False, "nothing.jpg", True)


# -- calls that end badly


def test_an_exception_is_told_with_its_type_bases_message_and_line(answer: Candidate) -> None:
    before = answer.call("token").value

    failure = fails(answer, "narrow")

    assert failure.reason == "raised"
    raised = failure.raised
    assert raised is not None
    assert (raised.type, raised.message, raised.line) == ("NarrowError", "7 is not 8", line(MISBEHAVING, "narrow"))
    assert raised.bases[:3] == ("NarrowError", "ValueError", "Exception")
    assert "in narrow" in raised.traceback
    assert "in deeper" in raised.traceback
    assert "worker.py" not in raised.traceback
    assert failure.detail == f"NarrowError: 7 is not 8 ({raised.line})"
    assert answer.call("token").value == before, "an exception is no reason to start anew"


def test_an_exception_whose_text_cannot_be_had_is_still_told(answer: Candidate) -> None:
    failure = fails(answer, "mute")

    assert failure.raised is not None
    assert failure.raised.type == "MuteError"
    assert "its text raises RuntimeError" in failure.detail


def test_text_that_no_file_could_hold_is_made_harmless(answer: Candidate) -> None:
    assert b"half ? a pair" in fails(answer, "half_a_pair").detail.encode()


@pytest.mark.parametrize(("function", "kind"), [("leave_politely", "SystemExit"), ("interrupt", "KeyboardInterrupt")])
def test_what_would_end_a_program_is_an_exception_like_others(answer: Candidate, function: str, kind: str) -> None:
    failure = fails(answer, function)

    assert failure.reason == "raised"
    assert failure.raised is not None
    assert failure.raised.type == kind
    assert failure.raised.line.startswith("answer.py:")


def test_endless_recursion_is_an_exception(answer: Candidate) -> None:
    failure = fails(answer, "recurse")

    assert failure.raised is not None
    assert failure.raised.type == "RecursionError"


def test_a_function_that_is_missing_is_named(answer: Candidate) -> None:
    assert "no function 'gone'" in fails(answer, "gone").detail


def test_a_call_that_hangs_is_stopped_and_what_it_printed_is_kept(answer: Candidate) -> None:
    failure = restarts(answer, "hang", seconds=1)

    assert failure.reason == "wall"
    assert failure.detail == "your code was not done after 1 s and was stopped"
    assert failure.output == "going to sleep\n"
    assert failure.evidence.known


def test_a_segmentation_fault_is_named(answer: Candidate) -> None:
    failure = restarts(answer, "touch_memory")

    assert failure.reason == "signal"
    assert "SIGSEGV" in failure.detail
    assert failure.output == "one last word\n"


@pytest.mark.parametrize("status", [0, 3])
def test_a_process_that_ends_itself_is_named_with_its_status(answer: Candidate, status: int) -> None:
    failure = restarts(answer, "leave", status)

    assert failure.reason == "exit"
    assert failure.detail == f"your code ended by itself with status {status}"


def test_printing_without_end_is_stopped_and_the_ends_of_it_are_kept(answer: Candidate) -> None:
    failure = restarts(answer, "shout")

    assert failure.reason == "output"
    assert "printed more than 16.0 MiB" in failure.detail
    assert "bytes left out" in failure.output
    assert len(failure.output) < 300 * 1024


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("object", "a value of type builtins.object"),
        ("set", "a value of type builtins.set"),
        ("keys", "a dict whose keys are not all strings"),
        ("strings", "an array of dtype <U1"),
        ("objects", "an array of dtype object"),
        ("complex", "a value of type builtins.complex"),
        ("odd", "a value that cannot be looked into (RuntimeError: not to be looked into)"),
    ],
)
def test_a_value_that_cannot_cross_is_named(answer: Candidate, kind: str, text: str) -> None:
    before = answer.call("token").value

    failure = fails(answer, "unsendable", kind)

    assert failure.detail == f"TypeError: unsendable() returned {text}"
    assert answer.call("token").value == before


def test_a_value_that_contains_itself_is_refused(answer: Candidate) -> None:
    assert fails(answer, "unsendable", "itself").reason == "raised"


@pytest.mark.parametrize(
    ("kind", "text"), [("bytes", "at most 536870912 are taken"), ("arrays", "2000 arrays"), ("text", "too many values")]
)
def test_more_than_may_come_back_is_refused_with_the_bound(answer: Candidate, kind: str, text: str) -> None:
    failure = fails(answer, "too_much", kind)

    assert failure.reason == "raised"
    assert f"too_much() returned {text}" in failure.detail or text in failure.detail


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 64,
        (4 << 30 >> 2).to_bytes(4, "little") + bytes(8),
        (2).to_bytes(4, "little") + bytes(8) + b"[]",
        (2).to_bytes(4, "little") + bytes(8) + b"{}",
        (1).to_bytes(4, "little") + bytes(8) + b"{",
        (30).to_bytes(4, "little") + bytes(8) + b'{"value": 1, "error": {"a": 2}',
    ],
    ids=["noise", "too long", "no dict", "neither", "no JSON", "both, cut"],
)
def test_garbage_on_the_channel_is_named_and_the_process_replaced(answer: Candidate, data: bytes) -> None:
    failure = restarts(answer, "write", data)

    assert failure.reason == "garbled"
    assert "not an answer to the grader" in failure.detail


def test_going_on_without_the_channel_is_a_failure_of_the_candidates(
    answer: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LAST_WORDS_S", 0.3)
    failure = restarts(answer, "close_the_channel")

    assert failure.reason == "garbled"
    assert "closed the channel" in failure.detail


def test_garbage_for_the_device_harms_only_its_author(answer: Candidate) -> None:
    assert answer.call("garbage_for_the_device").value == "written"
    assert answer.call("echo", 2).evidence.known


@pytest.mark.slow
def test_memory_without_end_is_named(tmp_path: Path) -> None:
    limits = Limits(wall_s=60, cpu_s=60, memory_bytes=400 * MIB, processes=64)
    with start(tmp_path, limits=limits) as candidate:
        failure = restarts(candidate, "swallow")

    assert failure.reason == "memory"
    assert "more than 400.0 MiB of memory" in failure.detail


def test_a_fork_bomb_is_named_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    before = below()
    limits = Limits(wall_s=60, cpu_s=60, memory_bytes=4096 * MIB, processes=40)
    with start(tmp_path, limits=limits) as candidate:
        failure = restarts(candidate, "multiply")

    assert failure.reason == "processes"
    assert "more than 40 processes" in failure.detail
    assert below() <= before


@pytest.mark.slow
def test_a_thread_that_spins_and_ignores_signals_is_stopped(answer: Candidate) -> None:
    assert restarts(answer, "hang_hard", seconds=1).reason == "wall"


def test_a_mistake_of_the_check_is_not_laid_at_the_candidates_door(answer: Candidate) -> None:
    with pytest.raises(wire.WireError):
        answer.call("echo", object())
    assert answer.call("echo", 3).value == 3
