"""Prewarm specs: the family's head and its immutable revisions."""

from __future__ import annotations

from google.cloud import ndb

from server.records import Int, Record, Seconds, Text


class Spec(Record):
    """Head of a family. Key: the family.

    `state` is active, paused or retired. `generations` is the registry: [{generation, sequence, revision, at_s}].
    """

    pool = ndb.StringProperty(indexed=True, default="")
    state = ndb.StringProperty(indexed=True, default="active")
    state_why = Text()
    resumed_s = Seconds()
    revision = Int()
    generation = Text()
    generations = ndb.JsonProperty(default=[])
    colour = Int()
    letters = Text()
    changed_s = Seconds(indexed=True)


class SpecRevision(Record):
    """One saved form of a spec. Key: `family:revision`, the number in six digits."""

    family = ndb.StringProperty(indexed=True, default="")
    revision = Int(indexed=True)
    body = ndb.JsonProperty(default={}, compressed=True)
    author = Text()
    note = Text()
    created_s = Seconds()


def revision_key(family: str, revision: int) -> ndb.Key:
    """Key of one revision of a family."""
    return ndb.Key("SpecRevision", f"{family}:{revision:06d}")
