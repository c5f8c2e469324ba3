"""What is expected of demand: decayed arrivals, learned costs, the operator's guess, and sums over processes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy.demand import DemandSums, with_guess
from server.policy.sketch import Sketch
from tests.policy_world import NOW_S

HOUR_S = 3600.0


def steady(per_h: int, hours: float) -> DemandSums:
    """Arrivals at an even pace until now."""
    sums = DemandSums.watching(NOW_S - hours * HOUR_S)
    for number in range(int(per_h * hours)):
        sums = sums.add(NOW_S - hours * HOUR_S + number * HOUR_S / per_h)
    return sums


def test_every_memory_finds_the_pace_of_steady_arrivals() -> None:
    rates = steady(60, 12).rates(NOW_S)
    for half_life, rate in rates.items():
        assert rate * HOUR_S == pytest.approx(60, rel=0.25 if half_life == 120 else 0.06)


def test_late_arrivals_are_counted_apart_and_fade_alike() -> None:
    sums = DemandSums.watching(NOW_S).add(NOW_S + 10).add(NOW_S + 20, late=True)
    known = sums.demand(NOW_S + 20)
    assert known.late_per_s[86_400] == pytest.approx(known.rates_per_s[86_400] / 2, rel=0.01)
    assert sums.merge(DemandSums.watching(NOW_S)).late == sums.late
    assert steady(60, 2).demand(NOW_S).late_per_s == {}


def test_a_watch_of_two_hours_is_not_taken_for_a_day_of_silence() -> None:
    assert steady(60, 2).rates(NOW_S)[86_400] * HOUR_S == pytest.approx(60, rel=0.02)


def test_one_early_arrival_is_no_storm() -> None:
    sums = DemandSums.watching(NOW_S).add(NOW_S + 1)
    assert max(rate * HOUR_S for half, rate in sums.rates(NOW_S + 2).items() if half >= 900) < 8


def test_short_memories_forget_sooner() -> None:
    rates = steady(60, 12).rates(NOW_S + HOUR_S)
    assert rates[120] < rates[900] < rates[3600] < rates[86_400]


ARRIVALS = st.lists(st.integers(0, 200_000), max_size=30)


@given(ARRIVALS, st.randoms(use_true_random=False))
def test_the_order_of_reports_does_not_matter(offsets: list[int], rng: object) -> None:
    late = list(offsets)
    rng.shuffle(late)  # type: ignore[attr-defined]
    one, other = DemandSums(), DemandSums()
    for offset in sorted(offsets):
        one = one.add(NOW_S + offset)
    for offset in late:
        other = other.add(NOW_S + offset)
    assert one.decay(NOW_S + 200_000).counts == pytest.approx(other.decay(NOW_S + 200_000).counts)
    assert (one.first_arrival_s, one.last_arrival_s) == (other.first_arrival_s, other.last_arrival_s)


@given(ARRIVALS, st.integers(1, 4))
def test_processes_that_share_the_arrivals_add_up_to_one_that_saw_them_all(offsets: list[int], processes: int) -> None:
    alone = DemandSums.watching(NOW_S)
    shared = [DemandSums.watching(NOW_S) for _ in range(processes)]
    for number, offset in enumerate(offsets):
        alone = alone.add(NOW_S + offset).observe(cold_s=offset % 90 + 1.0)
        at = number % processes
        shared[at] = shared[at].add(NOW_S + offset).observe(cold_s=offset % 90 + 1.0)
    merged = shared[0]
    for sums in shared[1:]:
        merged = merged.merge(sums)
    then_s = NOW_S + 200_000
    assert merged.rates(then_s) == pytest.approx(alone.rates(then_s))
    assert merged.arrivals == alone.arrivals


def test_sums_survive_a_page() -> None:
    sums = steady(30, 3).observe(cold_s=61, warm_s=2, duration_s=300)
    assert DemandSums.from_plain(json.loads(json.dumps(sums.to_plain()))) == sums


def test_a_page_of_another_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 values for 6 half-lives"):
        DemandSums.from_plain({**DemandSums().to_plain(), "counts": [1, 2]})


def test_a_page_of_the_version_before_is_read_and_knows_no_lengths_yet() -> None:
    plain = steady(30, 3).observe(duration_s=300).to_plain()
    unknown = ("ended", "lasted_s", "first_hour_s")
    old = {key: value for key, value in plain.items() if key not in unknown} | {"duration": {"11": 1.0}}
    assert DemandSums.from_plain(old) == steady(30, 3)


def test_how_long_tasks_take_follows_the_latest_ones_once_there_are_enough() -> None:
    sums = DemandSums.watching(NOW_S)
    assert sums.observe(duration_s=300).demand(NOW_S).duration_s is None
    for number in range(20):
        sums = sums.decay(NOW_S + 60 * number).observe(duration_s=300)
    assert sums.demand(NOW_S + 1200).duration_s == pytest.approx(300)
    for number in range(40):
        sums = sums.decay(NOW_S + 1200 + 10 * number).observe(duration_s=30)
    assert 30 <= (sums.demand(NOW_S + 1600).duration_s or 0) < 40
    assert (sums.decay(NOW_S + 86_400).duration_s() or 0) > 100


def test_of_long_tasks_it_is_told_too_what_lies_in_their_first_hour() -> None:
    sums = DemandSums.watching(NOW_S)
    for number in range(40):
        sums = sums.observe(duration_s=8 * HOUR_S if number % 10 == 0 else 60.0)
    known = sums.demand(NOW_S)
    assert known.duration_s == pytest.approx(0.1 * 8 * HOUR_S + 0.9 * 60)
    assert known.first_hour_s == pytest.approx(0.1 * HOUR_S + 0.9 * 60)
    assert sums.merge(sums).demand(NOW_S).first_hour_s == pytest.approx(known.first_hour_s)


def test_a_page_of_before_first_hours_were_summed_takes_lengths_for_them() -> None:
    plain = steady(30, 3).observe(duration_s=300).observe(duration_s=300).observe(duration_s=300).to_plain()
    del plain["first_hour_s"]
    assert DemandSums.from_plain(plain).demand(NOW_S).first_hour_s == pytest.approx(300.0)


def test_a_cost_is_learned_from_three_observations_on() -> None:
    sums = DemandSums.watching(NOW_S).observe(cold_s=60).observe(cold_s=60)
    assert sums.demand(NOW_S).cold_cost_s is None
    sums = sums.observe(cold_s=600)
    assert sums.demand(NOW_S).cold_cost_s == pytest.approx(60, rel=0.05)
    assert sums.demand(NOW_S).warm_cost_s is None


@given(st.lists(st.floats(0.1, 100_000), min_size=1, max_size=60), st.sampled_from([0.5, 0.9]))
def test_a_sketch_is_within_five_percent_of_the_quantile(values: list[float], share: float) -> None:
    sketch = Sketch()
    for value in values:
        sketch = sketch.add(value)
    exact = sorted(values)[max(0, -int(-(share * len(values)) // 1) - 1)]
    assert sketch.quantile(share) == pytest.approx(exact, rel=0.05)


def test_an_empty_sketch_knows_nothing() -> None:
    assert Sketch().quantile(0.5) is None


def test_the_operators_guess_counts_at_first_and_fades_as_time_is_watched() -> None:
    def expected_per_h(watched_h: float) -> float:
        sums = DemandSums.watching(NOW_S - watched_h * HOUR_S) if watched_h else DemandSums()
        known = sums.demand(NOW_S)
        return with_guess(list(known.rates_per_s.values()), known.observed_s, 60 / HOUR_S)[0] * HOUR_S

    assert expected_per_h(0) == pytest.approx(60)
    assert expected_per_h(3) == pytest.approx(15)
    assert expected_per_h(99) == pytest.approx(0.6)


def test_without_a_guess_only_what_came_counts() -> None:
    assert with_guess([0.5], 60, 0.0) == [0.5]


def test_a_cost_of_weeks_ago_gives_way_to_those_of_today() -> None:
    sums = DemandSums.watching(NOW_S)
    for _ in range(10):
        sums = sums.observe(cold_s=600)
    sums = sums.decay(NOW_S + 28 * 86_400)
    for _ in range(3):
        sums = sums.observe(cold_s=60)
    assert sums.demand(NOW_S + 28 * 86_400).cold_cost_s == pytest.approx(60, rel=0.05)


def test_a_cost_of_yesterday_still_counts() -> None:
    sums = DemandSums.watching(NOW_S)
    for _ in range(10):
        sums = sums.observe(cold_s=600)
    sums = sums.decay(NOW_S + 86_400).observe(cold_s=60)
    assert sums.demand(NOW_S + 86_400).cold_cost_s == pytest.approx(600, rel=0.05)
