"""Announced demand: arrivals consume entries whatever their order, entries lapse, sources earn their weight."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy.announce import (
    GRACE_S,
    Arrival,
    Book,
    Entry,
    Score,
    book_of,
    came_by_source,
)

NOW_S = 1_800_000_000.0
FAMILIES = st.sampled_from(["a", "b"])
GENERATIONS = st.sampled_from(["", "g1", "g2"])
TIMES = st.floats(0.0, 3000.0).map(lambda s: NOW_S + s)


def entry(name: str = "e", **fields: object) -> Entry:
    """One task of family a, due ten minutes from now, said now."""
    due_s = float(str(fields.get("from_s", NOW_S + 600)))
    defaults = {"family": "a", "generation": "", "count": 1, "from_s": due_s, "until_s": due_s + GRACE_S}
    defaults |= {"confidence": 0.9, "source": "ci", "at_s": NOW_S}
    return Entry(id=name, **(defaults | fields))  # type: ignore[arg-type]


def arrival(name: str, after_s: float = 600.0, family: str = "a", generation: str = "") -> Arrival:
    return Arrival(name, family, generation, NOW_S + after_s)


entries = st.lists(
    st.builds(
        lambda number, family, generation, count, at_s, lead_s, open_s, source, retracted_s: Entry(
            str(number),
            family,
            generation,
            count,
            at_s + lead_s,
            at_s + lead_s + open_s,
            0.9,
            source,
            at_s,
            retracted_s,
        ),
        st.integers(0, 12),
        FAMILIES,
        GENERATIONS,
        st.integers(1, 4),
        TIMES,
        st.floats(0.0, 1500.0),
        st.floats(1.0, 600.0),
        st.sampled_from(["ci", "followers"]),
        st.one_of(st.just(0.0), TIMES),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)
arrivals = st.lists(
    st.builds(Arrival, st.integers(0, 30).map(str), FAMILIES, GENERATIONS, TIMES),
    max_size=20,
    unique_by=lambda one: (one.task_id, one.family),
)


def came(book: Book, said: list[Entry]) -> dict[str, int]:
    return {one.id: book.came(one.id) for one in said}


# ---- properties


@given(entries, arrivals, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_changes_what_has_come(
    said: list[Entry], seen: list[Arrival], rng: random.Random
) -> None:
    expected = came(book_of(said, seen), said)
    mixed = seen + rng.sample(seen, len(seen) // 2)
    rng.shuffle(mixed)
    shuffled = rng.sample(said, len(said))
    assert came(book_of(shuffled + shuffled, mixed), said) == expected


@given(entries, arrivals)
def test_no_entry_gets_more_than_it_announced_and_no_arrival_counts_twice(
    said: list[Entry], seen: list[Arrival]
) -> None:
    found = came(book_of(said, seen), said)
    assert all(0 <= found[one.id] <= one.count for one in said)
    assert sum(found.values()) <= len(seen)


@given(entries, arrivals)
def test_an_arrival_counts_only_for_its_family_and_while_the_entry_is_open(
    said: list[Entry], seen: list[Arrival]
) -> None:
    found = came(book_of(said, seen), said)
    for one in said:
        fitting = [a for a in seen if a.family == one.family and one.opens_s <= a.at_s < one.closes_s]
        fitting = [a for a in fitting if not one.generation or a.generation in ("", one.generation)]
        assert found[one.id] <= len(fitting)


@given(entries, arrivals, TIMES)
def test_what_is_live_has_neither_lapsed_nor_been_used_up(said: list[Entry], seen: list[Arrival], now_s: float) -> None:
    book = book_of(said, [one for one in seen if one.at_s <= now_s])
    for one in book.announcements(now_s, {}):
        assert one.count > 0
        assert now_s < one.until_s
    for one in book.live(now_s):
        assert one.at_s <= now_s < one.closes_s


@given(entries, arrivals)
def test_one_arrival_more_never_leaves_more_open(said: list[Entry], seen: list[Arrival]) -> None:
    if seen:
        fewer = sum(came(book_of(said, seen[:-1]), said).values())
        assert fewer <= sum(came(book_of(said, seen), said).values()) <= fewer + 1


@given(entries, arrivals)
def test_a_book_that_is_kept_up_says_what_one_made_at_the_end_says(said: list[Entry], seen: list[Arrival]) -> None:
    """The simulator keeps one up and forgets what has closed; the server makes one from what it knows."""
    kept = Book()
    events = [(one.at_s, 0, one.id, one) for one in said]
    events += [(one.at_s, 1, one.task_id + one.family, one) for one in seen]
    for at_s, _, _, event in sorted(events, key=lambda found: found[:3]):
        kept.forget(at_s)
        (kept.add if isinstance(event, Entry) else kept.arrive)(event)  # type: ignore[operator]
    once = book_of(said, seen)
    assert came(kept, said) == came(once, said)
    end_s = NOW_S + 3000.0
    assert kept.live(end_s) == once.live(end_s)


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0.05, 1.0), st.floats(0.0, 1.0)), max_size=30))
def test_a_share_is_a_share(history: list[tuple[int, float, float]]) -> None:
    score = Score()
    for number, (count, confidence, part) in enumerate(history):
        score = score.add(entry(count=count, confidence=confidence), int(count * part), NOW_S + number)
        assert 0.0 < score.share(NOW_S + number) <= 1.0


# ---- what an announcer notices


def test_the_entry_that_is_due_first_is_consumed_first() -> None:
    said = [entry("late", from_s=NOW_S + 700), entry("early", from_s=NOW_S + 650)]
    book = book_of(said, [arrival("t1")])
    assert came(book, said) == {"late": 0, "early": 1}


def test_an_entry_lapses_ninety_seconds_after_it_was_due() -> None:
    book = book_of([entry()], [])
    assert book.live(NOW_S + 689)
    assert not book.live(NOW_S + 690)
    assert book_of([entry()], [arrival("t", 690.0)]).came("e") == 0


def test_a_task_that_comes_long_before_it_is_due_is_not_the_one() -> None:
    """A fifth of the time between word and due at most, but ninety seconds at least, and never ten minutes."""
    for due_s, early_s in ((60.0, 59.0), (300.0, 90.0), (600.0, 120.0), (1800.0, 360.0), (7200.0, 600.0)):
        said = entry(from_s=NOW_S + due_s)
        assert book_of([said], [arrival("t", due_s - early_s - 1.0)]).came("e") == 0
        assert book_of([said], [arrival("t", due_s - early_s)]).came("e") == 1


def test_a_task_from_before_the_announcement_is_not_the_one() -> None:
    assert book_of([entry()], [arrival("t", -1.0)]).came("e") == 0


def test_a_generation_that_nobody_asked_for_yet_is_consumed_by_its_own_tasks_and_those_that_take_any() -> None:
    said = [entry(generation="r9", count=3)]
    seen = [arrival("t1", generation="r8"), arrival("t2", generation="r9"), arrival("t3", generation="")]
    assert book_of(said, seen).came("e") == 2


def test_of_two_entries_due_at_once_the_one_that_names_the_generation_is_consumed() -> None:
    said = [entry("any"), entry("named", generation="g1")]
    assert came(book_of(said, [arrival("t", generation="g1")]), said) == {"any": 0, "named": 1}


def test_the_policy_sees_what_is_left_with_the_weight_of_the_source() -> None:
    liar = Score(promised=45.0, came=0.0, at_s=NOW_S)
    book = book_of([entry(count=5)], [arrival("t1", 510), arrival("t2", 511)])
    (seen,) = book.announcements(NOW_S + 520, {"ci": liar})
    assert (seen.family, seen.count, seen.from_s, seen.until_s) == ("a", 3, NOW_S + 600, NOW_S + 690)
    assert seen.confidence == pytest.approx(0.9 * 0.1, rel=0.01)


def test_a_withdrawn_entry_is_neither_live_nor_consumed() -> None:
    said = entry(retracted_s=NOW_S + 100)
    assert not book_of([said], []).live(NOW_S + 100)
    assert book_of([said], [arrival("t", 101)]).came("e") == 0


def test_two_sources_that_announce_the_same_tasks_are_both_right() -> None:
    said = [entry("one", count=2), entry("other", count=2, source="followers")]
    seen = [arrival("t1"), arrival("t2")]
    assert sum(came(book_of(said, seen), said).values()) == 2
    assert came_by_source(said, seen) == {"one": 2, "other": 2}


# ---- scores


def test_a_source_that_cries_wolf_loses_its_weight_and_one_that_proves_right_earns_it_back() -> None:
    score, shares = Score(), []
    for _ in range(10):
        score = score.add(entry(count=10), 0, NOW_S)
        shares.append(score.share(NOW_S))
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.12
    for _ in range(20):
        score = score.add(entry(count=10), 10, NOW_S)
    assert score.share(NOW_S) > 0.85


def test_a_source_that_is_as_right_as_it_says_is_believed() -> None:
    score = Score()
    for number in range(200):
        score = score.add(entry(confidence=0.5), number % 2, NOW_S)
    assert score.share(NOW_S) > 0.95


def test_one_large_mistake_is_not_the_end_of_a_source() -> None:
    score = Score()
    for _ in range(20):
        score = score.add(entry(count=5), 5, NOW_S)
    assert score.add(entry(count=1000), 0, NOW_S).share(NOW_S) > 0.7


def test_an_old_mistake_is_forgiven() -> None:
    score = Score().add(entry(count=20), 0, NOW_S)
    assert score.share(NOW_S) < 0.25
    assert score.share(NOW_S + 60 * 86_400) > 0.9


@pytest.mark.parametrize(
    ("retracted_after_s", "counts"),
    [(59.0, False), (3000.0, False), (3001.0, True)],
)
def test_what_is_withdrawn_in_time_is_no_mistake(retracted_after_s: float, counts: bool) -> None:
    said = entry(from_s=NOW_S + 3600)
    assert replace(said, retracted_s=NOW_S + retracted_after_s).counts_for_score is counts


def test_what_stands_counts() -> None:
    assert entry().counts_for_score


def test_the_task_that_announces_others_is_none_of_them() -> None:
    assert book_of([entry()], [arrival("t", 0.0)]).came("e") == 0
