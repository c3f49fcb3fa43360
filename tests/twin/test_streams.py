"""Streams and events: what runs when, and what is a race."""

from __future__ import annotations

import random

import pytest

from grader.twin.memory import Allocation, Span
from grader.twin.misuse import Misuse
from grader.twin.streams import DEFAULT, Operation, Streams

NON_BLOCKING = 1


class Bench:
    """Streams, a few buffers, and a record of what ran."""

    def __init__(self) -> None:
        self.streams = Streams()
        self.ran: list[str] = []
        self.buffers = {name: Allocation(0, 4, f"a.py:{name}") for name in "abcd"}

    def do(self, stream: int, name: str, reads: str = "", writes: str = "", *, quiet: bool = False) -> Operation:
        def spans(names: str) -> tuple[Span, ...]:
            return tuple(Span(self.buffers[n], 0, 4) for n in names)

        op = Operation(name, f"{name}.py:1", lambda: self.ran.append(name), spans(reads), spans(writes), quiet=quiet)
        self.streams.submit(stream, op)
        return op


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_runs_before_it_is_waited_for(bench: Bench) -> None:
    stream = bench.streams.create(0)
    bench.do(stream, "one")
    bench.do(stream, "two")
    assert bench.ran == []
    bench.streams.synchronize(stream)
    assert bench.ran == ["one", "two"]
    assert bench.streams.pending() == []


def test_waiting_for_one_stream_leaves_the_other(bench: Bench) -> None:
    one, two = bench.streams.create(0), bench.streams.create(0)
    bench.do(one, "one")
    bench.do(two, "two")
    bench.streams.synchronize(two)
    assert bench.ran == ["two"]
    bench.streams.synchronize_all()
    assert bench.ran == ["two", "one"]


def test_two_streams_on_the_same_bytes_are_a_race(bench: Bench) -> None:
    one, two = bench.streams.create(0), bench.streams.create(0)
    bench.do(one, "one", writes="a")
    for reads, writes in (("a", ""), ("", "a")):
        with pytest.raises(Misuse, match=r"two and one \(one\.py:1\) touch the 4 bytes allocated at a\.py:a"):
            bench.do(two, "two", reads, writes)
    bench.do(two, "reads another", "b")
    bench.streams.synchronize(one)
    bench.do(two, "two", "a")
    bench.do(one, "two readers do not clash", "a")


@pytest.mark.parametrize("flags", [0, NON_BLOCKING])
def test_an_event_orders(bench: Bench, flags: int) -> None:
    one, two = bench.streams.create(flags), bench.streams.create(flags)
    event = bench.streams.event_create()
    bench.do(one, "one", writes="a")
    bench.streams.event_record(event, one, "")
    bench.do(one, "after", writes="b")
    bench.streams.wait_event(two, event)
    bench.do(two, "two", "a")
    with pytest.raises(Misuse, match="touch"):
        bench.do(two, "not covered by the event", "b")
    bench.streams.synchronize(two)
    assert bench.ran == ["one", "two"]


def test_order_goes_through_a_third_stream(bench: Bench) -> None:
    streams = [bench.streams.create(NON_BLOCKING) for _ in range(3)]
    bench.do(streams[0], "zero", writes="a")
    for before, after in ((0, 1), (1, 2)):
        event = bench.streams.event_create()
        bench.streams.event_record(event, streams[before], "")
        bench.streams.wait_event(streams[after], event)
    bench.do(streams[2], "two", writes="a")
    bench.streams.synchronize(streams[2])
    assert bench.ran == ["zero", "two"]


def test_an_event_recorded_again_stands_for_its_last_recording(bench: Bench) -> None:
    one, two, event = bench.streams.create(0), bench.streams.create(0), bench.streams.event_create()
    bench.streams.event_record(event, one, "")
    bench.streams.wait_event(two, event)
    bench.do(one, "one", writes="a")
    with pytest.raises(Misuse):
        bench.do(two, "two", "a")
    bench.streams.event_record(event, one, "")
    bench.streams.event_synchronize(event)
    assert bench.ran == ["one"]


def test_the_default_stream_waits_for_blocking_ones_and_they_for_it(bench: Bench) -> None:
    blocking, apart = bench.streams.create(0), bench.streams.create(NON_BLOCKING)
    bench.do(blocking, "blocking", writes="a")
    bench.do(DEFAULT, "default", "a", "b")
    bench.do(blocking, "blocking again", "b")
    with pytest.raises(Misuse):
        bench.do(apart, "apart", "b")
    bench.do(apart, "elsewhere", writes="c")
    with pytest.raises(Misuse):
        bench.do(DEFAULT, "default", "c")
    bench.streams.synchronize(blocking)
    assert bench.ran == ["blocking", "default", "blocking again"]
    bench.streams.synchronize(DEFAULT)
    assert "elsewhere" not in bench.ran


