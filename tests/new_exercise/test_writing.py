"""`trtprep new-exercise` writes all files of an exercise or none, and says in one line why not."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grader import cli, course, new_exercise
from grader.course import CourseError
from grader.new_exercise import LONGEST_NAME, what_next, write
from grader.stubs import stub_of
from tests.new_exercise.cloned import ROOT

NAME = "z9_of_tests"
FOLDERS = ("exercises", "solutions", "grader/checks", "tests/mutants")
SHORTEST, LONGEST = "a1_b", "z99_" + "w" * (LONGEST_NAME - 4)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A repository that has no exercises yet."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def files(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text(encoding="utf-8") for p in root.rglob("*") if p.is_file()}


def test_an_exercise_has_every_part_that_others_have(empty: Path) -> None:
    written = {str(path) for path in write(NAME, empty)}

    assert written == set(files(empty))
    assert written - {path for path in written if path.startswith("tests/mutants/")} == {
        f"exercises/{NAME}/README.md", f"exercises/{NAME}/exercise.toml", f"exercises/{NAME}/stub.py",
        f"solutions/{NAME}/solution.py", f"grader/checks/test_{NAME}.py",
    }  # fmt: skip
    assert len(list((empty / "tests" / "mutants" / NAME).glob("*.toml"))) >= 2


def test_texts_speak_of_this_exercise(empty: Path) -> None:
    write("z9_cuda_graphs", empty)
    texts = files(empty)

    assert not [
        path for path, text in texts.items() if "NAME" in path + text or "{{" in text or not text.endswith("\n")
    ]
    assert texts["exercises/z9_cuda_graphs/README.md"].startswith("# Cuda graphs\n")
    assert "$ trtprep run z9\n" in texts["exercises/z9_cuda_graphs/README.md"]
    assert 'title = "Cuda graphs"' in texts["exercises/z9_cuda_graphs/exercise.toml"]
    assert "z9_cuda_graphs" in texts["grader/checks/test_z9_cuda_graphs.py"]


def test_the_readme_has_the_sections_of_the_others(empty: Path) -> None:
    write(NAME, empty)
    mine = files(empty)[f"exercises/{NAME}/README.md"]
    headings = [
        {line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("## ")}
        for path in (ROOT / "exercises").glob("*/README.md")
    ]

    assert {line for line in mine.splitlines() if line.startswith("## ")} == set.intersection(*headings)


def test_the_stub_is_made_from_the_solution(empty: Path) -> None:
    write(NAME, empty)
    texts = files(empty)
    assert texts[f"exercises/{NAME}/stub.py"] == stub_of(texts[f"solutions/{NAME}/solution.py"])


@pytest.mark.parametrize("name", [SHORTEST, LONGEST])
def test_ruff_finds_nothing_whatever_the_name(empty: Path, name: str) -> None:
    write(name, empty)
    for path, text in files(empty).items():
        for words in (["check"], ["format", "--check"]) if path.endswith(".py") else ():
            done = subprocess.run(  # as if the file were in the repository: what is ours is known by where it lies
                [sys.executable, "-m", "ruff", *words, "--no-cache", "--stdin-filename", path, "-"],
                cwd=ROOT, input=text, text=True, capture_output=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "", "profiling", "q5", "q5_", "_q5_x", "Q5_profiling", "q5_Profiling", "q5-profiling", "q_profiling", "qq5_x",
        "q5__x", "q5_x_", "../q5_x", "q5_x/y", "q5_x\n", "q5_é", "q\u0665_x", "z99_" + "w" * (LONGEST_NAME - 3),
    ],
)  # fmt: skip
def test_a_name_that_is_none_is_told_what_one_looks_like(empty: Path, name: str) -> None:
    with pytest.raises(CourseError, match="is not a name for an exercise: one looks like q5_profiling") as caught:
        write(name, empty)
    assert "\n" not in str(caught.value)
    assert files(empty) == {}


@pytest.mark.parametrize(
    "there",
    [
        f"exercises/{NAME}/stub.py",
        "exercises/z9_another/exercise.toml",
        "solutions/z9_another/solution.py",
        "grader/checks/test_z9_another_part.py",
        "tests/mutants/z9_another/wrong.toml",
    ],
)
def test_an_exercise_that_is_there_is_not_touched(empty: Path, there: str) -> None:
    (empty / there).parent.mkdir(exist_ok=True)
    (empty / there).write_text("mine", encoding="utf-8")

    with pytest.raises(CourseError, match=r"z9 is taken: [\w/]+z9_\w+(\.py)? is there; choose another"):
        write(NAME, empty)
    assert files(empty) == {there: "mine"}


def test_a_longer_number_is_another_exercise(empty: Path) -> None:
    write("z99_another", empty)
    assert write(NAME, empty)


@pytest.mark.parametrize("absent", FOLDERS)
def test_elsewhere_one_line_says_that_it_takes_a_clone(empty: Path, absent: str) -> None:
    (empty / absent).rmdir()
    with pytest.raises(CourseError, match=f"made in a clone of the repository, .* has no {absent}$") as caught:
        write(NAME, empty)
    assert "\n" not in str(caught.value)
    assert files(empty) == {}


def test_where_a_file_cannot_be_written_nothing_is_left_behind(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, opened = sorted(empty.rglob("*")), []
    real = Path.open

    def full(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(self)
        if len(opened) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(
        CourseError, match="cannot write the exercise, nothing was left behind: No space left on device"
    ):
        write(NAME, empty)
    assert len(opened) == 5
    assert sorted(empty.rglob("*")) == before


def test_a_file_that_appears_meanwhile_is_not_overwritten(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = empty / "grader" / "checks" / f"test_{NAME}.py"
    monkeypatch.setattr(new_exercise, "_can_be_written", lambda *_: path.write_text("mine", encoding="utf-8"))

    with pytest.raises(CourseError, match=f"nothing was left behind: File exists: {path}"):
        write(NAME, empty)
    assert files(empty) == {str(path.relative_to(empty)): "mine"}


def test_what_comes_next_names_what_was_written(empty: Path) -> None:
    written = {str(path) for path in write(NAME, empty)}
    told = what_next(NAME)

    for place in (f"solutions/{NAME}/solution.py", f"grader/checks/test_{NAME}.py"):
        assert place in told
        assert place in written
    assert "trtprep run z9 --submission solutions" in told
    assert "make stubs" in told
    heading = told.rpartition(": ")[2].rstrip(".")
    assert f"\n## {heading}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_command_prints_what_it_wrote_and_a_mistake_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty: Path
) -> None:
    monkeypatch.setattr(course, "ROOT", empty)

    def command(name: str) -> int:
        monkeypatch.setattr(sys, "argv", ["trtprep", "new-exercise", name])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    assert command(NAME) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[: len(files(empty))] == [f"wrote {path}" for path in sorted(files(empty))]
    assert what_next(NAME) in out
    assert command(NAME) == 2
    err = capsys.readouterr().err
    assert err.startswith("trtprep: z9 is taken")
    assert err.count("\n") == 1
