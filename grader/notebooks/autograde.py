"""What `nbgrader autograde` does here instead of running a submitted notebook (see `notebooks/nbgrader_config.py`).

nbgrader runs a notebook in a kernel and reads marks off its outputs, which code in that kernel can write as it likes.
Here no cell of a submission is run: the answer is read from the cells' source and graded as `trtprep run` does, and
what that says becomes the outputs of the graded cells.
"""

from __future__ import annotations

from typing import Any

from nbformat.v4 import new_code_cell, new_output
from nbgrader.preprocessors import DeduplicateIds, NbGraderPreprocessor, SaveAutoGrades
from traitlets import Int, Unicode

from grader import course
from grader.notebooks import outside, reading
from grader.notebooks.build import check_cell, check_id

#: The key of nbconvert's resources under which `SaveMarks` finds the marks: by grade_id, None for a task not judged.
MARKS = "trtprep_marks"


class DropCopies(DeduplicateIds):
    """Of cells with one id the last one counts. nbgrader 0.9.6 leaves metadata on the others that it then refuses."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        nb, resources = super().preprocess(nb, resources)
        for cell in nb.cells:
            if not cell.metadata.get("nbgrader", True):
                del cell.metadata["nbgrader"]
        return nb, resources


class GradeOutside(NbGraderPreprocessor):
    """Grades the answer that a submitted notebook holds, and writes what came of it under its graded cells."""

    tier = Unicode("auto", help="as for `trtprep run`").tag(config=True)
    seed = Int(None, allow_none=True, help="of the private inputs, to repeat a grading; each has its own without").tag(
        config=True
    )

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        exercise = course.find(resources["nbgrader"]["notebook"])
        answer = reading.answer(nb.cells, exercise)
        result = outside.grade(exercise, answer, tier=self.tier, seed=self.seed)
        tasks = {check_id(task["id"]): task for task in result["exercises"][0]["tasks"]}
        where = f"{result['tier']}, seed {result['seed']}"
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nb.cells += [
            _check(exercise, task) for grade_id, task in tasks.items() if grade_id not in map(_grade_id, nb.cells)
        ]
        for cell in nb.cells:
            if task := tasks.get(_grade_id(cell)):
                cell.outputs = [_output(task, where)]
        resources[MARKS] = {grade_id: _points(task) for grade_id, task in tasks.items()}
        return nb, resources


class SaveMarks(SaveAutoGrades):
    """Saves the marks of `GradeOutside`. A task that was not judged gets no mark, and waits for a person."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        self._marks = resources[MARKS]
        return super().preprocess(nb, resources)

    def _add_score(self, cell: Any, resources: Any) -> None:
        grade_id = _grade_id(cell)
        if grade_id not in self._marks:
            super()._add_score(cell, resources)
            return
        grade = self.gradebook.find_grade(grade_id, self.notebook_id, self.assignment_id, self.student_id)
        grade.auto_score = self._marks[grade_id]
        grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
        self.gradebook.db.commit()


def _grade_id(cell: Any) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


def _check(exercise: course.Exercise, task: dict[str, Any]) -> Any:
    """The graded cell of a task, which somebody deleted: the task is judged all the same."""
    made = new_code_cell()
    made.source, made.metadata["nbgrader"] = check_cell(exercise.task(task["id"]))
    return made


def _points(task: dict[str, Any]) -> float | None:
    if task["status"] in ("not_run", "inconclusive"):
        return None
    return float(task["points"]) if task["status"] == "passed" else 0.0


def _output(task: dict[str, Any], where: str) -> Any:
    text = outside.told(task)
    if task["status"] in ("failed", "blocked"):
        return new_output(
            "error", ename="TaskFailed", evalue=task["message"], traceback=[*text.splitlines(), f"({where})"]
        )
    return new_output("stream", name="stdout", text=f"{text} ({where})\n")
