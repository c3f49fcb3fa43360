from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from grader.inside.trtprep_worker import lookout
from grader.inside.trtprep_worker.lookout import LOOK_S, Lookout


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(2)]
    yield made
    for pair in made:
        for end in pair:
            end.close()


def test_it_names_the_sockets_that_can_be_read_and_no_other(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    (near, far), (other, quiet) = pairs
    watching = Lookout(near, other)

    far.sendall(b"x")
    assert watching.wait() == [near.fileno()]
    near.recv(1)
    quiet.sendall(b"x")
    assert watching.wait() == [other.fileno()]


def test_a_closed_socket_is_one_that_can_be_read(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    (near, far), _ = pairs
    far.close()

    assert Lookout(near).wait() == [near.fileno()]


@pytest.mark.parametrize("alone", [False, True])
def test_it_sleeps_for_what_comes_after_its_look(
    pairs: list[tuple[socket.socket, socket.socket]], monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    monkeypatch.setattr(lookout, "_ALONE", alone)
    (near, far), _ = pairs
    threading.Timer(0.2, far.sendall, (b"x",)).start()

    spent = time.thread_time()
    assert Lookout(near).wait() == [near.fileno()]
    assert time.thread_time() - spent < 0.1  # it would be 0.2 for one who goes on looking


def test_on_one_core_it_does_not_look_at_all(
    pairs: list[tuple[socket.socket, socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> None:
        raise AssertionError("it looked, and kept the core")

    monkeypatch.setattr(lookout, "_ALONE", True)
    monkeypatch.setattr(lookout.os, "sched_yield", look)
    (near, far), _ = pairs
    threading.Timer(5 * LOOK_S, far.sendall, (b"x",)).start()

    assert Lookout(near).wait() == [near.fileno()]
