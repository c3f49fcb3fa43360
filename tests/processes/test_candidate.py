"""A candidate's code at arm's length: whatever it does in a call has a name, and the next call works."""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from grader import tiers
from grader.course import CHECKS, ROOT, SOLUTIONS
from grader.inside.trtprep_worker import wire
from grader.processes import candidate as module
from grader.processes import view
from grader.processes.candidate import CallFailed, Candidate, GivenFile, GivenPath
from grader.processes.places import GRADER, INSIDE, worker_policy
from grader.processes.sandbox import MIB, Limits

KEY = b"key of the tests"
ANSWER = """\
import ctypes
import os
import signal
import socket
import sys
import threading
import time
import uuid

import numpy as np

TOKEN = uuid.uuid4().hex
KEPT = []


class NarrowError(ValueError):
    pass


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


class Odd(dict):
    def items(self):
        raise RuntimeError("not to be looked into")


def token():
    return TOKEN


def echo(value=None, *, named=None):
    print("echo was called")
    return value if named is None else (value, named)


def contents(files):
    if isinstance(files, str):
        with open(files, "rb") as file:
            return os.path.basename(files), file.read()
    return type(files)(contents(file) for file in files)


def kind_of(path):
    return os.path.exists(path), os.path.basename(path), os.path.isdir(os.path.dirname(path))


def reads(path):
    try:
        with open(path, "rb") as file:
            return len(file.read())
    except OSError as error:
        return type(error).__name__


def names(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        return type(error).__name__


def remember(value):
    KEPT.append(value)
    with open("kept.txt", "a") as file:
        file.write(value)
    return KEPT


def recall():
    return KEPT, os.path.exists("kept.txt")


def narrow():
    deeper()


def deeper():
    raise NarrowError("7 is not 8")  # <narrow>


def mute():
    raise Mute


def half_a_pair():
    print("\\x1b[2J")
    raise ValueError("half \\ud800 a pair")


def hang():
    print("going to sleep")
    sys.stdout.flush()
    time.sleep(1000)


def hang_hard():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=hang).start()
    while True:
        pass


def touch_memory():
    print("one last word", flush=True)
    ctypes.string_at(0)


def leave(status):
    os._exit(status)


def leave_politely():
    sys.exit()


def interrupt():
    raise KeyboardInterrupt


def recurse():
    return recurse()


def swallow():
    hoard = []
    while True:
        hoard.append(np.ones(8 << 20, np.uint8))


def shout():
    line = "x" * 65536
    while True:
        print(line)


def multiply():
    while True:
        try:
            if os.fork() == 0:
                time.sleep(1000)
        except OSError:
            time.sleep(0.01)


def unsendable(kind):
    if kind == "itself":
        endless = []
        endless.append(endless)
        return endless
    return {
        "object": object(), "set": {1}, "keys": {1: 2}, "strings": np.array(["a"]), "objects": np.array([None]),
        "complex": 1j, "odd": Odd(a=1),
    }[kind]


def too_much(kind):
    if kind == "bytes":
        return np.zeros(513 << 20, np.uint8)
    return [np.zeros(1)] * 2000 if kind == "arrays" else "x" * (5 << 20)


def not_a_number():
    return float("nan"), np.array([1.0, np.nan, np.inf], np.float32)


def channel():
    mine = int(os.environ["TRTPREP_DEVICE_FD"])
    for number in range(3, 100):
        try:
            if number != mine and os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                return number
        except OSError:
            continue


def write(data):
    os.write(channel(), data)
    time.sleep(1000)


def close_the_channel():
    os.close(channel())
    time.sleep(1000)


def garbage_for_the_device():
    os.write(int(os.environ["TRTPREP_DEVICE_FD"]), b"\\xff" * 64)
    return "written"


def leave_a_thread():
    def run():
        while True:
            KEPT.append(None)
            time.sleep(0.001)
    threading.Thread(target=run, daemon=False).start()
    return len(KEPT)


def leave_a_process():
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
    return "left"
"""
PROGRAM = """\
import numpy as np
import pycuda.autoinit
import pycuda.driver as cuda
import tensorrt as trt


def build():
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    given = network.add_input("given", trt.DataType.FLOAT, (4,))
    layer = network.add_unary(given, trt.UnaryOperation.NEG)
    layer.get_output(0).name = "negated"
    network.mark_output(layer.get_output(0))
    return builder.build_serialized_network(network, builder.create_builder_config())


def run(plan, batch, twice=False):
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    stream = cuda.Stream()
    source, target = cuda.mem_alloc(batch.nbytes), cuda.mem_alloc(batch.nbytes)
    result = np.empty_like(batch)
    cuda.memcpy_htod(source, batch)
    context.set_tensor_address("given", int(source))
    context.set_tensor_address("negated", int(target))
    for _ in range(2 if twice else 1):
        context.execute_async_v3(stream.handle)  # <run>
    stream.synchronize()
    cuda.memcpy_dtoh(result, target)
    return result


def leak():
    global kept
    kept = cuda.mem_alloc(1000)  # <leak>


def misuse_and_die():
    import os

    try:
        cuda.memcpy_dtoh(np.empty(4, np.float32), 12345)  # <misuse>
    except cuda.LogicError:
        os._exit(1)


def hoard():
    global kept
    kept = []
    while True:
        kept.append(cuda.mem_alloc(64 << 20))
        cuda.memset_d8(int(kept[-1]), 1, 64 << 20)
"""


