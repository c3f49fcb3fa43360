"""What a device saw of a transcription, and how its words differ from what was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grader.fixtures.speech.log_mel import log_mel
from grader.fixtures.speech.words import normalise
from grader.judging.judge import fail
from grader.processes.candidate import Evidence

_NEAR = 0.02  # on average, of features that are judged for themselves


def texts(value: Any, count: int, function: str) -> list[str]:
    """``value`` when it is a list of so many strings. Raises CheckFailed."""
    if not isinstance(value, (list, tuple)) or len(value) != count or not all(isinstance(text, str) for text in value):
        fail(f"{function} of {count} clips must return a list of {count} strings; it gave {value!r:.200}")
    return list(value)


def same_text(got: str, want: str, what: str) -> None:
    """Raises CheckFailed, with the first word that differs."""
    if got == want:
        return
    if got.split() == want.split():
        fail(f"{what} differs in blanks: {got!r:.200}, expected {want!r:.200}")
    ours, theirs = want.split(), got.split()
    same = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    place = "from the first word on" if not same else f"after {' '.join(ours[max(0, same - 4) : same])!r}"
    if len(theirs) > len(ours) and theirs[: len(ours)] == ours:
        fail(f"{what} goes on after its end, with {' '.join(theirs[same:])!r:.200}")
    if len(theirs) < len(ours) and ours[: len(theirs)] == theirs:
        fail(f"{what} ends too early, {place}: {' '.join(ours[same:])!r:.200} is missing")
    fail(f"{what} is wrong {place}: {' '.join(theirs[same:])!r:.200}, expected {' '.join(ours[same:])!r:.200}")


def heard_by(evidence: Evidence, encoder: str, clips: Sequence[np.ndarray]) -> None:
    """Raises CheckFailed unless the device saw each clip's features go through the encoder with this digest."""
    if not evidence.known:
        return
    seen = [mel for run in evidence.runs if run["plan"] == encoder for mel in run["inputs"].get("mel", ())]
    if not seen:
        fail("the answer came without running the encoder that was given")
    for number, clip in enumerate(clips):
        want = log_mel(clip)
        if not any(np.abs(mel.astype(np.float64) - want).mean() <= _NEAR for mel in seen):
            fail(f"the encoder ran, but not on the features of clip {number}")


def runs_of(evidence: Evidence, plan: str) -> list[dict[str, Any]]:
    """The runs of the plan with this digest, as the device saw them."""
    return [run for run in evidence.runs if run["plan"] == plan]


def each_token_once(evidence: Evidence, decoder: str, prompt: int) -> None:
    """Raises CheckFailed where tokens went into the decoder that its cache has already."""
    if not evidence.known:
        return
    runs = runs_of(evidence, decoder)
    if not runs:
        fail("the answer came without running the decoder that was given")
    for number, run in enumerate(runs):
        given = run["inputs"]["tokens"].shape[1]
        if given > max(prompt, 1) or (number and given > 1):
            fail(f"run {number} of the decoder got {given} tokens: keep keys and values, and give it the newest alone")
        grown = run["outputs"]["present_keys"].shape[3] - runs[0]["inputs"]["past_keys"].shape[3]
        if grown != prompt + number:
            fail(f"run {number} of the decoder has a cache of {grown} tokens, expected {prompt + number}")


def errors_within(words: str, text: str) -> int:
    """Word errors of the part of ``text`` that comes nearest to ``words``: Sellers' variant of Levenshtein's."""
    row = [0] * (len(heard := normalise(text)) + 1)
    for i, wanted in enumerate(normalise(words), 1):
        new = [i]
        for j, got in enumerate(heard):
            new.append(min(row[j] + (wanted != got), row[j + 1] + 1, new[j] + 1))
        row = new
    return min(row)
