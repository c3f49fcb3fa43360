"""What checks share: each failure is one sentence that names what came instead."""

from __future__ import annotations

import numpy as np
import pytest

from grader.judging.judge import CheckFailed, array, close, error_of, expect_raises, fail, no_misuse, went_through
from grader.processes.candidate import CallFailed, Evidence, Finding, Raised, Returned

POISON = np.frombuffer(b"\xf5\xff" * 8, np.uint8)


def _evidence(*, known: bool = True, runs: tuple = (), findings: tuple = ()) -> Evidence:
    return Evidence(known, findings, runs, 0)


def _returned(**evidence: object) -> Returned:
    return Returned(None, _evidence(**evidence), "", 0.0)  # type: ignore[arg-type]


def _raised(kind: str, *bases: str, message: str = "why") -> CallFailed:
    raised = Raised(kind, (kind, *bases), message, "answer.py:3", "")
    return CallFailed("raised", str(raised), raised=raised)


# -- arrays


def test_a_good_array_is_returned_itself() -> None:
    value = np.ones((2, 3), np.float32)
    assert array(value, "it", dtype="float32", shape=(2, 3)) is value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "it is not a NumPy array but None (is a return missing?)"),
        ([1.0], "it is not a NumPy array but a list"),
        (np.float32(1), "it is not a NumPy array but a float32"),
        (np.ones((2, 3)), "it is float64 [2, 3], expected float32 [2, 3]"),
        (np.ones((3, 2), np.float32), "it is float32 [3, 2], expected float32 [2, 3]"),
        (np.ones((), np.float32), "it is float32 [], expected float32 [2, 3]"),
        (np.full((2, 3), np.nan, np.float32), "it holds NaN or infinity"),
        (np.full((2, 3), -np.inf, np.float32), "it holds NaN or infinity"),
    ],
)
def test_another_array_is_refused_with_what_it_is(value: object, says: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        array(value, "it", dtype="float32", shape=(2, 3))
    assert str(caught.value) == says


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_memory_that_was_never_written_is_told_from_other_nans(dtype: str) -> None:
    value = np.ones(4, dtype)
    value[1] = POISON.view(dtype)[0]

    with pytest.raises(CheckFailed, match="nothing was written to yet: was the stream synchronized"):
        array(value, "it", dtype=dtype, shape=(4,))


def test_integers_have_no_nan() -> None:
    array(np.zeros(2, np.int32), "it", dtype="int32", shape=(2,))


# -- errors


@pytest.mark.parametrize(
    ("got", "want", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ([0.0, 0.0], [0.0, -4.0], 1.0),
        ([0.5], [0.0], 0.5),
    ],
)
def test_the_error_is_the_largest_difference_over_the_largest_value(got: list, want: list, error: float) -> None:
    assert error_of(np.array(got), np.array(want)) == error


def test_the_error_of_small_types_does_not_overflow() -> None:
    assert error_of(np.array([60000], np.float16), np.array([-60000], np.float16)) == pytest.approx(2)
    assert error_of(np.array([0], np.uint8), np.array([255], np.uint8)) == 1


def test_close_allows_up_to_the_bound_and_says_by_how_much_it_was_missed() -> None:
    want = np.array([4.0])
    assert close(np.array([4.5]), want, "it", within=0.125) == 0.125
    with pytest.raises(CheckFailed) as caught:
        close(np.array([5.0]), want, "it", within=0.125, advice="round less")
    assert str(caught.value) == "it is off by 0.25 (max|a-b| / max|b|), at most 0.125 is allowed: round less"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_not_a_number_is_close_to_nothing() -> None:
    with pytest.raises(CheckFailed):
        close(np.array([np.nan]), np.array([1.0]), "it", within=1e9)


def test_a_failed_check_is_an_assertion() -> None:
    with pytest.raises(AssertionError, match=r"^words$"):
        fail("words")


# -- evidence


def test_a_finding_is_a_failure_with_its_line() -> None:
    no_misuse(_evidence())
    with pytest.raises(CheckFailed, match=r"would not forgive \(a\.py:3\): it leaks"):
        no_misuse(_evidence(findings=(Finding("leak", "it leaks", "a.py:3"), Finding("free", "twice", ""))))
    with pytest.raises(CheckFailed, match="would not forgive: twice"):
        no_misuse(_evidence(findings=(Finding("free", "twice", ""),)))


def _run(plan: str, *arrays: np.ndarray) -> dict:
    return {"plan": plan, "inputs": {str(i): a for i, a in enumerate(arrays)}, "outputs": {}, "line": ""}


def test_the_given_inputs_must_have_gone_through_the_given_engine() -> None:
    inputs = np.arange(6, dtype=np.float32).reshape(2, 3)

    went_through(_returned(runs=(_run("other"), _run("mine", inputs + 1), _run("mine", inputs.copy()))), "mine", inputs)
    went_through(_returned(known=False), "mine", inputs)


@pytest.mark.parametrize("kind", ["none", "another engine"])
def test_an_answer_without_a_run_of_the_engine_fails(kind: str) -> None:
    inputs = np.zeros(3, np.float32)
    runs = () if kind == "none" else (_run("other", inputs),)
    with pytest.raises(CheckFailed, match="without running the engine that was given"):
        went_through(_returned(runs=runs), "mine", inputs)


@pytest.mark.parametrize("change", ["value", "dtype", "shape", "part"])
def test_a_run_on_other_inputs_fails(change: str) -> None:
    inputs = np.arange(6, dtype=np.float32)
    seen = {
        "value": inputs + np.eye(1, 6, dtype=np.float32)[0],
        "dtype": inputs.astype(np.float64),
        "shape": inputs.reshape(2, 3),
        "part": inputs[:5],
    }[change]
    with pytest.raises(CheckFailed, match="but not on the inputs that were given"):
        went_through(_returned(runs=(_run("mine", seen),)), "mine", inputs)


# -- expected exceptions


def test_the_expected_exception_and_what_derives_from_it_are_taken() -> None:
    with expect_raises("ValueError", "a bad plan"):
        raise _raised("ValueError", "Exception")
    with expect_raises("ValueError", "a bad plan"):
        raise _raised("UnicodeDecodeError", "UnicodeError", "ValueError", "Exception")


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (None, "a bad plan: expected a ValueError, but your code returned as if all were well"),
        (_raised("KeyError", "LookupError"), "expected a ValueError, but your code raised KeyError: why (answer.py:3)"),
        (_raised("Exception"), "expected a ValueError, but your code raised Exception"),
        (_raised("ValueError", message=" "), "a bad plan: the ValueError has no message; say what is wrong with what"),
    ],
    ids=["nothing", "another", "a base", "no words"],
)
def test_anything_else_fails_with_what_came(failure: CallFailed | None, says: str) -> None:
    with pytest.raises(CheckFailed) as caught, expect_raises("ValueError", "a bad plan"):  # noqa: PT012 (one or none)
        if failure is not None:
            raise failure
    assert says in str(caught.value)


