"""The options of a bare `pytest grader/checks --submission DIR`.

A plugin of its own, which pytest.ini and pyproject.toml name: pytest must know the options before it looks at
any path, or it would take DIR for a folder of tests and run the submission's conftest.py in the grader.
"""

from __future__ import annotations

import argparse

import pytest

from grader.course import EXERCISES


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("trtprep")
    group.addoption("--submission", default=str(EXERCISES), help="folder with the answers (default: exercises)")
    group.addoption("--tier", default="auto", help="gpu, rtx, twin or auto")
    group.addoption("--seed", type=_seed, default=None, help="repeat a run's private inputs: 0 or more")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 on, not {text!r}")
    return int(text)
