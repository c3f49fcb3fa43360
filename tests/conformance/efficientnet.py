"""EfficientNet-Lite0 built by the reference answer, on whatever tier runs here, against ONNX Runtime.

    python -m tests.conformance.efficientnet [--tier gpu]

prints a row per precision; `test_efficientnet.py` holds the same rows against the bounds.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from grader import tiers
from grader.course import SOLUTIONS, find
from grader.fixtures.efficientnet import efficientnet_lite0_onnx, reference_logits
from grader.fixtures.imagenet import preprocess_reference
from grader.fixtures.photos import PHOTO_CLASSES, photo
from grader.judging.judge import error_of
from grader.processes.candidate import Candidate, GivenFile
from grader.processes.runner import Runner

_IMAGES, _BATCH = 32, 8


@dataclass(frozen=True)
class Row:
    """``error`` is max|a-b| / max|b|; ``same_top1`` counts images of ``_IMAGES``; ``seconds`` is the build."""

    precision: str
    seconds: float
    error: float
    same_top1: int
    classes: dict[str, int]


def rows(tier: tiers.Tier) -> Iterator[Row]:
    """Build in FP32 and FP16 and run the four photos and 28 noisy copies of them."""
    key = secrets.token_bytes(32)
    rng = np.random.default_rng(0)
    photos = np.concatenate([preprocess_reference(photo(name)) for name in PHOTO_CLASSES])
    copies = photos[rng.integers(len(photos), size=_IMAGES - len(photos))]
    images = np.concatenate([photos, copies + rng.normal(0, 0.05, copies.shape)]).astype(np.float32)
    want = reference_logits(images)
    model = GivenFile("model.onnx", efficientnet_lite0_onnx().read_bytes())
    with Candidate(find("c1").answer(SOLUTIONS), tier, key) as answer, Runner(tier, key) as runner:
        for precision in ("fp32", "fp16"):
            began = time.perf_counter()
            plan = answer.call("build_engine", model, fp16=precision == "fp16", seconds=60).value
            seconds = time.perf_counter() - began
            parts = [runner.run(plan, {"images": images[i : i + _BATCH]})["logits"] for i in range(0, _IMAGES, _BATCH)]
            got = np.concatenate(parts)
            same = int((got.argmax(1) == want.argmax(1)).sum())
            classes = dict(zip(PHOTO_CLASSES, got.argmax(1).tolist(), strict=False))
            yield Row(precision, seconds, error_of(got, want), same, classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", default="auto")
    tier = tiers.choose(parser.parse_args().tier)
    print(
        f"tier {tier.name}, TensorRT {tier.tensorrt}, {tier.gpu or 'no GPU'}; error: max|a-b| / max|b| to ONNX Runtime"
    )
    for row in rows(tier):
        top = f"top-1 same {row.same_top1}/{_IMAGES}"
        print(f"{row.precision}: built in {row.seconds:.1f} s, error {row.error:.2e}, {top}, {row.classes}", flush=True)


if __name__ == "__main__":
    main()
