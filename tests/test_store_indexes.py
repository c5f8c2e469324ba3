"""Composite indexes: declared in index.yaml, demanded by queries, kept by the embedded store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from google.api_core import exceptions as google_exceptions
from google.cloud import ndb

from server.store.client import INDEX_FILE, Store
from server.store.indexes import CompositeIndexes, Index, parse


class Plant(ndb.Model):
    """A record with a few indexed properties."""

    family = ndb.StringProperty()
    height = ndb.IntegerProperty()
    names = ndb.StringProperty(repeated=True)


class Seed(ndb.Model):
    """Another one."""

    family = ndb.StringProperty()
    height = ndb.IntegerProperty()


FAMILY_HEIGHT = """
- kind: Plant
  properties:
  - name: family
  - name: height
"""
FAMILY_HEIGHT_DOWN = FAMILY_HEIGHT.rstrip() + "\n    direction: desc\n"
Opener = Callable[..., Store]


@pytest.fixture
def open_with(tmp_path: Path, request: pytest.FixtureRequest) -> Opener:
    """Opens the same store with these entries in index.yaml."""

    def opened(*entries: str) -> Store:
        file = tmp_path / "index.yaml"
        file.write_text("indexes:" + "".join(entries) if entries else "indexes: []")
        store = Store.open(f"embedded:{tmp_path / 'data'}", index_file=file)
        request.addfinalizer(store.close)
        return store

    return opened


def test_the_projects_own_index_file_is_valid() -> None:
    CompositeIndexes.from_file(INDEX_FILE)


def test_a_query_without_its_index_fails_and_says_what_to_declare(open_with: Opener) -> None:
    store = open_with()
    with store.context(), pytest.raises(google_exceptions.FailedPrecondition) as caught:
        Plant.query(Plant.family == "rose", Plant.height > 3).order(Plant.height).fetch()
    advice = caught.value.message.split("index.yaml:")[1]
    with open_with(advice).context():
        Plant.query(Plant.family == "rose", Plant.height > 3).order(Plant.height).fetch()


@pytest.mark.parametrize(
    "query",
    [
        lambda: Plant.query(Plant.family == "rose").order(Plant.height),
        lambda: Plant.query(Plant.family == "rose", Plant.height > 3),
        lambda: Plant.query().order(Plant.family, Plant.height),
        lambda: Plant.query(Plant.height > 3, ancestor=ndb.Key(Plant, "a")),
        lambda: Plant.query(ancestor=ndb.Key(Plant, "a")).order(-Plant.height),
        lambda: Plant.query().order(-Plant.key),
    ],
)
def test_what_datastore_needs_an_index_for_needs_one_here(open_with: Opener, query: Callable[[], ndb.Query]) -> None:
    with open_with().context(), pytest.raises(google_exceptions.FailedPrecondition, match="no matching index"):
        query().fetch()


@pytest.mark.parametrize(
    "query",
    [
        lambda: Plant.query(Plant.family == "rose", Plant.height == 3, Plant.names == "x"),
        lambda: Plant.query(Plant.family == "rose", ancestor=ndb.Key(Plant, "a")),
        lambda: Plant.query(Plant.height > 3).order(-Plant.height),
        lambda: Plant.query().order(-Plant.height),
        lambda: Plant.query(Plant.family == "rose").order(Plant.family),
        lambda: Plant.query(Plant.family == "rose").order(Plant.key),
    ],
)
def test_what_datastore_answers_without_an_index_is_answered_here(
    open_with: Opener, query: Callable[[], ndb.Query]
) -> None:
    with open_with().context():
        assert query().fetch() == []


def test_an_index_in_the_other_direction_does_not_do(open_with: Opener) -> None:
    with open_with(FAMILY_HEIGHT_DOWN).context():
        Plant.query(Plant.family == "rose").order(-Plant.height).fetch()
        with pytest.raises(google_exceptions.FailedPrecondition):
            Plant.query(Plant.family == "rose").order(Plant.height).fetch()


def test_an_index_declared_later_holds_what_was_there_before(open_with: Opener) -> None:
    before = open_with()
    with before.context():
        for start in range(0, 1200, 400):
            ndb.put_multi([Plant(family="rose", height=height) for height in range(start, start + 400)])
            ndb.put_multi([Seed(family="rose", height=height) for height in range(3)])
    before.close()
    after = open_with(FAMILY_HEIGHT)
    with after.context():
        Plant(family="rose", height=5000).put()
        found = Plant.query(Plant.family == "rose", Plant.height > 1195).fetch()
    assert [plant.height for plant in found] == [1196, 1197, 1198, 1199, 5000]


def test_an_index_taken_away_and_declared_again_has_no_stale_rows(open_with: Opener) -> None:
    with open_with(FAMILY_HEIGHT).context():
        Plant(id="a", family="rose", height=1).put()
    with open_with(FAMILY_HEIGHT_DOWN).context():
        Plant(id="a", family="rose", height=2).put()
        Plant(id="b", family="rose", height=3).put()
        ndb.Key(Plant, "b").delete()
    with open_with(FAMILY_HEIGHT, FAMILY_HEIGHT_DOWN).context():
        up = Plant.query(Plant.family == "rose").order(Plant.height).fetch()
        down = Plant.query(Plant.family == "rose").order(-Plant.height).fetch()
    assert [plant.height for plant in up] == [plant.height for plant in down] == [2]


def test_entries_are_read_as_they_are_written() -> None:
    text = "indexes:\n- kind: Plant\n  ancestor: yes\n  properties:\n  - name: height\n    direction: desc\n"
    (index,) = parse(text)
    assert index == Index("Plant", (("height", True),), ancestor=True)
    assert parse("indexes:\n" + index.as_yaml()) == [index]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- kind: Plant", "expected a list under 'indexes'"),
        ("indexes: yes", "expected a list under 'indexes'"),
        ("indexes:\n- kind: Plant\n  property: x", "entry 1: expected kind"),
        ("indexes:\n- properties:\n  - name: x\n  - name: y", "entry 1: expected kind"),
        ("indexes:\n- kind: P\n  properties:\n  - name: x", "single-property"),
        ("indexes:\n- kind: P\n  properties:\n  - name: x\n  - name: y\n    direction: up", "asc or desc"),
        ("indexes:\n- kind: P\n  properties: [x, y]", "asc or desc"),
        ("indexes:\n- kind: P\n  ancestor: maybe\n  properties:\n  - name: x", "ancestor is yes or no"),
        ("indexes:" + FAMILY_HEIGHT + FAMILY_HEIGHT, "declared twice"),
    ],
)
def test_a_broken_index_file_is_refused_with_the_entry_at_fault(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse(text)
