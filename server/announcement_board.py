"""What this process knows of announcements and of the arrivals that consume them; what the policy is told of both.

Entries come from the pools' records, from schedules and the clock, and from tags, which go round on process pages.
Arrivals are the tasks that the fleet view sees. Those that an entry may be waiting for are noted on this process's page
by their ids, so that a process that comes later knows them too, and being told twice of one does no harm.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from server import announce_schedule, announce_tag, announced
from server.announced import Posted, Said
from server.announcement_sweep import Learning
from server.page_kinds import ANNOUNCE_TAGS, ANNOUNCED_ARRIVALS
from server.policy.announce import Arrival, Book, Entry, book_of
from server.policy.model import Announcement
from server.process_pages import SEPARATOR
from server.records import get_multi, key_of
from server.records.announcement import PoolAnnouncements
from server.records.task import TaskRequest, TaskToRun

if TYPE_CHECKING:
    from server.service import Service

log = structlog.get_logger(__name__)

REMEMBERED_S = 1200.0
"""Arrivals are remembered so long, for entries and tags that this process hears of late."""
MOST_ARRIVALS = 20_000
BOOK_AGE_S = 5.0
"""A book is made anew that often, for what came by other processes' pages."""
SHOWN_AHEAD_S, SHOWN_BACK_S = 25 * 3600.0, 2 * 3600.0
"""Schedules are expanded so far."""
EXPANDED_S = 600.0
MOST_TAGS_PER_SOURCE = 200
"""Entries by tags of one source that may be live at once in a pool."""
NOTHING = Posted()


@dataclass(frozen=True, slots=True)
class RefusedTag:
    """A task's tag that announced nothing, and why."""

    task_id: str
    tag: str
    at_s: float
    why: str


@dataclass(frozen=True, slots=True)
class _Made:
    """A book with what it was made of."""

    book: Book
    changes: int
    version: int
    at_s: float


