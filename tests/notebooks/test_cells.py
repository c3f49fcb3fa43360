"""An answer's cells come from the solution, and make the stub again when nbgrader has taken the solutions out."""

from __future__ import annotations

import ast
import json
import re

import pytest

from grader.course import exercises, find
from grader.notebooks import cells
from grader.notebooks.build import notebook_path, with_walkthrough
from grader.notebooks.reading import ANSWER_ID
from grader.stubs import paths

ALL = pytest.mark.parametrize("exercise", exercises(), ids=lambda e: e.short)


def without_solutions(source: str) -> str:
    """What nbgrader's ClearSolutions makes of a cell, with the course's settings."""
    region = re.compile(rf"^( *){cells.BEGIN}\n.*?^ *{cells.END}$", re.MULTILINE | re.DOTALL)
    return region.sub(r'\1raise NotImplementedError("write me")', source)


@ALL
def test_cells_without_their_solutions_are_the_stub(exercise) -> None:
    released = {name: without_solutions(cell) for name, cell in cells.solution_cells(exercise).items()}

    assert released == cells.stub_cells(exercise)
    assert cells.assemble(exercise, released).source == paths(exercise.id)[1].read_text(encoding="utf-8")


@ALL
def test_cells_with_their_solutions_are_the_solution_in_another_order(exercise) -> None:
    whole = cells.assemble(exercise, cells.solution_cells(exercise)).source

    def parts(source: str) -> list[str]:
        return sorted(ast.dump(node) for node in ast.parse(source).body)

    assert parts(whole) == parts(paths(exercise.id)[0].read_text(encoding="utf-8"))


@ALL
def test_a_cell_can_be_run_once_those_above_it_have_been(exercise) -> None:
    """A helper is in the first cell whose function needs it: nobody has to run cells ahead."""
    defined: set[str] = set()
    source = paths(exercise.id)[0].read_text(encoding="utf-8")
    private = {n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name.startswith("_")}
    for cell in cells.solution_cells(exercise).values():
        tree = ast.parse(cell)
        defined |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert named & private <= defined


@pytest.mark.parametrize("exercise", with_walkthrough(), ids=lambda e: e.short)
def test_the_notebook_holds_the_solution_of_today(exercise) -> None:
    found = json.loads(notebook_path(exercise).read_text(encoding="utf-8"))
    held = {cell["id"]: "".join(cell["source"]) for cell in found["cells"]}

    assert held["setup"] == cells.setup(exercise), "run `make notebooks`"
    for name, source in cells.solution_cells(exercise).items():
        assert held[ANSWER_ID.format(name)] == source, "run `make notebooks`"
    for task in exercise.tasks:
        (cell,) = (c for c in found["cells"] if c["id"] == f"check-{task.id}")
        assert cell["metadata"]["nbgrader"]["points"] == task.points, "run `make notebooks`"
    assert not any(cell.get("outputs") for cell in found["cells"])


def test_messages_name_cells_and_their_lines() -> None:
    q1 = find("q1")
    mine = {"optimise": "# answer: optimise\n\ndef optimise(path):\n    return 1 / 0\n"}
    answer = cells.assemble(q1, mine)
    lines = answer.source.splitlines()
    division = lines.index("    return 1 / 0") + 1
    last = max(i for i, line in enumerate(lines, 1) if "write me" in line)

    assert answer.in_cells(f"ZeroDivisionError (stub.py:{division})") == "ZeroDivisionError (cell optimise, line 4)"
    assert answer.in_cells("stub.py:1 and my_stub.py:1") == "cell setup, line 1 and my_stub.py:1"
    told = answer.in_cells(f"stub.py:{last}")
    line = int(told.removeprefix("cell execute, line "))
    assert "write me" in cells.stub_cells(q1)["execute"].splitlines()[line - 1]
