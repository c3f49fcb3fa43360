"""``python -m grader.notebooks``: make the course's notebooks, read answers out of them, render them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from grader import course
from grader.notebooks.reading import extract

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("build")
def build_() -> None:
    """Write notebooks/source/<id>/<id>.ipynb from the walkthroughs, manifests and solutions."""
    from grader.notebooks.build import build

    for path in build():
        typer.echo(f"wrote {path.relative_to(course.ROOT)}")


@app.command("extract")
def extract_(
    notebook: Annotated[Path, typer.Argument(help="an .ipynb file; it is only read")],
    exercise: Annotated[str, typer.Option(help="the exercise, where the file is not named after it")] = "",
) -> None:
    """Print the answer that a notebook holds: what `trtprep run` takes as a stub.py."""
    typer.echo(extract(notebook, course.find(exercise) if exercise else None), nl=False)


@app.command()
def render(
    out: Annotated[Path, typer.Option(help="folder for the pages")],
    exercises: Annotated[list[str] | None, typer.Argument(help="exercises, as q1; all without")] = None,
) -> None:
    """Run the solved notebooks from top to bottom and write each as an HTML page."""
    from grader.notebooks.build import with_walkthrough
    from grader.notebooks.solved import render

    chosen = [course.find(name) for name in exercises or ()] or with_walkthrough()
    for exercise in chosen:
        typer.echo(f"wrote {render(exercise, out)}")


def main() -> None:
    from grader.errors import spoken_errors

    try:
        app()
    except spoken_errors() as error:
        sys.exit(f"trtprep: {error}")


if __name__ == "__main__":
    main()
