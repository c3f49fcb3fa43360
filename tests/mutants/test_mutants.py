"""Each wrong answer fails the task that it gets wrong, no other, and with a message that would have helped its author.

A mutant is a file ``<exercise>/<name>.toml``; what its fields mean is in README.md beside this file.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pytest

from grader.course import exercises, find
from grader.extras import missing
from tests.grading import Graded, answer_file, grade, solution_source

HERE = Path(__file__).resolve().parent


if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FIELDS = {"task", "also", "only", "why", "article", "says", "tier", "replace"}


@dataclass(frozen=True)
class Mutant:
    """A plausible wrong answer, as its file tells it."""

    exercise: str
    name: str
    task: str
    also: tuple[str, ...]
    only: str
    says: str
    tier: str
    replacements: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.exercise.split('_')[0]}-{self.name}"

    def needs(self) -> tuple[str, ...]:
        """Packages, by the names that are imported, without which its task is not run."""
        return find(self.exercise).task(self.task).needs

    def source(self) -> str:
        """The solution with its replacements made. Raises ValueError where one does not apply exactly once."""
        source = solution_source(self.exercise)
        for old, new in self.replacements:
            if source.count(old) != 1:
                raise ValueError(f"occurs {source.count(old)} times in the solution: {old!r}")
            source = source.replace(old, new)
        return source


def _read(path: Path) -> Mutant:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    assert set(data) <= FIELDS, f"{path.name} has unknown fields: {set(data) - FIELDS}"
    assert data["why"].strip(), f"{path.name} does not say why"
    replacements = tuple((r["old"], r["new"]) for r in data["replace"])
    also, only = tuple(data.get("also", ())), data.get("only", "")
    tier = data.get("tier", "twin")
    assert tier in ("twin", "gpu", "both"), f"{path.name} has an unknown tier: {tier}"
    return Mutant(path.parent.name, path.stem, data["task"], also, only, data["says"], tier, replacements)


MUTANTS = [_read(path) for path in sorted(HERE.glob("*/*.toml"))]
each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=str)
_ON_THE_TWIN = [m for m in MUTANTS if m.tier != "gpu"]
each_on_the_twin = pytest.mark.parametrize("mutant", [m for m in _ON_THE_TWIN if not m.needs()], ids=str)
each_with_a_framework = pytest.mark.parametrize("mutant", [m for m in _ON_THE_TWIN if m.needs()], ids=str)
each_on_a_gpu = pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.tier != "twin"], ids=str)


def check_functions(exercise: str) -> dict[str, str]:
    """The check functions of an exercise, each with its task."""
    found = {}
    for node in [node for path in find(exercise).checks for node in ast.parse(path.read_text(encoding="utf-8")).body]:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = [d for d in node.decorator_list if ast.unparse(d).startswith("pytest.mark.task(")]
            assert len(marks) == 1, f"{node.name} must be marked with one task"
            found[node.name] = ast.literal_eval(marks[0].args[0])  # type: ignore[attr-defined]
    return found


@each_mutant
def test_a_mutant_can_be_made_and_compiles(mutant: Mutant) -> None:
    source = mutant.source()
    compile(source, mutant.name, "exec")
    assert ast.dump(ast.parse(source)) != ast.dump(ast.parse(solution_source(mutant.exercise)))
    re.compile(mutant.says)


@each_mutant
def test_a_mutant_names_tasks_and_checks_that_exist(mutant: Mutant) -> None:
    tasks = {task.id for task in find(mutant.exercise).tasks}
    assert {mutant.task, *mutant.also} <= tasks
    assert mutant.task not in mutant.also
    if mutant.only:
        assert check_functions(mutant.exercise)[mutant.only] == mutant.task
        assert not mutant.also, "a mutant that one check alone stops fails no other task"


def test_no_two_mutants_are_the_same() -> None:
    sources = [mutant.source() for mutant in MUTANTS]
    assert len(set(sources)) == len(sources)


@pytest.mark.parametrize("exercise", [e.id for e in exercises()])
def test_switching_any_check_off_would_let_a_mutant_through(exercise: str) -> None:
    """That a mutant's ``only`` check is indeed the only one that stops it is tested below, by grading it."""
    alone = {mutant.only for mutant in MUTANTS if mutant.exercise == exercise}
    assert set(check_functions(exercise)) - alone == set()


@pytest.mark.slow
@each_on_the_twin
def test_a_mutant_fails_its_task_and_no_other(mutant: Mutant, tmp_path: Path) -> None:
    _fails_its_task_and_no_other(mutant, tmp_path)


@pytest.mark.frameworks
@each_with_a_framework
def test_a_mutant_of_a_framework_fails_its_task_and_no_other(mutant: Mutant, tmp_path: Path) -> None:
    """Of the tasks with its function: each framework takes seconds to import, and shares no code with another."""
    exercise = find(mutant.exercise)
    function = exercise.task(mutant.task).function
    _fails_its_task_and_no_other(
        mutant, tmp_path, {*mutant.also, *(task.id for task in exercise.tasks if task.function == function)}
    )


def _fails_its_task_and_no_other(mutant: Mutant, tmp_path: Path, tasks: Collection[str] = ()) -> None:
    submission = answer_file(tmp_path, mutant.exercise, mutant.source())
    graded = grade(submission, mutant.exercise, tasks=tasks)

    _is_told_what_is_wrong(mutant, graded)
    assert graded.not_passed() <= {mutant.task, *mutant.also}, {
        name: task.message for name, task in graded.tasks.items() if task.status != "passed"
    }
    if mutant.only:
        assert graded.killers() == {mutant.only}


@pytest.mark.gpu
@each_on_a_gpu
def test_a_mutant_fails_its_task_on_a_gpu(mutant: Mutant, tmp_path: Path) -> None:
    if absent := missing(mutant.needs()):
        pytest.skip(f"not without {' and '.join(absent)}")
    submission = answer_file(tmp_path, mutant.exercise, mutant.source())
    graded = grade(submission, mutant.exercise, tier="gpu", tasks={mutant.task})  # a whole exercise takes minutes there

    _is_told_what_is_wrong(mutant, graded)
    if mutant.only:
        assert graded.killers() == {mutant.only}


def _is_told_what_is_wrong(mutant: Mutant, graded: Graded) -> None:
    failed = graded.tasks[mutant.task]
    assert failed.status == "failed", f"it got through: {mutant.task} is {failed.status} {failed.message}"
    assert re.search(mutant.says, failed.message), f"the message would not have helped: {failed.message}"
