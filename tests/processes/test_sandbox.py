"""Every way to end has a name, nothing is left behind, and all of it holds without namespaces too."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from snippets import INSIDE, LIMITS, START, Snippet, gone, processes_with, without_namespaces

from grader.inside.trtprep_worker import lockdown
from grader.inside.trtprep_worker.lockdown import LockdownError
from grader.processes import sandbox, syscalls
from grader.processes.child import Child
from grader.processes.keeper import size
from grader.processes.output import KeptOutput
from grader.processes.sandbox import MIB, Policy, SandboxError

REPOSITORY = INSIDE.parents[1]


ENDS = {
    "returns": ("pass", {}, "exit", "status 0"),
    "raises": ("raise ValueError('no')", {}, "exit", "status 1"),
    "os._exit(0)": ("import os; os._exit(0)", {}, "exit", "status 0"),
    "sys.exit(3)": ("import sys; sys.exit(3)", {}, "exit", "status 3"),
    "crashes": ("import ctypes; ctypes.string_at(0)", {}, "signal", "SIGSEGV"),
    "aborts": ("import os; os.abort()", {}, "signal", "SIGABRT"),
    "hangs": ("while True: pass", {"wall_s": 0.5}, "wall", "not done after 0.5 s"),
    "ignores SIGTERM and hangs": (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        {"wall_s": 0.3},
        "wall",
        "stopped",
    ),
    "burns CPU": ("while True: pass", {"cpu_s": 1}, "cpu", "CPU time"),
    "fills memory": (
        "kept = []\nwhile True: kept.append(bytearray(b'x') * (8 << 20))",
        {"memory_bytes": 200 * MIB},
        "memory",
        "more than 200.0 MiB",
    ),
    "forks for ever": ("import os\nwhile True: os.fork()", {"processes": 40}, "processes", "more than 40"),
    "forks away from its session": (
        "import os, time\nfor _ in range(60):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0: time.sleep(60)\n"
        "        os._exit(0)\ntime.sleep(60)",
        {"processes": 40},
        "processes",
        "more than 40",
    ),
    "starts threads": (
        "import threading, time\nfor _ in range(60): threading.Thread(target=time.sleep, args=(60,)).start()",
        {"processes": 40},
        "processes",
        "more than 40",
    ),
    "prints 1 GB": ("for _ in range(1000): print('x' * 1_000_000)", {}, "output", "more than 16.0 MiB"),
    "leaves processes behind": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)",
        {},
        "exit",
        "status 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_each_end_has_its_reason_and_leaves_nothing_behind(case, machine):
    code, limits, reason, detail = ENDS[case]
    with Snippet(code, limits=dataclasses.replace(LIMITS, **limits)) as snippet:
        ended = snippet.child.wait(15)
        assert ended.reason == reason, (ended, snippet.child.take_output())
        assert detail in ended.detail
        assert snippet.child.ended() == ended
        assert gone(snippet.token)
    assert not [thread for thread in threading.enumerate() if thread is snippet.child._keeper]
    with pytest.raises(ProcessLookupError):
        os.kill(snippet.child.pid, 0)


def test_a_full_scratch_folder_is_an_error_inside(machine):
    policy = Policy(readable=(INSIDE, START), scratch_bytes=4 * MIB)
    code = """
    import os, time
    tell([os.environ["TRTPREP_SCRATCH"] == os.getcwd() == os.environ["HOME"], os.listdir()])
    try:
        for part in range(8):
            open(f"part{part}", "wb").write(bytes(1 << 20))
    except OSError as error:
        tell(error.strerror)
    time.sleep(5)
    """
    with Snippet(code, policy=policy) as snippet:
        assert snippet.told() == [True, []]
        if machine == "namespaces":
            assert snippet.told() == "No space left on device"
            assert snippet.child.ended() is None
        else:
            ended = snippet.child.wait(5)
            assert (ended.reason, "more than 4.0 MiB into its scratch folder" in ended.detail) == ("disk", True)


def test_a_scratch_folder_that_resists_is_removed(machine):
    code = """
    import os
    os.makedirs("locked/inner")
    open("locked/file", "w").close()
    os.chmod("locked", 0)
    for _ in range(1200):
        os.mkdir("deep")
        os.chdir("deep")
    """
    with Snippet(code) as snippet:
        assert snippet.child.wait(10).reason == "exit", snippet.child.take_output()


def test_all_protections_that_the_machine_has_are_on(machine):
    with Snippet("tell(1)") as snippet:
        assert snippet.told() == 1
        expected = {name: status.active for name, status in sandbox.probe().items()}
        assert snippet.child.protections == expected
        assert list(expected) == [protection.name for protection in sandbox.PROTECTIONS]


def test_without_namespaces_the_other_layers_hold(monkeypatch, tmp_path):
    without_namespaces(monkeypatch)
    if not sandbox.probe()["landlock"].active:
        pytest.skip(sandbox.probe()["landlock"].why)
    (tmp_path / "secret").write_text("forty-two")
    code = """
    import os, socket
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    capabilities = [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
    def refused(action):
        try:
            action()
        except PermissionError:
            return True
    tell([
        capabilities,
        status["NoNewPrivs"].strip(),
        refused(lambda: open(secret)),
        refused(lambda: open(f"/proc/{grader}/environ")),
        refused(lambda: open("/etc/passwd")),
        refused(lambda: socket.socket(socket.AF_INET)),
        os.system("exit 7") >> 8,
    ])
    """
    with Snippet(code, {"secret": str(tmp_path / "secret"), "grader": os.getpid()}) as snippet:
        seccomp = sandbox.probe()["seccomp"].active or None
        assert snippet.told() == [[0, 0, 0, 0], "1", True, True, True, seccomp, 7]


def test_a_protection_that_does_not_take_hold_ends_the_process(monkeypatch):
    if not sandbox.probe()["seccomp"].active:
        pytest.skip(sandbox.probe()["seccomp"].why)
    allow_everything = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
    monkeypatch.setattr(syscalls, "compiled", lambda devices: allow_everything)
    with pytest.raises(SandboxError, match="could not be confirmed from inside: seccomp"):
        Child([str(START)], policy=Policy(readable=(INSIDE, START)), limits=LIMITS)


def test_a_script_that_does_not_lock_down_is_an_error(tmp_path):
    script = tmp_path / "start.py"
    script.write_text("print('hello'); raise SystemExit(4)")
    with pytest.raises(SandboxError, match=r"(?s)status 4.*hello"):
        Child([str(script)], policy=Policy(readable=(script,)), limits=LIMITS)


def test_unknown_protections_and_missing_paths_are_refused():
    with pytest.raises(ValueError, match="unknown protections: walls"):
        Child([str(START)], policy=Policy(readable=(INSIDE,)), limits=LIMITS, off=frozenset({"walls"}))
    with pytest.raises(FileNotFoundError, match="/no/such"):
        Child([str(START)], policy=Policy(readable=(Path("/no/such"),)), limits=LIMITS)


def test_a_worker_lives_over_many_calls_each_with_its_own_deadline(machine):
    code = "import time\nfor pause in (0.2, 0.2, 30): time.sleep(pause); tell(pause)"
    with Snippet(code, limits=dataclasses.replace(LIMITS, wall_s=0.3)) as snippet:
        snippet.child.deadline(5)
        assert snippet.told() == 0.2
        snippet.child.deadline(None)
        assert snippet.told() == 0.2
        snippet.child.deadline(0.2)
        assert snippet.child.wait(5).reason == "wall"
        with pytest.raises((LockdownError, ConnectionResetError)):
            snippet.told()


def test_output_is_kept_at_both_ends_and_can_be_taken_in_parts(machine):
    code = """
    import sys, time
    print("first", flush=True)
    time.sleep(0.2)
    tell(1)
    time.sleep(0.5)
    print("begin" + "x" * 100_000 + "end", flush=True)
    print("to stderr", file=sys.stderr)
    """
    limits = dataclasses.replace(LIMITS, kept_output_bytes=1024)
    with Snippet(code, limits=limits) as snippet:
        snippet.told()
        assert snippet.child.take_output() == "first\n"
        snippet.child.wait(10)
        text = snippet.child.take_output()
    assert text.startswith("begin")
    assert "bytes left out ...]" in text
    assert text.endswith("end\nto stderr\n")
    assert len(text) < 1200
    assert snippet.child.take_output() == ""


def test_descriptors_and_variables_are_passed_on(machine):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = Child(
            [str(START)],
            policy=Policy(readable=(INSIDE, START)),
            limits=LIMITS,
            env={"OMP_NUM_THREADS": "2"},
            pass_fds=(theirs.fileno(),),
        )
        with child:
            code = "import os; os.write(fd, os.environ['OMP_NUM_THREADS'].encode())"
            lockdown.send(child.channel, {"code": code, "names": {"fd": theirs.fileno()}})
            assert ours.recv(10) == b"2"


def test_a_child_outlives_the_thread_that_made_it(machine):
    made: list[Snippet] = []
    maker = threading.Thread(target=lambda: made.append(Snippet("import time; time.sleep(0.5); tell('alive')")))
    maker.start()
    maker.join()
    with made[0] as snippet:
        assert snippet.told() == "alive"


def test_a_forgotten_child_is_ended(machine):
    snippet = Snippet("import time; time.sleep(60)")
    token = snippet.token
    assert processes_with(token)
    del snippet
    assert gone(token)


def test_kill_says_who_did_it(machine):
    with Snippet("import time; time.sleep(60)") as snippet:
        snippet.child.kill()
        snippet.child.kill()
        assert snippet.child.wait(0).detail == "stopped by the grader (SIGKILL)"
    with Snippet("import time; time.sleep(60)") as snippet, pytest.raises(TimeoutError):
        snippet.child.wait(0.01)


@pytest.mark.parametrize("fallback", [False, True])
def test_everything_dies_with_the_grader(fallback, tmp_path):
    grader = f"""
import sys, time
sys.path[:0] = [{str(REPOSITORY)!r}, {str(START.parent)!r}]
from pytest import MonkeyPatch
import snippets
if {fallback}:
    snippets.without_namespaces(MonkeyPatch())
snippet = snippets.Snippet("import os, time\\nos.fork() or os.setsid()\\ntell(1)\\ntime.sleep(60)")
snippet.told()
print(snippet.token, flush=True)
time.sleep(60)
"""
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", grader], stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    token = process.stdout.readline().strip()
    assert processes_with(token)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert gone(token)
    deadline = time.monotonic() + 5
    while any(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(tmp_path.iterdir()) == []


def test_a_start_is_cheap():
    def seconds(action) -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    def sandboxed() -> None:
        Child([str(START)], policy=Policy(readable=(INSIDE, START)), limits=LIMITS).close()

    sandboxed()
    bare = min(seconds(lambda: subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)) for _ in range(5))
    # About 0.035 s on an idle machine; here other tests run beside it.
    assert min(seconds(sandboxed) for _ in range(8)) - bare < 0.25


def test_kept_output_is_bounded_and_counts():
    kept = KeptOutput(10)
    for letter in b"abcdefghijklmnopqrstuvwxyz":
        kept.add(bytes([letter]))
    assert kept.total == 26
    assert kept.take() == "abcde\n[... 16 bytes left out ...]\nvwxyz"
    assert kept.take() == ""


def test_sizes_read_well():
    assert [size(count) for count in (10, 1536, 2 << 30)] == ["10 bytes", "1.5 KiB", "2.0 GiB"]
