"""Randomly drawn networks, 5 to 30 layers, through the network API, against their own interpretation in float64.

    python -m tests.conformance.random_networks [--tier gpu] [--minutes 10 | --count 100] [--first SEED]

prints the seed of each disagreement, and its outputs that differ; exit status 1 where there is one. `--show SEED`
prints the network. A seed gives the same network on every tier, less what an older TensorRT lacks.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import queue
import re
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grader import tiers
from grader.judging.judge import error_of
from grader.processes.candidate import CallFailed, Candidate
from tests.conformance.random_draw import draw
from tests.conformance.random_drawer import EXACT_NORMALIZATION, FLOATS, INTEGER_UNARY, Network, Tensor

_PROGRAM = Path(__file__).with_name("random_program.py")
#: max|a-b| / max|b|, where a HALF is among the ancestors, and where none is.
_ROUGH, _FINE = 1e-2, 1e-3
#: Steps and types that TensorRT 8.6 does not have.
LACKING_8 = frozenset({"INT64", "cumulative", "unsqueeze", "shape", "BOOL", INTEGER_UNARY, EXACT_NORMALIZATION})
_AT_ONCE = 8  #: on a GPU, where most of a build's time is the builder's start
#: TensorRT's compiler gives up on a few networks that it took as legal.
_BUILT = "the network is built"  # what `random_program` prints then: before it, the process ended in the builder
_INTERNAL = re.compile(r"the builder refuses .*(Error Code 1: Myelin|Error Code 10: Internal Error)")


@dataclass(frozen=True)
class Result:
    """``differs`` is "" where all outputs agree; ``error`` is the largest of a float output, relative to its bound.

    ``refused``: what a builder says that fails within itself (on no fault of the network's), "" for most.
    """

    seed: int
    layers: int
    differs: str
    error: float
    refused: str = ""


def lacking(tier: tiers.Tier) -> frozenset[str]:
    """What is not drawn for this tier."""
    return LACKING_8 if tier.name == "gpu" and tier.tensorrt.startswith("8.") else frozenset()


def results(tier: tiers.Tier, seeds: Iterable[int]) -> Iterator[Result]:
    """Draw, build and run each; on a GPU several at once, in the order in which they end."""
    if not tier.devices:
        yield from _results(tier, seeds)
        return
    quick = dataclasses.replace(tier, settings={"optimization_level": 0})  # nobody asks how fast they run
    waiting, ended, lock = iter(seeds), queue.SimpleQueue[Result | None](), threading.Lock()

    def next_ones() -> Iterator[int]:
        while True:
            with lock:
                seed = next(waiting, None)
            if seed is None:
                return
            yield seed

    def work() -> None:
        try:
            for result in _results(quick, next_ones()):
                ended.put(result)
        finally:
            ended.put(None)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        workers = [pool.submit(work) for _ in range(_AT_ONCE)]
        try:
            for _ in workers:
                while (result := ended.get()) is not None:
                    yield result
        finally:  # whoever asked may have had enough
            with lock:
                waiting = iter(())
    for worker in workers:
        worker.result()  # raises what ended it


def _results(tier: tiers.Tier, seeds: Iterable[int]) -> Iterator[Result]:
    with Candidate(_PROGRAM, tier, secrets.token_bytes(32)) as program:
        for seed in seeds:
            network = draw(seed, lacking(tier))
            layers = sum(step["op"] != "constant" for step in network.steps)
            try:
                done = program.call("run", network.inputs, network.steps, network.outputs, network.arrays, seconds=120)
            except CallFailed as failure:
                told = _told(failure)
                crashed = "killed by" in told and _BUILT not in failure.output
                if crashed or _INTERNAL.search(told):
                    yield Result(seed, layers, "", 0.0, told)
                else:
                    yield Result(seed, layers, f"it does not run: {told}", float("inf"))
                continue
            findings = [finding.message for finding in done.evidence.findings]
            yield judged(network, done.value, findings)


def _told(failure: CallFailed) -> str:
    """The exception, and the first error of TensorRT's logger."""
    logged = [line for line in failure.output.splitlines() if "[TRT] [E]" in line]
    first, *others = str(failure).splitlines() or [""]
    at = re.search(r"\([\w.]+:\d+\)$", others[-1]) if others else None  # the line stands behind a long message
    return " / ".join(part[:300] for part in (f"{first} {at[0]}" if at else first, *logged[:1]))


def judged(network: Network, got: list[np.ndarray], findings: Iterable[str] = ()) -> Result:
    """The outputs against the expected ones."""
    wrong, worst = list(findings), 0.0
    for number, array, want in zip(network.outputs, got, network.expected, strict=True):
        error, says = _compared(array, want)
        worst = max(worst, error)
        if says:
            made = network.steps[number - len(network.inputs)]["op"]
            wrong.append(f"tensor {number} ({made}, {want.dtype}): {says}")
    layers = sum(step["op"] != "constant" for step in network.steps)
    return Result(network.seed, layers, "; ".join(wrong), worst)


def _compared(got: np.ndarray, want: Tensor) -> tuple[float, str]:
    if got.shape != want.values.shape:
        return float("inf"), f"shape {got.shape}, not {want.values.shape}"
    if want.dtype not in FLOATS:
        same = got.dtype.kind in ("b" if want.dtype == "BOOL" else "iu") and np.array_equal(got, want.values)
        return (0.0, "") if same else (float("inf"), f"{got.reshape(-1)[:6]}, not {want.values.reshape(-1)[:6]}")
    if got.dtype != {"FLOAT": np.float32, "HALF": np.float16}[want.dtype]:
        return float("inf"), f"type {got.dtype}"
    error = error_of(got, want.values) if np.isfinite(got).all() else float("inf")
    bound = _ROUGH if want.rough else _FINE
    return error / bound, "" if error <= bound else f"error {error:.1e}, at most {bound:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", default="auto")
    parser.add_argument("--minutes", type=float, default=0.0, help="go on for so long")
    parser.add_argument("--count", type=int, default=100, help="or for so many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--show", type=int, help="print the network of this seed, and run nothing")
    given = parser.parse_args()
    tier = tiers.choose(given.tier)
    if given.show is not None:
        network = draw(given.show, lacking(tier))
        print(*network.inputs, *network.steps, f"outputs {network.outputs}", sep="\n")
        return
    end = time.monotonic() + given.minutes * 60
    seeds = itertools.takewhile(
        lambda seed: time.monotonic() < end if given.minutes else seed < given.first + given.count,
        itertools.count(given.first),
    )
    print(f"tier {tier.name}, TensorRT {tier.tensorrt}, {tier.gpu or 'no GPU'}")
    counts, worst, layers = Counter[str](), 0.0, 0
    for result in results(tier, seeds):
        outcome = "differ" if result.differs else "the builder cannot build" if result.refused else "agree"
        counts[outcome] += 1
        layers += result.layers
        worst = max(worst, 0.0 if result.differs else result.error)
        if outcome != "agree":
            print(f"seed {result.seed}: {result.differs or result.refused}", flush=True)
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    print(f"{counts.total()} networks with {layers} layers: {told}; the largest error is {worst:.0%} of its bound")
    sys.exit(1 if counts["differ"] else 0)


if __name__ == "__main__":
    main()