def _line(text: str, mark: str) -> str:
    return f"answer.py:{next(n for n, line in enumerate(text.splitlines(), 1) if f'# <{mark}>' in line)}"


def _start(folder: Path, text: str = ANSWER, *, limits: Limits | None = None) -> Candidate:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answer.py").write_text(textwrap.dedent(text))
    return Candidate(folder / "answer.py", tiers.choose("twin"), KEY, limits=limits)


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Candidate]:
    """One candidate for many tests: each leaves it in order, which is what they are about."""
    with _start(tmp_path_factory.mktemp("answer")) as candidate:
        yield candidate


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Candidate]:
    """A candidate that uses the device."""
    with _start(tmp_path_factory.mktemp("program"), PROGRAM) as candidate:
        yield candidate


def _fails(candidate: Candidate, function: str, *args: object, seconds: float = 20) -> CallFailed:
    """The failure of a call, after which another one works."""
    with pytest.raises(CallFailed) as caught:
        candidate.call(function, *args, seconds=seconds)
    assert candidate.call("echo", 1).value == 1, "the next call does not work"
    assert str(caught.value) == caught.value.detail
    assert "\n" not in caught.value.detail
    return caught.value


def _restarts(candidate: Candidate, function: str, *args: object, seconds: float = 20) -> CallFailed:
    """As `_fails`, where the next call finds a fresh process."""
    before = candidate.call("token").value
    failure = _fails(candidate, function, *args, seconds=seconds)
    assert candidate.call("token").value != before, "the process was not replaced"
    return failure


def _below() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def _descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


# -- calls that end well


def test_a_value_comes_back_with_what_was_printed(answer: Candidate) -> None:
    value = {"text": "ä", "list": [1, 2.5, None, True], "tuple": (1, (2,)), "bytes": b"\0\xff", "$": "kept"}

    returned = answer.call("echo", value)

    assert returned.value == value
    assert returned.output == "echo was called\n"
    assert returned.seconds > 0
    assert returned.evidence.known
    assert (returned.evidence.findings, returned.evidence.runs, returned.evidence.builds) == ((), (), 0)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_an_array_keeps_its_bytes_dtype_and_shape(answer: Candidate, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)[:, ::-1]

    back = answer.call("echo", array).value

    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_keyword_arguments_are_passed_on(answer: Candidate) -> None:
    assert answer.call("echo", 1, named=2).value == (1, 2)


def test_not_a_number_and_infinity_come_back_as_they_are(answer: Candidate) -> None:
    number, array = answer.call("not_a_number").value

    assert np.isnan(number)
    np.testing.assert_array_equal(array, np.array([1, np.nan, np.inf], np.float32))


