"""Whether log-mel features are Whisper's own; usual mistakes are recognised by making them."""

from __future__ import annotations

from typing import Any

import numpy as np

from grader.fixtures.speech.log_mel import FRAMES, MELS, log_mel
from grader.judging.judge import array, error_of, fail

WITHIN = 1e-4


def features_agree(value: Any, clip: np.ndarray, kind: str = "of a clip") -> None:
    """Raises CheckFailed unless ``value`` are the features of this clip, float32 [80, 3000]."""
    got = array(value, f"the result of log_mel {kind}", dtype="float32", shape=(MELS, FRAMES))
    want = log_mel(clip)
    error = error_of(got, want)
    if error > WITHIN:
        what = f"the result of log_mel {kind} is off by {error:.2g} (max|a-b| / max|b|), at most {WITHIN:g} is allowed"
        fail(f"{what}{_diagnosis(got, want)}")


def _diagnosis(got: np.ndarray, want: np.ndarray) -> str:
    spoken = slice(0, max(10, int(np.flatnonzero(want.max(axis=0) > want.min() + 0.1)[-1])))
    undone = got * 4 - 4
    guesses = {
        "the logarithms are not scaled: (x + 4) / 4": (got + 4) / 4,
        "they are natural logarithms, not to the base 10": (got * 4 - 4) / np.log(10) / 4 + 1,
        "what is further below the loudest than 8 must be raised to that": np.maximum(got, got.max() - 2),
    }
    for words, mended in guesses.items():
        if error_of(mended, want) <= 10 * WITHIN:
            return f": {words}"
    if error_of(got[:, spoken], want[:, spoken]) <= 10 * WITHIN:
        return ": what the clip is padded with is wrong (add silence to the samples, not to the features)"
    if undone.min() < -10.01 or want.min() * 4 - 4 <= -9.99:
        return ": raise the power to at least 1e-10 before the logarithm, then the logarithms to the loudest - 8"
    mean = np.abs(got - want).mean(axis=1)
    if mean[: MELS // 4].max() > 3 * WITHIN:
        return f": the filters differ most at band {int(mean.argmax())} of 80; are they Slaney's in scale and in area?"
    return ": check window, hop, power, filters, floor and scale, in this order"
