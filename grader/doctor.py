"""Looks at the machine: tiers, protections, packages, cache."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import asdict, dataclass
from typing import Any

from grader import extras, tiers
from grader.course import exercises
from grader.fixtures.cache import cache_dir
from grader.processes import sandbox

_BASE = ("numpy", "onnx", "onnxruntime", "opencv-python-headless", "tensorrt-rtx", "cuda-bindings", "pytest")


@dataclass(frozen=True)
class Examination:
    """What was found.

    ``extras`` maps an extra to the packages of it that are missing, by the names that are imported; ``not_run`` a task
    (as "q2/pytorch") that is not run for it to the packages that it lacks; ``protections`` a name to its status.
    """

    system: dict[str, str]
    tiers: tuple[tiers.Tier, ...]
    chosen: str
    protections: dict[str, sandbox.Status]
    packages: dict[str, str]
    extras: dict[str, tuple[str, ...]]
    not_run: dict[str, tuple[str, ...]]
    cache: str

    @property
    def can_grade(self) -> bool:
        return bool(self.chosen)

    def as_data(self) -> dict[str, Any]:
        return asdict(self) | {"can_grade": self.can_grade}


def examine() -> Examination:
    """Everything that `trtprep doctor` tells."""
    found = tuple(tiers.all_tiers())
    works = next((t.name for t in found if not t.missing), "")
    system = {"python": platform.python_version(), "system": platform.platform(), "machine": platform.machine()}
    packages = {name: _version(name) for name in _BASE}
    lacks = {extra: extras.missing(names) for extra, names in extras.EXTRAS.items()}
    tasks = {f"{e.short}/{task.id}": extras.missing(task.needs) for e in exercises() for task in e.tasks}
    not_run = {task: names for task, names in tasks.items() if names}
    return Examination(system, found, works, sandbox.probe(), packages, lacks, not_run, str(cache_dir()))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
