"""Each mistake in host code is named, with the buffer and the candidate's line; put right, nothing is found."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from grader.twin.misuse import KINDS
from tests.twin.capture_cases import CAPTURE_CASES
from tests.twin.context_memory_cases import CONTEXT_MEMORY_CASES
from tests.twin.harness import KEY, Outcome, Twin
from tests.twin.misuse_cases import CASES, SET_UP, Case
from tests.twin.runtime_cases import RUNTIME_CASES

ALL_CASES = [*CASES, *CONTEXT_MEMORY_CASES, *CAPTURE_CASES, *RUNTIME_CASES]


def _arm(code: str, *, wrong: bool) -> str:
    """One arm of a program. Lines keep their numbers in neither, but marks go with them."""
    other = "right" if wrong else "wrong"
    head, tail = code.rstrip().split("\n        ", 1) if not code.startswith("\n        ") else ("", code.strip("\n"))
    text = head + "\n" + textwrap.dedent("        " + tail.lstrip() if head else tail)
    return "\n".join(line for line in text.splitlines() if not re.search(rf"# {other}\b", line)) + "\n"


def _run(twin: Twin, case: Case, *, wrong: bool) -> Outcome:
    return twin(_arm(case.code, wrong=wrong), **({"prelude": case.prelude} if case.prelude else {}))


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.title.replace(" ", "-"))
def test_a_mistake_is_named(twin: Twin, case: Case) -> None:
    outcome = _run(twin, case, wrong=True).found(case.kind, *case.words)
    assert outcome.type == case.error, outcome.trace
    assert case.says in outcome.message + outcome.printed
    assert set(outcome.kinds) <= {case.kind, *case.also}, outcome.findings


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.title.replace(" ", "-"))
def test_put_right_nothing_is_found(twin: Twin, case: Case) -> None:
    _run(twin, case, wrong=False).clean()


def test_every_kind_of_finding_has_a_case() -> None:
    elsewhere = {"execution", "between-calls", "crash"}  # test_session.py, test_command_log.py, test_pycuda_refusals.py
    assert {case.kind for case in ALL_CASES} | elsewhere == set(KINDS)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("empty", "the plan is empty"),
        ("random", "magic tag not found"),
        ("truncated", "truncated"),
        ("cut short in its seal", "truncated"),
        ("altered", "altered"),
        ("altered network", "altered"),
        ("another version", "was built by TensorRT-RTX 1.0.0.1"),
        ("another key", "was not built in this run"),
    ],
)
def test_a_plan_that_is_no_good_is_refused_with_the_reason(twin: Twin, plan_folder: Path, name: str, says: str) -> None:
    from tests.twin.plans import other_version  # needs TensorRT-RTX

    good = (plan_folder / "relu.plan").read_bytes()
    altered, network = bytearray(good), bytearray(good)
    altered[len(good) // 3] ^= 1
    network[-600] ^= 1
    bad = {
        "empty": b"",
        "random": bytes(range(256)) * 8,
        "truncated": good[: len(good) // 2],
        "cut short in its seal": good[:-10],
        "altered": bytes(altered),
        "altered network": bytes(network),
        "another version": other_version(good, KEY),
        "another key": good,
    }[name]
    (twin.folder / "bad").write_bytes(bad)
    outcome = twin(
        """
        engine = trt.Runtime(LOGGER).deserialize_cuda_engine(open("bad", "rb").read())
        assert (engine is None) is (args[0] == "bad")
        """,
        "bad",
        key=b"a key of another run" if name == "another key" else KEY,
    ).clean()
    assert says in outcome.printed
    (twin.folder / "bad").write_bytes(good)
    twin("assert trt.Runtime(LOGGER).deserialize_cuda_engine(open('bad', 'rb').read()) is not None").clean()


def test_polling_once_does_not_make_results_appear(twin: Twin) -> None:
    outcome = twin(
        SET_UP
        + """
cuda.memcpy_htod(d_x, X)
context.execute_async_v3(stream.handle)
cuda.memcpy_dtoh_async(h_y, d_y, stream)
assert stream.is_done() is False
assert np.isnan(h_y).all()
assert stream.is_done() is True
assert np.array_equal(h_y, Y)
"""
    )
    outcome.clean()


def test_a_result_that_nothing_waited_for_never_arrives(twin: Twin) -> None:
    """Not even after the call's audit made the work run: a later call must not be told of an earlier one's mistake."""
    outcome = twin("""
        import builtins
        builtins.kept = [cuda.pagelocked_empty((2, 3), np.float32), cuda.Stream(), cuda.to_device(X)]
        cuda.memcpy_dtoh_async(builtins.kept[0], builtins.kept[2], builtins.kept[1])  # <here>
        return str(builtins.kept[0][0, 0])
    """)
    outcome.found("not-waited", "memcpy_dtoh_async")
    assert outcome.value == "nan"
