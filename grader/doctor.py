"""Looks at the machine: tiers, protections, packages, cache."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import asdict, dataclass
from typing import Any

from grader import tiers
from grader.fixtures.cache import cache_dir
from grader.processes import sandbox

_EXTRAS = {
    "frameworks": ("torch",),
    "speech": ("torchaudio", "soundfile"),
    "notebooks": ("nbgrader",),
    "gpu": ("tensorrt", "pycuda"),
}
_BASE = ("numpy", "onnx", "onnxruntime", "opencv-python-headless", "tensorrt-rtx", "cuda-bindings", "pytest")


@dataclass(frozen=True)
class Examination:
    """``extras`` maps an extra to the packages of it that are missing; ``protections`` a name to its status."""

    system: dict[str, str]
    tiers: tuple[tiers.Tier, ...]
    chosen: str
    protections: dict[str, sandbox.Status]
    packages: dict[str, str]
    extras: dict[str, tuple[str, ...]]
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
    extras = {extra: tuple(n for n in names if not _version(n)) for extra, names in _EXTRAS.items()}
    return Examination(system, found, works, sandbox.probe(), packages, extras, str(cache_dir()))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
