"""The course in nbgrader's hands: released, validated, autograded, exported; and marks that nobody can write."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from grader.course import Exercise, find
from grader.notebooks import cells
from grader.notebooks.build import COURSE, notebook, notebook_path, with_walkthrough

pytestmark = pytest.mark.notebooks
ALL = pytest.mark.parametrize("exercise", with_walkthrough(), ids=lambda e: e.short)
Q1 = find("q1")
#: What a submission's kernel would have to be told for full marks, were it asked.
CHEAT = """\
import grader.notebooks
grader.notebooks.check = check = lambda task: print("100 points")
"""


@dataclass(frozen=True)
class Course:
    """A copy of the course's folder, with nothing released yet."""

    folder: Path

    def nbgrader(self, *arguments: str, ok: bool = True) -> str:
        """What the command printed."""
        commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # nbgrader calls alembic
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments], cwd=self.folder, env=os.environ | {"PATH": commands},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def release(self, exercise: Exercise) -> dict[str, Any]:
        """The released notebook."""
        self.nbgrader("generate_assignment", exercise.id)
        return json.loads((self.folder / "release" / exercise.id / f"{exercise.id}.ipynb").read_text(encoding="utf-8"))

    def submit(self, person: str, exercise: Exercise, found: dict[str, Any]) -> None:
        path = self.folder / "submitted" / person / exercise.id / f"{exercise.id}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(found), encoding="utf-8")

    def autograded(self, person: str, exercise: Exercise) -> dict[str, Any]:
        path = self.folder / "autograded" / person / exercise.id / f"{exercise.id}.ipynb"
        return json.loads(path.read_text(encoding="utf-8"))

    def scores(self) -> dict[str, float]:
        """By person, as exported."""
        self.nbgrader("export")
        with (self.folder / "grades.csv").open(newline="") as file:
            return {row["student_id"]: float(row["raw_score"]) for row in csv.DictReader(file)}


@pytest.fixture
def course(tmp_path: Path) -> Course:
    folder = tmp_path / "course"
    skipped = shutil.ignore_patterns("release", "submitted", "autograded", "feedback", "gradebook.db*", "*.csv")
    shutil.copytree(COURSE, folder, ignore=skipped)
    return Course(folder)


def solved(exercise: Exercise) -> dict[str, Any]:
    return json.loads(notebook_path(exercise).read_text(encoding="utf-8"))


