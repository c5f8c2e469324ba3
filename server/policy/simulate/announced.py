"""Announcements for a replay: of its own arrivals, said ahead, and false ones among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.policy.simulate.trace import Arrival, Dice, split_key

WINDOW_S = 90.0
CONFIDENCE = 0.9
SOURCE = "replay"


@dataclass(frozen=True, slots=True)
class Announcement:
    """Said at `at_s`: a task that wants the key will come between `due_s` and `until_s`. Times are seconds."""

    key: str
    family: str
    generation: str
    """"" where the key names none."""
    at_s: float
    due_s: float
    until_s: float
    confidence: float = CONFIDENCE
    source: str = SOURCE
    is_false: bool = False
    """Nobody comes for it; what it names was registered by nobody for its sake."""


@dataclass(frozen=True, slots=True)
class Heralds:
    """How much is announced: a share of all tasks, so many seconds ahead; of the announcements a share is false."""

    share: float = 0.0
    lead_s: float = 600.0
    false_share: float = 0.0


def announcements(arrivals: Sequence[Arrival], heralds: Heralds, dice: Dice) -> list[Announcement]:
    """In the order in which they are said. A false one names any key of the trace, at any time of it, each alike.

    Raises:
        ValueError: a share is not one, or all announcements are to be false.
    """
    if not (0.0 <= heralds.share <= 1.0 and 0.0 <= heralds.false_share < 1.0 and heralds.lead_s >= 0.0):
        raise ValueError("announced share: 0 to 1; false share: at least 0, below 1; lead: at least 0 s")
    found = [
        _announcement(arrival.key, arrival.submit_s, heralds.lead_s)
        for arrival in arrivals
        if dice.random() < heralds.share
    ]
    keys = sorted({arrival.key for arrival in arrivals})
    for _ in range(round(len(found) * heralds.false_share / (1.0 - heralds.false_share))):
        key = keys[math.floor(dice.random() * len(keys))]
        due_s = dice.uniform(arrivals[0].submit_s, arrivals[-1].submit_s)
        found.append(replace(_announcement(key, due_s, heralds.lead_s), is_false=True))
    return sorted(found, key=lambda one: (one.at_s, one.due_s, one.key))


def _announcement(key: str, due_s: float, lead_s: float) -> Announcement:
    return Announcement(key, *split_key(key), max(0.0, due_s - lead_s), due_s, due_s + WINDOW_S)


class Queue:
    """Announcements in the order in which they are said."""

    def __init__(self, announcements: Sequence[Announcement]) -> None:
        self._all, self._next = announcements, 0
        self.next_s = announcements[0].at_s if announcements else float("inf")
        """When the next is said."""

    def pop(self) -> Announcement:
        """The next."""
        found = self._all[self._next]
        self._next += 1
        self.next_s = self._all[self._next].at_s if self._next < len(self._all) else float("inf")
        return found