def test_files_that_are_given_have_their_names_and_bytes_wherever_they_stand(answer: Candidate) -> None:
    first, second = GivenFile("a.bin", b"\0\r\n\xff"), GivenFile("deep/b.txt", b"")

    assert answer.call("contents", first).value == ("a.bin", b"\0\r\n\xff")
    assert answer.call("contents", [first, second]).value == [("a.bin", b"\0\r\n\xff"), ("b.txt", b"")]
    assert answer.call("contents", (first,)).value == (("a.bin", b"\0\r\n\xff"),)
    assert set(answer.call("echo", {"file": first}).value) == {"file"}
    assert answer.call("echo", {"file": first}).value["file"].endswith("/a.bin")


def test_a_path_that_is_given_leads_to_nothing_in_a_folder_that_exists(answer: Candidate) -> None:
    assert answer.call("kind_of", GivenPath("nothing.jpg")).value == (False, "nothing.jpg", True)


# -- calls that end badly


def test_an_exception_is_told_with_its_type_bases_message_and_line(answer: Candidate) -> None:
    before = answer.call("token").value

    failure = _fails(answer, "narrow")

    assert failure.reason == "raised"
    raised = failure.raised
    assert raised is not None
    assert (raised.type, raised.message, raised.line) == ("NarrowError", "7 is not 8", _line(ANSWER, "narrow"))
    assert raised.bases[:3] == ("NarrowError", "ValueError", "Exception")
    assert "in narrow" in raised.traceback
    assert "in deeper" in raised.traceback
    assert "worker.py" not in raised.traceback
    assert failure.detail == f"NarrowError: 7 is not 8 ({raised.line})"
    assert answer.call("token").value == before, "an exception is no reason to start anew"


def test_an_exception_whose_text_cannot_be_had_is_still_told(answer: Candidate) -> None:
    failure = _fails(answer, "mute")

    assert failure.raised is not None
    assert failure.raised.type == "Mute"
    assert "its text raises RuntimeError" in failure.detail


def test_text_that_no_file_could_hold_is_made_harmless(answer: Candidate) -> None:
    assert b"half ? a pair" in _fails(answer, "half_a_pair").detail.encode()


@pytest.mark.parametrize(("function", "kind"), [("leave_politely", "SystemExit"), ("interrupt", "KeyboardInterrupt")])
def test_what_would_end_a_program_is_an_exception_like_others(answer: Candidate, function: str, kind: str) -> None:
    failure = _fails(answer, function)

    assert failure.reason == "raised"
    assert failure.raised is not None
    assert failure.raised.type == kind
    assert failure.raised.line.startswith("answer.py:")


def test_endless_recursion_is_an_exception(answer: Candidate) -> None:
    failure = _fails(answer, "recurse")

    assert failure.raised is not None
    assert failure.raised.type == "RecursionError"


def test_a_function_that_is_missing_is_named(answer: Candidate) -> None:
    assert "no function 'gone'" in _fails(answer, "gone").detail


def test_a_call_that_hangs_is_stopped_and_what_it_printed_is_kept(answer: Candidate) -> None:
    failure = _restarts(answer, "hang", seconds=1)

    assert failure.reason == "wall"
    assert failure.detail == "your code was not done after 1 s and was stopped"
    assert failure.output == "going to sleep\n"
    assert failure.evidence.known


def test_a_segmentation_fault_is_named(answer: Candidate) -> None:
    failure = _restarts(answer, "touch_memory")

    assert failure.reason == "signal"
    assert "SIGSEGV" in failure.detail
    assert failure.output == "one last word\n"


@pytest.mark.parametrize("status", [0, 3])
def test_a_process_that_ends_itself_is_named_with_its_status(answer: Candidate, status: int) -> None:
    failure = _restarts(answer, "leave", status)

    assert failure.reason == "exit"
    assert failure.detail == f"your code ended by itself with status {status}"