def cell(found: dict[str, Any], grade_id: str) -> dict[str, Any]:
    (it,) = (c for c in found["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)
    return it


def filled(released: dict[str, Any], exercise: Exercise, *functions: str) -> dict[str, Any]:
    """The released notebook with the solution's functions of these names."""
    for name in functions:
        cell(released, f"answer-{name}")["source"] = cells.solution_cells(exercise)[name]
    return released


def printed(found: dict[str, Any], grade_id: str) -> str:
    (output,) = cell(found, grade_id)["outputs"]
    return "".join(output.get("text", output.get("traceback", [])))


@ALL
def test_the_notebook_is_what_its_walkthrough_says(exercise) -> None:
    assert notebook_path(exercise).read_text(encoding="utf-8") == notebook(exercise), "run `make notebooks`"


@ALL
def test_an_exercise_goes_through_nbgrader(course, exercise) -> None:
    """From the released notebook to the exported mark, which is the exercise's own."""
    released = course.release(exercise)
    text = json.dumps(released)
    assert cells.BEGIN not in text and "MARK SCHEME" not in text and "good answer says" not in text
    for name, stub in cells.stub_cells(exercise).items():
        assert "".join(cell(released, f"answer-{name}")["source"]) == stub
    course.submit("ada", exercise, solved(exercise))
    course.submit("bob", exercise, released)

    course.nbgrader("autograde", exercise.id)
    course.nbgrader("generate_feedback", exercise.id)

    marks = course.autograded("ada", exercise)
    open_points = sum(t.points for t in exercise.tasks if "not judged here" in printed(marks, f"check-{t.id}"))
    assert course.scores() == {"ada": exercise.points - open_points, "bob": 0.0}
    for person, word in (("ada", "✓"), ("bob", "not written yet")):
        page = course.folder / "feedback" / person / exercise.id / f"{exercise.id}.html"
        assert word in page.read_text(encoding="utf-8")


@ALL
def test_the_solved_notebook_validates(course, exercise) -> None:
    """`nbgrader validate` runs it in a kernel from top to bottom: what TensorRT prints fails no cell."""
    said = course.nbgrader("validate", str(notebook_path(exercise)))

    assert "Success! Your notebook passes all the tests." in said


def test_the_released_notebook_does_not_validate(course) -> None:
    course.release(Q1)
    said = course.nbgrader("validate", f"release/{Q1.id}/{Q1.id}.ipynb")

    assert "VALIDATION FAILED ON 10 CELL(S)" in said
    assert "not written yet: start with plan_memory()" in said


def test_a_kernel_cannot_write_its_own_mark(course) -> None:
    """Everything in a notebook may lie but the source of the answers."""
    tampered = filled(course.release(Q1), Q1, "convert")
    cell(tampered, "start")["source"] += "\n" + CHEAT
    cell(tampered, "setup")["source"] = "def convert(path):\n    return None\n" + CHEAT
    tampered["cells"].insert(
        0, {"cell_type": "code", "metadata": {}, "source": CHEAT, "outputs": [], "execution_count": None}
    )
    for task in Q1.tasks:
        check = cell(tampered, f"check-{task.id}")
        check["source"] = "100"
        check["metadata"]["nbgrader"] |= {"points": 1000, "locked": False}
        check["outputs"] = [
            {"output_type": "execute_result", "data": {"text/plain": "100"}, "execution_count": 1, "metadata": {}}
        ]
    tampered["cells"].append(cell(tampered, "check-memory") | {"id": "one-more"})
    tampered["cells"].remove(cell(tampered, "check-hardware"))
    course.submit("eve", Q1, tampered)

    course.nbgrader("autograde", Q1.id)

    assert course.scores() == {"eve": 20.0}  # what convert() earns: 8 and 12
    found = course.autograded("eve", Q1)
    assert printed(found, "check-convert").startswith("✓")
    assert printed(found, "check-memory").startswith("✗") and printed(found, "check-hardware").startswith("✗")


def test_plain_nbgrader_believes_the_same_kernel(course) -> None:
    """What the test above is worth: with nbgrader's own way of grading, the cheat gets everything."""
    config = course.folder / "nbgrader_config.py"
    config.write_text(
        re.sub(r"c\.Autograde\.autograde_preprocessors = \[.*?\]\n", "", config.read_text(), flags=re.DOTALL)
    )
    tampered = course.release(Q1)
    cell(tampered, "answer-choose")["source"] = CHEAT
    moved = tampered["cells"]
    cheat = moved.pop(moved.index(cell(tampered, "answer-choose")))
    moved.insert(moved.index(cell(tampered, "setup")) + 1, cheat)
    for other in [c for c in moved if c["cell_type"] == "code" and "nbgrader" not in c["metadata"]]:
        moved.remove(other)  # they would only take time
    course.submit("eve", Q1, tampered)

    course.nbgrader("autograde", Q1.id)

    assert course.scores()["eve"] > 90.0


def test_a_copied_cell_counts_as_nbgrader_has_it(course) -> None:
    twice = filled(course.release(Q1), Q1, "choose")
    right = cell(twice, "answer-choose")
    at = twice["cells"].index(right)
    wrong = right | {"id": "copied", "source": 'def choose(need):\n    """Choose."""\n    return []'}
    twice["cells"].insert(at, wrong)
    course.submit("first", Q1, twice)
    twice["cells"].insert(at + 1, twice["cells"].pop(at))
    course.submit("last", Q1, twice)

    course.nbgrader("autograde", Q1.id)

    assert course.scores() == {"first": 10.0, "last": 0.0}


def test_a_task_that_was_not_judged_waits_for_a_person(course) -> None:
    """Not run is not a mark: neither full nor nothing, and nbgrader says that somebody has to look."""
    from nbgrader.api import Gradebook

    exercise = find("q3")
    if exercise not in with_walkthrough():
        pytest.skip("the exercise has no walkthrough yet")
    course.submit("ada", exercise, solved(exercise))
    course.release(exercise)
    course.nbgrader("autograde", exercise.id)

    with Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}") as gradebook:
        grades = {g.name: g for g in gradebook.find_submission_notebook(exercise.id, exercise.id, "ada").grades}
        assert grades["check-timing"].auto_score is None and grades["check-timing"].needs_manual_grade
        assert grades["check-save"].auto_score == 5.0 and not grades["check-save"].needs_manual_grade


@ALL
def test_the_solved_notebook_is_a_page_whose_pictures_are_described(exercise, tmp_path: Path) -> None:
    """It is run from top to bottom for that; every graded task passes, or is not judged here."""
    from grader.notebooks.solved import render

    page = render(exercise, tmp_path).read_text(encoding="utf-8")

    described = re.findall(r'<img[^>]*\balt="([^"]*)"', page)
    assert described and len(described) == page.count("<img")
    assert all(len(text) > 40 and "No description" not in text for text in described)
    assert page.count("✓ ") + page.count("not judged here") == len(exercise.tasks)
