"""PoolGate: the one record of a pool through which all of its background work leaves."""

from __future__ import annotations

from google.cloud import ndb

from server.records import Flag, Int, Record, Seconds, Text


class PoolGate(Record):
    """Key: the pool.

    `entries` holds exactly the background runs that are held: [{task, bot, n, family, generation, revision, slot,
    purpose, for, since_s}], a set keyed by (task, n). Compressed: an entity may have a mebibyte, which as plain JSON is
    reached with 4,500 runs.
    """

    entries = ndb.JsonProperty(default=[], compressed=True)
    stopped = Flag()
    stopped_why = Text()
    epoch = Int()
    open = Flag()
    below_since_s = Seconds()
    hand_outs_s = ndb.JsonProperty(default=[])
    preempted_s = Seconds()
    breakers = ndb.JsonProperty(default={})
    """Family → {failures, bots, open_since_s, why}."""
    watch = ndb.JsonProperty(default={})
    """Whether the pool went to shadow mode by itself: the fields of `policy.self_disabling.Watch`."""
