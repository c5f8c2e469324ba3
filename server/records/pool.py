"""PoolGate: the one record of a pool through which all of its background work leaves."""

from __future__ import annotations

from google.cloud import ndb

from server.records import Flag, Int, Record, Seconds, Text


class PoolGate(Record):
    """Key: the pool.

    `entries` holds exactly the background runs that are held: [{task, bot, n, family, generation, revision, slot,
    purpose, for, since_s}], a set keyed by (task, n).
    """

    entries = ndb.JsonProperty(default=[])
    stopped = Flag()
    stopped_why = Text()
    epoch = Int()
    open = Flag()
    below_since_s = Seconds()
    hand_outs_s = ndb.JsonProperty(default=[])
    preempted_s = Seconds()
    breakers = ndb.JsonProperty(default={})
    """Family → {failures, bots, open_since_s, why}."""
