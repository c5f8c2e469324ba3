"""Announced demand: which entries are live, what has come of each, and how far each source is believed.

What is left of an entry is a function of the entries and of the arrivals that anybody saw, whatever their order and
however often they were told: nothing is written when a task comes.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from server.policy.model import Announcement

GRACE_S = 90.0
"""An entry lapses so long after it was due, unless it says itself when; a task so long before it is one of its own …"""
EARLY_SHARE = 0.2
"""… or one that comes early by this share of the time between word and due: whoever looks further is less exact …"""
MOST_EARLY_S = 600.0
"""… but none earlier than this."""
ACTED_ON_S = 600.0
"""What is withdrawn before it is so near has made nobody act."""
SECOND_THOUGHTS_S = 60.0
"""Whatever is withdrawn so soon was never said."""
MOST_COUNT = 1000
"""Tasks of one entry."""
CONFIDENCE = 0.9
"""Of a source that does not say how sure it is."""

PRIOR_TASKS = 5.0
"""A source begins as if so many tasks had been promised, and had come."""
MEMORY_TASKS = 100.0
"""A score stands for about so many promised tasks, the latest ones."""
MOST_PER_ENTRY = 20.0
"""An entry counts for at most so many: one large mistake is not the end of a source."""
SCORE_HALF_LIFE_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """`count` tasks that want a state are due at `from_s` and will have come by `until_s`; said at `at_s`.

    `generation` is "" when any serves. `confidence` is what the source says, before its score. `retracted_s` is when it
    was withdrawn, 0 while it stands.
    """

    id: str
    family: str
    generation: str
    count: int
    from_s: float
    until_s: float
    confidence: float
    source: str
    at_s: float
    retracted_s: float = 0.0

    @property
    def opens_s(self) -> float:
        """After when an arrival counts for it: the task that announces others by its tag is none of them."""
        early_s = min(MOST_EARLY_S, max(GRACE_S, EARLY_SHARE * (self.from_s - self.at_s)))
        return max(self.at_s, self.from_s - early_s)

    @property
    def closes_s(self) -> float:
        """From when on none does any more: it lapsed or was withdrawn."""
        return min(self.until_s, self.retracted_s) if self.retracted_s else self.until_s

    @property
    def counts_for_score(self) -> bool:
        """False when it was withdrawn before anybody can have acted on it."""
        return not self.retracted_s or self.retracted_s > max(self.at_s + SECOND_THOUGHTS_S, self.from_s - ACTED_ON_S)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A real task that came and wanted a state; `generation` is "" when any serves it. One per task and family."""

    task_id: str
    family: str
    generation: str
    at_s: float