class AnnouncementBoard:
    """The board of one process; shared by all threads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.RLock()
        self._posted: dict[str, Posted] = {}
        self._arrivals: dict[str, dict[str, tuple[Arrival, ...]]] = defaultdict(dict)
        """Pool → task → its arrivals, one per family, as they were seen."""
        self._version: dict[str, int] = defaultdict(int)
        self._books: dict[str, _Made] = {}
        self._expanded: dict[str, tuple[int, float, list[Said]]] = {}
        """Pool → revision of its record, when, and its schedules as entries."""
        self._warned = False
        self.learning = Learning(service)

    # ---- hearing

    def refresh(self, pools: Iterable[str]) -> None:
        """Reads the records of these pools and of those that are known: one call, no query."""
        with self._lock:
            known = sorted({*pools, *self._posted})
        self.take(get_multi([key_of(PoolAnnouncements, pool) for pool in known]))

    def take(self, records: Iterable[PoolAnnouncements | None]) -> None:
        """Takes in pools' records as they were read or written."""
        for record in records:
            if record is not None:
                pool = str(record.key.id())
                with self._lock:
                    if record.changes > self.posted(pool).changes:
                        self._posted[pool] = announced.read(record)

    def saw(self, queue: TaskToRun) -> None:
        """A real task is in the queue, or was; told as often as anybody likes."""
        task_id, now_s = str(queue.key.id()), self._service.clock.now_s()
        if not queue.wishes or queue.created_s < now_s - REMEMBERED_S:
            return
        with self._lock:
            known = self._arrivals[queue.pool]
            if task_id in known:
                return
            families: dict[str, str] = {}
            for family, generation in queue.wishes:
                families.setdefault(family, generation)
            known[task_id] = tuple(Arrival(task_id, family, own, queue.created_s) for family, own in families.items())
            self._version[queue.pool] += 1
            if len(known) > MOST_ARRIVALS:
                self._forget(queue.pool, now_s)

    def tagged(self, request: TaskRequest, pool: str) -> None:
        """A new task: what its tags announce goes onto this process's page, and what is wrong with them too."""
        tags = [tag for tag in request.tags if tag.startswith(announce_tag.TAG)]
        source = f"{request.authenticated}/tag"
        live = self._count_tags(pool, source) if tags else 0
        for position, tag in enumerate(tags):
            refused = ""
            if position >= announce_tag.MOST_PER_TASK:
                refused = f"a task may announce {announce_tag.MOST_PER_TASK} times at most"
            elif live >= MOST_TAGS_PER_SOURCE:
                refused = f"{source} has {MOST_TAGS_PER_SOURCE} live entries in {pool} already"
            live += not refused
            key = SEPARATOR.join((pool, request.task_id, tag.replace(SEPARATOR, " ")))
            self._service.pages.put(ANNOUNCE_TAGS, key, [request.created_s, request.authenticated, refused])
            with self._lock:
                self._version[pool] += 1

    # ---- telling

    def pools(self) -> list[str]:
        """Pools for which anything was announced, or of which arrivals are known."""
        with self._lock:
            tagged = {key.partition(SEPARATOR)[0] for key in self._service.pages.values(ANNOUNCE_TAGS)}
            return sorted(set(self._posted) | set(self._arrivals) | tagged)

    def posted(self, pool: str) -> Posted:
        """The pool's record, as far as this process knows it."""
        return self._posted.get(pool, NOTHING)

    def said(self, pool: str) -> list[Said]:
        """All entries that are not settled yet, whatever they come from, closed ones too."""
        posted, now_s = self.posted(pool), self._service.clock.now_s()
        found = [*posted.said, *self._scheduled(pool, posted, now_s), *self._by_tags(pool)]
        found = [one.at(posted.retracted[one.entry.id]) if one.entry.id in posted.retracted else one for one in found]
        return [one for one in found if one.entry.closes_s > posted.settled_s]

    def refused_tags(self, pool: str) -> list[RefusedTag]:
        """Tags of tasks that announced nothing, newest first."""
        found = [tag for _, tag in self._tags(pool) if isinstance(tag, RefusedTag)]
        return sorted(found, key=lambda tag: -tag.at_s)

    def arrivals(self, pool: str, entries: Sequence[Entry]) -> list[Arrival]:
        """Arrivals for which these entries (all that are not settled) may have waited, as all processes saw them."""
        if not entries:
            return []
        with self._lock:
            self._note(pool, entries)
        found = []
        for key, (at_s,) in self._service.pages.values(ANNOUNCED_ARRIVALS, pool + SEPARATOR).items():
            _, family, generation, task_id = key.split(SEPARATOR)
            found.append(Arrival(task_id, family, generation, at_s))
        return found

    def recent(self, pool: str, after_s: float, until_s: float) -> list[Arrival]:
        """All arrivals that this process saw between two moments, by their times; those of REMEMBERED_S at most."""
        with self._lock:
            known = list(self._arrivals.get(pool, {}).values())
        found = [one for several in known for one in several if after_s < one.at_s <= until_s]
        return sorted(found, key=lambda one: (one.at_s, one.task_id, one.family))

    def book(self, pool: str) -> Book:
        """The pool's book, at most BOOK_AGE_S old in what other processes told."""
        now_s = self._service.clock.monotonic_s()
        with self._lock:
            made, changes, version = self._books.get(pool), self.posted(pool).changes, self._version.get(pool, 0)
            same = made is not None and (made.changes, made.version) == (changes, version)
            if made is not None and same and now_s - made.at_s < BOOK_AGE_S:
                return made.book
            entries = [one.entry for one in self.said(pool)]
            book = book_of(entries, self.arrivals(pool, entries))
            self._books[pool] = _Made(book, changes, version, now_s)
            return book

    def live(self, pool: str, now_s: float) -> tuple[Announcement, ...]:
        """What the policy is told."""
        return self.book(pool).announcements(now_s, self.posted(pool).scores)

    # ---- within

    def _scheduled(self, pool: str, posted: Posted, now_s: float) -> list[Said]:
        """The schedules' entries; expanded once in a while, since that is a matter of calendars."""
        known = self._expanded.get(pool)
        if known is not None and known[0] == posted.changes and 0.0 <= now_s - known[1] < EXPANDED_S:
            return known[2]
        found = [
            Said(entry, schedule.by, announced.SCHEDULE, schedule.body.name)
            for schedule in posted.schedules
            for entry in announce_schedule.entries(schedule, now_s - SHOWN_BACK_S, now_s + SHOWN_AHEAD_S)
        ]
        self._expanded[pool] = posted.changes, now_s, found
        return found

    def _by_tags(self, pool: str) -> Iterator[Said]:
        for by, tag in self._tags(pool):
            if isinstance(tag, Entry):
                yield Said(tag, by, announced.TAG, tag.id.split(".")[1])

    def _tags(self, pool: str) -> Iterator[tuple[str, Entry | RefusedTag]]:
        """Who made the task, and what became of the tag."""
        for key, (at_s, by, refused) in self._service.pages.values(ANNOUNCE_TAGS, pool + SEPARATOR).items():
            _, task_id, tag = key.split(SEPARATOR)
            if refused:
                yield by, RefusedTag(task_id, tag, at_s, refused)
                continue
            try:
                yield by, announce_tag.entry_of(tag, task_id, at_s, f"{by}/tag")
            except ValueError as error:
                yield by, RefusedTag(task_id, tag, at_s, str(error))

    def _count_tags(self, pool: str, source: str) -> int:
        now_s = self._service.clock.now_s()
        entries = [one.entry for one in self._by_tags(pool)]
        return sum(1 for entry in entries if entry.source == source and entry.closes_s > now_s)

    def _note(self, pool: str, entries: Iterable[Entry]) -> None:
        """Puts arrivals for which an entry may wait onto this process's page."""
        pages, windows = self._service.pages, defaultdict(list)
        for entry in entries:
            windows[entry.family].append((entry.opens_s, entry.closes_s))
        for arrival in [one for several in self._arrivals.get(pool, {}).values() for one in several]:
            if any(opens_s <= arrival.at_s < closes_s for opens_s, closes_s in windows.get(arrival.family, ())):
                key = SEPARATOR.join((pool, arrival.family, arrival.generation, arrival.task_id))
                if pages.value(ANNOUNCED_ARRIVALS, key) is None:
                    pages.change(ANNOUNCED_ARRIVALS, key, partial(_at, arrival.at_s))

    def _forget(self, pool: str, now_s: float) -> None:
        """Old arrivals leave; when there are too many young ones, the older half of them too."""
        keep = [those for those in self._arrivals[pool].values() if those[0].at_s >= now_s - REMEMBERED_S]
        if len(keep) > MOST_ARRIVALS // 2 and not self._warned:
            self._warned = True
            log.warning("arrivals_forgotten_early", pool=pool)
        keep.sort(key=lambda those: those[0].at_s)
        self._arrivals[pool] = {those[0].task_id: those for those in keep[-MOST_ARRIVALS // 2 :]}


def _at(at_s: float, _known: Any) -> list[float]:
    return [at_s]
