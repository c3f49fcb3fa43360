"""Stub and solution have one source: a stub is its solution without the bodies.

``python -m grader.stubs`` writes them.
"""

from __future__ import annotations

import ast
from pathlib import Path

from grader.course import EXERCISES, SOLUTIONS, exercises

_BODY = 'raise NotImplementedError("write me")'


def stub_of(solution: str) -> str:
    """The stub of a solution's source: public functions keep signature and docstring, private ones go.

    So do the headings behind the last public one. Module-level code (imports, constants) stays. Raises ValueError for
    what would carry an answer into the stub: a public function without a docstring, an asynchronous one, a class with
    methods.
    """
    lines = solution.splitlines()
    kept: list[str] = []
    done = 0
    for node in ast.parse(solution).body:
        if not isinstance(node, ast.FunctionDef):
            if any(isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) for inner in ast.walk(node)):
                raise ValueError(f"line {node.lineno} cannot become part of a stub: only plain functions can")
            continue
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        kept += lines[done:first]
        done = node.end_lineno or first
        if node.name.startswith("_"):
            while kept and not kept[-1].strip():
                kept.pop()
            continue
        if ast.get_docstring(node) is None:
            raise ValueError(f"{node.name}() cannot become part of a stub: it has no docstring")
        docstring = node.body[0]
        kept += [*lines[first : docstring.end_lineno], f"    {_BODY}"]
    kept += lines[done:]
    while not kept[-1].strip() or kept[-1].startswith("# -- "):  # headings of private functions
        kept.pop()
    return "\n".join(kept).rstrip() + "\n"


def paths(exercise_id: str) -> tuple[Path, Path]:
    """(solution, stub) of an exercise."""
    return SOLUTIONS / exercise_id / "solution.py", EXERCISES / exercise_id / "stub.py"


def main() -> None:
    """Write the stub of every exercise."""
    for exercise in exercises():
        solution, stub = paths(exercise.id)
        stub.write_text(stub_of(solution.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote {stub.relative_to(EXERCISES.parent)}")


if __name__ == "__main__":
    main()
