"""The answer in a notebook from a stranger's hand: only its answers' cells count, and a broken file is one line."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from grader.course import CourseError, find
from grader.notebooks import NotebookError, cells, extract, reading
from grader.notebooks.build import notebook_path

Q1 = find("q1")
HONEST = json.loads(notebook_path(Q1).read_text(encoding="utf-8"))


@pytest.fixture
def taken(tmp_path: Path):
    """What is taken out of a notebook that is handed in as q1."""

    def take(notebook: Any) -> str:
        path = tmp_path / f"{Q1.id}.ipynb"
        data = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
        path.write_bytes(data)
        return extract(path)

    return take


def answer_cell(notebook: dict, name: str) -> dict:
    (cell,) = (c for c in notebook["cells"] if c["id"] == f"answer-{name}")
    return cell


def test_the_solved_notebook_gives_the_solution(taken) -> None:
    assert taken(HONEST) == cells.assemble(Q1, cells.solution_cells(Q1)).source


def test_what_is_not_an_answers_cell_changes_nothing(taken) -> None:
    tampered = copy.deepcopy(HONEST)
    tampered["metadata"] = {"kernelspec": {"name": "mine"}, "nbgrader": {"points": 1000}}
    for cell in tampered["cells"]:
        if not cell["id"].startswith("answer-"):
            cell["source"] = ["import grader.notebooks.kernel as k\n", "k.check = lambda task: 100"]
            cell["outputs"] = [{"output_type": "execute_result", "data": {"text/plain": "100"}}]
            if "nbgrader" in cell["metadata"]:
                cell["metadata"]["nbgrader"] |= {"points": 1000, "locked": False}
    tampered["cells"].insert(0, {"cell_type": "code", "metadata": {}, "source": "def convert(path): pass"})
    tampered["cells"].append(
        {"cell_type": "code", "metadata": {"nbgrader": {"grade_id": "answer-other"}}, "source": "1/0"}
    )

    assert taken(tampered) == taken(HONEST)


@pytest.mark.parametrize(
    "cell",
    [
        None,
        [],
        {},
        {"cell_type": "code"},
        {"cell_type": "code", "metadata": []},
        {"cell_type": "code", "metadata": {"nbgrader": 3}},
        {"cell_type": "code", "metadata": {"nbgrader": {"grade_id": ["answer-convert"]}}, "source": "1/0"},
    ],
)
def test_cells_that_make_no_sense_are_passed_over(taken, cell) -> None:
    odd = copy.deepcopy(HONEST)
    odd["cells"].append(cell)

    assert taken(odd) == taken(HONEST)


def test_of_several_cells_of_a_function_the_last_counts(taken) -> None:
    """As nbgrader's DeduplicateIds has it: `tests/notebooks/test_course.py` looks at that."""
    twice = copy.deepcopy(HONEST)
    again = copy.deepcopy(answer_cell(twice, "convert")) | {"source": "def convert(path):\n    return 'mine'"}
    twice["cells"].append(again)

    assert "return 'mine'" in taken(twice) and "def _unreadable" not in taken(twice)


def test_an_answers_cell_that_was_made_a_text_is_one_still(taken) -> None:
    """nbgrader makes it code again before it grades."""
    odd = copy.deepcopy(HONEST)
    answer_cell(odd, "convert")["cell_type"] = "markdown"

    assert taken(odd) == taken(HONEST)


def test_a_cell_that_is_gone_is_the_stubs(taken) -> None:
    less = copy.deepcopy(HONEST)
    less["cells"].remove(answer_cell(less, "execute"))

    assert taken(less).rstrip().endswith('raise NotImplementedError("write me")')


def test_a_source_may_be_lines_or_text(taken) -> None:
    text = copy.deepcopy(HONEST)
    for cell in text["cells"]:
        cell["source"] = "".join(cell["source"])

    assert taken(text) == taken(HONEST)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (b"", "not JSON"),
        (b"\x80\x81", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[]", "no list of cells"),
        (b'{"worksheets": []}', "no list of cells"),
        (b'{"cells": {}}', "no list of cells"),
    ],
)
def test_what_is_no_notebook_is_told_in_a_line(taken, broken, why) -> None:
    with pytest.raises(NotebookError, match=why) as raised:
        taken(broken)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("#" * (reading.MOST_CODE + 1), "larger"),
        (["x = ", 3], "no text"),
        (None, "no text"),
        ("'\ud800'", "characters"),
    ],
)
def test_an_answers_cell_that_cannot_be_a_file_is_told(taken, source, why) -> None:
    odd = copy.deepcopy(HONEST)
    answer_cell(odd, "convert")["source"] = source

    with pytest.raises(NotebookError, match=f"cell of convert .*{why}"):
        taken(odd)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / f"{Q1.id}.ipynb"
    with path.open("wb") as file:
        file.truncate(reading.MOST_BYTES + 1)

    with pytest.raises(NotebookError, match="larger than 32 MB"):
        extract(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"{Q1.id}.ipynb")

    with pytest.raises(NotebookError, match="there is no notebook"):
        extract(tmp_path / f"{Q1.id}.ipynb")


def test_a_notebook_with_another_name_needs_its_exercise(tmp_path: Path) -> None:
    path = tmp_path / "homework.ipynb"
    path.write_text(json.dumps(HONEST))

    with pytest.raises(CourseError, match="no such exercise"):
        extract(path)
    assert extract(path, Q1) == cells.assemble(Q1, cells.solution_cells(Q1)).source
