"""Runs a course's solved notebook from top to bottom, and writes what came of it as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grader.course import CourseError, Exercise
from grader.notebooks.build import COURSE, notebook_path

CELL_S = 600


class NotebookFailed(CourseError):  # noqa: N818 (it reads as what happened)
    """A cell of a solved notebook raised; the text is the traceback."""


def run(exercise: Exercise) -> Any:
    """The solved notebook with its outputs. Raises NotebookFailed."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    solved = nbformat.read(notebook_path(exercise), as_version=4)
    try:
        return NotebookClient(solved, timeout=CELL_S, resources={"metadata": {"path": str(COURSE)}}).execute()
    except CellExecutionError as error:
        raise NotebookFailed(f"the solved notebook of {exercise.short} does not run: {error}") from error


def render(exercise: Exercise, folder: Path) -> Path:
    """Run it and write ``<folder>/<id>.html``; the file."""
    from nbconvert.exporters import HTMLExporter

    page, _ = HTMLExporter(template_name="classic", embed_images=True).from_notebook_node(
        run(exercise), resources={"metadata": {"name": exercise.title}}
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{exercise.id}.html"
    path.write_text(page, encoding="utf-8")
    return path
