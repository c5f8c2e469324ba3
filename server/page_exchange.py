"""How process pages go round: values that only this process writes, and the newest ones of all others.

Pages are cumulative and overwritten every half minute without reading, so a lost write costs nothing but age, and late
or repeated ones do no harm. What a process reads is always its own present values joined with the last pages of others.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from server.page_kinds import KINDS, PageKind
from server.records import expiry, put_multi
from server.records.page import ProcessPage

if TYPE_CHECKING:
    from server.service import Service

log = structlog.get_logger(__name__)

FLUSH_EVERY_S = 30.0
MERGE_EVERY_S = 20.0
NEWS_AFTER_S = FLUSH_EVERY_S + MERGE_EVERY_S
"""What one process noted another one knows so much later, at the latest."""
OVERLAP_S = 300.0
"""How far back a merge asks again: pages carry the time of their process, whose clock may differ. (Every live page is
newer than that at each merge, so asking further back costs nothing.)"""
REREAD_EVERY_S = 6 * 3600.0
KEYS_PER_RECORD = 4_000
MOST_RECORDS = 8
"""A large page is spread over so many records: each stays below the store's limit of 1 MiB up to 100,000 bots."""
MOST_KEYS = 20_000
"""Of kinds whose keys are made by callers: names beyond are not counted, and said once."""

Values = dict[str, Any]


class PageExchange:
    """This process's pages and its view of the others'. Shared by all threads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._own: dict[str, Values] = {name: {} for name in KINDS}
        self._changed: set[str] = set()
        self._warned: set[str] = set()
        self._flushed_s, self._merged_s = service.clock.monotonic_s(), float("-inf")
        self._others = _Others(service.process_id)

    # ---- writing down

    def put(self, kind: PageKind, key: str, value: Any) -> None:
        """Sets this process's value of a key. Of kinds with as many keys as there are bots."""
        with self._lock:
            self._own[kind.name][key] = value
            self._changed.add(kind.name)

    def change(self, kind: PageKind, key: str, change: Callable[[Any], Any]) -> None:
        """Sets this process's value of a key to `change(value)`; the value is None at first. `change` must be quick."""
        with self._lock:
            values = self._own[kind.name]
            if key not in values and len(values) >= MOST_KEYS:
                if kind.name not in self._warned:
                    self._warned.add(kind.name)
                    log.warning("process_page_full", kind=kind.name, keys=len(values))
                return
            values[key] = change(values.get(key))
            self._changed.add(kind.name)

    # ---- reading

    def value(self, kind: PageKind, key: str) -> Any:
        """The value of one key, all processes together; None if nobody has it."""
        own, other = self._own[kind.name].get(key), self._others.values(kind).get(key)
        if own is None or other is None:
            return other if own is None else own
        return kind.join(own, other)

    def value_elsewhere(self, kind: PageKind, key: str) -> Any:
        """The value of one key, all processes but this one together; None if none of them has it."""
        return self._others.values(kind).get(key)

    def values(self, kind: PageKind, prefix: str = "") -> Values:
        """Key → value of all processes together, of keys that begin with `prefix`."""
        with self._lock:
            own = {key: value for key, value in self._own[kind.name].items() if key.startswith(prefix)}
        found = {key: value for key, value in self._others.values(kind).items() if key.startswith(prefix)}
        _fold(kind, found, own)
        return found

    # ---- exchange with the store

    def turn(self) -> None:
        """Flushes and merges when it is time; cheap when it is not, and done by one thread at a time.

        Raises:
            StoreUnavailable: the store cannot be reached; tried again when it is time the next time.
        """
        now_s = self._service.clock.monotonic_s()
        flush, merge = now_s - self._flushed_s >= FLUSH_EVERY_S, now_s - self._merged_s >= MERGE_EVERY_S
        if not flush and not merge:
            return
        if self._turn.acquire(blocking=False):
            try:
                if flush:
                    self._flush()
                if merge:
                    self._merge()
            finally:
                self._turn.release()

    def flush(self) -> int:
        """Writes the pages that changed, now; gives the number of records written.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        with self._turn:
            return self._flush()

    def merge(self, max_age_s: float = 0.0) -> None:
        """Reads what other processes wrote, unless that was done within `max_age_s` seconds; one query.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        with self._turn:
            age_s = self._service.clock.monotonic_s() - self._merged_s
            if max_age_s <= 0.0 or age_s > max_age_s:
                self._merge()

    def _flush(self) -> int:
        self._flushed_s = self._service.clock.monotonic_s()
        now_s = self._service.clock.now_s()
        with self._lock:
            changed, self._changed = self._changed, set()
            for name in changed:
                self._forget(KINDS[name], now_s)
            bodies = {name: dict(self._own[name]) for name in changed}
        try:
            with self._service.store.context():
                records = [one for name, body in bodies.items() for one in self._records(KINDS[name], body, now_s)]
                put_multi(records)
        except BaseException:
            with self._lock:
                self._changed |= changed
            raise
        return len(records)

    def _forget(self, kind: PageKind, now_s: float) -> None:
        if kind.forget_after_s:
            values, oldest_s = self._own[kind.name], now_s - kind.forget_after_s
            for key in [key for key, value in values.items() if value[0] < oldest_s]:
                del values[key]

    def _records(self, kind: PageKind, body: Values, now_s: float) -> Iterator[ProcessPage]:
        me = self._service.process_id
        for part, values in enumerate(_spread(kind, body)):
            yield ProcessPage(
                id=f"{kind.name}:{me}" if part == 0 else f"{kind.name}.{part}:{me}",
                kind=kind.name,
                process=me,
                body={key: kind.encode(value) for key, value in values.items()},
                updated_s=now_s,
                expire_at=expiry(now_s, kind.retain_s),
            )

    def _merge(self) -> None:
        clock = self._service.clock
        self._merged_s = clock.monotonic_s()
        now_s = clock.now_s()
        since_s = self._others.ask_since_s(now_s)
        with self._service.store.context():
            pages = ProcessPage.query(ProcessPage.updated_s >= (since_s or 0.0)).fetch()
        self._others.take(pages, now_s, anew=since_s is None)


