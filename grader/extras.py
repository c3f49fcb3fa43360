"""What the optional extras of pyproject.toml bring, by the names that are imported, and which of it is not there."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable

EXTRAS = {
    "frameworks": ("torch", "onnxscript", "tensorflow", "tf2onnx", "keras"),
    "speech": ("torchaudio", "soundfile"),
    "notebooks": ("nbgrader",),
    "similarity": ("copydetect",),
    "gpu": ("tensorrt", "pycuda"),
}


def missing(names: Iterable[str]) -> tuple[str, ...]:
    """Those of these packages that cannot be imported here. Nothing is imported to find out."""
    return tuple(name for name in names if not _there(name))


def mend(names: Iterable[str]) -> str:
    """The command that installs these packages: the first extra that has one of them, or the packages themselves."""
    wanted = tuple(names)
    extra = next((extra for extra, brought in EXTRAS.items() if set(wanted) & set(brought)), "")
    return f"pip install -e '.[{extra}]'" if extra else f"pip install {' '.join(wanted)}"


@functools.cache
def _there(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None  # a folder that only has the name has no origin
