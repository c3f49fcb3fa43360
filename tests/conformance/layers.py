"""Small networks of one layer each, on whatever tier runs here, against NumPy in float64.

    python -m tests.conformance.layers [--tier gpu] [--static] [--only TEXT]

prints a row per case: whether it agrees, and the error, max|a-b| / max|b|, or the exception. `test_layers.py` holds the
same rows against the bound.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grader import tiers
from grader.judging.judge import error_of
from grader.processes.candidate import Candidate
from grader.processes.runner import Runner
from tests.conformance.layer_references import reference
from tests.conformance.layer_table import CASES, Case

_PROGRAM = Path(__file__).with_name("layer_networks.py")
#: float32 on both sides of a sum of a hundred terms; a wrong divisor is percents away.
BOUND = 1e-4


@dataclass(frozen=True)
class Row:
    """``agrees`` is None where the value is open or the layer lacking; ``says``: the error, or what came."""

    case: Case
    agrees: bool | None
    error: float
    says: str
    seconds: float  #: of the build


def rows(tier: tiers.Tier, cases: Iterable[Case] = CASES, *, static: bool = False) -> Iterator[Row]:
    """Build and run each; what fails is a row too."""
    key = secrets.token_bytes(32)
    with Candidate(_PROGRAM, tier, key) as answer, Runner(tier, key) as runner:
        for case in cases:
            began, seconds = time.perf_counter(), 0.0
            arrays, inputs = case.weights(), case.inputs()
            dynamic = case.dynamic and not static
            try:
                built = answer.call("build", case.kind, case.attributes, case.shapes, arrays, dynamic, seconds=60)
                seconds = time.perf_counter() - began
                got = runner.run(built.value, {f"x{number}": x for number, x in enumerate(inputs)})["y"]
            except Exception as error:  # noqa: BLE001 (whatever it is, the row says it)
                excused = case.doubt or (case.lacking and tier.tensorrt.startswith(case.lacking))
                yield Row(case, None if excused else False, float("nan"), _told(error), seconds)
                continue
            yield _row(case, got, reference(case.kind, case.attributes, inputs, arrays), seconds)


def _row(case: Case, got: np.ndarray, want: np.ndarray, seconds: float) -> Row:
    if got.shape != want.shape:
        return Row(case, False, float("nan"), f"shape {got.shape}, not {want.shape}", seconds)
    known = np.isfinite(want)
    wild = got[known][~np.isfinite(got[known])]
    error = float("inf") if wild.size else error_of(got[known], want[known])
    says = f"error {error:.1e}"
    if not known.all():
        says += f"; without any element of the input: {sorted({float(f'{v:.3g}') for v in got[~known]})[:4]}"
    agrees = None if case.doubt and error > BOUND else error <= BOUND
    return Row(case, agrees, error, says, seconds)


def _told(error: Exception) -> str:
    """The exception, and what TensorRT's logger said last."""
    first, printed = str(error).strip().splitlines()[:1], getattr(error, "output", "").strip().splitlines()
    logged = [line for line in printed if "Error Code" in line and "Cuda Runtime" not in line]
    return " / ".join(part[:200] for part in (f"{type(error).__name__}: {''.join(first)}", *logged[-1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", default="auto")
    parser.add_argument("--static", action="store_true", help="fixed batches instead of -1")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    given = parser.parse_args()
    tier = tiers.choose(given.tier)
    print(f"tier {tier.name}, TensorRT {tier.tensorrt}, {tier.gpu or 'no GPU'}")
    words = {True: "agrees", False: "DIFFERS", None: "open"}
    counts = dict.fromkeys(words.values(), 0)
    for row in rows(tier, [case for case in CASES if given.only in case.name], static=given.static):
        word = words[row.agrees]
        counts[word] += 1
        doubt = f" ({row.case.doubt})" if row.case.doubt else ""
        print(f"{row.case.name:58} {word:8} {row.says}{doubt}, built in {row.seconds:.1f} s", flush=True)
    print(", ".join(f"{count} {word}" for word, count in counts.items()))


if __name__ == "__main__":
    main()
