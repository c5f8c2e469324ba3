"""The growth that a reserve has to stand against."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.policy import growth


def test_a_quiet_pool_needs_no_more_than_its_share() -> None:
    assert growth.growth_p90([3] * 200) == 0.0


def test_too_few_samples_say_nothing() -> None:
    assert growth.growth_p90([0, 50] * 5) == 0.0


def test_a_burst_that_comes_every_few_minutes_is_covered() -> None:
    samples = ([0] * 8 + [6]) * 30
    assert growth.growth_p90(samples) == 6.0


def test_one_burst_in_a_long_time_is_not() -> None:
    samples = [0] * 500 + [40] * 5 + [0] * 500
    assert growth.growth_p90(samples) == 0.0


@given(st.lists(st.integers(0, 100), min_size=20, max_size=200))
def test_growth_is_never_negative_nor_more_than_the_largest_sample(samples: list[int]) -> None:
    assert 0.0 <= growth.growth_p90(samples) <= max(samples)
