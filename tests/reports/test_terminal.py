"""What a person sees: candidates' text exactly as it is, cut where it is long, and the marks with both numbers."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent))

from results import NASTY, result

from grader.doctor import Examination
from grader.processes.sandbox import PROTECTIONS
from grader.processes.sandbox import Status as Protection
from grader.reports.doctor import print_examination
from grader.reports.terminal import TerminalReport, grade
from grader.score import RunResult, Status
from grader.tiers import Tier


def _console(*, colours: bool = False) -> Console:
    system = "standard" if colours else None
    return Console(file=io.StringIO(), width=100, highlight=False, force_terminal=colours, color_system=system)


def _seen(run: RunResult, *, hints: bool = False, colours: bool = False) -> str:
    console = _console(colours=colours)
    report = TerminalReport(console, hints=hints)
    for exercise in run.exercises:
        for task in exercise.tasks:
            report.task(exercise, task)
    report.summary(run)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_each_task_has_its_points_and_each_exercise_its_marks() -> None:
    text = _seen(result())

    lines = {line.split("  ")[1].strip(): line for line in text.splitlines() if re.search(r"\d+/\d+", line)}
    assert len(lines) == 6
    assert [re.findall(r"\d+/\d+", line)[0] for line in lines.values()] == ["10/10", "0/20", "0/5", "0/7", "0/3", "4/4"]
    assert re.search(r"x1_one +10 / 35 points\n", re.sub(r" +\n", "\n", text))
    assert re.search(r"x2_two +4 / 4 points \(10 of 14 points were not run\)", text)
    assert re.search(r"together +14 / 39 points \(10 of 49 points were not run\)", text)
    assert "tier twin (TensorRT 1.7), seed 42, without pid (see `trtprep doctor`)" in text


@pytest.mark.parametrize(
    ("marks", "text"),
    [
        ((10, 35, 0), "10 / 35 points"),
        ((4, 14, 10), "4 / 4 points (10 of 14 points were not run)"),
        ((0, 5, 5), "0 / 0 points (5 of 5 points were not run)"),
    ],
)
def test_a_grade_is_earned_over_possible_less_not_run_with_both_numbers(marks: tuple, text: str) -> None:
    assert grade(*marks) == text


@pytest.mark.parametrize(
    "text", ["[red]x[/red]", "[/]", "[bold]", "[/no such]", "\\[x]", "[link=file:///x]y[/link]", ":smile:"]
)
def test_markup_of_a_candidates_is_shown_as_it_is(text: str) -> None:
    for run in (result(text), result(output=text)):
        assert text in _seen(run)
        assert text in re.sub(r"\x1b\[[\d;]*m", "", _seen(run, colours=True))


def test_a_candidate_cannot_move_the_cursor_or_forge_a_line_of_the_report() -> None:
    for run in (result(NASTY), result(output=NASTY)):
        text = _seen(run)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", text)
        assert "\\x1b[2J" in text
        assert "深" in text
        text.encode()


def test_a_line_return_does_not_hide_what_stands_before_it() -> None:
    assert "three\\rpassed" in _seen(result("three\rpassed"))


def test_long_output_is_cut_to_its_last_lines_and_each_line_in_its_length() -> None:
    text = _seen(result(output="\n".join(f"line {n}" for n in range(1000))))
    assert "your code printed (last 12 of 1000 lines):" in text
    assert [int(n) for n in re.findall(r"line (\d+)", text)] == list(range(988, 1000))

    text = _seen(result(output="x" * 300_000))
    assert "characters left out" in text
    assert len(text) < 10_000


def test_a_long_message_is_cut_and_says_so() -> None:
    text = _seen(result("y" * 8000))
    assert "6000 characters left out" in re.sub(r"\s+", " ", text)
    assert text.count("y") < 2100


def test_output_is_shown_only_where_it_helps() -> None:
    run = result()
    for exercise in run.exercises:
        for task in exercise.tasks:
            task.output = f"printed by {task.id}"
    text = _seen(run)
    assert re.findall(r"printed by \w", text) == ["printed by b"]


def test_hints_are_for_those_who_ask() -> None:
    assert "hint b" not in _seen(result())
    assert re.findall(r"hint: hint \w", _seen(result(), hints=True)) == ["hint: hint b"]


def test_whoever_has_written_nothing_is_told_where_to_start() -> None:
    run = result()
    for task in run.tasks():
        task.status, task.message = Status.FAILED, "not written yet: start with begin()"
    assert "Start here: open x1_one/stub.py in exercises" in re.sub(r"\s+", " ", _seen(run))
    next(iter(run.tasks())).message = "three were expected"
    assert "Start here" not in _seen(run)


def test_whoever_could_not_be_judged_is_not_told_to_start() -> None:
    run = result()
    for task in run.tasks():
        task.status, task.message = Status.NOT_RUN, ""
    assert "Start here" not in _seen(run)


def test_a_run_without_a_candidates_process_claims_no_protections() -> None:
    run = result()
    run.protections.clear()
    assert "no candidate code was run" in _seen(run)
    run.protections |= {"mounts": True}
    assert "all protections on" in _seen(run)


def test_the_doctor_shows_what_machines_say_as_it_is() -> None:
    odd = "[bold]odd[/bold] [/]"
    tiers = (Tier("gpu", odd, f"missing {odd}", odd), Tier("twin", "1.7"))
    protections = {p.name: Protection(p.name != "pid", odd, odd) for p in PROTECTIONS}
    system = {"python": "3.11", "system": "Linux", "machine": "x86_64"}
    packages, lacking = {"numpy": "2", "onnx": ""}, {"q2/pytorch": ("torch",)}
    found = Examination(system, tiers, "twin", protections, packages, {"gpu": ("pycuda",)}, lacking, f"/x/{odd}")
    console = _console()

    print_examination(found, console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("[bold]odd[/bold]") >= 3 + 2 * len(PROTECTIONS)
    assert "missing: onnx" in text
    assert "pip install -e '.[gpu]'" in text
    assert "q2/pytorch" in text
    assert f"cache: /x/{odd}" in text
