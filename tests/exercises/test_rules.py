"""What holds for every exercise: one source, whole marks, a way in, and a solution that earns them all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from grader.course import EXERCISES, SOLUTIONS, Exercise, exercises
from grader.extras import missing
from grader.stubs import paths, stub_of
from tests.grading import Graded, grade

MOST_LINES = 150
LEAST_ON_THE_TWIN = 70  # of 100 points: a laptop without a GPU must be worth the while
each_exercise = pytest.mark.parametrize("exercise", exercises(), ids=lambda exercise: exercise.short)


def functions(source: str) -> dict[str, ast.FunctionDef]:
    """The functions that a module's source defines."""
    return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}


def tasks_of_checks(exercise: Exercise) -> dict[str, list[str]]:
    """For each check function, the tasks that it is marked with."""
    found = {}
    for name, node in [
        item for path in exercise.checks for item in functions(path.read_text(encoding="utf-8")).items()
    ]:
        if name.startswith("test_"):
            assert name not in found, f"two checks of {exercise.id} are called {name}"
            marks = [d for d in node.decorator_list if ast.unparse(d).startswith("pytest.mark.task(")]
            found[name] = [ast.literal_eval(mark.args[0]) for mark in marks]  # type: ignore[attr-defined]
    return found


@each_exercise
def test_the_stub_is_the_solution_without_its_bodies(exercise: Exercise) -> None:
    solution, stub = (path.read_text(encoding="utf-8") for path in paths(exercise.id))
    assert stub == stub_of(solution), "run `make stubs`"


@each_exercise
def test_the_stub_is_short(exercise: Exercise) -> None:
    _, stub = paths(exercise.id)
    assert len(stub.read_text(encoding="utf-8").splitlines()) < MOST_LINES


@each_exercise
def test_the_stub_says_what_each_function_takes_and_gives(exercise: Exercise) -> None:
    _, stub = paths(exercise.id)
    for name, function in functions(stub.read_text(encoding="utf-8")).items():
        said = ast.get_docstring(function) or ""
        assert function.returns is not None, name
        assert "Returns:" in said or "Yields:" in said or ast.unparse(function.returns) == "None", name
        assert all(f"{argument.arg}:" in said for argument in function.args.args), name


@each_exercise
def test_points_sum_to_one_hundred(exercise: Exercise) -> None:
    assert exercise.points == 100
    assert all(task.points > 0 for task in exercise.tasks)


@each_exercise
def test_ids_are_unique(exercise: Exercise) -> None:
    ids = [task.id for task in exercise.tasks]
    assert len(set(ids)) == len(ids)


@each_exercise
def test_every_task_has_hints_and_a_function_of_the_stub(exercise: Exercise) -> None:
    _, stub = paths(exercise.id)
    there = functions(stub.read_text(encoding="utf-8"))
    for task in exercise.tasks:
        assert task.hints, task.id
        assert all(hint.strip() for hint in task.hints), task.id
        assert task.title.strip(), task.id
        assert task.function in there, task.id


@each_exercise
def test_every_task_is_checked_and_every_check_is_of_one_task(exercise: Exercise) -> None:
    checks = tasks_of_checks(exercise)
    assert {name: marks for name, marks in checks.items() if len(marks) != 1} == {}
    assert {task for marks in checks.values() for task in marks} == {task.id for task in exercise.tasks}


@each_exercise
def test_follow_up_questions_have_answers(exercise: Exercise) -> None:
    assert exercise.follow_ups
    assert all(follow_up.question.strip() and follow_up.answer.strip() for follow_up in exercise.follow_ups)


def test_exercises_and_solutions_have_the_same_names() -> None:
    def names(folder: Path) -> set[str]:
        return {path.name for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert names(EXERCISES) == names(SOLUTIONS) == {exercise.id for exercise in exercises()}


def test_short_ids_are_unique() -> None:
    shorts = [exercise.short for exercise in exercises()]
    assert len(set(shorts)) == len(shorts)


@pytest.mark.slow
@each_exercise
def test_the_untouched_stub_earns_nothing_and_is_told_where_to_start(exercise: Exercise) -> None:
    graded = grade(EXERCISES, exercise.id)

    assert graded.earned == 0
    for task in exercise.tasks:
        if task.why_not_on("twin"):
            assert graded.tasks[task.id].status == "not_run"
            continue
        assert graded.tasks[task.id].status == "failed"
        assert graded.tasks[task.id].message == f"not written yet: start with {task.function}()"


@pytest.mark.slow
@each_exercise
def test_the_solution_earns_all_that_the_twin_can_run(exercise: Exercise) -> None:
    graded = _graded_in_full(exercise)

    if not any(missing(task.needs) for task in exercise.tasks):
        assert graded.earned >= LEAST_ON_THE_TWIN


@pytest.mark.frameworks
@pytest.mark.parametrize("exercise", [e for e in exercises() if any(t.needs for t in e.tasks)], ids=lambda e: e.short)
def test_the_solution_earns_all_that_the_twin_can_run_where_the_frameworks_are_installed(exercise: Exercise) -> None:
    assert {task.id: missing(task.needs) for task in exercise.tasks if missing(task.needs)} == {}
    graded = _graded_in_full(exercise)

    assert graded.earned >= LEAST_ON_THE_TWIN
    frameworks = {name for task in exercise.tasks for name in task.needs}
    imported = {part for module in graded.modules for part in Path(module).parts}
    assert not frameworks & imported, "a framework was imported in the grader's own process"


def _graded_in_full(exercise: Exercise, tier: str = "twin") -> Graded:
    """The solution, whose tasks have all passed but for those that cannot be judged here."""
    graded = grade(SOLUTIONS, exercise.id, tier=tier)

    wanted = {task.id: "not_run" if task.why_not_on(tier) else "passed" for task in exercise.tasks}
    other = {name: (task.status, task.message) for name, task in graded.tasks.items() if task.status != wanted[name]}
    assert other == {}
    assert graded.earned + graded.not_run == 100
    return graded


@pytest.mark.gpu
@each_exercise
def test_the_solution_earns_all_on_a_gpu(exercise: Exercise) -> None:
    assert _graded_in_full(exercise, tier="gpu").earned == sum(t.points for t in exercise.tasks if not missing(t.needs))
