"""Where the programs of the other processes lie, and what each kind of process may read."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from grader.tiers import Tier

from .sandbox import Policy

GRADER = Path(__file__).resolve().parents[1]
INSIDE = GRADER / "inside"
START_WORKER = INSIDE / "start_worker.py"
START_DEVICE = GRADER / "twin" / "start_device.py"
START_RUNNER = GRADER / "engines" / "start_runner.py"

_TRUSTED = (GRADER / "__init__.py", INSIDE, GRADER / "twin")
_PACKAGE = (GRADER.parent, GRADER)  # listed, so that `import grader.twin` finds its way
DEVICE_POLICY = Policy(readable=_TRUSTED, listed=_PACKAGE)

#: Packages that would answer a task without TensorRT, and that no answer needs.
_HIDDEN_PACKAGES = ("onnxruntime", "polygraphy", "openvino", "tvm")


def runner_policy(tier: Tier) -> Policy:
    return Policy(readable=(*_TRUSTED, GRADER / "engines"), listed=_PACKAGE, devices=tier.devices)


def worker_policy(answer: Path, tier: Tier) -> Policy:
    """The candidate's own folder and what their imports need: nothing of the grader but `inside`."""
    site = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    hidden = tuple(folder / package for folder in site for package in _HIDDEN_PACKAGES)
    return Policy(readable=(INSIDE, answer.resolve().parent), hidden=hidden, devices=tier.devices)
