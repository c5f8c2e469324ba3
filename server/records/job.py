"""Job: deferred work, written in the transaction that is its cause."""

from __future__ import annotations

from google.cloud import ndb

from server.records import Int, Record, Seconds, Text


class Job(Record):
    """Key: a name that makes a repeat of the same cause the same job.

    `due_s` is when a carrier should ring; 0 once the job is done. `lease_until_s` keeps two processes apart.
    """

    kind = Text()
    payload = ndb.JsonProperty(default={})
    due_s = Seconds(indexed=True)
    lease_until_s = Seconds()
    lease_by = Text()
    tries = Int()
    error = Text()
