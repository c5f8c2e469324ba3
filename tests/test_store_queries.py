"""Queries of the embedded store beyond the contract: against a naive search, by index, and refused by name."""

from __future__ import annotations

import itertools
import operator
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud import ndb
from google.cloud.datastore_v1.types import datastore as types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server import errors
from server.store.client import Store
from server.store.sqlite_pool import FILE_NAME


class Stone(ndb.Model):
    """Properties with few values, so that many are equal."""

    a = ndb.IntegerProperty()
    b = ndb.StringProperty()
    c = ndb.FloatProperty()
    tags = ndb.StringProperty(repeated=True)


INDEXES = "indexes:\n" + "".join(
    f"- kind: Stone\n  properties:\n  - name: {first}\n  - name: {second}\n    direction: {direction}\n"
    for first, second in itertools.permutations(["a", "b", "c", "tags"], 2)
    for direction in ("asc", "desc")
)
CHOICES: dict[str, list[Any]] = {"a": [None, -1, 0, 1], "b": [None, "", "x", "xy"], "c": [-0.5, 0.0, 2.5]}
TAGS = ["p", "q", "r"]
COMPARE = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty embedded store."""
    (tmp_path / "index.yaml").write_text(INDEXES)
    opened = Store.open(f"embedded:{tmp_path}", index_file=tmp_path / "index.yaml")
    yield opened
    opened.close()


STONES = st.lists(
    st.builds(
        Stone,
        a=st.sampled_from(CHOICES["a"]),
        b=st.sampled_from(CHOICES["b"]),
        c=st.sampled_from(CHOICES["c"]),
        tags=st.lists(st.sampled_from(TAGS), unique=True),
    ),
    max_size=12,
)


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[tuple[str, Any]], list[tuple[str, str, Any]], list[tuple[str, bool]]]:
    """Equalities, inequalities on one property, and an order."""
    names = draw(st.permutations(["a", "b", "c"]))
    equal = [(name, draw(st.sampled_from(CHOICES[name]))) for name in names[: draw(st.integers(0, 1))]]
    if draw(st.booleans()):
        equal = [("tags", draw(st.sampled_from(TAGS)))]
    other = draw(st.sampled_from([name for name in names if name not in dict(equal)]))
    values = [value for value in CHOICES[other] if value is not None]
    unequal = [
        (other, draw(st.sampled_from(["<", "<=", ">", ">="])), draw(st.sampled_from(values)))
        for _ in range(draw(st.integers(0, 2)))
    ]
    order = [(other, draw(st.booleans()))] if draw(st.booleans()) else []
    return equal, unequal, order


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stones=STONES, search=searches(), page=st.integers(1, 5))
def test_a_query_finds_what_a_naive_search_finds(store: Store, stones: list[Stone], search: Any, page: int) -> None:
    equal, unequal, order = search
    with store.context():
        ndb.delete_multi(Stone.query().fetch(keys_only=True))
        for number, stone in enumerate(stones):
            stone.key = ndb.Key(Stone, f"s{number:02}")
        ndb.put_multi(stones)
        filters = [ndb.query.FilterNode(name, "=", value) for name, value in equal]
        filters += [ndb.query.FilterNode(name, how, value) for name, how, value in unequal]
        query = Stone.query(*filters).order(*((-getattr(Stone, n) if down else getattr(Stone, n)) for n, down in order))
        found = query.fetch()
        assert _paged(query, page) == [stone.key for stone in found]
        assert query.count() == len(found)
    wanted = [stone for stone in stones if _matches(stone, equal, unequal)]
    assert sorted(stone.key.id() for stone in found) == [stone.key.id() for stone in wanted]
    for name, down in order or ([(unequal[0][0], False)] if unequal else []):
        values = [_rank(getattr(stone, name)) for stone in found]
        assert values == sorted(values, reverse=down)


def _paged(query: ndb.Query, size: int) -> list[ndb.Key]:
    found, cursor, more = query.fetch_page(size, keys_only=True)
    while more:
        page, cursor, more = query.fetch_page(size, start_cursor=cursor, keys_only=True)
        found += page
    return list(found)


def _matches(stone: Stone, equal: list[tuple[str, Any]], unequal: list[tuple[str, str, Any]]) -> bool:
    for name, value in equal:
        actual = getattr(stone, name)
        if (value not in actual) if name == "tags" else (actual != value):
            return False
    return all(COMPARE[how](_rank(getattr(stone, name)), _rank(value)) for name, how, value in unequal)


def _rank(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)


def test_a_record_with_several_values_in_a_range_comes_once(store: Store) -> None:
    with store.context():
        Stone(id="1", tags=["p", "q", "r"]).put()
        Stone(id="2", tags=["q"]).put()
        assert [s.key.id() for s in Stone.query(Stone.tags >= "q").fetch()] == ["1", "2"]
        assert [s.key.id() for s in Stone.query().order(-Stone.tags).fetch()] == ["1", "2"]
        assert Stone.query(Stone.tags > "a").count() == 2
        first, cursor, more = Stone.query().order(Stone.tags).fetch_page(1)
        rest, _, _ = Stone.query().order(Stone.tags).fetch_page(5, start_cursor=cursor)
        assert [s.key.id() for s in first + rest] == ["1", "2"]
        assert more


def test_a_cursor_of_one_query_is_refused_by_another(store: Store) -> None:
    with store.context():
        ndb.put_multi([Stone(a=1) for _ in range(3)])
        _, cursor, _ = Stone.query().order(Stone.a).fetch_page(1)
        with pytest.raises(errors.InvalidArgument):
            Stone.query().order(-Stone.a).fetch_page(1, start_cursor=cursor)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (lambda: Stone.query(Stone.a != 1), "NOT_EQUAL"),
        (lambda: Stone.query(Stone.a > 1, Stone.b > "x"), "inequalities on more than one property"),
        (lambda: Stone.query(Stone.a > 1).order(Stone.b), "begin with the property of the inequality"),
        (lambda: Stone.query(Stone.a == 1, Stone.a > 0), "an equality and an inequality on the same property"),
        (lambda: Stone.query(projection=["a"]), "projections"),
        (lambda: Stone.query(projection=["a"], distinct_on=["a"]), "distinct_on"),
        (lambda: ndb.Query(kind=None), "without a kind"),
        (lambda: Stone.query(namespace="elsewhere"), "namespaces"),
        (lambda: Stone.query(Stone.tags == "p", Stone.tags == "q").order(Stone.a), "two values of one property"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(store: Store, query: Callable[[], ndb.Query], name: str) -> None:
    with store.context(), pytest.raises(errors.Unimplemented, match=name):
        query().fetch()


def test_a_query_in_a_transaction_is_refused_by_name(store: Store) -> None:
    with pytest.raises(errors.Unimplemented, match="queries in a transaction"):
        store.transaction(lambda: Stone.query().fetch())


def test_gql_and_calls_that_ndb_does_not_make_are_refused_by_name(store: Store) -> None:
    gql = types.RunQueryRequest(project_id=store.project)
    types.RunQueryRequest.pb(gql).gql_query.query_string = "SELECT *"
    with pytest.raises(errors.Unimplemented, match="GQL"):
        store.stub.run_query.future(gql).result()
    with pytest.raises(errors.Unimplemented, match="run_aggregation_query"):
        store.stub.run_aggregation_query  # noqa: B018


@pytest.mark.parametrize(
    "query",
    [
        lambda: Stone.query(Stone.a == 1),
        lambda: Stone.query(Stone.a == 1, Stone.b == "x", Stone.c == 0.5),
        lambda: Stone.query(Stone.a > 1),
        lambda: Stone.query().order(-Stone.c),
        lambda: Stone.query(Stone.b == "x", Stone.a > 1).order(-Stone.a),
        lambda: Stone.query(Stone.b == "x", ancestor=ndb.Key(Stone, "p")),
        lambda: Stone.query(),
    ],
)
def test_a_query_searches_an_index_and_neither_scans_nor_sorts(
    store: Store, tmp_path: Path, query: Callable[[], ndb.Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.context():
        ndb.put_multi([Stone(a=n % 3, b="x", c=n / 2) for n in range(50)])
        statements = _traced(store, lambda: query().fetch(5))
    scans = [text for text in statements if "index_row AS a" in text]
    assert scans
    database = sqlite3.connect(tmp_path / FILE_NAME)
    for statement in scans:
        steps = [row[3] for row in database.execute("EXPLAIN QUERY PLAN " + statement)]
        assert steps
        assert not [step for step in steps if re.search(r"\bSCAN\b|TEMP B-TREE", step)], steps
    database.close()


def _traced(store: Store, work: Callable[[], Any]) -> list[str]:
    """The statements, with their values, that `work` runs."""
    seen: list[str] = []
    storage = store._embedded.storage  # type: ignore[union-attr]
    with storage._pool.connection() as connection:
        connection.set_trace_callback(seen.append)
    try:
        work()
    finally:
        with storage._pool.connection() as connection:
            connection.set_trace_callback(None)
    return seen
