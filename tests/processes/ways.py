"""The two ways in which a sandboxed process comes to be: started as a program, or forked from a template."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from grader import tiers
from grader.processes import sandbox, templates
from grader.processes.places import environment


@contextlib.contextmanager
def template(kind: str = "worker") -> Iterator[templates.Template]:
    """A template; skips the test where this machine cannot have any."""
    tier = tiers.choose("twin")
    if not sandbox.namespaces() >= sandbox.NAMESPACES:
        pytest.skip("there are no namespaces to fork into")
    one = templates.Template(kind, environment(tier))
    try:
        one.wait_ready()
        yield one
    finally:
        one.close()
