"""The ledger of bets: which ones may go on, when a closed bucket opens again, and sums over processes."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy.bet_ledger import HALF_LIFE_S, HIGHEST, OPENS_WITHIN_S, BetLedger, bucket_of, worth_of
from tests.policy_world import NOW_S

NET = 0.2


def losing(bets: int = 40, net: float = NET) -> BetLedger:
    """So many bets, none of which was of use."""
    ledger = BetLedger()
    for _ in range(bets):
        ledger = ledger.bet(net, NOW_S)
    return ledger


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_nothing_is_held_back_before_anything_was_tried() -> None:
    assert all(BetLedger().standing(net, NOW_S).is_open for net in (0.15, 0.5, 1.0))


def test_bets_that_bring_nothing_end_after_five() -> None:
    ledger, made = BetLedger(), 0
    while ledger.standing(NET, NOW_S).is_open:
        ledger, made = ledger.bet(NET, NOW_S), made + 1
    assert made == 5  # Granted: 8 / (10 + n) of each of 10 more, and 80 / (10 + n)² falls below 0.4 then.


def test_bets_of_which_half_come_back_go_on_for_ever() -> None:
    ledger = BetLedger()
    for number in range(1000):
        assert ledger.standing(NET, NOW_S).is_open
        ledger = ledger.bet(NET, NOW_S)
        if number % 2:
            ledger = ledger.won(NET, 0.97, NOW_S)


def test_what_a_prewarm_displaced_counts_against_it() -> None:
    ledger = BetLedger()
    for _ in range(100):
        ledger = ledger.bet(NET, NOW_S).won(NET, 1.0, NOW_S)
    assert ledger.standing(NET, NOW_S).is_open
    for _ in range(80):
        ledger = ledger.lost(NET, 1.0, NOW_S)
    assert not ledger.standing(NET, NOW_S).is_open


def test_bets_of_another_worth_go_on() -> None:
    ledger = losing()
    assert not ledger.standing(NET, NOW_S).is_open
    assert ledger.standing(2 * NET, NOW_S).is_open
    assert bucket_of(0.21) == bucket_of(0.2) != bucket_of(0.26)


def test_what_is_worth_more_and_loses_speaks_for_what_is_worth_less() -> None:
    """A value that overestimates does so for all; what is worth less has to show more of its own."""
    ledger = losing(net=2 * NET)
    assert not ledger.standing(NET, NOW_S).is_open
    for _ in range(30):
        ledger = ledger.bet(NET, NOW_S).won(NET, 0.9, NOW_S)
    assert ledger.standing(NET, NOW_S).is_open and not ledger.standing(2 * NET, NOW_S).is_open


def test_the_least_value_of_an_open_bucket_skips_those_that_lose() -> None:
    ledger = losing()
    assert BetLedger().least_open(NET, NOW_S) == NET
    least = ledger.least_open(NET, NOW_S)
    assert ledger.standing(least * 1.001, NOW_S).is_open and not ledger.standing(least * 0.999, NOW_S).is_open
    for bucket in range(bucket_of(NET) + 1, HIGHEST + 1):
        ledger = ledger.merge(losing(net=worth_of(bucket)[0] * 1.001))
    assert ledger.least_open(NET, NOW_S) == math.inf


def test_a_closed_bucket_opens_just_when_it_says() -> None:
    ledger = losing(100)
    opens_in_s = ledger.standing(NET, NOW_S).opens_in_s
    assert 4 * HALF_LIFE_S < opens_in_s < 5 * HALF_LIFE_S
    assert not ledger.standing(NET, NOW_S + opens_in_s - OPENS_WITHIN_S - 1.0).is_open
    assert ledger.standing(NET, NOW_S + opens_in_s + 1.0).is_open
    assert BetLedger().standing(NET, NOW_S).opens_in_s == 0.0


def test_people_are_told_why_it_is_closed_and_what_opens_it() -> None:
    check = losing().check(NET, NOW_S)
    assert not check.passed and check.gate == "ledger"
    assert plain(check.text) == (
        "The ledger refused: of prewarms worth 18 % to 25 % of a cold start, 0.0 cold starts came back of 40.0 staked "
        "lately; with 10 more that bring 16 % as those worth as much or more did, that is 3.2 %; 40 % is asked."
    )
    assert plain(check.would_change) == "Tasks that use the ones still warm, or another 3 d in which the loss fades."
    passed = BetLedger().check(NET, NOW_S)
    assert passed.passed and passed.would_change == ""


@pytest.mark.parametrize("net", [-1.0, 0.0, 1e-12, 1e9])
def test_odd_values_have_a_bucket(net: float) -> None:
    assert BetLedger().bet(net, NOW_S).standing(net, NOW_S).is_open
    assert BetLedger().standing(net, NOW_S).is_open


# ---- sums

ENTRY = st.tuples(
    st.sampled_from(["bet", "won", "lost"]), st.floats(0.01, 2.0), st.floats(0.0, 1.0), st.integers(0, 500_000)
)


def booked(entries: list[tuple[str, float, float, int]]) -> BetLedger:
    ledger = BetLedger()
    for kind, net, amount, at_s in entries:
        ledger = getattr(ledger, kind)(*([net] if kind == "bet" else [net, amount]), NOW_S + at_s)
    return ledger


def figures(ledger: BetLedger) -> dict[int, tuple[float, float]]:
    later = ledger.at(NOW_S + 500_000)
    return {number: (sums.staked, sums.won) for number, sums in later.buckets.items()}


def same(one: BetLedger, other: BetLedger) -> bool:
    a, b = figures(one), figures(other)
    nothing = (0.0, 0.0)
    return all(a.get(n, nothing) == pytest.approx(b.get(n, nothing), abs=1e-5) for n in {*a, *b})


@given(st.lists(ENTRY, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_bookings_does_not_matter(entries: list[tuple[str, float, float, int]], rng: object) -> None:
    late = list(entries)
    rng.shuffle(late)  # type: ignore[attr-defined]
    assert same(booked(entries), booked(late))


@given(st.lists(st.lists(ENTRY, max_size=8), min_size=3, max_size=3))
def test_processes_add_up_in_any_order(parts: list[list[tuple[str, float, float, int]]]) -> None:
    one, two, three = map(booked, parts)
    assert same(one.merge(two).merge(three), three.merge(two.merge(one)))
    assert same(one.merge(two).merge(three), booked([entry for part in parts for entry in part]))


@given(st.lists(ENTRY, max_size=10), st.integers(0, 10**6), st.integers(0, 10**6))
def test_fading_in_two_steps_is_fading_in_one(
    entries: list[tuple[str, float, float, int]], first: int, second: int
) -> None:
    ledger, start_s = booked(entries), NOW_S + 500_000
    assert same(ledger.at(start_s + first).at(start_s + first + second), ledger.at(start_s + first + second))


@given(st.lists(ENTRY, max_size=10))
def test_a_page_gives_back_what_was_written(entries: list[tuple[str, float, float, int]]) -> None:
    ledger = booked(entries)
    assert BetLedger.from_plain(json.loads(json.dumps(ledger.to_plain()))) == ledger


@pytest.mark.parametrize("wrong", [{}, {"at_s": 1.0, "bets": {"0": [1.0]}}, {"at_s": None, "bets": {}}])
def test_what_is_no_ledger_is_refused(wrong: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        BetLedger.from_plain(wrong)


# ---- what a miss costs


@given(st.lists(st.lists(ENTRY, max_size=6), min_size=3, max_size=3))
def test_of_several_accounts_of_the_same_bets_the_fullest_counts_in_any_order(
    parts: list[list[tuple[str, float, float, int]]],
) -> None:
    one, two, three = map(booked, parts)
    fullest = one.fuller(two).fuller(three)
    assert same(fullest, three.fuller(one.fuller(two)))
    assert same(fullest, fullest.fuller(two))
    now_s = NOW_S + 500_000
    assert fullest.at(now_s).staked == pytest.approx(max(each.at(now_s).staked for each in (one, two, three)))
