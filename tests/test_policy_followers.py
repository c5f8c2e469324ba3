"""What follows what: a pair is announced when it was seen often, is likely, is no chance, and comes at its time."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.policy.followers import (
    CLOSES_S,
    MOST_FOLLOWERS,
    MOST_KEYS,
    Expected,
    Followers,
    Pair,
    lower_bound,
)

START_S = 1_800_000_000.0
HOUR_S = 3600.0


def days(
    count: int = 40,
    *,
    every_s: float = 2 * HOUR_S,
    share: float = 1.0,
    delay_s: float = 540.0,
    jitter_s: float = 30.0,
    tests: int = 20,
) -> list[tuple[float, str]]:
    """Builds, each of them followed by tests with a probability, after about a delay."""
    rng, found = random.Random(1), []
    for number in range(count):
        at_s = START_S + number * every_s
        found.append((at_s, "build"))
        if rng.random() < share:
            first_s = at_s + delay_s + rng.uniform(-jitter_s, jitter_s)
            found += [(first_s + rng.uniform(0, 20), "test") for _ in range(tests)]
    return sorted(found)


def told(events: list[tuple[float, str]], most: float = 1000) -> tuple[Followers, list[Expected]]:
    """What was learned, and all that was expected on the way."""
    followers = Followers(START_S)
    expected = [one for at_s, key in events for one in followers.arrive(key, at_s, most)]
    return followers, expected


def pair(followers: Followers, leader: str = "build", follower: str = "test") -> Pair:
    found = followers.pairs(START_S + 40 * 2 * HOUR_S)
    return next(one for one in found if (one.leader, one.follower) == (leader, follower))


def test_tests_that_always_follow_a_build_are_announced_with_their_number_and_time() -> None:
    _, expected = told(days())
    last = expected[-1]
    led_s = START_S + 39 * 2 * HOUR_S
    assert (last.leader, last.key, last.leader_s) == ("build", "test", led_s)
    assert last.count == 20
    assert led_s + 400 < last.from_s < led_s + 560
    assert last.until_s > led_s + 570
    assert last.confidence == 0.95
    assert 28 < len(expected) < 33, "the first eight or so are for learning"


def test_a_build_in_the_midst_of_others_leads_nothing() -> None:
    followers, _ = told(days())
    at_s = START_S + 1000 * HOUR_S
    assert followers.arrive("build", at_s, 1000)
    assert not followers.arrive("build", at_s + 60, 1000)
    assert not followers.arrive("build", at_s + 179, 1000)


def test_no_more_is_announced_than_half_of_the_bots() -> None:
    assert {one.count for one in told(days(), most=6.5)[1]} == {6}
    assert told(days(), most=0.5)[1] == []


def test_seven_builds_prove_nothing() -> None:
    followers, expected = told(days(8))
    assert expected == []
    assert "are needed" in pair(followers).refused


def test_what_follows_every_other_time_only_is_not_announced() -> None:
    followers, expected = told(days(share=0.45))
    assert expected == []
    assert "probability may be as low as" in pair(followers).refused


def test_what_comes_all_the_time_anyhow_follows_nothing() -> None:
    events = days(tests=0) + [(START_S + number * 400.0, "test") for number in range(40 * 18)]
    followers, expected = told(sorted(events))
    assert [one for one in expected if one.key == "test"] == []
    assert "comes anyhow" in pair(followers).refused


def test_what_follows_at_once_leaves_no_time_to_act() -> None:
    followers, expected = told(days(delay_s=45, jitter_s=5))
    assert [one for one in expected if one.key == "test"] == []
    assert "to act" in pair(followers).refused


def test_what_follows_now_and_then_at_any_time_is_not_announced() -> None:
    followers, expected = told(days(delay_s=800, jitter_s=750))
    assert len(expected) < 8
    assert pair(followers).deviation_s > 0.2 * pair(followers).delay_s


def test_a_pair_that_no_longer_holds_is_dropped() -> None:
    events = days() + [(START_S + (40 + number) * 2 * HOUR_S, "build") for number in range(40)]
    _, expected = told(events)
    assert max(one.leader_s for one in expected) < START_S + 70 * 2 * HOUR_S


def test_independent_arrivals_teach_nothing() -> None:
    for seed in range(5):
        rng, at_s, events = random.Random(seed), START_S, []
        for _ in range(6000):
            at_s += rng.expovariate(1 / 120)
            events.append((at_s, f"k{min(int(rng.expovariate(0.4)), 19)}"))
        assert len(told(events)[1]) < 0.002 * len(events)


def test_the_lower_bound_is_that_of_wilson() -> None:
    assert lower_bound(1.0, 8) == pytest.approx(8 / (8 + 1.645**2))
    assert lower_bound(0.0, 8) == pytest.approx(0.0, abs=1e-9)
    assert lower_bound(0.8, 1e9) == pytest.approx(0.8, abs=1e-3)


def test_memory_is_bounded() -> None:
    rng, followers = random.Random(2), Followers(START_S)
    for number in range(5_000):
        followers.arrive(f"k{rng.randrange(1000)}", START_S + number * 5.0, 100)
    plain = followers.to_plain()
    assert len(plain["keys"]) <= MOST_KEYS
    assert max(len(key[4]) for key in plain["keys"].values()) <= MOST_FOLLOWERS


def test_a_restart_in_the_middle_changes_nothing_that_matters() -> None:
    events = days()
    whole, expected = told(events)
    half = len(events) // 2 + 5
    before, first = told(events[:half])
    after = Followers.from_plain(json.loads(json.dumps(before.to_plain(), sort_keys=True)))
    rest = [one for at_s, key in events[half:] for one in after.arrive(key, at_s, 1000)]
    assert len(first) + len(rest) == len(expected)
    assert rest[-1].count == expected[-1].count
    assert rest[-1].from_s == pytest.approx(expected[-1].from_s, abs=0.2)
    assert pair(after).trials == pytest.approx(pair(whole).trials)


def test_empty_ones_are_kept_too() -> None:
    again = Followers.from_plain(json.loads(json.dumps(Followers(START_S).to_plain())))
    assert again.pairs(START_S) == []
    assert again.arrive("a", START_S) == []


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 5 * CLOSES_S), st.sampled_from("abc")), max_size=60))
def test_the_same_arrivals_teach_the_same_and_late_ones_do_not_break_it(events: list[tuple[float, str]]) -> None:
    one, other = Followers(START_S), Followers(START_S)
    for at_s, key in events:
        assert one.arrive(key, START_S + at_s, 10) == other.arrive(key, START_S + at_s, 10)
    assert one.to_plain() == other.to_plain()
    assert one.pairs(START_S + 1e6) == other.pairs(START_S + 1e6)
