"""Forked processes are as apart from each other and from the template as started ones."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator

import pytest
import snippets
from snippets import Snippet
from ways import template

from grader.processes import sandbox
from grader.processes.child import Child
from grader.processes.sandbox import SandboxError
from grader.processes.templates import Template

LOADED = "import sys; tell('numpy' in sys.modules)"


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Iterator[Template]:
    with template() as found:
        monkeypatch.setattr(snippets, "Child", functools.partial(Child, template=found))
        yield found


def test_libraries_are_loaded_and_all_protections_are_on(one: Template) -> None:
    with Snippet(LOADED) as snippet:
        assert snippet.told() is True
        assert all(snippet.child.protections[name] for name, status in sandbox.probe().items() if status.active)


def test_the_grader_and_other_packages_are_not_in_a_workers_template(one: Template) -> None:
    with Snippet(
        "import sys; tell([n for n in sys.modules if n.split('.')[0] in ('grader', 'onnxruntime')])"
    ) as snippet:
        assert snippet.told() == []


def test_nothing_but_its_own_descriptors_variables_and_processes_is_there(one: Template) -> None:
    code = """
import os
fds = {}
for fd in os.listdir('/proc/self/fd'):
    try: fds[int(fd)] = os.readlink(f'/proc/self/fd/{fd}')
    except OSError: pass
pids = sorted(int(p) for p in os.listdir('/proc') if p.isdigit())
tell([fds, dict(os.environ), pids, os.getpid(), os.getppid(), os.getsid(0), os.getcwd()])
"""
    with Snippet(code, env={"OWN": "yes"}) as snippet:
        fds, env, pids, pid, parent, session, folder = snippet.told()  # type: ignore[misc]
    kinds = sorted(target.partition(":")[0] for target in fds.values())
    assert [kind for kind in kinds if kind in ("pipe", "socket")] == ["pipe", "pipe", "socket"]
    assert fds["0"] == "/dev/null"
    assert env["OWN"] == "yes"
    assert "TRTPREP_PACKAGES" not in env
    assert pids == [1, 2, pid]  # bubblewrap, the shell that holds the place, itself
    assert (parent, session) == (0, pid)
    assert folder == env["HOME"]


def test_two_forks_draw_different_numbers(one: Template) -> None:
    drawn = []
    for _ in range(2):
        with Snippet("import numpy, random; tell([random.random(), numpy.random.random()])") as snippet:
            drawn.append(snippet.told())
    assert drawn[0][0] != drawn[1][0]  # type: ignore[index]
    assert drawn[0][1] != drawn[1][1]  # type: ignore[index]


def test_one_fork_leaves_nothing_for_the_next(one: Template) -> None:
    with Snippet("import numpy, os; numpy.mine = 1; open('file', 'w').close(); tell(os.listdir())") as snippet:
        assert snippet.told() == ["file"]
    with Snippet("import numpy, os; tell([hasattr(numpy, 'mine'), os.listdir()])") as snippet:
        assert snippet.told() == [False, []]


@pytest.mark.parametrize(
    ("code", "reason", "says"),
    [
        ("import os; os._exit(7)", "exit", "status 7"),
        ("import sys; sys.exit(3)", "exit", "status 3"),
        ("raise ValueError('gone')", "exit", "status 1"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal", "SIGKILL"),
        ("import os, signal\nif os.fork(): os._exit(0)\nimport time; time.sleep(60)", "exit", "status 0"),
    ],
)
def test_each_end_is_told_as_of_a_started_process(one: Template, code: str, reason: str, says: str) -> None:
    with Snippet(code) as snippet:
        ended = snippet.child.wait(15)
        assert (ended.reason, says in ended.detail) == (reason, True), ended
        if "gone" in code:
            assert "ValueError: gone" in snippet.child.take_output()


def test_a_large_program_that_forks_for_ever_is_ended(one: Template) -> None:
    import dataclasses

    few = dataclasses.replace(snippets.LIMITS, processes=40)  # its memory, shared by all, is over the limit before
    with Snippet("import os\nwhile True: os.fork()", limits=few) as snippet:
        assert snippet.child.wait(30).reason == "processes"


def test_a_template_that_is_gone_is_an_error(one: Template) -> None:
    os.kill(one._process.pid, signal.SIGKILL)
    one._process.wait()
    with pytest.raises(SandboxError, match="could not be started"):
        Snippet(LOADED)
