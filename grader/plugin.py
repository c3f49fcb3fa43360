"""The pytest plugin behind `trtprep run` and a bare `pytest grader/checks --submission DIR`.

Checks are plain pytest tests marked ``@pytest.mark.task("<task id>")`` in ``test_<exercise id>.py``.
Fixtures give them the candidate at arm's length; nothing of a submission is imported here.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grader import tiers
from grader.course import CourseError, Exercise, exercises
from grader.engines.interface import EngineError
from grader.fixtures.cache import FixtureError
from grader.judging.judge import CheckFailed, Inconclusive, explained, fail, no_misuse
from grader.processes.candidate import CallFailed, Candidate, Returned
from grader.processes.runner import Runner
from grader.processes.sandbox import SandboxError
from grader.score import ExerciseResult, Status, TaskResult

#: What the fixture `call` gives.
Call = Callable[..., Returned]
#: Errors whose text is meant for a person: shown without the grader's own traceback.
_SPOKEN = (CheckFailed, CallFailed, EngineError, FixtureError, SandboxError, Inconclusive)
#: The message of a task that `trtprep run q4/graphs` leaves out.
NOT_ASKED = "not asked for this time"
_STASH = pytest.StashKey["Recorder"]()


def pytest_plugin_registered(plugin_name: str, manager: pytest.PytestPluginManager) -> None:
    """Refuses, before it is looked at, a submission that pytest has taken for a folder of tests."""
    if plugin_name == __name__ and not manager.has_plugin("grader.pytest_options"):
        raise pytest.UsageError(
            "pytest took its settings from another place than the checks: `pytest -c grader/checks/pytest.ini"
            " grader/checks --submission DIR` leaves it no choice"
        )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "task(id): the task of the exercise that this check belongs to")
    if _STASH in config.stash:
        return
    try:
        use(config, Recorder.of(config))
    except tiers.NoTier as error:
        raise pytest.UsageError(str(error)) from error


def use(config: pytest.Config, recorder: Recorder) -> None:
    """Make this run record into ``recorder``."""
    config.stash[_STASH] = recorder
    config.pluginmanager.register(recorder, "trtprep-recorder")


class Recorder:
    """Results of one run, and what its checks share."""

    def __init__(
        self, submission: Path, tier: tiers.Tier, seed: int, only: Mapping[str, Collection[str]] | None = None
    ) -> None:
        """``only``: the tasks to judge of an exercise, by its id; all of them where it is not named."""
        self.submission, self.tier, self.seed, self._only = submission, tier, seed, only or {}
        self.key = secrets.token_bytes(32)
        self.results: dict[str, ExerciseResult] = {}
        self.protections: dict[str, bool] = {}
        self.candidate: Candidate | None = None  # of the exercise that is being graded
        self.runner = Runner(tier, self.key)
        self._ahead: threading.Thread | None = None
        self.on_result: Callable[[ExerciseResult, TaskResult], None] = lambda exercise, task: None
        self._broken: set[str] = set()
        self._calls_before = 0  # of the candidate, when the check's fixtures were about to be made
        self._answered: list[BaseException] = []  # what fixtures raised after such a call
        self._remaining: dict[tuple[str, str], int] = {}

    @classmethod
    def of(cls, config: pytest.Config) -> Recorder:
        seed = config.getoption("--seed")
        tier = tiers.choose(config.getoption("--tier"))
        return cls(Path(config.getoption("--submission")), tier, secrets.randbelow(2**31) if seed is None else seed)

    # -- pytest hooks

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        wanted = []
        _sort(items)
        for item in items:
            exercise, task_id = _belongs(item)
            if task_id in self._only.get(exercise.id, (task_id,)):
                wanted.append(item)
            result = self.results.get(exercise.id)
            if result is None:
                hint = {t.id: t.hints[0] if t.hints else "" for t in exercise.tasks}
                asked = self._only.get(exercise.id, hint)
                tasks = [
                    TaskResult(t.id, t.title, t.points, message="" if t.id in asked else NOT_ASKED, hint=hint[t.id])
                    for t in exercise.tasks
                ]
                result = self.results[exercise.id] = ExerciseResult(exercise.id, exercise.title, tasks)
            self._remaining[exercise.id, task_id] = self._remaining.get((exercise.id, task_id), 0) + 1
        if len(wanted) < len(items):
            config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
            items[:] = wanted

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Start the first answer's processes now; its first check prepares inputs meanwhile."""
        if session.items and not session.config.option.collectonly:
            exercise, _ = _belongs(session.items[0])
            with contextlib.suppress(CourseError):  # the checks will say so, one by one
                self._open(exercise)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Before any fixture: nothing is built for a function that nobody has written, or that cannot be judged."""
        exercise, task_id = _belongs(item)
        task = exercise.task(task_id)
        if why := task.why_not_on(self.tier.name):
            pytest.skip(why)
        candidate = self.answer(exercise)
        candidate.printed, self._calls_before = "", candidate.calls
        if task.function in candidate.unwritten:
            raise CallFailed("stub", "not written yet")

    def pytest_unconfigure(self) -> None:
        self._close()
        self.runner.close()

    # -- processes

    def answer(self, exercise: Exercise) -> Candidate:
        """The submission's answer, started. Raises CallFailed when there is none."""
        try:
            candidate = self._open(exercise)
        except CourseError as error:
            raise CallFailed("import", str(error)) from error
        candidate.start()
        return candidate

    def _open(self, exercise: Exercise) -> Candidate:
        path = exercise.answer(self.submission)
        if self.candidate is None or self.candidate.answer != path:
            self._close()
            self.candidate = Candidate(path, self.tier, self.key)
            self._ahead = threading.Thread(target=self._start_ahead, args=(self.candidate, exercise), daemon=True)
            self._ahead.start()
        return self.candidate

    def _start_ahead(self, candidate: Candidate, exercise: Exercise) -> None:
        with contextlib.suppress(SandboxError):  # whoever needs the process will meet the error again
            candidate.start()
            if not {task.function for task in exercise.tasks} <= candidate.unwritten:
                self.runner.start()

    def _close(self) -> None:
        if self._ahead is not None:
            self._ahead.join()
        if self.candidate is not None:
            self.protections |= self.candidate.seen_protections
            self.candidate.close()
        self.candidate = self._ahead = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, _SPOKEN):
            report.longrepr = self._spoken(item, call.excinfo.value)
        if report.when == "setup" and report.passed:
            self._task(item).seconds += call.duration
        if report.when == "call" or (report.when == "setup" and not report.passed):
            status, message = self._record(item, call, report)
            if (
                status in (Status.NOT_RUN, Status.INCONCLUSIVE)
                and not report.skipped
                and isinstance(report.longrepr, str)
            ):
                report.outcome, report.longrepr = "skipped", (str(item.path), 0, message)
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """For a bare pytest: what is needed to repeat the run."""
        terminalreporter.write_line(f"trtprep: tier {self.tier.name}, --seed {self.seed}")

    def _record(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> tuple[Status, str]:
        exercise, task_id = _belongs(item)
        result, task = self.results[exercise.id], self._task(item)
        error = call.excinfo.value if call.excinfo else None
        status, message = self._verdict(exercise, report, error)
        task.add(getattr(item, "originalname", item.name), status, message, call.duration)
        task.figures |= dict(item.user_properties)
        if status is Status.FAILED and not task.output:
            printed = self.candidate.printed if self.candidate is not None else ""
            task.output = error.output if isinstance(error, CallFailed) and error.output else printed
        self._remaining[exercise.id, task_id] -= 1
        if not self._remaining[exercise.id, task_id]:
            self.on_result(result, task)
        return status, message

    def _task(self, item: pytest.Item) -> TaskResult:
        exercise, task_id = _belongs(item)
        return next(t for t in self.results[exercise.id].tasks if t.id == task_id)

    def _verdict(
        self, exercise: Exercise, report: pytest.TestReport, error: BaseException | None
    ) -> tuple[Status, str]:
        if error is None:
            return Status.PASSED, ""
        if isinstance(error, Inconclusive):
            return Status.INCONCLUSIVE, str(error)
        if isinstance(error, (FixtureError, SandboxError)):  # the grader's trouble, not the candidate's
            return Status.NOT_RUN, str(error)
        prepared = report.when != "setup" or self._came_of_an_answer(error)
        if isinstance(error, EngineError) and not prepared:  # such fixtures build trusted plans only
            return Status.NOT_RUN, f"a trusted engine is missing, which is not your fault: {error}"
        if report.skipped:
            return Status.NOT_RUN, str(getattr(error, "msg", error))
        if isinstance(error, CallFailed) and error.reason == "import":
            if exercise.id in self._broken:
                return Status.BLOCKED, "your file does not import"
            self._broken.add(exercise.id)
        if isinstance(error, _SPOKEN):
            return Status.FAILED, str(report.longrepr)
        if not prepared:  # nothing of the candidate's has been looked at yet
            return Status.NOT_RUN, f"the check could not be prepared, which is not your fault: {error!r}"
        # Not "not run": whoever returns something that no check has thought of would raise their grade by it.
        return (
            Status.FAILED,
            f"the check broke on what your code returned ({error!r}): if it is right, please report this",
        )

    def _came_of_an_answer(self, error: BaseException) -> bool:
        """Whether a fixture called the candidate's code before it raised this: then it is about what came back.

        Remembered, since pytest raises it again for every other check that uses the fixture.
        """
        if self.candidate is not None and self.candidate.calls > self._calls_before:
            self._answered.append(error)
        return any(error is known for known in self._answered)

    def _spoken(self, item: pytest.Item, error: BaseException) -> str:
        if isinstance(error, CallFailed) and error.reason == "stub":
            exercise, task_id = _belongs(item)
            return f"not written yet: start with {exercise.task(task_id).function}()"
        return str(error)


def _belongs(item: pytest.Item) -> tuple[Exercise, str]:
    """The exercise and task of a check. Raises UsageError for a check that names none."""
    marker = item.get_closest_marker("task")
    for exercise in exercises():
        if item.path in exercise.checks and marker is not None and len(marker.args) == 1:
            try:
                return exercise, exercise.task(marker.args[0]).id
            except CourseError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from error
    raise pytest.UsageError(f"{item.nodeid} is not the check of a task: mark it with @pytest.mark.task(id)")


def _sort(items: list[pytest.Item]) -> None:
    """Files of checks in the order in which the manifest has their first tasks; what is in a file stays as it is."""
    first: dict[Path, tuple[str, int]] = {}
    for item in items:
        exercise, task_id = _belongs(item)
        place = (exercise.id, exercise.tasks.index(exercise.task(task_id)))
        first[item.path] = min(place, first.get(item.path, place))
    exercises_in_order = list(dict.fromkeys(exercise for exercise, _ in first.values()))
    items.sort(key=lambda item: (exercises_in_order.index(first[item.path][0]), first[item.path][1]))


# -- fixtures


@pytest.fixture(scope="session")
def recorder(pytestconfig: pytest.Config) -> Recorder:
    return pytestconfig.stash[_STASH]


@pytest.fixture(scope="session")
def tier(recorder: Recorder) -> tiers.Tier:
    return recorder.tier


@pytest.fixture(scope="module")
def answer(recorder: Recorder, request: pytest.FixtureRequest) -> Candidate:
    """The submission's answer to the module's exercise."""
    return recorder.answer(next(e for e in exercises() if request.path in e.checks))


@pytest.fixture(scope="module")
def call(answer: Candidate) -> Call:
    """Calls a function of the answer, as `Candidate.call` does, and fails for host code that the twin found wrong."""

    def do(function: str, *args: Any, **kwargs: Any) -> Returned:
        try:
            returned = answer.call(function, *args, **kwargs)
        except CallFailed as failure:
            if failure.reason == "stub":  # its own body is written, or this check would not have begun
                fail(f"{function}() calls what is not written yet: this task needs it")
            raise explained(failure) from None
        no_misuse(returned.evidence)
        return returned

    return do


@pytest.fixture(scope="session")
def runner(recorder: Recorder) -> Runner:
    """Runs and inspects plans, in a process of its own."""
    return recorder.runner


@pytest.fixture
def rng(recorder: Recorder, request: pytest.FixtureRequest) -> np.random.Generator:
    """Private randomness: from the run's seed and the check's name, so that order does not matter."""
    name = f"{request.path.name}::{request.node.name}"  # not the node's id, which depends on where pytest was started
    return np.random.default_rng([recorder.seed, zlib.crc32(name.encode())])
