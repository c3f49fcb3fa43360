"""Words and measures that checks share: every failure is one sentence that would help its author."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from grader.inside.trtprep_worker.poison import POISON
from grader.processes.candidate import CallFailed, Evidence, Returned
from grader.tiers import Tier


class CheckFailed(AssertionError):  # noqa: N818 (it reads as what happened)
    """What was asked for is not what came; the text is for the candidate."""


class Inconclusive(Exception):  # noqa: N818 (it reads as what happened)
    """A timing whose spread swallows the difference."""


def fail(message: str) -> NoReturn:
    raise CheckFailed(message)


def array(value: Any, what: str, *, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """``value`` when it is a finite array of this dtype and shape. Raises CheckFailed, saying what it is instead."""
    if not isinstance(value, np.ndarray):
        fail(f"{what} is not a NumPy array but {kind_of(value)}")
    if value.dtype.name != dtype or value.shape != shape:
        fail(f"{what} is {value.dtype.name} {list(value.shape)}, expected {dtype} {list(shape)}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        if POISON in value[~np.isfinite(value)].tobytes():
            fail(
                f"{what} holds memory that nothing was written to yet: was the stream synchronized before it was read?"
            )
        fail(f"{what} holds NaN or infinity")
    return value


def error_of(got: np.ndarray, want: np.ndarray) -> float:
    """max|a-b| / max|b|, in float64."""
    scale = float(np.abs(want.astype(np.float64)).max()) or 1.0
    return float(np.abs(got.astype(np.float64) - want.astype(np.float64)).max()) / scale


def close(got: np.ndarray, want: np.ndarray, what: str, *, within: float, advice: str = "") -> float:
    """The error of ``got``. Raises CheckFailed when it is above ``within``."""
    error = error_of(got, want)
    if not error <= within:
        tail = f": {advice}" if advice else ""
        fail(f"{what} is off by {error:.2g} (max|a-b| / max|b|), at most {within:g} is allowed{tail}")
    return error


def fp32(tier: Tier) -> float:
    """Error allowed in float32: GPUs sum in another order than CPUs do."""
    return 1e-5 if tier.name == "twin" else 1e-3


def no_misuse(evidence: Evidence) -> None:
    """Raises CheckFailed for the first thing that the twin found wrong with the host code."""
    for finding in evidence.findings:
        where = f" ({finding.line})" if finding.line else ""
        fail(f"host code that a GPU would not forgive{where}: {finding.message}")
    if evidence.dropped_log:
        asked = len(evidence.log) + evidence.dropped_log
        fail(f"the device was asked for {asked} things in one call, and its log has room for {len(evidence.log)}")


def explained(failure: CallFailed) -> CallFailed:
    """``failure`` with what the twin had found wrong before: an exception of a candidate's own seldom says it."""
    found = [
        f for f in failure.evidence.findings if f.kind not in ("leak", "not-waited") and f.message not in failure.detail
    ]
    if failure.reason == "raised" and found:
        failure.args = (f"{failure.detail}; before that, the twin found: {found[0].message}",)
    return failure


def went_through(returned: Returned, plan: str, inputs: np.ndarray) -> None:
    """Raises CheckFailed unless the device saw these inputs go through the engine with this digest.

    Tiers without a device log pass: there the answer alone is judged.
    """
    if not returned.evidence.known:
        return
    runs = [run for run in returned.evidence.runs if run["plan"] == plan]
    if not runs:
        fail("the answer came without running the engine that was given")
    seen = [a for run in runs for a in run["inputs"].values()]
    if not any(a.dtype == inputs.dtype and a.shape == inputs.shape and np.array_equal(a, inputs) for a in seen):
        fail("the engine ran, but not on the inputs that were given")


@contextmanager
def expect_raises(name: str, situation: str, *words: str | tuple[str, ...]) -> Iterator[list[CallFailed]]:
    """The block must end in a candidate's exception that is a ``name`` and has the words; else it is a CheckFailed.

    A tuple is a choice: one of its words must be there. Gives a list that holds the failed call afterwards.
    """
    caught: list[CallFailed] = []
    try:
        yield caught
    except CallFailed as failure:
        if failure.raised is None or failure.reason == "stub":
            raise
        if name not in failure.raised.bases:
            fail(f"{situation}: expected a {name}, but your code raised {failure.raised}")
        message = failure.raised.message
        if not message.strip():
            fail(f"{situation}: the {name} has no message; say what is wrong with what")
        for word in words:
            choice = (word,) if isinstance(word, str) else word
            if not any(option in message for option in choice):
                fail(f"{situation}: the {name} should name {choice[0]!r}; it says {message[:300]!r}")
        caught.append(failure)
        return
    fail(f"{situation}: expected a {name}, but your code returned as if all were well")


def kind_of(value: Any) -> str:
    """What a returned value is, in words."""
    return "None (is a return missing?)" if value is None else f"a {type(value).__name__}"
