"""Clients that lie about captures and graphs: at most an error comes back, and the grader can always ask."""

from __future__ import annotations

import random

import pytest

from grader.inside.trtprep_worker import wire
from grader.twin import capture
from grader.twin.commands_log import LONGEST_LINE, MOST_ENTRIES
from tests.twin.raw_client import Client

_HOST = (1, 24, 0)


@pytest.fixture
def graph(client: Client) -> tuple[int, int, int]:
    """An executable graph of one copy to the device (number 5) and one back (number 6), its stream, its memory."""
    memory, stream = client.cuda("mem_alloc", 24), client.cuda("stream_create", 0)
    client.cuda("stream_begin_capture", stream, capture.GLOBAL)
    assert client.cuda("memcpy_htod_async", memory, bytes(24), "float32", 5, _HOST, stream) is True
    assert client.cuda("memcpy_dtoh_async", memory, 24, "float32", 6, (2, 24, 0), stream) is True
    executable, copies = client.cuda("graph_instantiate", client.cuda("stream_end_capture", stream))
    assert copies == [(5, False), (6, True)]
    return executable, stream, memory


@pytest.mark.parametrize(
    "copies",
    [
        [],
        [[5, 7, b"a" * 24]],
        [[6, 8, b""], [5, 7, b"a" * 24]],
        [[5, 7, b"a" * 23], [6, 8, b""]],
        [[5, 7, b"a" * 25], [6, 8, b""]],
        [[5, 7, b"a" * 24], [6, 8, b"a"]],
        [[5, 7, b"a" * 24], [6, 8, b""], [6, 9, b""]],
        [[99, 7, b"a" * 24], [6, 8, b""]],
        [[5, 7, "a" * 24], [6, 8, b""]],
        [[5, -7, b"a" * 24], [6, 8, b""]],
        [[5, b"a" * 24], [6, 8, b""]],
        [5, 6],
        [[[5], 7, b"a" * 24], [6, 8, b""]],
        b"ab",
        None,
        {},
    ],
)
def test_a_launch_with_other_copies_than_the_graphs_is_refused(client: Client, graph: tuple, copies: object) -> None:
    executable, stream, _ = graph
    error = client.error(do="cuda", name="graph_launch", args=[executable, stream, copies])
    assert error.startswith(("ValueError: graph_launch: these are not the graph's copies", "TypeError: graph_launch"))
    reply = client.ask(do="cuda", name="graph_launch", args=[executable, stream, [[5, 7, b"abcd" * 6], [6, 8, b""]]])
    assert "error" not in reply
    delivered = client.ask(do="cuda", name="stream_synchronize", args=[stream])["copies"]
    assert [(c["id"], None if c["data"] is None else bytes(c["data"])) for c in delivered] == [
        (7, None),
        (8, b"abcd" * 6),
    ]


@pytest.mark.parametrize("handle", [0, -1, 1 << 63, 0x7700_0000])
def test_handles_that_are_no_graphs(client: Client, graph: tuple, handle: int) -> None:
    executable, stream, _ = graph
    for name, args in (
        ("graph_launch", [handle, stream, []]), ("graph_instantiate", [handle]), ("graph_nodes", [handle]),
        ("graph_update", [executable, handle]), ("graph_update", [handle, handle]), ("graph_upload", [handle, stream]),
        ("graph_destroy", [handle]), ("graph_exec_destroy", [handle]), ("graph_destroy", [executable]),
    ):  # fmt: skip
        assert client.error(do="cuda", name=name, args=args).startswith("Misuse: "), name


def test_a_capture_ends_though_it_never_would(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_MOST_NODES", 3)
    memory, stream = client.cuda("mem_alloc", 24), client.cuda("stream_create", 0)
    client.cuda("stream_begin_capture", stream, capture.RELAXED)
    for _ in range(3):
        client.cuda("memset", memory, b"\0", 24, stream)
    assert "at most 3" in client.error(do="cuda", name="memset", args=[memory, b"\0", 24, stream])
    assert "capture" in [f["kind"] for f in client.device.control({"do": "audit"})["findings"]]


def test_random_captures_never_get_more_than_an_error(client: Client) -> None:
    """Programs of capture, events and launches in any order, from several threads."""
    source = random.Random(20250202)
    streams = [0, *(client.cuda("stream_create", flags) for flags in (0, 1, 1))]
    events = [client.cuda("event_create", 0) for _ in range(3)]
    memory, graphs, executables = client.cuda("mem_alloc", 64), [0], [0]
    choices = {
        "stream_begin_capture": lambda: [source.choice(streams), source.randrange(-1, 4)],
        "stream_end_capture": lambda: [source.choice(streams)],
        "stream_is_capturing": lambda: [source.choice(streams)],
        "exchange_capture_mode": lambda: [source.randrange(-1, 4)],
        "event_record": lambda: [source.choice(events), source.choice(streams)],
        "stream_wait_event": lambda: [source.choice(streams), source.choice(events)],
        "event_query": lambda: [source.choice(events)],
        "stream_synchronize": lambda: [source.choice(streams)],
        "memset": lambda: [memory, b"\1", source.randrange(1, 64), source.choice(streams)],
        "graph_instantiate": lambda: [source.choice(graphs)],
        "graph_update": lambda: [source.choice(executables), source.choice(graphs)],
        "graph_launch": lambda: [source.choice(executables), source.choice(streams), []],
        "graph_exec_destroy": lambda: [source.choice(executables)],
    }
    launched = 0
    for _ in range(4000):
        name = source.choice(list(choices))
        reply = client.ask(do="cuda", name=name, args=choices[name](), thread=source.randrange(2), runtime=True)
        if "error" in reply:
            continue
        if name == "stream_end_capture":
            graphs.append(reply["value"])
        elif name == "graph_instantiate":
            executables.append(reply["value"][0])
        launched += name == "graph_launch"
    assert launched > 10
    client.device.control({"do": "audit"})
    assert client.device.driver.streams.captures.active() == []
    assert client.device.driver.streams.pending() == []


def test_the_longest_log_fits_into_the_audit(client: Client) -> None:
    client.device.control({"do": "begin"})
    for _ in range(MOST_ENTRIES + 1):
        client.device.driver.line = '\U0001f600"\\\0' * 50
        client.device.driver.context_synchronize()
    told = client.device.control({"do": "audit"})
    assert told["dropped_log"] == 1
    text, _ = wire.pack(told)
    assert len(text) < wire.DEFAULT_BOUNDS.json_bytes / 2
    assert all(len(entry[3]) <= LONGEST_LINE for entry in told["log"])
