"""Makes the course's notebooks: ``python -m grader.notebooks build``.

A walkthrough (`notebooks/walkthroughs/<id>.md`) is Markdown with Python in fences, which jupytext reads, and with lines
that stand for what is written elsewhere (a fence's ``alt="..."`` says what its picture shows):

    <!-- question -->           the question, from exercise.toml
    <!-- setup -->              how the notebook works; imports and constants, from the solution
    <!-- answer: FUNCTION -->   the cell of a function, from the solution; released, it is the stub's
    <!-- check: TASK -->        the graded cell of a task, with its points
    <!-- quoted -->             "What the often-quoted answer gets wrong", from the exercise's README
    <!-- follow-ups -->         the follow-up questions, each a manually graded task with its mark scheme
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from grader.course import EXERCISES, ROOT, CourseError, Exercise, Task, exercises
from grader.notebooks import cells
from grader.notebooks.reading import ANSWER_ID

COURSE = ROOT / "notebooks"
#: Points of a follow-up question, which a person gives. They are beside the exercise's own.
FOLLOW_UP_POINTS = 5

_HOW = """\
The next two cells are given: they make `import tensorrt` and `import pycuda` work on this machine, with or without a
GPU. Write each function in its own cell, which keeps its first line: that is how the grader finds it. What else you
need, helpers and imports, goes into that cell too. A graded cell, `check(...)`, sends the *source* of your cells to the
grader, which runs it in a sandbox on inputs that it has just drawn. Your mark is made in the same way, from the
notebook that you hand in."""
_LINE = re.compile(r"^<!-- (?P<kind>[a-z-]+)(?:: (?P<name>[\w-]+))? -->$", re.MULTILINE)
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class WalkthroughError(CourseError):
    """A walkthrough that does not fit its exercise; the text says where."""


def walkthrough(exercise: Exercise) -> Path:
    return COURSE / "walkthroughs" / f"{exercise.id}.md"


def notebook_path(exercise: Exercise) -> Path:
    """Where nbgrader wants the instructor's version: the assignment and its one notebook are named as the exercise."""
    return COURSE / "source" / exercise.id / f"{exercise.id}.ipynb"


def with_walkthrough() -> list[Exercise]:
    """The exercises that have one."""
    return [exercise for exercise in exercises() if walkthrough(exercise).is_file()]


def notebook(exercise: Exercise) -> str:
    """The instructor's notebook of an exercise, with solutions and without outputs, as the text of its file.

    Raises:
        WalkthroughError: a task or function of the exercise is not in it exactly once, or one that is unknown is.
    """
    import jupytext
    import nbformat

    read = jupytext.reads(walkthrough(exercise).read_text(encoding="utf-8"), fmt="md")
    maker = _Maker(exercise)
    for cell in read.cells:
        if cell.cell_type == "markdown":
            maker.prose(cell.source)
        else:
            maker.code(cell.source, cell.metadata.get("alt", ""))
    made = nbformat.v4.new_notebook(cells=maker.done(), metadata={"kernelspec": _KERNEL})
    made.metadata["language_info"] = {"name": "python"}
    nbformat.validate(made)
    return nbformat.writes(made).rstrip() + "\n"


def check_id(task: str) -> str:
    """``grade_id`` of a task's graded cell."""
    return f"check-{task}"


def check_cell(task: Task) -> tuple[str, dict[str, Any]]:
    """Source and nbgrader's metadata of a task's graded cell."""
    source = f'check("{task.id}")  # {task.points} points: {task.title}'
    return source, _nbgrader(check_id(task.id), task.points, grade=True, locked=True)


def _nbgrader(grade_id: str, points: int | None = None, **is_: bool) -> dict[str, Any]:
    roles = {"grade": False, "solution": False, "locked": False, "task": False} | is_
    return {"schema_version": 3, "grade_id": grade_id, **roles} | ({} if points is None else {"points": points})


