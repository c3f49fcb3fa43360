"""EfficientNet-Lite0 built by the reference answer, on whatever tier runs here, against ONNX Runtime: a table.

    python -m tests.conformance.efficientnet [--tier gpu]
"""

from __future__ import annotations

import argparse
import secrets
import time

import numpy as np

from grader import tiers
from grader.course import SOLUTIONS, find
from grader.fixtures.efficientnet import efficientnet_lite0_onnx, reference_logits
from grader.fixtures.imagenet import preprocess_reference
from grader.fixtures.photos import PHOTO_CLASSES, photo
from grader.judge import error_of
from grader.processes.candidate import Candidate, GivenFile
from grader.processes.runner import Runner


def main() -> None:
    """Prints a row per precision: seconds to build, the error, and the classes of the photos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tier", default="auto")
    tier = tiers.choose(parser.parse_args().tier)
    key = secrets.token_bytes(32)
    images = np.concatenate([preprocess_reference(photo(name)) for name in PHOTO_CLASSES])
    rng = np.random.default_rng(0)
    images = np.concatenate([images, images[rng.integers(4, size=28)] + rng.normal(0, 0.05, (28, *images.shape[1:]))])
    images = images.astype(np.float32)
    want = reference_logits(images)
    model = GivenFile("model.onnx", efficientnet_lite0_onnx().read_bytes())
    print(f"tier {tier.name}, TensorRT {tier.tensorrt}, {tier.gpu or 'no GPU'}; error is max|a-b| / max|b| to ONNX Runtime")
    with Candidate(find("c1").answer(SOLUTIONS), tier, key) as answer, Runner(tier, key) as runner:
        for precision in ("fp32", "fp16"):
            began = time.perf_counter()
            plan = answer.call("build_engine", model, fp16=precision == "fp16", seconds=60).value
            seconds = time.perf_counter() - began
            got = np.concatenate([runner.run(plan, {"images": images[i : i + 8]})["logits"] for i in range(0, 32, 8)])
            same = int((got.argmax(1) == want.argmax(1)).sum())
            classes = dict(zip(PHOTO_CLASSES, got[:4].argmax(1).tolist(), strict=True))
            print(f"{precision}: built in {seconds:.1f} s, error {error_of(got, want):.2e}, top-1 same {same}/32, {classes}", flush=True)


if __name__ == "__main__":
    main()
