"""Which cells an answer has, and the answer that cells make: a module of the stub's setup and one cell per function.

The cells of the solution and of the stub come from `solutions/<id>/solution.py`, which is their one source.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from grader.course import Exercise
from grader.stubs import paths, stub_of

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # nbgrader's own
#: The first line of an answer's cell, by which its kernel knows it: a kernel never sees a cell's metadata.
_MARK = re.compile(r"# answer: (\w+)[ \t]*(?:\n|$)")


@dataclass(frozen=True)
class Answer:
    """What cells make.

    ``source`` is a module; ``firsts`` says in which of its lines each function's cell begins, in their order.
    """

    source: str
    firsts: tuple[tuple[int, str], ...]

    def in_cells(self, text: str) -> str:
        """A message about the module's lines ("stub.py:57"), told in lines of cells ("cell convert, line 12")."""

        def place(found: re.Match[str]) -> str:
            line = int(found[1])
            first, name = max((place for place in self.firsts if place[0] <= line), default=(1, "setup"))
            return f"cell {name}, line {line - first + 1}"

        return re.sub(r"\bstub\.py:(\d+)", place, text)


def mark(function: str) -> str:
    """The first line of the cell that answers with a function."""
    return f"# answer: {function}"


def marked(source: str) -> str:
    """The function that a cell says it answers with; "" for a cell that does not."""
    found = _MARK.match(source)
    return found[1] if found else ""


def setup(exercise: Exercise) -> str:
    """The code before the first function: imports and constants. Candidates do not change it."""
    return _stub(exercise)[0]


def stub_cells(exercise: Exercise) -> dict[str, str]:
    """The cells of the untouched stub, by function."""
    return {name: f"{mark(name)}\n{text}" for name, text in _stub(exercise)[1].items()}


def solution_cells(exercise: Exercise) -> dict[str, str]:
    """The cells of the solution, by function; what nbgrader takes out of them leaves the stub's.

    A private function is in the cell of the first public one that needs it.
    """
    source = paths(exercise.id)[0].read_text(encoding="utf-8")
    _, functions = _split(source)
    needs = _needs(source)
    cells: dict[str, str] = {}
    told: set[str] = set()
    for name in _stub(exercise)[1]:
        helpers = [other for other in functions if other in _reach(needs, name) and other not in told | {name}]
        told.update(helpers)
        node = ast.parse(functions[name]).body[-1]
        assert isinstance(node, ast.FunctionDef)
        lines = functions[name].splitlines()
        end = node.body[0].end_lineno  # of the docstring
        body = "\n".join([*lines[:end], f"    {BEGIN}", *lines[end:]])
        whole = "\n\n\n".join([body, *(functions[helper] for helper in helpers)])
        cells[name] = f"{mark(name)}\n{whole}\n" + (f"\n\n{END}" if helpers else f"    {END}")
    return cells


def assemble(exercise: Exercise, given: Mapping[str, str]) -> Answer:
    """The answer that a notebook's cells make; a function without a cell is the stub's.

    Args:
        exercise: whose answer it is.
        given: sources of cells, by function.
    """
    first, stubs = _stub(exercise)
    text, firsts = first, []
    for name in stubs:
        cell = given.get(name, f"{mark(name)}\n{stubs[name]}")
        text += "\n\n\n"
        bare = _MARK.sub("", cell)  # the stub has no marks
        firsts.append((text.count("\n") + 1 - (bare != cell), name))
        text += bare.rstrip()
    return Answer(text + "\n", tuple(firsts))


def _stub(exercise: Exercise) -> tuple[str, dict[str, str]]:
    return _split(stub_of(paths(exercise.id)[0].read_text(encoding="utf-8")))


def _split(source: str) -> tuple[str, dict[str, str]]:
    """A module's text before its first function, and the functions' texts, each with the comments above it."""
    lines, done, head = source.splitlines(), 0, ""
    parts: dict[str, str] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef):
            if parts:
                raise ValueError(f"line {node.lineno} stands behind a function: it belongs before the first one")
            continue
        if not parts:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
            while first and lines[first - 1].startswith("#"):
                first -= 1
            head, done = "\n".join(lines[:first]).rstrip(), first
        parts[node.name] = "\n".join(lines[done : node.end_lineno]).strip("\n")
        done = node.end_lineno or done
    return head, parts


def _needs(source: str) -> dict[str, list[str]]:
    """Which private functions each function names, in the order of the module."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    named = {f.name: {node.id for node in ast.walk(f) if isinstance(node, ast.Name)} for f in functions}
    return {
        f.name: [o.name for o in functions if o.name.startswith("_") and o.name in named[f.name]] for f in functions
    }


def _reach(needs: Mapping[str, list[str]], name: str) -> set[str]:
    found, ahead = set(), [name]
    while ahead:
        for helper in needs[ahead.pop()]:
            if helper not in found:
                found.add(helper)
                ahead.append(helper)
    return found
