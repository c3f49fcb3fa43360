"""The machine as it is, and as if namespaces were denied."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from snippets import without_namespaces

from grader.processes import sandbox


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for all temporary files: empty again when nothing was left behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(params=["namespaces", "no namespaces"])
def machine(request: pytest.FixtureRequest, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test on this machine as it is, and as if namespaces were denied."""
    if request.param == "no namespaces":
        without_namespaces(monkeypatch)
    elif sandbox.namespaces() != sandbox.NAMESPACES:
        pytest.skip(f"not all namespaces can be made here: {sandbox.probe()['pid'].why}")
    yield request.param
    assert list(temporary.iterdir()) == []
