"""Grading on this machine: with what, and how many at once."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from grader import course, tiers
from grader.course import Exercise
from grader.fixtures import prepare
from grader.processes import sandbox
from grader.run import environment

from .graders import Grader, Task
from .prestarted import PrestartedGrader
from .records import Batch

#: What grades submissions: a pre-started process that forks, or `FreshGrader`.
new_grader: Callable[[Task], Grader] = PrestartedGrader
#: Whose versions a mark may depend on, beside TensorRT's.
_PACKAGES = ("trtprep", "numpy", "onnx", "onnxruntime", "opencv-python-headless")


@dataclass(frozen=True)
class Begun:
    """What submissions are graded with; ``patience`` as in `tiers.Tier`."""

    batch: Batch
    patience: float


class Site(Protocol):
    """Where submissions are graded."""

    def begin(self, exercises: tuple[Exercise, ...], seed: int) -> Begun:
        """Fetch what these exercises need, and say what they are graded with. Raises FixtureError or BatchError."""

    def graders(self, task: Task, batch: Batch, jobs: int | None, submissions: int) -> list[Grader]:
        """One for each of so many jobs; None: as many as there is room for."""

    def close(self) -> None: ...


class Here:
    """This machine."""

    def __init__(self, tier_name: str) -> None:
        """Raises NoTier."""
        self._tier = tiers.choose(tier_name)

    def begin(self, exercises: tuple[Exercise, ...], seed: int) -> Begun:
        return begun(self._tier, exercises, seed)

    def graders(self, task: Task, batch: Batch, jobs: int | None, submissions: int) -> list[Grader]:
        return [new_grader(task) for _ in range(min(jobs or _cores(), submissions))]

    def close(self) -> None:
        pass


def begun(tier: tiers.Tier, exercises: tuple[Exercise, ...], seed: int) -> Begun:
    """What a batch that begins now is graded with on this machine, which has all of it. Raises FixtureError."""
    for exercise in exercises:
        prepare(exercise.fixtures)
    batch = Batch(
        seed=seed,
        tier=tier.name,
        exercises=tuple(exercise.id for exercise in exercises),
        environment=environment(tier) | _versions() | {"checks": _checks(exercises)},
        protections={name: status.active for name, status in sandbox.probe().items()},
        began=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    return Begun(batch, tier.patience)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _checks(exercises: tuple[Exercise, ...]) -> str:
    """A digest of what is asked: the checks and manifests. Who changes them midway would mix two gradings."""
    found = hashlib.sha256()
    for exercise in exercises:
        for path in (*exercise.checks, course.EXERCISES / exercise.id / course.MANIFEST):
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
