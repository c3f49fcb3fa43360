"""Writes the skeleton of a new exercise: a small but real one, which passes all tests that hold for exercises.

``templates/`` has the repository's folders, with NAME where the exercise's name comes; a file put there is written too.
The stub has no template: it is made from the solution, as every exercise's is.
"""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from grader.course import CourseError
from grader.stubs import stub_of

TEMPLATES = Path(__file__).resolve().parent / "templates"
LONGEST_NAME = 40  # it stands in headings and in files' names
_NAME = re.compile(r"([a-z][0-9]+)((?:_[a-z0-9]+)+)")
_SOLUTION, _STUB = "solutions/NAME/solution.py", "exercises/NAME/stub.py"


def write(name: str, root: Path) -> list[Path]:
    """Write the skeleton of an exercise into the clone at ``root``; returns its files, relative to that.

    Raises CourseError, with nothing written, for a name that is none or that is taken, where ``root`` is not a clone,
    and where a file cannot be written.
    """
    found = _NAME.fullmatch(name)
    if found is None or len(name) > LONGEST_NAME:
        raise CourseError(
            f"{name!r} is not a name for an exercise: one looks like q5_profiling, a small letter and a number, then"
            f" words in small letters or digits after underscores, {LONGEST_NAME} characters at most"
        )
    short, words = found.groups()
    texts = _texts(name, short, words.replace("_", " ").strip().capitalize())
    _can_be_written(short, sorted(texts), root)
    _write_all({root / where.replace("NAME", name): text for where, text in texts.items()})
    return [Path(where.replace("NAME", name)) for where in sorted(texts)]


def what_next(name: str) -> str:
    """What to do with a skeleton that was written."""
    short = name.split("_")[0]
    steps = {
        f"solutions/{name}/solution.py": "docstring and answer; then `make stubs`",
        f"grader/checks/test_{name}.py": "what is asked: begin with _expected()",
        f"tests/mutants/{name}/": "wrong answers that the checks must stop",
        f"exercises/{name}/": "exercise.toml and README.md: the words",
    }
    proofs = {
        f"trtprep run {short} --submission solutions": "earns 100 points",
        f"trtprep run {short}": "the stub earns 0, and is told where to start",
        f'pytest tests/exercises tests/mutants -m "not gpu" -k {short}': "all that holds for exercises",
    }
    lines = [f"{name} is a whole exercise already. Make it yours:", *_columns(steps), "and prove it:"]
    return "\n".join([*lines, *_columns(proofs), "README.md shows one made: A new exercise in ten minutes."])


def _columns(rows: dict[str, str]) -> list[str]:
    width = max(map(len, rows))
    return [f"  {left:<{width}}  {right}" for left, right in rows.items()]


def _texts(name: str, short: str, title: str) -> dict[str, str]:
    """The files by their paths in the repository, which still have NAME in them."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # it is Python, TOML and Markdown, and a name of small letters and digits
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    texts = {
        where.removesuffix(".jinja"): environment.get_template(where).render(name=name, short=short, title=title)
        for where in environment.list_templates(extensions=["jinja"])
    }
    return texts | {_STUB: stub_of(texts[_SOLUTION])}


def _can_be_written(short: str, places: list[str], root: Path) -> None:
    """Raises CourseError unless ``root`` has a clone's folders, and no exercise in them with this short id."""
    prefixes = sorted({where.partition("NAME")[0] for where in places})  # "solutions/", "grader/checks/test_"
    if absent := [p.rpartition("/")[0] for p in prefixes if not (root / p.rpartition("/")[0]).is_dir()]:
        raise CourseError(
            f"exercises are made in a clone of the repository, with trtprep installed from it (pip install -e .):"
            f" {root} has no {' and no '.join(absent)}"
        )
    taken = [path for prefix in prefixes for path in sorted(root.glob(f"{prefix}{short}_*"))]
    if taken:
        raise CourseError(f"{short} is taken: {taken[0].relative_to(root)} is there; choose another letter or number")


def _write_all(texts: dict[Path, str]) -> None:
    """Write all of these new files, or none. Raises CourseError."""
    made: list[Path] = []
    try:
        for path, text in texts.items():
            if not path.parent.is_dir():
                path.parent.mkdir()
                made.append(path.parent)
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
    except BaseException as error:
        for path in reversed(made):
            path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            why = f"{error.strerror}: {error.filename or path}"
            raise CourseError(f"cannot write the exercise, nothing was left behind: {why}") from error
        raise
