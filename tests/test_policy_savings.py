"""Measured savings: how sure they are when tasks come in bursts, and sums over processes."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy.hold_out import Arm
from server.policy.savings import HALF_LIFE_S, Savings, batch_of
from tests.policy_world import NOW_S

WINDOWS_OF_A_WEEK = 7 * 48


def week(seed: int, saved_s: float, windows: int = WINDOWS_OF_A_WEEK) -> Savings:
    """Tasks in bursts, all of a window waiting for about as long; 5 % of the windows held out."""
    rng, found = random.Random(seed), Savings()
    for number in range(windows):
        arm = Arm.HELD_OUT if rng.random() < 0.05 else Arm.TREATED
        luck_s = rng.expovariate(1 / 40)
        for _ in range(rng.choice((0, 1, 1, 2, 30))):
            waited_s = luck_s + rng.expovariate(1 / 20) + (saved_s if arm is Arm.HELD_OUT else 0.0)
            found = found.add(arm, number, waited_s, NOW_S)
    return found


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_the_interval_has_the_truth_in_it_about_as_often_as_it_says() -> None:
    found = [week(seed, 15.0, 2 * WINDOWS_OF_A_WEEK).estimate() for seed in range(150)]
    known = [one for one in found if one.is_known]
    assert len(known) >= 135
    hits = sum(one.low_s <= 15.0 <= one.high_s for one in known)
    assert hits / len(known) >= 0.85  # tasks taken for independent ones: 0.32 (bench.savings)
    assert sum(one.saved_s for one in known) / len(known) == pytest.approx(15.0, abs=4.0)


def test_where_nothing_is_saved_nothing_is_proven() -> None:
    found = [week(seed, 0.0).estimate() for seed in range(100)]
    assert sum(one.is_proven for one in found) <= 12


def test_a_large_saving_is_proven_within_two_weeks() -> None:
    found = [week(seed, 200.0, 2 * WINDOWS_OF_A_WEEK).estimate() for seed in range(20)]
    assert sum(one.is_proven and one.low_s > 0 for one in found) >= 18


def test_one_burst_in_one_window_proves_nothing() -> None:
    found = week(1, 0.0)
    quiet = Savings(found.at_s, {Arm.TREATED: found.groups[Arm.TREATED]})
    for _ in range(500):
        quiet = quiet.add(Arm.HELD_OUT, 7, 900.0, NOW_S)
    estimate = quiet.estimate()
    assert not estimate.is_known and estimate.held_out == 500
    assert "Not measured yet" in estimate.text() and "500 without" in estimate.text()


def test_tasks_of_neither_group_do_not_count() -> None:
    assert Savings().add(Arm.NEITHER, 1, 5.0, NOW_S) == Savings()


def test_people_are_told_what_is_known_and_how_sure_it_is() -> None:
    sure = Savings()
    for window in range(400):
        sure = sure.add(Arm.TREATED, window, 10.0 + window % 3, NOW_S)
        sure = sure.add(Arm.HELD_OUT, window, 50.0 + window % 5, NOW_S)
    text = plain(sure.estimate().text())
    assert text.startswith("Tasks get to work 41 s sooner (95 %: 41 s sooner to 41 s sooner), by 400 tasks with")
    unsure = Savings()
    for window in range(30):
        unsure = unsure.add(Arm.TREATED, window, 100.0 * (window % 7), NOW_S)
        unsure = unsure.add(Arm.HELD_OUT, window, 100.0 * (window % 6), NOW_S)
    assert plain(unsure.estimate().text()).startswith("No difference is proven: tasks get to work")
    assert "later to" in unsure.estimate().text()


def test_the_same_seconds_in_every_window_are_a_difference_without_doubt() -> None:
    same = Savings()
    for window in range(40):
        same = same.add(Arm.TREATED, window, 10.0, NOW_S).add(Arm.HELD_OUT, window, 30.0, NOW_S)
    estimate = same.estimate()
    assert (estimate.saved_s, estimate.low_s, estimate.high_s) == pytest.approx((20.0, 20.0, 20.0))


def test_what_was_measured_a_week_ago_counts_half() -> None:
    sums = Savings().add(Arm.TREATED, 1, 10.0, NOW_S)
    assert sums.at(NOW_S + HALF_LIFE_S).estimate().treated == pytest.approx(0.5)


def test_windows_are_spread_evenly_over_the_batches() -> None:
    counts = [0] * 16
    for window in range(16_000):
        counts[batch_of(window)] += 1
    assert min(counts) > 800 and max(counts) < 1200


# ---- sums

ENTRY = st.tuples(
    st.sampled_from([Arm.TREATED, Arm.HELD_OUT]),
    st.integers(0, 100),
    st.floats(0.0, 1000.0),
    st.integers(0, 3_000_000),
)
Entry = tuple[Arm, int, float, int]


def sums_of(entries: list[Entry]) -> Savings:
    found = Savings()
    for arm, window, waited_s, at_s in entries:
        found = found.add(arm, window, waited_s, NOW_S + at_s)
    return found


def figures(sums: Savings) -> list[float]:
    later = sums.at(NOW_S + 3_000_000)
    every = [later.groups.get(arm, {}).get(n, (0.0, 0.0)) for arm in (Arm.TREATED, Arm.HELD_OUT) for n in range(16)]
    return [number for batch in every for number in batch]


@given(st.lists(ENTRY, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_tasks_does_not_matter(entries: list[Entry], rng: object) -> None:
    late = list(entries)
    rng.shuffle(late)  # type: ignore[attr-defined]
    assert figures(sums_of(entries)) == pytest.approx(figures(sums_of(late)))


@given(st.lists(st.lists(ENTRY, max_size=8), min_size=3, max_size=3))
def test_processes_add_up_in_any_order(parts: list[list[Entry]]) -> None:
    one, two, three = map(sums_of, parts)
    whole = pytest.approx(figures(sums_of([entry for part in parts for entry in part])))
    assert figures(one.merge(two).merge(three)) == whole
    assert figures(three.merge(one).merge(two)) == whole


@given(st.lists(ENTRY, max_size=10))
def test_a_page_gives_back_what_was_written(entries: list[Entry]) -> None:
    sums = sums_of(entries)
    assert Savings.from_plain(json.loads(json.dumps(sums.to_plain()))) == sums


@pytest.mark.parametrize(
    "wrong", [{}, {"at_s": 1.0, "groups": {"nobody": {}}}, {"at_s": 1.0, "groups": {"treated": {"1": [2]}}}]
)
def test_what_are_no_sums_is_refused(wrong: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Savings.from_plain(wrong)
