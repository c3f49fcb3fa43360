"""A plain ``import torchaudio`` beside a PyTorch without CUDA.

torchaudio's wheels carry a library of C++ that asks for PyTorch's CUDA libraries, and the package raises at import
where they are missing. Resampling, transforms and models are Python's: they need nothing of it. torchaudio knows how to
be built without that library, and that is what it gets here; what does need it says so when it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

EXTENSION = "torchaudio._extension"


class _WithoutItsLibrary(Loader):
    """Loads the real module, and what stands in for it where its library cannot be loaded."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        try:
            self._real.exec_module(module)
        except OSError as error:  # what the dynamic loader says comes as one
            self._stand_in(module, error)

    def _stand_in(self, module: ModuleType, error: OSError) -> None:
        def refused(function: Any) -> Any:
            def call(*_: object, **__: object) -> Any:
                raise RuntimeError(f"{function.__name__} needs torchaudio's own library: {error}")

            return call

        module.__dict__.update(_IS_TORCHAUDIO_EXT_AVAILABLE=False, _IS_ALIGN_AVAILABLE=False, fail_if_no_align=refused)


class _Finder(MetaPathFinder):
    """Knows one name, and leaves all others to those behind it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _WithoutItsLibrary(spec.loader)
        return spec


def install() -> None:
    """Let this process import torchaudio; nothing is imported, or looked for, before it does. May be called again."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
