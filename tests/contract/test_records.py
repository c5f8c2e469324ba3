"""Single records: what is put is there, what is deleted is gone."""

from __future__ import annotations

import datetime

import pytest
from google.api_core import exceptions as google_exceptions
from google.cloud import ndb
from google.cloud.datastore_v1.types import datastore as types

from server import errors
from server.store.client import Store
from tests.contract.things import Everything, Thing


def test_what_was_put_is_there_for_everybody(store: Store, other: Store) -> None:
    with store.context():
        Thing(id="a", colour="red", size=1).put()
    with other.context():
        found = ndb.Key(Thing, "a").get()
    assert (found.colour, found.size) == ("red", 1)


def test_every_type_of_property_comes_back_as_it_was(store: Store) -> None:
    values: dict[str, object] = {
        "text": "naïve \x00 ✓",
        "long_text": "x" * 5000,
        "whole": -(1 << 62),
        "real": 1_800_000_000.123456,
        "flag": True,
        "moment": datetime.datetime(2031, 5, 6, 7, 8, 9, 123456),
        "data": b"\x00\xff" * 100,
        "json": {"a": [1, None, {"b": "c"}]},
        "packed": ["x"] * 1000,
        "many": [3, 1, 2],
    }
    with store.context():
        values["other"] = ndb.Key("Thing", "parent", "Thing", 7)
        Everything(id="e", **values).put()
        found = ndb.Key(Everything, "e").get()
    assert {name: getattr(found, name) for name in values} == values


def test_nothing_is_found_under_a_key_that_nobody_used_or_that_was_deleted(store: Store) -> None:
    with store.context():
        key = Thing(id="a").put()
        key.delete()
        assert key.get() is None
        assert ndb.Key(Thing, "never").get() is None
        key.delete()  # once more does no harm


def test_a_second_put_replaces_the_whole_record(store: Store) -> None:
    with store.context():
        Thing(id="a", colour="red", tags=["x", "y"]).put()
        Thing(id="a", size=2).put()
        found = ndb.Key(Thing, "a").get()
    assert (found.colour, found.size, found.tags) == (None, 2, [])


def test_ids_and_names_and_parents_make_different_keys(store: Store) -> None:
    with store.context():
        keys = [
            ndb.Key(Thing, 1),
            ndb.Key(Thing, "1"),
            ndb.Key(Thing, "1", Thing, 1),
            ndb.Key(Thing, "1\x00", Thing, 1),
            ndb.Key(Everything, 1, Thing, 1),
        ]
        ndb.put_multi([Thing(key=key, size=size) for size, key in enumerate(keys)])
        assert [thing.size for thing in ndb.get_multi(keys)] == [0, 1, 2, 3, 4]


def test_records_without_an_id_get_ids_of_their_own(store: Store, other: Store) -> None:
    with store.context():
        keys = ndb.put_multi([Thing() for _ in range(20)])
        keys += Thing.allocate_ids(20)
    with other.context():
        keys += ndb.put_multi([Thing() for _ in range(20)])
    ids = [key.id() for key in keys]
    assert len(set(ids)) == 60
    assert all(number > 0 for number in ids)


def test_a_record_too_large_for_datastore_is_refused(store: Store) -> None:
    with store.context(), pytest.raises(errors.TooLarge, match="1048487"):
        Everything(id="e", data=b"x" * 1_048_600).put()
    with pytest.raises(errors.TooLarge):
        store.transaction(lambda: Everything(id="e", data=b"x" * 1_048_600).put())
    with store.context():
        assert ndb.Key(Everything, "e").get() is None


def test_insert_refuses_what_exists_and_update_what_does_not(store: Store) -> None:
    with store.context():
        Thing(id="a", size=1).put()
    with pytest.raises(google_exceptions.AlreadyExists):
        _commit(store, "insert", "a")
    with pytest.raises(google_exceptions.NotFound):
        _commit(store, "update", "b")
    _commit(store, "insert", "b")
    _commit(store, "update", "a")


def test_a_commit_without_transaction_may_not_change_a_record_twice(store: Store) -> None:
    with store.context(), pytest.raises(google_exceptions.InvalidArgument):
        ndb.put_multi([Thing(id="a", size=1), Thing(id="a", size=2)])


def test_a_rejected_transaction_changes_none_of_its_records(store: Store) -> None:
    with store.context():
        Thing(id="b", size=1).put()
        with pytest.raises(google_exceptions.AlreadyExists):
            _commit(store, "insert", "a", "b", in_transaction=True)
        assert ndb.Key(Thing, "a").get() is None


def _commit(store: Store, operation: str, *names: str, in_transaction: bool = False) -> None:
    """A commit of mutations that ndb does not know."""
    request = types.CommitRequest(project_id=store.project, mode=types.CommitRequest.Mode.NON_TRANSACTIONAL)
    if in_transaction:
        begin = types.BeginTransactionRequest(project_id=store.project)
        request.transaction = store.stub.begin_transaction.future(begin).result().transaction
        request.mode = types.CommitRequest.Mode.TRANSACTIONAL
    for name in names:
        mutation = types.Mutation.pb(types.Mutation())
        entity = getattr(mutation, operation)
        entity.key.partition_id.project_id = store.project
        entity.key.path.add(kind="Thing", name=name)
        request.mutations.append(types.Mutation.wrap(mutation))
    store.stub.commit.future(request).result()
