"""A skeleton, and what the README makes of one, hold up to the project's own tests as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.new_exercise.cloned import ROOT, Clone

NAME, SHORT = "z9_of_tests", "z9"
EDITED = "q5_softmax"  # the README's
_EDIT = re.compile(r"`([\w/]+\.(?:py|toml))`.*?```diff\n(.*?)```", re.DOTALL)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with a new exercise."""
    clone = Clone.make(tmp_path_factory.mktemp("skeleton"))
    done = clone.trtprep("new-exercise", NAME)
    assert done.returncode == 0, done.stderr
    return clone


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with the exercise that the README makes, by the README's own edits."""
    clone = Clone.make(tmp_path_factory.mktemp("edited"))
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A new exercise in ten minutes")[2]
    section = section.partition("\n## ")[0]
    assert f"$ trtprep new-exercise {EDITED}\n" in section
    assert clone.trtprep("new-exercise", EDITED).returncode == 0
    edits = _EDIT.findall(section)
    assert len(edits) == 3
    for where, edit in edits:
        path = clone.root / where
        text = path.read_text(encoding="utf-8")
        for old, new in _replacements(edit):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    ((old, new),) = re.findall(r"\$ mv (\S+) (\S+)", section)
    (clone.root / old).rename(clone.root / new)
    done = clone.python("grader.stubs")
    assert done.returncode == 0, done.stderr
    return clone


def _replacements(edit: str) -> Iterator[tuple[str, str]]:
    """(lines taken out, lines put in their place) of a diff without context."""
    for old, new in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", edit, re.MULTILINE):
        yield re.sub("^-", "", old, flags=re.MULTILINE), re.sub(r"^\+", "", new, flags=re.MULTILINE)


@pytest.fixture(params=["skeleton", "edited"])
def made(request: pytest.FixtureRequest) -> tuple[Clone, str]:
    """A clone with an exercise, and the exercise's id."""
    return request.getfixturevalue(request.param), NAME if request.param == "skeleton" else EDITED


def _graded(clone: Clone, name: str, submission: str, tmp_path: Path) -> dict:
    report = tmp_path / "report.json"
    words = ("run", name, "--submission", submission, "--tier", "twin", "--json", str(report))
    done = clone.trtprep(*words)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(report.read_text(encoding="utf-8"))


def test_the_solution_earns_all_points_for_any_seed(made: tuple[Clone, str], tmp_path: Path) -> None:
    for _ in range(3):
        report = _graded(*made, "solutions", tmp_path)
        assert (report["earned"], report["possible"], report["not_run"]) == (100, 100, 0), report["seed"]


def test_the_stub_earns_nothing_and_says_where_to_start(made: tuple[Clone, str], tmp_path: Path) -> None:
    report = _graded(*made, "exercises", tmp_path)

    assert report["earned"] == 0
    messages = {task["message"] for exercise in report["exercises"] for task in exercise["tasks"]}
    assert messages == {"not written yet: start with build_and_run()"}


def test_the_rules_for_exercises_hold_and_each_mutant_is_stopped(made: tuple[Clone, str], tmp_path: Path) -> None:
    clone, name = made
    cases = _tests(clone, tmp_path, "tests/exercises", "tests/mutants", "-m", "not gpu", "-k", name.split("_")[0])

    mutants = {path.stem for path in (clone.root / "tests" / "mutants" / name).glob("*.toml")}
    graded = {case for case in cases if case.startswith("test_a_mutant_fails_its_task_and_no_other[")}
    assert graded == {f"test_a_mutant_fails_its_task_and_no_other[{name.split('_')[0]}-{mutant}]" for mutant in mutants}
    assert len(mutants) >= 2
    assert f"test_the_untouched_stub_earns_nothing_and_is_told_where_to_start[{name.split('_')[0]}]" in cases


def test_the_tests_over_all_exercises_hold_with_one_more(skeleton: Clone, tmp_path: Path) -> None:
    others = ("test_course.py", "test_stubs.py", "test_progress.py", "notebooks/test_cells.py")
    files = ("exercises", "mutants", "reports/test_mistakes.py", "reports/test_pages.py", *others)
    only = "not slow and not frameworks and not notebooks and not gpu"
    assert len(_tests(skeleton, tmp_path, *(f"tests/{file}" for file in files), "-m", only)) > 100


def test_the_linters_find_nothing(made: tuple[Clone, str]) -> None:
    clone, name = made
    for words in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy", f"grader/checks/test_{name}.py"]):
        done = clone.python(*words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_listed_and_gives_its_hints(skeleton: Clone) -> None:
    assert f"({NAME}, 0 of 100 points)" in skeleton.trtprep("list").stdout
    assert "hint 1 of 3" in skeleton.trtprep("hint", SHORT).stdout


def _tests(clone: Clone, tmp_path: Path, *words: str) -> set[str]:
    """Run the clone's own tests, all of which must pass; returns their names."""
    junit = tmp_path / "junit.xml"
    done = clone.python("pytest", "-n0", f"--junit-xml={junit}", *words)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return {case.attrib["name"] for case in ElementTree.parse(junit).iter("testcase")}
