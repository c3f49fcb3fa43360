"""What the twin costs: each client call, and one classification through the twin over ONNX Runtime alone.

    python -m tests.conformance.cost [--rounds 300]

prints microseconds of each call, measured in turn; and milliseconds of EfficientNet-Lite0 on one photo, both ways in
turn in one run. The bars are 50 microseconds for a call and a fifth more than ONNX Runtime for a classification.
"""

from __future__ import annotations

import argparse
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grader import tiers
from grader.fixtures.efficientnet import efficientnet_lite0_onnx
from grader.fixtures.imagenet import preprocess_reference
from grader.fixtures.photos import PHOTO_CLASSES, photo
from grader.processes.candidate import Candidate, GivenFile

_PROGRAM = Path(__file__).with_name("cost_program.py")
CALL_US, SHARE = 50.0, 0.2


@dataclass(frozen=True)
class Spread:
    """The median, and the quarter and three quarters around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray | list[float]) -> Spread:
        low, median, high = np.percentile(values, (25, 50, 75))
        return cls(float(median), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.median:8.1f} ({self.low:.1f} to {self.high:.1f})"


@dataclass(frozen=True)
class Classification:
    """Milliseconds through the twin and of ONNX Runtime alone; ``share`` is the median of what each pair adds."""

    twin: Spread
    alone: Spread
    share: Spread


def calls(rounds: int) -> dict[str, Spread]:
    """Microseconds by call."""
    with Candidate(_PROGRAM, tiers.choose("twin"), secrets.token_bytes(32)) as program:
        spent = program.call("small_calls", rounds, seconds=120).value
    return {name: Spread.of(values) for name, values in spent.items()}


def classification(rounds: int) -> Classification:
    """Both ways in turn, the first of each not counted. ONNX Runtime has the settings that the executor gives it."""
    import onnxruntime as ort

    model = efficientnet_lite0_onnx()
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = next(iter(PHOTO_CLASSES))
    image = preprocess_reference(photo(name))
    twin, alone = [], []
    with Candidate(_PROGRAM, tiers.choose("twin"), secrets.token_bytes(32)) as program:
        program.call("load", GivenFile("model.onnx", model.read_bytes()), seconds=120)
        for turn in range(rounds + 3):
            seconds, top = program.call("classify", image).value
            began = time.perf_counter()
            logits = session.run(None, {"images": image})[0]
            other = time.perf_counter() - began
            if top != PHOTO_CLASSES[name] or logits[0].argmax() != top:
                raise RuntimeError(f"the photo was taken for {top}, by ONNX Runtime for {logits[0].argmax()}")
            if turn >= 3:
                twin.append(seconds * 1e3)
                alone.append(other * 1e3)
    shares = (np.array(twin) / np.array(alone) - 1) * 100
    return Classification(Spread.of(twin), Spread.of(alone), Spread.of(shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    print(f"microseconds of a call, median (middle half) of {rounds}:")
    for name, spent in calls(rounds).items():
        print(f"  {name:32} {spent}{'' if spent.median <= CALL_US else '   OVER THE BAR'}")
    found = classification(max(rounds // 5, 10))
    print(f"milliseconds of a classification: twin {found.twin}, ONNX Runtime alone {found.alone}")
    print(f"added: {found.share} %{'' if found.share.median <= 100 * SHARE else '   OVER THE BAR'}")


if __name__ == "__main__":
    main()