class _Maker:
    """The cells, one after the other."""

    def __init__(self, exercise: Exercise) -> None:
        self._exercise = exercise
        self._solutions = cells.solution_cells(exercise)
        self._cells: list[Any] = []
        self._met: list[str] = []

    def prose(self, text: str) -> None:
        done = 0
        for line in _LINE.finditer(text):
            self._markdown(text[done : line.start()])
            self._insert(line["kind"], line["name"] or "")
            done = line.end()
        self._markdown(text[done:])

    def code(self, source: str, alt: str) -> None:
        """``alt``: what its picture shows, for those who do not see it."""
        self._add("code", source)
        if alt:
            self._cells[-1].metadata["alt"] = alt

    def done(self) -> list[Any]:
        wanted = ["question", "setup", "quoted", "follow-ups", *(f"answer: {name}" for name in self._solutions)]
        wanted += [f"check: {task.id}" for task in self._exercise.tasks]
        where = f"the walkthrough of {self._exercise.short}"
        if missing := [line for line in wanted if self._met.count(line) != 1]:
            raise WalkthroughError(f"{where} needs these lines, each of them once: {', '.join(missing)}")
        if unknown := set(self._met) - set(wanted):
            raise WalkthroughError(f"{where} has lines that mean nothing: {', '.join(sorted(unknown))}")
        return self._cells

    def _insert(self, kind: str, name: str) -> None:
        self._met.append(f"{kind}: {name}" if name else kind)
        if kind == "question":
            self._markdown(f"> {self._exercise.question}")
        elif kind == "setup":
            self._markdown(_HOW)
            start = f'from grader.notebooks import check, start\n\nstart("{self._exercise.id}")'
            self._add("code", start, _nbgrader("start", locked=True))
            self._add("code", cells.setup(self._exercise), _nbgrader("setup", locked=True))
        elif kind == "answer" and name in self._solutions:
            self._add("code", self._solutions[name], _nbgrader(ANSWER_ID.format(name), solution=True))
        elif kind == "check" and name in {task.id for task in self._exercise.tasks}:
            self._add("code", *check_cell(self._exercise.task(name)))
        elif kind == "quoted":
            self._markdown(_section(self._exercise, "What the often-quoted answer gets wrong"))
        elif kind == "follow-ups":
            self._follow_ups()

    def _follow_ups(self) -> None:
        for number, follow_up in enumerate(self._exercise.follow_ups, 1):
            points = "\n".join(f"- {point}" for point in _points(follow_up.answer))
            scheme = f"**A good answer says** ({FOLLOW_UP_POINTS} points for all of it):\n\n{points}"
            rubric = f"=== BEGIN MARK SCHEME ===\n\n{scheme}\n\n=== END MARK SCHEME ==="
            text = f"**{follow_up.question}** ({FOLLOW_UP_POINTS} points)\n\n{rubric}"
            role = _nbgrader(f"follow-up-{number}", FOLLOW_UP_POINTS, locked=True, task=True)
            self._add("markdown", text, role)
            self._markdown("*Your answer: say it aloud first, then write it here.*")

    def _markdown(self, text: str) -> None:
        if text.strip():
            self._add("markdown", text.strip("\n"))

    def _add(self, kind: str, source: str, metadata: dict[str, Any] | None = None) -> None:
        import nbformat

        make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        cell = make(source=source)
        cell["id"] = f"cell-{len(self._cells) + 1}"  # the same every time, so that versions can be compared
        if metadata is not None:
            cell["id"], cell.metadata["nbgrader"] = metadata["grade_id"], metadata
        self._cells.append(cell)


def _points(answer: str) -> list[str]:
    """What a good answer says, sentence by sentence."""
    return [sentence.strip() for sentence in re.split(r"(?<=[.;:])\s+(?=[A-Z])", answer) if sentence.strip()]


def _section(exercise: Exercise, heading: str) -> str:
    """A section of the exercise's README, heading and all. Raises CourseError."""
    text = (EXERCISES / exercise.id / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(heading)}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise CourseError(f"exercises/{exercise.id}/README.md has no section {heading!r}")
    return found[0].strip()


def build() -> list[Path]:
    """Write every notebook whose walkthrough is there; the files."""
    written = []
    for exercise in with_walkthrough():
        path = notebook_path(exercise)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notebook(exercise), encoding="utf-8")
        written.append(path)
    return written
