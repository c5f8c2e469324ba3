"""What followers announce: entries for the tasks that are expected and that nobody else has announced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from server.policy.announce import MOST_COUNT, Entry
from server.policy.followers import Expected
from server.policy.model import Announcement

FOLLOWERS = "followers"
"""The source of what the server learned by itself. Sources of callers have a colon in their name, this one has none."""
NEAR_S = 120.0
"""What others announce for about the same time is not announced once more."""


def entries_of(
    expected: Iterable[Expected], live: Sequence[Announcement], now_s: float
) -> list[tuple[Entry, Expected]]:
    """An entry for each state of which more is expected than others announce, with what it is made from.

    Args:
        expected: by `Followers.arrive()`, of states that a spec makes.
        live: what is announced and has not come.
        now_s: now; what should have come by then is left out.
    """
    found = []
    for one in expected:
        count = one.count - int(sum(other.count for other in live if _is_the_same(other, one)))
        if one.until_s > now_s and count > 0:
            found.append((_entry(one, min(count, MOST_COUNT), now_s), one))
    return found


def _is_the_same(other: Announcement, one: Expected) -> bool:
    is_near = other.from_s - NEAR_S <= one.until_s and one.from_s <= other.until_s + NEAR_S
    return other.family == one.key and other.source != FOLLOWERS and is_near


def _entry(one: Expected, count: int, now_s: float) -> Entry:
    return Entry(
        id=f"{FOLLOWERS}.{one.leader}.{one.key}.{one.leader_s:.0f}",
        family=one.key,
        generation="",
        count=count,
        from_s=one.from_s,
        until_s=one.until_s,
        confidence=one.confidence,
        source=FOLLOWERS,
        at_s=now_s,
    )
