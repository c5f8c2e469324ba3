"""Queries: filters, orders, pages and counts."""

from __future__ import annotations

import pytest
from google.cloud import ndb

from server import errors
from server.store.client import Store
from tests.contract.things import Thing, names


@pytest.fixture
def filled(store: Store) -> Store:
    """Twelve things in three colours."""
    with store.context():
        ndb.put_multi(
            [
                Thing(id=f"t{number:02}", colour=["red", "green", "blue"][number % 3], size=number // 2, note="n")
                for number in range(12)
            ]
        )
    return store


def test_an_equality_finds_what_has_the_value(filled: Store) -> None:
    with filled.context():
        assert names(Thing.query(Thing.colour == "red").fetch()) == ["t00", "t03", "t06", "t09"]
        assert names(Thing.query(Thing.colour == "grey").fetch()) == []


def test_two_equalities_find_what_has_both(filled: Store) -> None:
    with filled.context():
        assert names(Thing.query(Thing.colour == "red", Thing.size == 1).fetch()) == ["t03"]
        assert names(Thing.query(Thing.colour == "red", Thing.size == 2).fetch()) == []


def test_in_finds_any_of_the_values(filled: Store) -> None:
    with filled.context():
        found = Thing.query(Thing.colour.IN(["red", "blue"])).fetch()
        assert sorted(names(found)) == ["t00", "t02", "t03", "t05", "t06", "t08", "t09", "t11"]
        ordered = Thing.query(Thing.colour.IN(["red", "blue"])).order(-Thing.size).fetch(3)
        assert [thing.size for thing in ordered] == [5, 4, 4]


def test_an_inequality_gives_its_range_in_order(filled: Store) -> None:
    with filled.context():
        assert [t.size for t in Thing.query(Thing.size > 1, Thing.size <= 3).fetch()] == [2, 2, 3, 3]
        assert [t.size for t in Thing.query(Thing.size >= 4).order(-Thing.size).fetch()] == [5, 5, 4, 4]


def test_an_equality_goes_with_an_inequality_and_an_order(filled: Store) -> None:
    with filled.context():
        assert names(Thing.query(Thing.colour == "red", Thing.size >= 1).fetch()) == ["t03", "t06", "t09"]
        downward = Thing.query(Thing.colour == "red", Thing.size < 4).order(-Thing.size)
        assert names(downward.fetch()) == ["t06", "t03", "t00"]


def test_two_orders_sort_one_after_the_other(filled: Store) -> None:
    with filled.context():
        found = Thing.query().order(Thing.size, -Thing.colour).fetch(4)
        assert [(t.size, t.colour) for t in found] == [(0, "red"), (0, "green"), (1, "red"), (1, "blue")]


def test_keys_come_in_their_order_and_in_the_reverse(filled: Store) -> None:
    with filled.context():
        assert [key.id() for key in Thing.query().fetch(keys_only=True)] == [f"t{n:02}" for n in range(12)]
        assert names(Thing.query().order(-Thing.key).fetch(2)) == ["t11", "t10"]
        between = Thing.query(Thing.key > ndb.Key(Thing, "t03"), Thing.key <= ndb.Key(Thing, "t05"))
        assert names(between.fetch()) == ["t04", "t05"]
        red = Thing.query(Thing.colour == "red", Thing.key > ndb.Key(Thing, "t03"))
        assert names(red.fetch()) == ["t06", "t09"]


def test_a_missing_value_sorts_before_all_others_and_is_less_than_any(filled: Store) -> None:
    with filled.context():
        Thing(id="none").put()
        assert names(Thing.query().order(Thing.size).fetch(1)) == ["none"]
        assert names(Thing.query(Thing.size < 0).fetch()) == ["none"]
        assert names(Thing.query(Thing.size == None).fetch()) == ["none"]  # noqa: E711


def test_repeated_values_are_found_by_each_of_them(store: Store) -> None:
    with store.context():
        Thing(id="a", tags=["x", "y"], size=2).put()
        Thing(id="b", tags=["y", "z"], size=1).put()
        assert names(Thing.query(Thing.tags == "y").fetch()) == ["a", "b"]
        assert names(Thing.query(Thing.tags == "x", Thing.tags == "y").fetch()) == ["a"]
        assert names(Thing.query(Thing.tags == "y").order(Thing.size).fetch()) == ["b", "a"]


def test_unindexed_values_are_not_found(filled: Store) -> None:
    with filled.context():
        assert Thing.query(ndb.query.FilterNode("note", "=", "n")).fetch() == []


def test_an_ancestor_has_all_its_descendants_and_itself(store: Store) -> None:
    with store.context():
        top = ndb.Key(Thing, "top")
        keys = [top, ndb.Key(Thing, 1, parent=top), ndb.Key(Thing, "x", Thing, "y", parent=top)]
        strangers = [ndb.Key(Thing, "top2"), ndb.Key(Thing, "to", Thing, "p"), ndb.Key("Other", "top", Thing, 1)]
        ndb.put_multi(
            [Thing(key=key, size=size, colour="red") for size, key in enumerate([*keys, *strangers])]
        )
        assert {thing.key for thing in Thing.query(ancestor=top).fetch()} == set(keys)
        assert {thing.key for thing in Thing.query(Thing.colour == "red", ancestor=top).fetch()} == set(keys)
        assert [t.size for t in Thing.query(Thing.size > 0, ancestor=top).fetch()] == [1, 2]
        assert [t.size for t in Thing.query(ancestor=keys[2]).order(Thing.size).fetch()] == [2]


def test_limit_and_offset_cut_a_piece_out(filled: Store) -> None:
    with filled.context():
        assert names(Thing.query().order(Thing.key).fetch(3, offset=5)) == ["t05", "t06", "t07"]
        assert names(Thing.query(Thing.colour == "red").fetch(offset=3)) == ["t09"]
        assert Thing.query().fetch(offset=12) == []
        assert Thing.query().fetch(5, offset=40) == []


def test_count_counts(filled: Store) -> None:
    with filled.context():
        assert Thing.query().count() == 12
        assert Thing.query(Thing.colour == "red").count() == 4
        assert Thing.query(Thing.colour == "red").count(limit=3) == 3
        assert Thing.query(Thing.size > 3).count() == 4
        assert Thing.query(Thing.colour == "grey").count() == 0
        assert Thing.query(Thing.colour.IN(["red", "blue"])).count() == 8


@pytest.mark.parametrize("downward", [False, True])
def test_pages_by_cursor_give_everything_once(filled: Store, downward: bool) -> None:
    with filled.context():
        queries = [
            Thing.query().order(-Thing.size if downward else Thing.size),
            Thing.query(Thing.colour == "red").order(-Thing.size if downward else Thing.size),
            Thing.query(Thing.colour == "green"),
            Thing.query(),
        ]
        for query in queries:
            found, cursor, more = query.fetch_page(3)
            while more:
                page, cursor, more = query.fetch_page(3, start_cursor=ndb.Cursor(urlsafe=cursor.urlsafe()))
                found += page
            assert names(found) == names(query.fetch())


def test_a_page_goes_on_behind_records_that_vanished_and_those_that_came(filled: Store) -> None:
    with filled.context():
        query = Thing.query().order(Thing.size, -Thing.colour)
        first, cursor, _ = query.fetch_page(4)
        first[-1].key.delete()
        Thing(id="new", size=99, colour="red").put()
        rest, _, more = query.fetch_page(20, start_cursor=cursor)
    assert len(rest) == 9
    assert names(rest)[-1] == "new"
    assert not set(names(first)) & set(names(rest))
    assert not more


def test_something_that_is_no_cursor_is_an_invalid_argument(filled: Store) -> None:
    with filled.context(), pytest.raises(errors.InvalidArgument):
        Thing.query().fetch_page(3, start_cursor=ndb.Cursor(b"rubbish"))


def test_queries_see_the_newest_state(store: Store, other: Store) -> None:
    with store.context():
        thing = Thing(id="a", colour="red", size=1)
        thing.put()
    with other.context():
        assert names(Thing.query(Thing.colour == "red").fetch()) == ["a"]
    with store.context():
        thing.colour = "blue"
        thing.put()
    with other.context():
        assert names(Thing.query(Thing.colour == "red").fetch()) == []
        assert names(Thing.query(Thing.colour == "blue", Thing.size == 1).fetch()) == ["a"]
        ndb.Key(Thing, "a").delete()
    with store.context():
        assert Thing.query(Thing.colour == "blue").fetch() == []


def test_more_results_than_one_answer_holds_all_come(store: Store) -> None:
    with store.context():
        for start in range(0, 2100, 420):
            ndb.put_multi([Thing(id=start + number + 1, size=number) for number in range(420)])
        assert len(Thing.query().fetch()) == 2100
        assert [t.key.id() for t in Thing.query().fetch(5, offset=2000)] == [2001, 2002, 2003, 2004, 2005]
        assert Thing.query().count() == 2100