def test_printing_without_end_is_stopped_and_the_ends_of_it_are_kept(answer: Candidate) -> None:
    failure = _restarts(answer, "shout")

    assert failure.reason == "output"
    assert "printed more than 16.0 MiB" in failure.detail
    assert "bytes left out" in failure.output
    assert len(failure.output) < 300 * 1024


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("object", "a value of type builtins.object"),
        ("set", "a value of type builtins.set"),
        ("keys", "a dict whose keys are not all strings"),
        ("strings", "an array of dtype <U1"),
        ("objects", "an array of dtype object"),
        ("complex", "a value of type builtins.complex"),
        ("odd", "a value that cannot be looked into (RuntimeError: not to be looked into)"),
    ],
)
def test_a_value_that_cannot_cross_is_named(answer: Candidate, kind: str, text: str) -> None:
    before = answer.call("token").value

    failure = _fails(answer, "unsendable", kind)

    assert failure.detail == f"TypeError: unsendable() returned {text}"
    assert answer.call("token").value == before


def test_a_value_that_contains_itself_is_refused(answer: Candidate) -> None:
    assert _fails(answer, "unsendable", "itself").reason == "raised"


@pytest.mark.parametrize(
    ("kind", "text"), [("bytes", "at most 536870912 are taken"), ("arrays", "2000 arrays"), ("text", "too many values")]
)
def test_more_than_may_come_back_is_refused_with_the_bound(answer: Candidate, kind: str, text: str) -> None:
    failure = _fails(answer, "too_much", kind)

    assert failure.reason == "raised"
    assert f"too_much() returned {text}" in failure.detail or text in failure.detail


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 64,
        (4 << 30 >> 2).to_bytes(4, "little") + bytes(4),
        (2).to_bytes(4, "little") + bytes(4) + b"[]",
        (2).to_bytes(4, "little") + bytes(4) + b"{}",
        (1).to_bytes(4, "little") + bytes(4) + b"{",
        (30).to_bytes(4, "little") + bytes(4) + b'{"value": 1, "error": {"a": 2}',
    ],
    ids=["noise", "too long", "no dict", "neither", "no JSON", "both, cut"],
)
def test_garbage_on_the_channel_is_named_and_the_process_replaced(answer: Candidate, data: bytes) -> None:
    failure = _restarts(answer, "write", data)

    assert failure.reason == "garbled"
    assert "not an answer to the grader" in failure.detail


def test_going_on_without_the_channel_is_a_failure_of_the_candidates(answer: Candidate) -> None:
    failure = _restarts(answer, "close_the_channel")

    assert failure.reason == "garbled"
    assert "closed the channel" in failure.detail


def test_garbage_for_the_device_harms_only_its_author(answer: Candidate) -> None:
    assert answer.call("garbage_for_the_device").value == "written"
    assert answer.call("echo", 2).evidence.known


@pytest.mark.slow
def test_memory_without_end_is_named(tmp_path: Path) -> None:
    limits = Limits(wall_s=60, cpu_s=60, memory_bytes=400 * MIB, processes=64)
    with _start(tmp_path, limits=limits) as candidate:
        failure = _restarts(candidate, "swallow")

    assert failure.reason == "memory"
    assert "more than 400.0 MiB of memory" in failure.detail


def test_a_fork_bomb_is_named_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    before = _below()
    limits = Limits(wall_s=60, cpu_s=60, memory_bytes=4096 * MIB, processes=40)
    with _start(tmp_path, limits=limits) as candidate:
        failure = _restarts(candidate, "multiply")

    assert failure.reason == "processes"
    assert "more than 40 processes" in failure.detail
    assert _below() <= before


@pytest.mark.slow
def test_a_thread_that_spins_and_ignores_signals_is_stopped(answer: Candidate) -> None:
    assert _restarts(answer, "hang_hard", seconds=1).reason == "wall"


def test_a_mistake_of_the_check_is_not_laid_at_the_candidates_door(answer: Candidate) -> None:
    with pytest.raises(wire.WireError):
        answer.call("echo", object())
    assert answer.call("echo", 3).value == 3


# -- what outlives a call


def test_a_thread_left_running_does_not_disturb_the_next_call(answer: Candidate) -> None:
    before = answer.call("token").value
    answer.call("leave_a_thread")

    assert answer.call("echo", 4).value == 4
    assert answer.call("token").value == before


def test_a_process_left_running_ends_with_its_candidate(tmp_path: Path) -> None:
    before = _below()
    with _start(tmp_path) as candidate:
        candidate.call("leave_a_process")
        assert candidate.call("echo", 5).value == 5
    assert _below() <= before


