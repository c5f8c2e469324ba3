"""Settings, keys, and the small head record by which processes notice that something changed."""

from __future__ import annotations

from google.cloud import ndb

from server.records import Flag, Int, Record, Seconds, Text


class Latest(Record):
    """Key: "latest". What every process must know soon; one point read a refresh.

    Revisions of what it keeps in memory, the stop switch, the alarm.
    """

    config_revision = Int()
    spec_changes = Int()
    stopped = Flag()
    stopped_by = Text()
    stopped_since_s = Seconds()
    stopped_why = Text()
    switch_epoch = Int()
    alarm = Text()
    """Which pools fell silent, by the last sweep for deaths; "" when none did."""


class ConfigRevision(Record):
    """Key: the revision's number in six digits. `body` is the whole config."""

    revision = Int(indexed=True)
    body = ndb.JsonProperty(default={}, compressed=True)
    author = Text()
    note = Text()
    created_s = Seconds()


class SigningKeys(Record):
    """Key: "session". Newest first; tokens signed with any of them are accepted."""

    keys = ndb.JsonProperty(default=[])
    rotated_s = Seconds()


class Audit(Record):
    """Who changed what. Key: time and a random part."""

    at_s = Seconds(indexed=True)
    who = Text()
    what = Text()
    target = Text()
    detail = ndb.JsonProperty(default={})
