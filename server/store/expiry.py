"""Which entities have outlived their `expire_at`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.store import encoding
from server.store.indexes import Index, rows_in

PROPERTY = "expire_at"
# Every kind's index of this property has a name that ends so.
INDEX_END = Index("", ((PROPERTY, False),)).text()

Range = tuple[bytes, bytes]


def ranges(now_s: float) -> list[Range]:
    """The index values that lie in the past, as half-open ranges: one for each type that a time can have.

    A missing time is none of them: an entity without one never expires.
    """
    ends = (
        encoding.encode_integer(int(now_s)),
        encoding.encode_timestamp(int(now_s * 1_000_000)),
        encoding.encode_double(now_s),
    )
    return [(end[:1], end) for end in ends]


def past(entity: Any, expired: Sequence[Range]) -> bool:
    """Whether an entity's `expire_at` lies in one of the ranges."""
    values = rows_in(entity, Index(entity.key.path[-1].kind, ((PROPERTY, False),)))
    return any(low <= value < high for value in values for low, high in expired)