def test_two_candidates_share_nothing(tmp_path: Path) -> None:
    with _start(tmp_path) as first, _start(tmp_path) as second:
        assert first.call("remember", "mine").value == ["mine"]
        assert second.call("recall").value == ([], False)
        assert first.call("recall").value == (["mine"], True)


def test_the_time_between_calls_counts_for_nobody(answer: Candidate) -> None:
    answer.call("echo", seconds=5)

    for child in (answer._worker, answer._device):
        assert child is not None
        assert child._keeper._deadline is None


def test_a_process_that_ended_between_two_calls_is_replaced(answer: Candidate) -> None:
    for ending in ("_device", "_worker"):
        answer.call("echo")
        child = getattr(answer, ending)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)

        assert answer.call("echo", 6).value == 6


# -- files


@pytest.mark.parametrize(
    "path",
    [
        SOLUTIONS / "c1_image_classification" / "solution.py",
        CHECKS / "test_c1_image_classification.py",
        ROOT / "exercises" / "c1_image_classification" / "exercise.toml",
        GRADER / "judge.py",
        GRADER / "twin" / "plan.py",
        ROOT / "tests" / "processes" / "test_candidate.py",
        Path("/etc/passwd"),
    ],
    ids=lambda path: path.name,
)
def test_nothing_that_is_not_the_candidates_can_be_read(answer: Candidate, path: Path) -> None:
    assert path.exists()
    assert answer.call("reads", str(path)).value in ("FileNotFoundError", "PermissionError")


def test_another_candidates_folder_cannot_be_seen(tmp_path: Path) -> None:
    with _start(tmp_path / "one" / "c1") as first, _start(tmp_path / "two" / "c1") as second:
        own = str(tmp_path / "one" / "c1" / "answer.py")
        assert first.call("reads", own).value == len(textwrap.dedent(ANSWER))
        assert second.call("reads", own).value in ("FileNotFoundError", "PermissionError")


def test_an_answer_beside_the_grader_sees_neither_it_nor_the_solutions() -> None:
    seen = view.view_of(worker_policy(ROOT / "my_answer.py", tiers.choose("twin")))

    def shown(path: Path) -> bool:
        marks = dict(seen.marks)
        return next((marks[above] for above in (path, *path.parents) if above in marks), False)

    assert shown(ROOT / "my_answer.py")
    assert shown(INSIDE / "trtprep_worker" / "wire.py")
    for secret in (SOLUTIONS / "c1_image_classification" / "solution.py", CHECKS / "conftest.py", ROOT / "tests"):
        assert not shown(secret), secret


# -- importing the file