class _Others:
    """The newest pages of all other processes, joined per kind; replaced whole, so that readers need no lock."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._pages: dict[str, tuple[float, str, Values]] = {}
        self._joined: dict[str, Values] = {name: {} for name in KINDS}
        self._read_s = self._read_all_s = float("-inf")

    def values(self, kind: PageKind) -> Mapping[str, Any]:
        """Key → value."""
        return self._joined[kind.name]

    def ask_since_s(self, now_s: float) -> float | None:
        """From which time on pages must be read; None for all of them, so that expired ones leave."""
        if not 0.0 <= now_s - self._read_all_s < REREAD_EVERY_S:
            return None
        return min(self._read_s, now_s) - OVERLAP_S

    def take(self, pages: list[ProcessPage], now_s: float, anew: bool) -> None:
        """Takes in pages as they were read; older ones than the known are left aside."""
        self._read_s = now_s
        if anew:
            self._pages, self._read_all_s = {}, now_s
        touched: dict[str, list[Values]] = {}
        for page in pages:
            key = str(page.key.id())
            known_s = self._pages[key][0] if key in self._pages else float("-inf")
            if page.process == self._me or page.kind not in KINDS or page.updated_s <= known_s:
                continue
            # A page of an idempotent kind is joined once and need not be remembered.
            body = _decoded(KINDS[page.kind], page)
            self._pages[key] = (page.updated_s, page.kind, {} if KINDS[page.kind].idempotent else body)
            touched.setdefault(page.kind, []).append(body)
        for name in KINDS if anew else touched:
            self._join(KINDS[name], touched.get(name, []), anew)

    def _join(self, kind: PageKind, news: list[Values], anew: bool) -> None:
        if not kind.idempotent:
            news = [body for _, name, body in self._pages.values() if name == kind.name]
        joined: Values = dict(self._joined[kind.name]) if kind.idempotent and not anew else {}
        for body in news:
            _fold(kind, joined, body)
        self._joined[kind.name] = joined


def _fold(kind: PageKind, into: Values, body: Mapping[str, Any]) -> None:
    for key, value in body.items():
        into[key] = kind.join(into[key], value) if key in into else value


def _decoded(kind: PageKind, page: ProcessPage) -> Values:
    try:
        return {key: kind.decode(value) for key, value in page.body.items()}
    except (KeyError, TypeError, ValueError):
        log.warning("process_page_unreadable", kind=kind.name, process=page.process)
        return {}


def _spread(kind: PageKind, body: Values) -> list[Values]:
    if not kind.idempotent or len(body) <= KEYS_PER_RECORD:
        return [body]
    parts: list[Values] = [{} for _ in range(MOST_RECORDS)]
    for key, value in body.items():
        parts[zlib.crc32(key.encode()) % MOST_RECORDS][key] = value
    return parts
