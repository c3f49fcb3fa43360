"""From checks to marks: `trtprep run` and a bare pytest, on the real exercise and on a course made for this."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_course import ROOT, SmallCourse, run, tasks

from grader import plugin, tiers
from grader.course import EXERCISES, SOLUTIONS, CourseError
from grader.fixtures.efficientnet import efficientnet_lite0_onnx

POINTS = {name: 2**i for i, name in enumerate((
    "passes", "fails", "broken", "no-fixture", "no-sandbox", "spread", "skipped", "no-engine", "bad-plan", "mixed",
))}  # fmt: skip
CHECKS = """\
@pytest.fixture
def trusted_engine():
    raise EngineError("the engine runner was killed")


@pytest.mark.task("passes")
@pytest.mark.parametrize("number", [1, 2])
def test_passes(number, rng, record_property):
    record_property("drawn", rng.integers(10**9))


@pytest.mark.task("fails")
def test_fails():
    fail("three were expected, two came")


@pytest.mark.task("broken")
def test_broken():
    {}["a key that only the grader knows"]


@pytest.mark.task("no-fixture")
def test_no_fixture():
    raise FixtureError("no network: connect one")


@pytest.mark.task("no-sandbox")
def test_no_sandbox():
    raise SandboxError("a trusted process did not start")


@pytest.mark.task("spread")
def test_spread():
    raise Inconclusive("1.0 to 3.0 ms")


@pytest.mark.task("skipped")
def test_skipped():
    pytest.skip("the twin has no timings")


@pytest.mark.task("no-engine")
def test_no_engine(trusted_engine):
    pass


@pytest.mark.task("bad-plan")
def test_bad_plan():
    raise EngineError("the plan was altered")


@pytest.mark.task("mixed")
def test_mixed_passes():
    pass


@pytest.mark.task("mixed")
def test_mixed_is_not_run():
    raise FixtureError("no network")
"""
SHARED = """\
@pytest.fixture(scope="module", params=[KeyError, EngineError])
def looked_into(answer, request):
    answer.call("begin", 1)
    raise request.param("a size that no check has thought of")


@pytest.mark.task("first")
def test_first(looked_into):
    pass


@pytest.mark.task("second")
def test_second(looked_into):
    pass
"""
CALLS = """\
@pytest.mark.task("first")
@pytest.mark.parametrize("number", [1, 2])
def test_first(answer, number):
    answer.call("begin", number)


@pytest.mark.task("second")
def test_second(answer):
    if answer.call("begin", 3).value != 9:
        fail("9 was expected")
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> SmallCourse:
    return SmallCourse(tmp_path_factory.mktemp("course"), POINTS, CHECKS)


@pytest.fixture(scope="module")
def report(course: SmallCourse) -> dict[str, Any]:
    return course.graded("--seed", "5")


# -- verdicts


@pytest.mark.parametrize(
    ("task", "status", "says"),
    [
        ("passes", "passed", ""),
        ("fails", "failed", "three were expected, two came"),
        ("broken", "failed", "the check broke on what your code returned (KeyError"),
        ("no-fixture", "not_run", "no network: connect one"),
        ("no-sandbox", "not_run", "a trusted process did not start"),
        ("spread", "inconclusive", "1.0 to 3.0 ms"),
        ("skipped", "not_run", "the twin has no timings"),
        ("no-engine", "not_run", "a trusted engine is missing, which is not your fault: the engine runner was killed"),
        ("bad-plan", "failed", "the plan was altered"),
        ("mixed", "not_run", "no network"),
    ],
)
def test_each_end_of_a_check_has_its_status_and_words(
    report: dict[str, Any], task: str, status: str, says: str
) -> None:
    found = tasks(report)[task]
    assert found["status"] == status
    assert found["message"].startswith(says)
    assert bool(found["message"]) == bool(says)
    assert found["points"] == POINTS[task]


def test_a_fixture_that_breaks_on_an_answer_is_no_trouble_of_the_graders(tmp_path: Path) -> None:
    report = SmallCourse(tmp_path, {"first": 1, "second": 2}, SHARED, "def begin(number):\n    return 1\n").graded()

    for task in tasks(report).values():
        assert task["status"] == "failed"
        assert "a size that no check has thought of" in task["message"]
    assert report["not_run"] == 0


def test_trouble_of_the_graders_costs_a_candidate_nothing(report: dict[str, Any]) -> None:
    not_run = ("no-fixture", "no-sandbox", "spread", "skipped", "no-engine", "mixed")
    assert report["not_run"] == sum(POINTS[name] for name in not_run)
    assert report["earned"] == POINTS["passes"]
    assert report["possible"] - report["not_run"] == sum(
        POINTS[name] for name in ("passes", "fails", "bad-plan", "broken")
    )


def test_figures_that_a_check_records_are_in_the_report(report: dict[str, Any]) -> None:
    assert isinstance(tasks(report)["passes"]["figures"]["drawn"], int)


