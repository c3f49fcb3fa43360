"""Answers that are alike and answers that are not, made from c1's stub and solution."""

from __future__ import annotations

import ast
import re

from grader.course import EXERCISES, SOLUTIONS, find
from grader.similarity.compare import Answer, Pair, Stub, answer, pairs
from grader.similarity.reader import Reader

C1 = find("c1")
STUB = (EXERCISES / C1.id / "stub.py").read_text(encoding="utf-8")
SOLUTION = (SOLUTIONS / C1.id / "solution.py").read_text(encoding="utf-8")
#: Does what nobody asked, and nothing as the solution does it.
OTHER = '''
import numpy as np


class Shelf:
    """Books by their width."""

    def __init__(self, *widths):
        self.widths = sorted(w for w in widths if w > 0)

    def fits(self, room):
        total, count = 0, 0
        while count < len(self.widths) and total + self.widths[count] <= room:
            total += self.widths[count]
            count += 1
        return count, room - total


def spiral(rows, columns):
    seen = np.zeros((rows, columns), dtype=bool)
    turn, at, path = 0, (0, 0), []
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    for _ in range(rows * columns):
        path.append(at)
        seen[at] = True
        following = at[0] + steps[turn][0], at[1] + steps[turn][1]
        if not (0 <= following[0] < rows and 0 <= following[1] < columns) or seen[following]:
            turn = (turn + 1) % 4
            following = at[0] + steps[turn][0], at[1] + steps[turn][1]
        at = following
    return path
'''


def disguised(source: str) -> str:
    """A copy with its own functions and variables renamed, functions in another order, comments and docstrings gone."""
    tree = ast.parse(source)
    names = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    names |= {node.name for node in functions}
    for node in functions:
        if ast.get_docstring(node):
            del node.body[0]
    if ast.get_docstring(tree):
        del tree.body[0]
    tree.body = [node for node in tree.body if node not in functions] + functions[::-1]
    text = ast.unparse(tree)
    for number, name in enumerate(sorted(names)):
        text = re.sub(rf"(?<![.\w]){name}\b(?!\s*=[^=])", f"quite_other_{number}", text)
    return text


def answers(**sources: str) -> list[Answer]:
    """Answers to c1, by their persons."""
    with Reader() as reader:
        stub = Stub(reader.read(STUB.encode()))
        return [
            answer(C1.id, person, [("stub.py", reader.read(source.encode()))], stub)
            for person, source in sources.items()
        ]


def pair_of(one: str, other: str, least: float = 0.0) -> Pair | None:
    (found,) = pairs(answers(one=one, other=other), least)
    return found
