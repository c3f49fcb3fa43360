"""Polygraphy's TensorRT-RTX backend and the twin agree on the project's own models."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_polygraphy_builds_and_the_twin_executes_the_projects_models() -> None:
    """In a process of its own, since Polygraphy reads at its import which TensorRT it is to use."""
    pytest.importorskip("polygraphy", reason="Polygraphy is in the dependency group `dev`")
    code = """if True:
        from tests.conformance.polygraphy_networks import rows
        count = 0
        for row in rows():
            assert row.wrong == (), row
            assert 0 < row.error <= row.bound, row
            assert row.plan_bytes > 10_000 and row.layers > 50, row
            count += 1
        assert count == 5
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
