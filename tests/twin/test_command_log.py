"""The device's log of a call: what was asked of it, in order, and no more than fits."""

from __future__ import annotations

import pytest

from grader.twin.commands_log import MOST_ENTRIES, CommandLog
from tests.twin.capture_cases import BUFFERS, PRELUDE
from tests.twin.harness import Twin
from tests.twin.raw_client import Client


def test_what_a_program_asked_for_in_order(twin: Twin) -> None:
    outcome = twin(
        BUFFERS
        + """
context.execute_async_v3(stream.handle)
stream.synchronize()
other, event = cuda.Stream(), cuda.Event()
ok(cudart.cudaStreamBeginCapture(stream.handle, GLOBAL))
cuda.memcpy_htod_async(d_x, h_x, stream)
context.execute_async_v3(stream.handle)  # <captured>
cuda.memcpy_dtoh_async(h_y, d_y, stream)
graph = ok(cudart.cudaStreamEndCapture(stream.handle))
graph_exec = ok(cudart.cudaGraphInstantiate(graph, 0))
ok(cudart.cudaGraphExecUpdate(graph_exec, graph))
ok(cudart.cudaGraphLaunch(graph_exec, stream.handle))  # <here>
event.record(stream)
other.wait_for_event(event)
cuda.memset_d8_async(d_y, 0, 24, other)
event.synchronize()
cuda.Context.synchronize()
cuda.memcpy_dtod(d_x, d_y, 24)
cuda.memcpy_dtoh(h_y, d_y)
d_x.free()
return [stream.handle, other.handle, event._number]  # PyCUDA's events have no handle
""",
        prelude=PRELUDE,
    )
    assert not outcome.type, outcome.trace
    stream, other, event = outcome.value
    did = [(do, on, size, captured) for do, on, size, _, captured in outcome.log]
    assert did[:-1] == [  # the last is the other buffer's finalizer
        ("alloc", 0, 24, False),
        ("alloc", 0, 24, False),
        ("htod", 0, 24, False),
        ("launch", stream, 0, False),
        ("stream_sync", stream, 0, False),
        ("capture_begin", stream, 0, False),
        ("htod_async", stream, 24, True),
        ("launch", stream, 0, True),
        ("dtoh_async", stream, 24, True),
        ("capture_end", stream, 0, False),
        ("graph_instantiate", 0, 0, False),
        ("graph_update", 0, 0, False),
        ("graph_launch", stream, 0, False),
        ("event_record", stream, event, False),
        ("event_wait", other, event, False),
        ("memset", other, 24, False),
        ("event_sync", 0, 0, False),
        ("context_sync", 0, 0, False),
        ("dtod", 0, 24, False),
        ("dtoh", 0, 24, False),
        ("free", 0, 24, False),
    ]
    lines = {do: line for do, _, _, line, _ in outcome.log}
    assert lines["graph_launch"] == outcome.marks["here"]
    assert lines["launch"] == outcome.marks["captured"]


def test_a_refused_command_is_not_in_the_log(client: Client) -> None:
    client.device.control({"do": "begin"})
    client.error(do="cuda", name="mem_alloc", args=[0])
    client.error(do="cuda", name="stream_synchronize", args=[1234])
    assert client.device.control({"do": "audit"})["log"] == []


def test_each_call_has_a_log_of_its_own(client: Client) -> None:
    client.cuda("context_synchronize")
    client.device.control({"do": "begin"})
    client.ask(do="cuda", name="context_synchronize", args=[], line="a.py:3")
    told = client.device.control({"do": "audit"})
    assert told["log"] == [("context_sync", 0, 0, "a.py:3", False)]
    assert told["dropped_log"] == 0


@pytest.mark.parametrize("more", [0, 7])
def test_a_log_keeps_its_beginning_and_the_number_of_the_rest(more: int) -> None:
    log = CommandLog()
    for number in range(MOST_ENTRIES + more):
        log.add("memset", 0, number, "", False)
    assert [entry[2] for entry in log.entries] == list(range(MOST_ENTRIES))
    assert log.dropped == more
    log.clear()
    assert (log.entries, log.dropped) == ([], 0)


@pytest.fixture
def between(client: Client) -> Client:
    """A client whose first call has ended."""
    client.device.control({"do": "begin"})
    client.address = client.cuda("mem_alloc", 64)
    client.device.control({"do": "audit"})
    return client


def _findings_of_the_next_call(client: Client) -> list[str]:
    client.device.control({"do": "begin"})
    return [finding["kind"] for finding in client.device.control({"do": "audit"})["findings"]]


def test_what_is_asked_for_between_two_calls_is_a_finding_of_the_next(between: Client) -> None:
    between.cuda("memset", between.address, b"\0", 64)

    assert _findings_of_the_next_call(between) == ["between-calls"]
    assert _findings_of_the_next_call(between) == []


def test_a_build_between_two_calls_is_a_finding_too(between: Client) -> None:
    between.device.session.builds += 1

    assert _findings_of_the_next_call(between) == ["between-calls"]


def test_finalizers_between_two_calls_are_no_finding(between: Client) -> None:
    between.cuda("mem_free", between.address, True)

    assert _findings_of_the_next_call(between) == []


def test_what_a_file_does_when_it_is_imported_is_no_finding_of_its_first_call(client: Client) -> None:
    client.cuda("mem_free", client.cuda("mem_alloc", 64))

    assert _findings_of_the_next_call(client) == []
