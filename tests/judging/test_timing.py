"""Comparisons of timings: of known seconds, and of calls on a clock of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from grader.judging import timing
from grader.judging.judge import Inconclusive
from grader.judging.timing import Comparison, at_most, interleaved, per_pass


def _clock(*seconds: float) -> Callable[[], float]:
    """Gives these seconds, one at each call."""
    left: Iterator[float] = iter(seconds)
    return lambda: next(left)


def test_rounds_alternate_so_that_both_meet_the_same_machine() -> None:
    order: list[str] = []

    def timed(name: str) -> Callable[[], float]:
        return lambda: order.append(name) or 1.0  # type: ignore[func-returns-value]

    interleaved(timed("ours"), timed("theirs"), rounds=3)

    assert order == ["ours", "theirs"] * 3


def test_a_ratio_is_taken_within_a_round_so_that_drift_drops_out() -> None:
    found = interleaved(_clock(1, 2, 4), _clock(2, 4, 8), rounds=3)

    assert found.ratio == 0.5
    assert found.spread == (0.5, 0.5)


def test_the_ratio_is_the_median_and_the_spread_the_quartiles() -> None:
    found = Comparison((1, 2, 3, 4, 100), (1, 1, 1, 1, 1))

    assert found.ratio == 3
    assert found.spread == (2, 4)
    assert str(found) == "3.00 (2.00 to 4.00): 3e+03 ms against 1e+03 ms"


@pytest.mark.parametrize(("seconds", "ratio"), [((0.9, 0.8, 0.7), 0.8), ((1.2, 1.3, 1.4), 1.3)])
def test_a_spread_on_one_side_of_the_limit_settles_at_once(seconds: tuple[float, ...], ratio: float) -> None:
    assert at_most(1, _clock(*seconds), _clock(1, 1, 1), rounds=3).ratio == ratio


def test_a_spread_across_the_limit_is_measured_again() -> None:
    ours = _clock(0.5, 1.0, 1.5, 0.8, 0.8, 0.8)

    assert at_most(1, ours, _clock(*[1] * 6), rounds=3).ratio == 0.8


def test_a_spread_that_stays_across_the_limit_is_inconclusive() -> None:
    with pytest.raises(Inconclusive, match=r"measured 3 times.*the limit of 1 .*1\.00 \(0\.75 to 1\.25\)"):
        at_most(1, _clock(*[0.5, 1.0, 1.5] * 3), _clock(*[1] * 9), rounds=3)


def test_what_a_call_costs_in_itself_drops_out_of_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def call(passes: int) -> None:
        now[0] += 7 + 0.25 * passes

    assert per_pass(call, 2, 10) == pytest.approx(0.25)


def test_a_call_of_more_passes_that_took_no_longer_gives_a_tiny_time_and_not_a_negative_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter([0.0, 5.0, 5.0, 9.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(now))

    assert 0 < per_pass(lambda passes: None, 1, 2) < 1e-6
