"""The records that the contract tests keep."""

from __future__ import annotations

from google.cloud import ndb


class Thing(ndb.Model):
    """Anything with a few properties."""

    colour = ndb.StringProperty()
    size = ndb.IntegerProperty()
    tags = ndb.StringProperty(repeated=True)
    note = ndb.TextProperty()


class Everything(ndb.Model):
    """One property of each type that the server's records use."""

    text = ndb.StringProperty()
    long_text = ndb.TextProperty()
    whole = ndb.IntegerProperty()
    real = ndb.FloatProperty()
    flag = ndb.BooleanProperty()
    moment = ndb.DateTimeProperty()
    data = ndb.BlobProperty()
    json = ndb.JsonProperty()
    packed = ndb.JsonProperty(compressed=True)
    other = ndb.KeyProperty()
    many = ndb.IntegerProperty(repeated=True)


class Counter(ndb.Model):
    """A number that racing transactions change."""

    value = ndb.IntegerProperty(default=0, indexed=False)


def names(things: list[Thing]) -> list[str]:
    """The ids, in the order given."""
    return [thing.key.id() for thing in things]
