"""A pool that loses switches itself to shadow mode: when, for how long, and when it comes back."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy.self_disabling import Evidence, Starts, Watch, back, check, collapsing, losing, pause_s, step
from tests.policy_world import NOW_S

HOUR_S, DAY_S = 3600.0, 86_400.0
MAX_COST = 5.0
FLAT = (0.01, 0.01)


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def starts(per_h: float, cold: float, hours: float, then_cold: float = 0.0, then_hours: float = 0.0) -> Starts:
    """Starts at an even pace until now, of which that share is cold, and another one in the last hours."""
    rng, found = random.Random(1), Starts()
    number = int(per_h * (hours + then_hours))
    for place in range(number):
        ago_h = (number - place) / per_h
        found = found.add(rng.random() < (then_cold if ago_h <= then_hours else cold), NOW_S - ago_h * HOUR_S)
    return found.at(NOW_S)


# ---- losing


def test_a_pool_that_spends_more_than_it_may_per_saved_second_loses() -> None:
    assert losing(5 * 960.0, 0.0, MAX_COST) == ""
    assert plain(losing(10_000.0, 40.0, MAX_COST)) == (
        "2 h 46 m of background work saved 40 s, allowed are 5 s per saved second"
    )
    assert losing(10_000.0, 2000.0, MAX_COST) == ""


def test_it_goes_to_shadow_mode_for_two_hours_and_says_why() -> None:
    gone = step(Watch(), Evidence(spent_s=10_000.0), MAX_COST, NOW_S)
    assert gone.is_shadow and gone.until_s == NOW_S + 2 * HOUR_S
    found = check(gone, "p", NOW_S + 60.0)
    assert not found.passed
    assert plain(found.text) == (
        "The ledger refused: 2 h 46 m of background work saved 0.0 s, allowed are 5 s per saved second; so p went to "
        "shadow mode by itself, for another 1 h 59 m."
    )
    assert plain(found.would_change) == "Another 1 h 59 m, or ./pilot start --pool p."
    assert check(Watch(), "p", NOW_S).passed


def test_it_comes_back_when_it_said_and_what_it_lost_before_is_forgiven() -> None:
    evidence = Evidence(spent_s=10_000.0)
    gone = step(Watch(), evidence, MAX_COST, NOW_S)
    assert step(gone, evidence, MAX_COST, gone.until_s - 1.0) is gone
    again = step(gone, evidence, MAX_COST, gone.until_s)
    assert not again.is_shadow
    assert step(again, evidence, MAX_COST, gone.until_s + 60.0) is again


def test_one_that_loses_again_stays_away_for_longer_each_time_up_to_a_day() -> None:
    watch, now_s, pauses = Watch(), NOW_S, []
    spent_s = 0.0
    for _ in range(6):
        spent_s += 10_000.0
        watch = step(watch, Evidence(spent_s=spent_s), MAX_COST, now_s)
        assert watch.is_shadow
        pauses.append((watch.until_s - now_s) / HOUR_S)
        now_s = watch.until_s
        watch = step(watch, Evidence(spent_s=spent_s), MAX_COST, now_s)
        assert not watch.is_shadow
        now_s += 60.0
    assert pauses == [2, 4, 8, 16, 24, 24]
    assert pause_s(10**6) == DAY_S


def test_two_good_days_make_it_a_first_time_again() -> None:
    gone = step(Watch(times=3), Evidence(spent_s=10_000.0), MAX_COST, NOW_S)
    again = step(gone, Evidence(), MAX_COST, gone.until_s)
    assert step(again, Evidence(), MAX_COST, again.since_s + DAY_S).times == 4
    assert step(again, Evidence(), MAX_COST, again.since_s + 2 * DAY_S) == Watch()


def test_an_operators_word_lets_it_go_on_at_once() -> None:
    evidence = Evidence(spent_s=10_000.0)
    gone = step(Watch(times=4), evidence, MAX_COST, NOW_S)
    again = back(gone, evidence, NOW_S + 60.0)
    assert not again.is_shadow and again.times == 0
    assert step(again, evidence, MAX_COST, NOW_S + 120.0) is again


# ---- collapsing


def test_more_cold_starts_on_the_same_demand_are_a_collapse() -> None:
    why = collapsing(starts(60, 0.1, 48, then_cold=0.7, then_hours=3), FLAT)
    assert "of the starts of the last hours were cold" in why and "equal demand" in why


def test_a_steady_share_of_cold_starts_is_none_however_large() -> None:
    for seed_share in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert collapsing(starts(60, seed_share, 72), FLAT) == ""


@pytest.mark.parametrize("demand", [(0.02, 0.01), (0.005, 0.01), (0.0, 0.01), (0.01, 0.0)])
def test_more_or_less_demand_explains_cold_starts(demand: tuple[float, float]) -> None:
    assert collapsing(starts(60, 0.1, 48, then_cold=0.7, then_hours=3), demand) == ""


def test_a_few_cold_starts_prove_nothing() -> None:
    assert collapsing(starts(3, 0.1, 72, then_cold=1.0, then_hours=3), FLAT) == ""
    assert collapsing(starts(60, 0.0, 0.2, then_cold=1.0, then_hours=0.5), FLAT) == ""


def test_chance_alone_is_hardly_ever_taken_for_a_collapse() -> None:
    rng, alarms = random.Random(7), 0
    found = Starts()
    for number in range(30 * 24 * 30):
        found = found.add(rng.random() < 0.3, NOW_S + number * 120.0)
        alarms += bool(collapsing(found, FLAT))
    assert alarms == 0


def test_a_collapsing_pool_goes_to_shadow_mode_if_it_prewarms_at_all() -> None:
    sums = starts(60, 0.1, 48, then_cold=0.7, then_hours=3)
    assert step(Watch(), Evidence(500.0, 400.0, sums, FLAT), MAX_COST, NOW_S).is_shadow
    assert not step(Watch(), Evidence(0.0, 0.0, sums, FLAT), MAX_COST, NOW_S).is_shadow


def test_after_a_pause_the_memory_of_the_collapse_does_not_send_it_away_again() -> None:
    sums = starts(60, 0.1, 48, then_cold=0.7, then_hours=3)
    evidence = Evidence(500.0, 400.0, sums, FLAT)
    again = back(Watch(), Evidence(100.0, 0.0), NOW_S)
    assert not step(again, evidence, MAX_COST, NOW_S + HOUR_S).is_shadow
    assert step(again, evidence, MAX_COST, NOW_S + 3 * HOUR_S).is_shadow


# ---- sums

ENTRY = st.tuples(st.booleans(), st.integers(0, 500_000))


def sums_of(entries: list[tuple[bool, int]]) -> Starts:
    found = Starts()
    for cold, at_s in entries:
        found = found.add(cold, NOW_S + at_s)
    return found


def figures(sums: Starts) -> object:
    later = sums.at(NOW_S + 500_000)
    return pytest.approx([*later.every, *later.cold])


@given(st.lists(ENTRY, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_starts_does_not_matter(entries: list[tuple[bool, int]], rng: object) -> None:
    late = list(entries)
    rng.shuffle(late)  # type: ignore[attr-defined]
    later = sums_of(late).at(NOW_S + 500_000)
    assert [*later.every, *later.cold] == figures(sums_of(entries))


@given(st.lists(st.lists(ENTRY, max_size=8), min_size=3, max_size=3))
def test_processes_add_up_in_any_order(parts: list[list[tuple[bool, int]]]) -> None:
    one, two, three = map(sums_of, parts)
    whole = figures(sums_of([entry for part in parts for entry in part]))
    for merged in (one.merge(two).merge(three), three.merge(one).merge(two)):
        later = merged.at(NOW_S + 500_000)
        assert [*later.every, *later.cold] == whole


@given(st.lists(ENTRY, max_size=10))
def test_a_page_gives_back_what_was_written(entries: list[tuple[bool, int]]) -> None:
    sums = sums_of(entries)
    assert Starts.from_plain(json.loads(json.dumps(sums.to_plain()))) == sums


def test_a_record_gives_back_what_was_written_and_another_versions_too() -> None:
    watch = Watch("it loses", NOW_S, NOW_S + 5, 2, 3.0, 4.0)
    assert Watch.from_plain(json.loads(json.dumps(watch.to_plain()))) == watch
    assert Watch.from_plain({}) == Watch() == Watch.from_plain({"unheard": 1})
    with pytest.raises(ValueError, match="memories"):
        Starts.from_plain({"at_s": 1.0, "every": [1.0], "cold": [1.0]})
