"""ndb models: keys, indexes and expiry. No policy, no time of their own.

Times are seconds since the epoch in float properties that end in `_s`; `expire_at` is a UTC datetime, since TTL
policies want one. Everything is unindexed unless a query needs it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, TypeAlias

from google.cloud import ndb

DAY_S = 86_400.0
RETAIN_TASK_S = 30 * DAY_S
RETAIN_GONE_S = DAY_S
RETAIN_BOT_S = 28 * DAY_S
RETAIN_DECISION_S = 3 * DAY_S
RETAIN_PAGE_S = 2 * DAY_S
RETAIN_AUDIT_S = 400 * DAY_S


def expiry(now_s: float, keep_s: float) -> datetime.datetime:
    """`expire_at` of something written at `now_s` that is kept for `keep_s`."""
    return datetime.datetime.fromtimestamp(now_s + keep_s, datetime.UTC).replace(tzinfo=None)


class Record(ndb.Model):
    """Base of every kind: each entity carries the time after which it may be swept away."""

    expire_at = ndb.DateTimeProperty(indexed=True)

    @classmethod
    def _get_kind(cls) -> str:
        return cls.__name__


def Text() -> ndb.TextProperty:
    """An unindexed string."""
    return ndb.TextProperty(default="")


def Seconds(**options: object) -> ndb.FloatProperty:
    """A time or duration in seconds, unindexed unless said; 0 means never."""
    return ndb.FloatProperty(**{"indexed": False, "default": 0.0, **options})


def Int(**options: object) -> ndb.IntegerProperty:
    """An unindexed integer."""
    return ndb.IntegerProperty(**{"indexed": False, "default": 0, **options})


def Flag(**options: object) -> ndb.BooleanProperty:
    """An unindexed truth value."""
    return ndb.BooleanProperty(**{"indexed": False, "default": False, **options})


Key: TypeAlias = ndb.Key


def key_of(kind: type[Record] | str, *path: object) -> Key:
    """Key of the entity of a kind with an id, or of a whole path."""
    return ndb.Key(kind, *path)


def get_multi(keys: Iterable[Key]) -> list[Any]:
    """Entities by key in one call, None for each that does not exist."""
    return ndb.get_multi(list(keys))


def put_multi(records: Iterable[Record]) -> None:
    """Writes entities in one call; within a transaction, with its commit."""
    ndb.put_multi(list(records))
