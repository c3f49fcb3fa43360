"""A stub is its solution without the bodies."""

from __future__ import annotations

import ast
import textwrap

import pytest

from grader import stubs
from grader.course import exercises

SOLUTION = '''\
"""What it is about."""

import os

SIZE = 3  # kept


@decorated
def first(
    one: int,
    *,
    two: str = "x",
) -> int:
    """Say what.

    Returns:
        A number.
    """
    # secret
    return one + SIZE


def _secret() -> int:
    """Nobody sees this."""
    return 42


# about the second
def second() -> None:
    """Do it."""

    def inner():
        return 42

    inner()


# -- of nobody's business


def _last() -> int:
    return 42
'''
STUB = '''\
"""What it is about."""

import os

SIZE = 3  # kept


@decorated
def first(
    one: int,
    *,
    two: str = "x",
) -> int:
    """Say what.

    Returns:
        A number.
    """
    raise NotImplementedError("write me")


# about the second
def second() -> None:
    """Do it."""
    raise NotImplementedError("write me")
'''


def test_signatures_and_docstrings_stay_and_bodies_and_private_functions_go() -> None:
    assert stubs.stub_of(SOLUTION) == STUB


def test_a_stub_of_a_stub_is_itself() -> None:
    assert stubs.stub_of(STUB) == STUB


@pytest.mark.parametrize("exercise", exercises(), ids=lambda e: e.short)
def test_every_stub_is_what_its_solution_gives(exercise) -> None:
    solution, stub = stubs.paths(exercise.id)
    assert stub.read_text(encoding="utf-8") == stubs.stub_of(solution.read_text(encoding="utf-8")), "run `make stubs`"


@pytest.mark.parametrize("exercise", exercises(), ids=lambda e: e.short)
def test_every_task_names_a_function_of_the_stub_and_every_function_waits_to_be_written(exercise) -> None:
    _, stub = stubs.paths(exercise.id)
    functions = {n.name: n for n in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)}

    assert {task.function for task in exercise.tasks} <= set(functions)
    for function in functions.values():
        assert ast.get_docstring(function)
        assert [ast.unparse(line) for line in function.body[1:]] == ["raise NotImplementedError('write me')"]


@pytest.mark.parametrize(
    "source",
    [
        "def bare(x):\n    return x * 42\n",
        'async def waits():\n    """Wait."""\n    return 42\n',
        'class Holder:\n    """Hold."""\n\n    def method(self):\n        return 42\n',
    ],
    ids=["no docstring", "async", "class"],
)
def test_what_would_carry_an_answer_into_the_stub_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="stub"):
        stubs.stub_of(textwrap.dedent(source))