@pytest.mark.parametrize(
    ("text", "says", "kind"),
    [
        ("def f(:\n    pass\n", "answer.py:1", "SyntaxError"),
        ("import numpy\nimport nothing_of_the_kind\n", "nothing_of_the_kind' (answer.py:2)", "ModuleNotFoundError"),
        ("x = 1\n1 / 0\n", "ZeroDivisionError: division by zero (answer.py:2)", "ZeroDivisionError"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (answer.py:2)", "SystemExit"),
    ],
    ids=["syntax", "module", "raises", "exits"],
)
def test_a_file_that_does_not_import_says_why_and_where(tmp_path: Path, text: str, says: str, kind: str) -> None:
    with _start(tmp_path, text) as candidate:
        with pytest.raises(CallFailed) as caught:
            candidate.call("f")
        with pytest.raises(CallFailed) as again:
            candidate.call("g")

    assert caught.value.reason == "import"
    assert caught.value.detail.startswith(f"your file does not import: {kind}: ")
    assert says in caught.value.detail
    assert again.value is caught.value, "it was tried once, which is enough"


def test_a_file_that_ends_the_process_while_it_is_imported_is_told_in_words(tmp_path: Path) -> None:
    with _start(tmp_path, "import os\nprint('goodbye', flush=True)\nos._exit(4)\n") as candidate:
        with pytest.raises(CallFailed) as caught:
            candidate.call("f")

    assert caught.value.reason == "import"
    assert caught.value.detail == "while your file was imported, your code ended by itself with status 4"
    assert caught.value.output == "goodbye\n"


def test_a_function_that_is_not_written_yet_is_a_stub(tmp_path: Path) -> None:
    with _start(tmp_path, 'def f():\n    raise NotImplementedError("write me")\n') as candidate:
        with pytest.raises(CallFailed) as caught:
            candidate.call("f")

    assert caught.value.reason == "stub"


# -- what the device saw


def test_the_device_tells_what_was_built_and_run(program: Candidate) -> None:
    built = program.call("build")
    batch = np.array([1, -2, 3, 4.5], np.float32)

    ran = program.call("run", built.value, batch)

    assert (built.evidence.builds, built.evidence.runs, built.evidence.findings) == (1, (), ())
    assert (ran.evidence.builds, ran.evidence.findings) == (0, ())
    np.testing.assert_array_equal(ran.value, -batch)
    (run,) = ran.evidence.runs
    assert run["line"] == _line(PROGRAM, "run")
    np.testing.assert_array_equal(run["inputs"]["given"], batch)
    np.testing.assert_array_equal(run["outputs"]["negated"], -batch)
    assert len(program.call("run", built.value, batch, twice=True).evidence.runs) == 2


def test_the_device_tells_what_was_wrong_and_where_once(tmp_path: Path) -> None:
    with _start(tmp_path, PROGRAM) as candidate:
        (finding,) = candidate.call("leak").evidence.findings
        assert (finding.kind, finding.line) == ("leak", _line(PROGRAM, "leak"))
        assert "1000 bytes" in finding.message


def test_what_the_device_saw_of_a_call_that_died_is_told_too(program: Candidate) -> None:
    with pytest.raises(CallFailed) as caught:
        program.call("misuse_and_die")

    assert caught.value.reason == "exit"
    assert [f.line for f in caught.value.evidence.findings] == [_line(PROGRAM, "misuse")]
    assert program.call("build").evidence.findings == ()


@pytest.mark.slow
def test_a_device_that_runs_out_of_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DEVICE", Limits(wall_s=60, cpu_s=600, memory_bytes=1000 * MIB, processes=512))
    with _start(tmp_path, PROGRAM) as candidate:
        with pytest.raises(CallFailed) as caught:
            candidate.call("hoard")
        assert candidate.call("build").evidence.builds == 1

    assert caught.value.reason == "device"
    assert "the twin's device process used more than 1000.0 MiB of memory" in caught.value.detail


# -- processes and descriptors


@pytest.mark.parametrize("count", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_closing_leaves_no_process_and_no_descriptor(tmp_path: Path, count: int) -> None:
    with _start(tmp_path / "first") as candidate:  # what is kept for good is there after one
        candidate.call("echo")
    processes, descriptors = _below(), _descriptors()

    for number in range(count):
        with _start(tmp_path / str(number)) as candidate:
            candidate.call("echo")
            if number % 3 == 0:
                with pytest.raises(CallFailed):
                    candidate.call("leave", 1)

    assert _below() <= processes
    assert _descriptors() == descriptors


@pytest.mark.parametrize("where", ["worker_policy", "send_key", "wait_ready"])
def test_trouble_of_the_graders_while_it_starts_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def trouble(*_: object) -> None:
        raise RuntimeError("trouble of ours")

    candidate = _start(tmp_path)
    before = _below()
    with monkeypatch.context() as patch:
        patch.setattr(module, where, trouble)
        with pytest.raises(RuntimeError, match="trouble of ours"):
            candidate.call("echo")
    assert _below() <= before

    assert candidate.call("echo", 7).value == 7
    candidate.close()
    assert _below() <= before


def test_an_exception_of_the_checks_closes_a_candidate_in_a_with_block(tmp_path: Path) -> None:
    before = _below()
    with pytest.raises(ZeroDivisionError), _start(tmp_path) as candidate:
        candidate.call("echo")
        raise ZeroDivisionError
    assert _below() <= before


def test_closing_twice_and_before_a_call_is_no_error(tmp_path: Path) -> None:
    candidate = _start(tmp_path)
    candidate.close()
    candidate.close()
