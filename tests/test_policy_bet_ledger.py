"""The ledger of bets: which ones may go on, when a closed bucket opens again, and sums over processes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy.bet_ledger import HALF_LIFE_S, BetLedger, bucket_of
from tests.policy_world import NOW_S

NET, COLD_S = 0.2, 60.0


def losing(bets: int = 40, net: float = NET) -> BetLedger:
    """So many bets, none of which was of use."""
    ledger = BetLedger()
    for _ in range(bets):
        ledger = ledger.staked(net, COLD_S, NOW_S)
    return ledger


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_nothing_is_held_back_before_anything_was_tried() -> None:
    assert all(BetLedger().is_open(net, COLD_S, NOW_S) for net in (0.15, 0.5, 1.0))


def test_bets_that_bring_nothing_end_after_about_twenty() -> None:
    ledger, made = BetLedger(), 0
    while ledger.is_open(NET, COLD_S, NOW_S):
        ledger, made = ledger.staked(NET, COLD_S, NOW_S), made + 1
    assert made == 21  # 16 / (20 + 20) is just 0.4


def test_bets_of_which_half_come_back_go_on_for_ever() -> None:
    ledger = BetLedger()
    for number in range(1000):
        assert ledger.is_open(NET, COLD_S, NOW_S)
        ledger = ledger.staked(NET, COLD_S, NOW_S)
        if number % 2:
            ledger = ledger.won(NET, COLD_S - 2.0, NOW_S)


def test_what_a_prewarm_displaced_counts_against_it() -> None:
    ledger = BetLedger()
    for _ in range(100):
        ledger = ledger.staked(NET, COLD_S, NOW_S).won(NET, COLD_S, NOW_S)
    assert ledger.is_open(NET, COLD_S, NOW_S)
    for _ in range(80):
        ledger = ledger.lost(NET, COLD_S, NOW_S)
    assert not ledger.is_open(NET, COLD_S, NOW_S)


def test_bets_of_another_worth_go_on() -> None:
    ledger = losing()
    assert not ledger.is_open(NET, COLD_S, NOW_S)
    assert ledger.is_open(2 * NET, COLD_S, NOW_S)
    assert bucket_of(0.21) == bucket_of(0.2) != bucket_of(0.26)


def test_a_closed_bucket_opens_just_when_it_says() -> None:
    ledger = losing(100)
    opens_in_s = ledger.standing(NET, COLD_S, NOW_S).opens_in_s
    assert HALF_LIFE_S < opens_in_s < 3 * HALF_LIFE_S
    assert not ledger.is_open(NET, COLD_S, NOW_S + opens_in_s - 1.0)
    assert ledger.is_open(NET, COLD_S, NOW_S + opens_in_s + 1.0)


def test_people_are_told_why_it_is_closed_and_what_opens_it() -> None:
    check = losing().check(NET, COLD_S, NOW_S)
    assert not check.passed and check.gate == "ledger"
    assert plain(check.text) == (
        "The ledger refused: of prewarms worth 18 % to 25 % of a cold start, 0 s came back of 2400 s staked lately; "
        "with 20 granted ones that is 27 %, 40 % is asked."
    )
    assert plain(check.would_change) == "Tasks that use the ones still warm, or another 24 h in which the loss fades."
    passed = BetLedger().check(NET, COLD_S, NOW_S)
    assert passed.passed and passed.would_change == ""


@pytest.mark.parametrize("net", [-1.0, 0.0, 1e-12, 1e9])
def test_odd_values_have_a_bucket(net: float) -> None:
    assert BetLedger().staked(net, COLD_S, NOW_S).is_open(net, COLD_S, NOW_S)
    assert BetLedger().is_open(net, 0.0, NOW_S)


# ---- sums

ENTRY = st.tuples(
    st.sampled_from(["staked", "won", "lost"]), st.floats(0.01, 2.0), st.floats(0.0, 1000.0), st.integers(0, 500_000)
)


def booked(entries: list[tuple[str, float, float, int]]) -> BetLedger:
    ledger = BetLedger()
    for kind, net, amount_s, at_s in entries:
        ledger = getattr(ledger, kind)(net, amount_s, NOW_S + at_s)
    return ledger


def figures(ledger: BetLedger) -> dict[int, tuple[float, float]]:
    later = ledger.at(NOW_S + 500_000)
    return {number: (sums.staked_s, sums.won_s) for number, sums in later.buckets.items()}


def same(one: BetLedger, other: BetLedger) -> bool:
    a, b = figures(one), figures(other)
    nothing = (0.0, 0.0)
    return all(a.get(n, nothing) == pytest.approx(b.get(n, nothing), abs=1e-4) for n in {*a, *b})


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


@pytest.mark.parametrize("wrong", [{}, {"at_s": 1.0, "buckets": {"0": [1.0]}}, {"at_s": None, "buckets": {}}])
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
    assert fullest.at(now_s).staked_s == pytest.approx(max(each.at(now_s).staked_s for each in (one, two, three)))