def test_an_exception_must_have_the_words_that_are_asked_for() -> None:
    with expect_raises("ValueError", "a bad plan", "layer 3", "conv"):
        raise _raised("ValueError", message="conv, which is layer 3")
    with (
        pytest.raises(CheckFailed, match="a bad plan: the ValueError should name 'layer 3'; it says 'conv'"),
        expect_raises("ValueError", "a bad plan", "conv", "layer 3"),
    ):
        raise _raised("ValueError", message="conv")


def test_of_several_words_one_may_be_enough() -> None:
    with expect_raises("ValueError", "a bad plan", ("layer 3", "conv")):
        raise _raised("ValueError", message="conv")
    with (
        pytest.raises(CheckFailed, match="should name 'layer 3'; it says 'relu'"),
        expect_raises("ValueError", "a bad plan", ("layer 3", "conv")),
    ):
        raise _raised("ValueError", message="relu")


def test_the_call_that_failed_as_it_should_is_given_back() -> None:
    failure = _raised("ValueError", message="conv")
    with expect_raises("ValueError", "a bad plan") as caught:
        raise failure
    assert caught == [failure]


@pytest.mark.parametrize("reason", ["stub", "signal", "wall", "import"])
def test_a_call_that_did_not_raise_by_itself_keeps_its_own_words(reason: str) -> None:
    raised = Raised("NotImplementedError", ("NotImplementedError",), "write me", "", "") if reason == "stub" else None
    failure = CallFailed(reason, "as it was", raised=raised)
    with pytest.raises(CallFailed) as caught, expect_raises("NotImplementedError", "a bad plan"):
        raise failure
    assert caught.value is failure
