"""A clone of the repository for tests that write exercises into it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("grader", "exercises", "solutions", "tests", "notebooks", "pyproject.toml", "README.md")
_TIMEOUT_S = 240


@dataclass(frozen=True)
class Clone:
    """What exercises are made of and tested by, copied, with a cache of its own."""

    root: Path
    cache: Path

    @classmethod
    def make(cls, folder: Path) -> Clone:
        """Copy the repository's parts, without what git ignores."""
        left_out = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
        root = folder / "clone"
        root.mkdir()
        for part in _PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, root / part, ignore=left_out)
            else:
                shutil.copy(ROOT / part, root / part)
        return cls(root, folder / "cache")

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m`` with these words in the clone, upon its own grader."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        ours = {
            "PYTHONPATH": str(self.root), "TRTPREP_CACHE": str(self.cache), "COLUMNS": "200", "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=self.root, env=kept | ours, text=True, encoding="utf-8",
            capture_output=True, timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip

    def trtprep(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.python("grader", *words)