def test_synchronising_the_default_stream_waits_for_blocking_ones(bench: Bench) -> None:
    bench.do(bench.streams.create(0), "blocking")
    bench.do(bench.streams.create(NON_BLOCKING), "apart")
    bench.streams.synchronize(DEFAULT)
    assert bench.ran == ["blocking"]


def test_polling_says_not_yet_once_and_then_all_has_run(bench: Bench) -> None:
    stream, event = bench.streams.create(0), bench.streams.event_create()
    assert bench.streams.query(stream)
    assert bench.streams.event_query(event)
    bench.do(stream, "one")
    bench.do(stream, "two")
    assert not bench.streams.query(stream)
    assert bench.ran == []
    assert bench.streams.query(stream)
    assert bench.ran == ["one", "two"]
    bench.do(stream, "three")
    bench.streams.event_record(event, stream, "")
    bench.do(stream, "four")
    assert not bench.streams.event_query(event)
    assert bench.streams.event_query(event)
    assert bench.ran[2:] == ["three"]
    assert bench.streams.event_query(event)


def test_destroyed_streams_still_run_but_cannot_be_waited_for(bench: Bench) -> None:
    stream = bench.streams.create(0)
    bench.do(stream, "one")
    bench.streams.destroy(stream)
    for use in (bench.streams.synchronize, bench.streams.query, bench.streams.destroy, lambda s: bench.do(s, "x")):
        with pytest.raises(Misuse, match="was destroyed"):
            use(stream)
    bench.streams.synchronize_all()
    assert bench.ran == ["one"]
    assert bench.streams.create(0) != stream


def test_handles_that_are_none(bench: Bench) -> None:
    with pytest.raises(Misuse, match="is not a stream"):
        bench.streams.synchronize(77)
    with pytest.raises(Misuse, match="cannot be destroyed"):
        bench.streams.destroy(DEFAULT)
    event = bench.streams.event_create()
    bench.streams.event_destroy(event)
    for use in (bench.streams.event_synchronize, bench.streams.event_query, bench.streams.event_destroy):
        with pytest.raises(Misuse, match="is not an event"):
            use(event)


def test_an_event_may_go_before_its_work(bench: Bench) -> None:
    one, two, event = bench.streams.create(0), bench.streams.create(0), bench.streams.event_create()
    bench.do(one, "one", writes="a")
    bench.streams.event_record(event, one, "")
    bench.streams.wait_event(two, event)
    bench.streams.event_destroy(event)
    bench.do(two, "two", "a")
    bench.streams.synchronize(two)
    assert bench.ran == ["one", "two"]


def test_times(bench: Bench) -> None:
    start, end, untimed = bench.streams.event_create(), bench.streams.event_create(), bench.streams.event_create(2)
    with pytest.raises(Misuse, match="never recorded"):
        bench.streams.event_elapsed(start, end)
    for event in (start, end, untimed):
        bench.streams.event_record(event, DEFAULT, "")
    with pytest.raises(Misuse, match="not waited for"):
        bench.streams.event_elapsed(start, end)
    bench.streams.synchronize(DEFAULT)
    assert bench.streams.event_elapsed(start, end) >= 0
    with pytest.raises(Misuse, match="DISABLE_TIMING"):
        bench.streams.event_elapsed(start, untimed)


def test_work_that_must_be_waited_for_is_found_before_work_that_need_not(bench: Bench) -> None:
    quiet = bench.do(DEFAULT, "quiet", writes="a", quiet=True)
    span = Span(bench.buffers["a"], 0, 4)
    assert bench.streams.touching(reads=(span,)) is quiet
    loud = bench.do(DEFAULT, "loud", writes="a")
    assert bench.streams.touching(reads=(span,)) is loud
    bench.streams.finish(loud)
    assert bench.ran == ["quiet", "loud"]


@pytest.mark.parametrize("seed", range(20))
def test_programs_without_a_race_run_in_an_order_that_cuda_allows(seed: int) -> None:
    """Random programs: what was accepted must run each buffer's conflicting work in the order it was issued."""
    source, bench = random.Random(seed), Bench()
    handles = [DEFAULT, *(bench.streams.create(source.choice((0, NON_BLOCKING))) for _ in range(3))]
    events = [bench.streams.event_create() for _ in range(3)]
    issued: dict[str, list[str]] = {n: [] for n in "abcd"}
    for step in range(200):
        stream, event, buffer = source.choice(handles), source.choice(events), source.choice("abcd")
        action = source.randrange(10)
        if action < 5:
            try:
                bench.do(stream, f"{step}{buffer}", writes=buffer)
            except Misuse:
                continue
            issued[buffer].append(f"{step}{buffer}")
        elif action < 7:
            bench.streams.event_record(event, stream, "")
        elif action < 9:
            bench.streams.wait_event(stream, event)
        else:
            source.choice((bench.streams.synchronize, bench.streams.query))(stream)
    bench.streams.synchronize_all()
    for buffer, order in issued.items():
        assert [name for name in bench.ran if name.endswith(buffer)] == order
