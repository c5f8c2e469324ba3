"""What was announced for a pool, and what its arrivals taught."""

from __future__ import annotations

from google.cloud import ndb

from server.records import Int, Record, Seconds


class PoolAnnouncements(Record):
    """Key: the pool. All that was announced for it but by tags, and how everything turned out.

    One record, so that a change of it is one read and one write, and limits hold over all processes. It is read with
    each refresh of a view; `changes` grows with every write, and who knows it need not look at the rest.
    """

    changes = Int()
    entries = ndb.JsonProperty(default=[], compressed=True)
    """What was announced by call or learned, by id: see `server.announced.Said`."""
    schedules = ndb.JsonProperty(default=[], compressed=True)
    retracted = ndb.JsonProperty(default={})
    """Id of an entry of any origin → when it was withdrawn."""
    scores = ndb.JsonProperty(default={}, compressed=True)
    """Source → [tasks promised, tasks come, as of when]."""
    outcomes = ndb.JsonProperty(default=[], compressed=True)
    """The last entries that closed, oldest first, with how many of their tasks came."""
    settled_s = Seconds()
    """Entries that closed before are in the scores."""


class PoolFollowers(Record):
    """Key: the pool. What follows what, as `policy.followers` has it; written every few minutes."""

    body = ndb.JsonProperty(default={}, compressed=True)
    learned_s = Seconds()
    """Time of the last arrival that it has."""
    kept_s = Seconds()
    """When it was written."""
