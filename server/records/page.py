"""Process pages: cumulative counters that one process owns and all merge."""

from __future__ import annotations

from google.cloud import ndb

from server.records import Record, Seconds, Text


class ProcessPage(Record):
    """Key: `kind:process`. Overwritten by its process without reading; readers merge by max or sum."""

    kind = ndb.StringProperty(indexed=True, default="")
    process = Text()
    body = ndb.JsonProperty(default={}, compressed=True)
    updated_s = Seconds(indexed=True)
