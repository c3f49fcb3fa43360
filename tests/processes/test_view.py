"""A sandboxed process sees what it was named and what Python needs, and nothing around it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from snippets import INSIDE, LIMITS, START, Snippet

from grader.processes import sandbox, view
from grader.processes.sandbox import Policy

REPOSITORY = INSIDE.parents[1]


def test_only_the_named_part_of_the_repository_is_visible(machine):
    code = """
    import os
    def seen(path):
        try:
            return os.listdir(path) != []
        except OSError:
            return False
    tell([seen(path) for path in paths])
    """
    grader = INSIDE.parent
    paths = [*map(str, (INSIDE, REPOSITORY, grader, grader / "processes")), "/root", "/home", "/etc"]
    with Snippet(code, {"paths": paths}) as snippet:
        told = snippet.told()
    # With mounts of its own it may list folders that exist only as the way to what it may see.
    assert (told[0], told[3]) == (True, False)
    if machine == "no namespaces" and sandbox.probe()["landlock"].active:
        assert told == [True] + [False] * 6


def test_hidden_paths_cannot_be_read_but_their_neighbours_can(machine, tmp_path):
    if machine == "no namespaces" and not sandbox.probe()["landlock"].active:
        pytest.skip(sandbox.probe()["landlock"].why)
    for name in ("open/a", "secret/b", "secret/shown/c"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "tree" / "secret.txt").write_text("d")
    (tmp_path / "tree" / "link").symlink_to("open")
    tree = tmp_path / "tree"
    policy = Policy(
        readable=(INSIDE, START, tree, tree / "secret" / "shown"), hidden=(tree / "secret", tree / "secret.txt")
    )
    code = """
    def read(name):
        try:
            return open(f"{tree}/{name}").read()
        except OSError:
            return ""
    tell([read(name) for name in ("open/a", "link/a", "secret/b", "secret/shown/c", "secret.txt")])
    """
    with Snippet(code, {"tree": str(tree)}, policy=policy) as snippet:
        assert snippet.told() == ["open/a", "open/a", "", "secret/shown/c", ""]


def test_links_on_the_way_to_a_readable_file_exist_inside(machine, tmp_path):
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "file").write_text("found")
    (tmp_path / "first").symlink_to("real")
    (tmp_path / "second").symlink_to(tmp_path / "first" / "deep")
    name = tmp_path / "second" / "file"
    policy = Policy(readable=(INSIDE, START, name))
    with Snippet("tell(open(name).read())", {"name": str(name)}, policy=policy) as snippet:
        assert snippet.told() == "found"


def test_numerical_libraries_work_inside(machine):
    code = """
    import numpy, threading, subprocess, sys, tempfile
    a = numpy.ones((300, 300))
    printed = subprocess.check_output([sys.executable, "-c", "print(5)"]).decode()
    tell([float((a @ a)[0, 0]), printed, tempfile.mkdtemp() != ""])
    """
    with Snippet(code, limits=dataclasses.replace(LIMITS, processes=512)) as snippet:
        assert snippet.told() == [300.0, "5\n", True]


def test_the_view_shows_a_virtual_environment_but_not_what_lies_around_it(tmp_path, monkeypatch):
    environment = tmp_path / "repository" / ".venv"
    environment.mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(environment))
    marks = dict(view.view_of(Policy(readable=())).marks)
    assert marks[environment] is True
    assert not any(path in marks for path in environment.parents)


def test_a_gpu_can_be_used_inside(machine):
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has no NVIDIA GPU")
    code = "import ctypes; tell(ctypes.CDLL('libcuda.so.1').cuInit(0))"
    with Snippet(code, policy=Policy(readable=(INSIDE, START), devices=True)) as snippet:
        assert snippet.told() == 0