class Book:
    """The entries of one pool, and what has come of each. Arrivals are given in the order of their times."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._known: set[str] = set()
        self._came: dict[str, int] = {}
        self._open: dict[str, list[Entry]] = defaultdict(list)
        """Family → entries of which something is left, by due time; closed ones leave when an arrival meets them."""
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """One entry more; one whose id is known is left aside."""
        if entry.id not in self._known:
            self._known.add(entry.id)
            bisect.insort(self._open[entry.family], entry, key=_by_due)

    def arrive(self, arrival: Arrival) -> Entry | None:
        """The arrival consumes the entry for it with the earliest due; gives that entry."""
        queue, now_s = self._open.get(arrival.family, []), arrival.at_s
        while queue and queue[0].closes_s <= now_s:
            del queue[0]
        for position, entry in enumerate(queue):
            if entry.from_s - MOST_EARLY_S > now_s:
                return None
            if entry.at_s < now_s < entry.closes_s and entry.opens_s <= now_s and _fits(entry, arrival):
                self._came[entry.id] = self.came(entry.id) + 1
                if self._left(entry) == 0:
                    del queue[position]
                return entry
        return None

    def came(self, entry_id: str) -> int:
        """How many tasks of an entry have come."""
        return self._came.get(entry_id, 0)

    def live(self, now_s: float) -> list[Entry]:
        """Entries of which something is left, by due time."""
        queues = self._open.values()
        found = [one for queue in queues for one in queue if one.at_s <= now_s < one.closes_s]
        return sorted(found, key=_by_due)

    def forget(self, now_s: float) -> None:
        """Closed entries leave; for a book that is kept up for long."""
        for family, queue in list(self._open.items()):
            queue[:] = [one for one in queue if one.closes_s > now_s]
            if not queue:
                del self._open[family]

    def announcements(self, now_s: float, scores: Mapping[str, Score]) -> tuple[Announcement, ...]:
        """What the policy sees: of each live entry what is left, believed as far as its source earned."""
        return tuple(
            Announcement(
                family=entry.family,
                generation=entry.generation,
                count=self._left(entry),
                from_s=entry.from_s,
                until_s=entry.until_s,
                confidence=entry.confidence * scores.get(entry.source, UNKNOWN).share(now_s),
                source=entry.source,
            )
            for entry in self.live(now_s)
        )

    def _left(self, entry: Entry) -> int:
        return entry.count - self.came(entry.id)


def book_of(entries: Iterable[Entry], arrivals: Iterable[Arrival]) -> Book:
    """The book of all entries after all arrivals; neither their order nor repetitions matter."""
    book = Book(entries)
    once = {(one.task_id, one.family): one for one in sorted(arrivals, key=_by_time, reverse=True)}
    for arrival in sorted(once.values(), key=_by_time):
        book.arrive(arrival)
    return book


def came_by_source(entries: Iterable[Entry], arrivals: Iterable[Arrival]) -> dict[str, int]:
    """Entry → how many of its tasks came, each source judged by its own entries alone.

    So two sources that announce the same tasks are both right, though each task consumes one entry only.
    """
    known, by_source = list(arrivals), defaultdict(list)
    for entry in entries:
        by_source[entry.source].append(entry)
    found: dict[str, int] = {}
    for own in by_source.values():
        book = book_of(own, known)
        found |= {entry.id: book.came(entry.id) for entry in own}
    return found


def _by_due(entry: Entry) -> tuple[float, bool, str]:
    """Of entries due at the same time those that name a generation first: fewer tasks fit them."""
    return entry.from_s, not entry.generation, entry.id


def _by_time(arrival: Arrival) -> tuple[float, str, str, str]:
    return arrival.at_s, arrival.task_id, arrival.family, arrival.generation


def _fits(entry: Entry, arrival: Arrival) -> bool:
    return not entry.generation or not arrival.generation or entry.generation == arrival.generation


# ---- how far a source is believed


@dataclass(frozen=True, slots=True)
class Score:
    """How many tasks a source promised and how many of them came, both fading, as of `at_s`.

    An entry of n tasks with confidence p promises n · p of them, so a source that is as right as it says that it is has
    a share of 1.
    """

    promised: float = 0.0
    came: float = 0.0
    at_s: float = 0.0

    def share(self, now_s: float) -> float:
        """The part of its own confidence with which a source is believed, 0 to 1.

        (came + PRIOR_TASKS) / (promised + PRIOR_TASKS), at most 1: the mean of a belief that begins with PRIOR_TASKS
        promises kept. An example: 45 promised, none came: 0.1.
        """
        score = self.faded(now_s)
        return min(1.0, (score.came + PRIOR_TASKS) / (score.promised + PRIOR_TASKS))

    def add(self, entry: Entry, came: int, now_s: float) -> Score:
        """With what became of an entry."""
        weight = min(1.0, MOST_PER_ENTRY / entry.count)
        promised = weight * entry.count * entry.confidence
        score = self.faded(now_s)
        keep = 1.0 - min(1.0, promised / MEMORY_TASKS)
        return Score(score.promised * keep + promised, score.came * keep + weight * min(came, entry.count), score.at_s)

    def faded(self, now_s: float) -> Score:
        """The same as of a later moment; unchanged when that is not later."""
        passed_s = now_s - self.at_s
        if passed_s <= 0.0:
            return self
        left = 0.5 ** (passed_s / SCORE_HALF_LIFE_S)
        return replace(self, promised=self.promised * left, came=self.came * left, at_s=now_s)


UNKNOWN = Score()
"""Of a source that has announced nothing yet."""