def test_the_first_hint_comes_with_each_task(report: dict[str, Any]) -> None:
    assert {task["id"]: task["hint"] for task in tasks(report).values()} == {n: f"think of {n}" for n in POINTS}


def test_a_bare_pytest_agrees_and_shows_no_traceback_of_the_graders(course: SmallCourse) -> None:
    done = course.pytest("--seed", "5", "-rA")

    assert done.status == 1
    assert "3 failed, 3 passed, 6 skipped" in done.out
    assert {"test_fails", "test_bad_plan", "test_broken"} == set(re.findall(r"^FAILED \S+::(\w+)", done.out, re.M))
    assert "three were expected, two came" in done.out
    assert "raise EngineError" not in done.out
    assert "trtprep: tier twin, --seed 5" in done.out


def test_options_and_plugins_that_a_user_has_for_pytest_change_no_mark(course: SmallCourse, report: dict) -> None:
    own = {"PYTEST_ADDOPTS": "-k nothing -x", "PYTEST_PLUGINS": "no_such_plugin"}
    path = course.folder / "own.json"
    course.trtprep("run", "--seed", "5", "--json", str(path), env=own)

    again = tasks(json.loads(path.read_text()))
    assert {name: task["status"] for name, task in again.items()} == {
        name: task["status"] for name, task in tasks(report).items()
    }


# -- private inputs


def _drawn(seed: int, name: str, folder: str = "/a") -> int:
    request = SimpleNamespace(
        path=Path(folder) / "test_x.py", node=SimpleNamespace(name=name, nodeid=f"{folder}/{name}")
    )
    draw = getattr(plugin.rng, "__wrapped__", None) or plugin.rng.__pytest_wrapped__.obj  # type: ignore[attr-defined]
    return int(draw(SimpleNamespace(seed=seed), request).integers(1 << 60))


def test_private_inputs_come_from_the_seed_and_the_checks_name_only() -> None:
    assert _drawn(1, "test_a[x]") == _drawn(1, "test_a[x]", "/somewhere/else")
    assert len({_drawn(seed, name) for seed in (1, 2) for name in ("test_a[x]", "test_a[y]", "test_b")}) == 6


@pytest.mark.slow
def test_a_seed_repeats_a_run_and_another_one_does_not(course: SmallCourse, report: dict[str, Any]) -> None:
    drawn = [tasks(course.graded("--seed", seed))["passes"]["figures"] for seed in ("5", "6")]

    assert drawn[0] == tasks(report)["passes"]["figures"] != drawn[1]


# -- answers


def test_what_a_candidate_printed_is_kept_with_the_task_that_failed(tmp_path: Path) -> None:
    answer = "def begin(number):\n    print('got', number)\n    return number\n"
    course = SmallCourse(tmp_path, {"first": 1, "second": 2}, CALLS, answer)

    done = course.trtprep("run")

    assert done.status == 1
    assert "9 was expected" in done.out
    assert "your code printed:" in done.out
    assert "got 3" in done.out
    assert "got 1" not in done.out, "that is what another, passed task printed"


def test_an_answer_that_does_not_import_fails_one_task_and_blocks_the_others(tmp_path: Path) -> None:
    course = SmallCourse(tmp_path, {"first": 1, "second": 2}, CALLS, "import os\nx = os.nothing\n")

    found = tasks(course.graded())

    assert (found["first"]["status"], found["second"]["status"]) == ("failed", "blocked")
    assert found["first"]["message"].startswith("your file does not import: AttributeError: ")
    assert found["first"]["message"].endswith("(stub.py:2)")
    assert found["second"]["message"] == "your file does not import"


# -- checks that are none


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ("", "test_x is not the check of a task: mark it with @pytest.mark.task(id)"),
        ("@pytest.mark.task", "test_x is not the check of a task: mark it with @pytest.mark.task(id)"),
        ('@pytest.mark.task("no-such")', "x1 has no task 'no-such': it has only"),
    ],
    ids=["no marker", "empty marker", "unknown task"],
)
def test_a_check_that_belongs_to_no_task_is_refused_in_one_line(tmp_path: Path, mark: str, says: str) -> None:
    course = SmallCourse(tmp_path, {"only": 1}, f"{mark}\ndef test_x():\n    pass\n")

    for done in (course.trtprep("run"), *([] if mark else [course.pytest()])):
        assert done.status != 0
        assert says in done.out + done.err
        assert "Traceback" not in done.out + done.err
        assert "INTERNALERROR" not in done.out + done.err


def test_checks_that_do_not_import_are_the_graders_trouble_and_named(tmp_path: Path) -> None:
    done = SmallCourse(tmp_path, {"only": 1}, "import no_such_module_of_ours\n").trtprep("run")

    assert done.status == 2
    assert "the checks could not be run" in done.err
    assert "no_such_module_of_ours" in done.err


