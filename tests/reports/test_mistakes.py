"""Which mistakes failed tasks tell of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from classes import one_exercise, record, write_class

from grader import course
from grader.reports import mistakes
from grader.reports.class_results import read_class
from grader.reports.mistakes import Group, findings, groups, known, without_numbers
from grader.score import Status, TaskResult

MUTANTS = {
    "bgr_kept": ("a", "in BGR order", ["b"], True),
    "rgb_twice": ("a", "twice", [], False),
    "no_softmax": ("b", "probabilit", [], False),
    "softmax_over_all": ("b", "probability [0-9.]+", [], False),
}


@pytest.fixture(autouse=True)
def mutants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Mutants of an exercise with the tasks a, b and c."""
    folder = tmp_path / "mutants" / "x1_one"
    folder.mkdir(parents=True)
    for name, (task, says, also, article) in MUTANTS.items():
        lines = [f"task = '{task}'", f"also = {also}", f"why = 'why {name}'", f"says = '''{says}'''"]
        lines += ["article = true"] if article else []
        (folder / f"{name}.toml").write_text("\n".join(lines))
    monkeypatch.setattr(mistakes, "MUTANTS", tmp_path / "mutants")
    known.cache_clear()
    yield
    known.cache_clear()


def failed(task_id: str, message: str) -> TaskResult:
    return TaskResult(task_id, task_id.upper(), 1, Status.FAILED, message)


def grouped(tmp_path: Path, *people: list[TaskResult]) -> list[Group]:
    records = [record(f"p{n}", one_exercise(*tasks)) for n, tasks in enumerate(people)]
    return groups(read_class(write_class(tmp_path / "out", records)), "x1_one")


def seen(found: list[Group]) -> list[tuple[str, list[str], str, list[str]]]:
    return [(g.task, [m.name for m in g.mistakes], g.wording, [p.name for p in g.people]) for g in found]


def test_a_message_names_the_mistake_of_its_task(tmp_path: Path) -> None:
    (group,) = grouped(tmp_path, [failed("a", "off by 40: the channels are in BGR order")])

    (mistake,) = group.mistakes
    assert (mistake.name, mistake.why, mistake.often_quoted) == ("BGR kept", "why bgr_kept", True)
    assert group.wording == "off by 40: the channels are in BGR order"
    assert [g.mistakes for g in grouped(tmp_path, [failed("c", "in BGR order")])] == [()]


def test_a_message_that_fits_several_names_them_all(tmp_path: Path) -> None:
    assert seen(grouped(tmp_path, [failed("b", "probability 0.3")])) == [
        ("b", ["No softmax", "Softmax over all"], "probability 0.3", ["p0"])
    ]


def test_mistakes_of_the_most_people_come_first_and_unknown_ones_differ_in_numbers_only(tmp_path: Path) -> None:
    found = grouped(
        tmp_path,
        [failed("a", "rotated twice")],
        [failed("a", "expected 12 rows, got 3.5 (stub.py:7)")],
        [failed("a", "expected 7 rows, got 1e-05 (stub.py:90)")],
        [failed("a", "expected columns")],
        [failed("b", "expected 7 rows, got 1 (stub.py:9)")],
    )
    rows = "expected … rows, got … (stub.py:…)"
    assert seen(found) == [
        ("a", [], rows, ["p1", "p2"]),
        ("a", ["Rgb twice"], "rotated twice", ["p0"]),
        ("a", [], "expected columns", ["p3"]),
        ("b", [], rows, ["p4"]),
    ]


def test_what_follows_from_a_mistake_is_not_told_as_another(tmp_path: Path) -> None:
    follows = [failed("a", "in BGR order"), failed("b", "probability 0.3")]
    found = findings(one_exercise(*follows).exercises[0])
    assert (found["a"].follows, found["b"].follows, found["b"].mistakes) == ("", "a", ())
    assert [g.task for g in grouped(tmp_path, follows)] == ["a"]

    apart = [failed("a", "twice"), failed("b", "probability 0.3")]
    assert [g.task for g in grouped(tmp_path / "2", apart)] == ["a", "b"]
    either = [failed("a", "in BGR order, twice"), failed("b", "probability 0.3")]
    assert [g.task for g in grouped(tmp_path / "3", either)] == ["a", "b"]


def test_what_is_not_written_blocked_or_not_run_is_no_mistake(tmp_path: Path) -> None:
    tasks = [
        failed("a", "not written yet: start with a()"),
        TaskResult("b", "B", 1, Status.BLOCKED, "needs a"),
        TaskResult("c", "C", 1, Status.NOT_RUN, "only a GPU can judge this"),
    ]
    assert grouped(tmp_path, tasks) == []


def test_without_the_mutants_messages_are_grouped_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "MUTANTS", tmp_path / "nowhere")
    known.cache_clear()
    assert seen(grouped(tmp_path, [failed("a", "in BGR order")])) == [("a", [], "in BGR order", ["p0"])]


@pytest.mark.parametrize("message", ["", "\n\n", "x" * 100_000, "1" * 100_000, "\n first\nsecond"])
def test_any_message_has_a_short_wording(message: str) -> None:
    assert 0 < len(without_numbers(message)) <= 201
    assert "\n" not in without_numbers(message)


def test_the_repositorys_own_mutants_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "MUTANTS", course.ROOT / "tests" / "mutants")
    known.cache_clear()
    for exercise in course.exercises():
        assert {mistake.task for mistake in known(exercise.id)} <= {task.id for task in exercise.tasks}
        files = list((mistakes.MUTANTS / exercise.id).glob("*.toml"))
        assert len(known(exercise.id)) == len(files) > 0
