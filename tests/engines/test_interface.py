"""A shape fits a profile when every dimension lies in it, ends included."""

from __future__ import annotations

import pytest

from grader.engines.interface import within

PROFILE = ((1, 3, 8), (4, 3, 16), (8, 3, 32))


@pytest.mark.parametrize("shape", [(1, 3, 8), (8, 3, 32), (5, 3, 9)])
def test_a_shape_between_the_smallest_and_the_largest_fits(shape) -> None:
    assert within(shape, PROFILE)


@pytest.mark.parametrize("shape", [(0, 3, 8), (9, 3, 8), (1, 2, 8), (1, 3, 7), (1, 3, 33), (1, 3), (1, 3, 8, 1), ()])
def test_a_shape_beyond_either_or_of_another_rank_does_not(shape) -> None:
    assert not within(shape, PROFILE)
