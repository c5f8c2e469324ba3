"""The growth that a reserve has to stand against."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from server.policy import growth


def growth_p90(samples: Sequence[int]) -> float:
    """What the server knows after these samples."""
    growing = growth.Growing()
    for sample in samples:
        growing.add(sample)
    return growing.p90


def by_definition(samples: Sequence[int]) -> float:
    """The 90th percentile of growth over AHEAD samples, in tasks; 0 while there are too few samples.

    An example: [0, 0, 5, 0, …] grows by 5 from the first two samples and by 0 from the others.
    """
    if len(samples) < growth.FEWEST_SAMPLES:
        return 0.0
    grown = sorted(
        max(0, max(samples[at + 1 : at + 1 + growth.AHEAD]) - now) for at, now in enumerate(samples[:-growth.AHEAD])
    )
    return float(grown[min(len(grown) - 1, int(growth.QUANTILE * len(grown)))])


def test_a_quiet_pool_needs_no_more_than_its_share() -> None:
    assert growth_p90([3] * 200) == 0.0


def test_too_few_samples_say_nothing() -> None:
    assert growth_p90([0, 50] * 5) == 0.0


def test_a_burst_that_comes_every_few_minutes_is_covered() -> None:
    samples = ([0] * 8 + [6]) * 30
    assert growth_p90(samples) == 6.0


def test_one_burst_in_a_long_time_is_not() -> None:
    samples = [0] * 500 + [40] * 5 + [0] * 500
    assert growth_p90(samples) == 0.0


@given(st.lists(st.integers(0, 100), min_size=20, max_size=200))
def test_growth_is_never_negative_nor_more_than_the_largest_sample(samples: list[int]) -> None:
    assert 0.0 <= growth_p90(samples) <= max(samples)


@given(st.lists(st.integers(0, 40), max_size=120))
def test_growth_kept_up_step_by_step_is_the_growth_by_definition(samples: list[int]) -> None:
    assert growth_p90(samples) == by_definition(samples)