def test_a_bare_pytest_runs_nothing_of_a_submission_in_the_grader(tmp_path: Path) -> None:
    course = SmallCourse(tmp_path, {"first": 1, "second": 2}, CALLS, "def begin(number):\n    return 9\n")
    for name in ("conftest.py", "numpy.py", "test_mine.py"):
        (course.submission / name).write_text("raise RuntimeError('taken from the submission')\n")
    (course.submission / "pytest.ini").write_text("[pytest]\naddopts = -k nothing\n")

    done = course.pytest()

    assert done.status == 0, done.out + done.err
    assert "3 passed" in done.out


def test_a_bare_pytest_with_settings_from_elsewhere_is_refused_before_it_looks_at_a_submission(tmp_path: Path) -> None:
    course = SmallCourse(tmp_path / "course", {"first": 1, "second": 2}, CALLS, "")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (course.checks.parent / "pytest.ini").unlink()
    (course.submission / "conftest.py").write_text("print('taken from the submission')\n")

    done = course.pytest("-s")

    assert done.status != 0
    assert "pytest took its settings from another place than the checks" in done.out + done.err
    assert "taken from the submission" not in done.out + done.err


@pytest.mark.parametrize("seed", ["-1", "x"])
def test_a_seed_that_is_none_is_refused_by_a_bare_pytest(course: SmallCourse, seed: str) -> None:
    done = course.pytest(f"--seed={seed}")

    assert done.status == 4
    assert "a seed is a whole number from 0 on" in done.err


def test_a_bare_pytest_without_the_tier_says_what_it_lacks(course: SmallCourse) -> None:
    if not any(tier.name == "gpu" and tier.missing for tier in tiers.all_tiers()):
        pytest.skip("this machine has the tier")
    done = course.pytest("--tier", "gpu")

    assert done.status == 4
    assert "tier gpu: " in done.err
    assert "Traceback" not in done.err


# -- the real exercise


def _stubs_verdicts(text: str) -> set[str]:
    return set(re.findall(r"not written yet: start with \w+\(\)", text))


@pytest.mark.slow
def test_a_bare_pytest_of_the_real_checks_on_the_stub_is_short(tmp_path: Path) -> None:
    efficientnet_lite0_onnx()
    (tmp_path / "conftest.py").write_text("raise RuntimeError('taken from the submission')\n")
    (tmp_path / "numpy.py").write_text("raise RuntimeError('taken from the submission')\n")
    folder = tmp_path / "c1_image_classification"
    folder.mkdir()
    (folder / "stub.py").write_bytes((EXERCISES / folder.name / "stub.py").read_bytes())

    done = run([sys.executable, "-m", "pytest", "grader/checks", "--submission", str(tmp_path)])

    assert done.status == 1
    assert "passed" not in done.out.splitlines()[-1]
    assert len(_stubs_verdicts(done.out)) == 4
    assert "taken from the submission" not in done.out + done.err
    assert "grader/processes" not in done.out
    assert "Traceback" not in done.out
    assert max(map(len, re.findall(r"^E? *not written.*$", done.out, re.M))) < 100


@pytest.mark.slow
def test_the_reference_solutions_earn_all_in_a_bare_pytest_but_for_what_is_not_here() -> None:
    done = run([sys.executable, "-m", "pytest", "grader/checks", "--submission", str(SOLUTIONS), "--tier=twin", "-rs"])

    assert done.status == 0, done.out
    assert "failed" not in done.out
    skipped = [line for line in done.out.splitlines() if line.startswith("SKIPPED")]
    assert skipped
    lacking = "only the tier gpu can judge this: it needs a GPU|(is|are) not installed: pip install -e"
    assert all(re.search(lacking, line) for line in skipped), skipped


def test_a_submission_without_an_answer_fails_in_words(course: SmallCourse, tmp_path: Path) -> None:
    checks = '@pytest.mark.task("only")\ndef test_x(answer):\n    pass\n'
    done = SmallCourse(tmp_path, {"only": 1}, checks).pytest("--submission", str(ROOT / "docs"))

    assert done.status == 1
    assert "no answer to x1 in" in done.out
    assert "Traceback" not in done.out
    assert CourseError.__name__ not in done.out


def test_files_of_checks_run_in_the_order_of_the_manifests_tasks(tmp_path: Path) -> None:
    course = SmallCourse(tmp_path, {"first": 1, "second": 1, "third": 1, "fourth": 1}, "", "def begin():\n    pass\n")
    for name, marked in {"a": ["third"], "b": ["fourth", "second"], "": ["first"]}.items():
        checks = [f'@pytest.mark.task("{task}")\ndef test_{task}():\n    pass\n' for task in marked]
        path = course.checks.with_stem(course.checks.stem + (f"_{name}" if name else ""))
        path.write_text("import pytest\n\n" + "\n".join(checks))
    done = course.trtprep("run", "x1")
    assert re.findall(r"Task (\w+)", done.out) == ["first", "fourth", "second", "third"]
