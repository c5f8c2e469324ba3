"""Announcing what will run, withdrawing it, schedules; and what became of entries: a transaction each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from server import announced, audit, errors
from server.access import Permission
from server.announce_body import FURTHEST_S, Announce, NewSchedule
from server.announce_schedule import Schedule
from server.announced import CALL, Outcome, Posted, Said
from server.policy.announce import UNKNOWN, Entry, came_by_source
from server.policy.learned import FOLLOWERS
from server.records import put_multi
from server.records.announcement import PoolAnnouncements

if TYPE_CHECKING:
    from server.access import Principal
    from server.service import Service

MOST_LIVE_PER_SOURCE = 200
MOST_LIVE_PER_POOL = 2_000
MOST_SCHEDULES = 50
MOST_SOURCES = 500
OUTCOMES_KEPT = 200
LATEST_S = 60.0
"""An announcement may come so late: it may have been on its way."""
SETTLED_AFTER_S = 60.0
"""An entry is settled so long after it closed: what other processes saw is known then."""

Result = TypeVar("Result")


def announce(service: Service, principal: Principal, wanted: Announce) -> tuple[Said, bool]:
    """Announces tasks of a pool; by the same caller with the same request id, once.

    Returns:
        What was announced, and whether this call did it.

    Raises:
        PermissionDenied, Unauthenticated: no right to create tasks in the pool.
        FieldErrors: it was due before now, or is too far ahead.
        ResourceExhausted: the source or the pool has too many live entries.
    """
    principal.require(Permission.POOL_CREATE_TASK, wanted.pool)
    said = _said(service, principal, wanted)

    def step(record: PoolAnnouncements, posted: Posted) -> tuple[Said, bool]:
        known = _find(posted, said.entry.id)
        if known is not None:
            return known, False
        _check_time(said.entry)
        _check_room(posted, said.entry)
        record.entries = [*record.entries, said.to_plain()]
        return said, True

    return _change(service, wanted.pool, step)


def retract(service: Service, principal: Principal, pool: str, entry_id: str) -> Said:
    """Withdraws what is left of an entry. Less than ten minutes before it is due it counts for its source's score.

    Raises:
        NotFound: there is no such entry, or it is settled.
        PermissionDenied, Unauthenticated: somebody else announced it, and the caller may not edit specs of the pool.
    """
    said = next((one for one in service.announced.said(pool) if one.entry.id == entry_id), None)
    if said is None:
        raise errors.NotFound(f"there is no announcement {entry_id[:100]!r} in pool {pool[:100]!r}")
    principal.require(Permission.POOL_CREATE_TASK, pool)
    if said.by != principal.identity:
        principal.require(Permission.SPEC_EDIT, pool)
    now_s = service.clock.now_s()

    def step(record: PoolAnnouncements, posted: Posted) -> Said:
        if entry_id not in posted.retracted and now_s < said.entry.closes_s:
            record.retracted = {**record.retracted, entry_id: now_s}
        return said.at(record.retracted.get(entry_id, said.entry.retracted_s))

    return _change(service, pool, step)


def save_schedule(service: Service, principal: Principal, wanted: NewSchedule) -> Schedule:
    """Makes a schedule, or replaces the one of its name; what it announces begins anew.

    Raises:
        PermissionDenied, Unauthenticated: no right to edit specs of the pool.
        ResourceExhausted: the pool has too many schedules.
    """
    principal.require(Permission.SPEC_EDIT, wanted.pool)
    made = Schedule(wanted, principal.identity, service.clock.now_s())

    def step(record: PoolAnnouncements, posted: Posted) -> Schedule:
        others = [one for one in record.schedules if one["body"]["name"] != wanted.name]
        if len(others) >= MOST_SCHEDULES:
            raise errors.ResourceExhausted(f"pool {wanted.pool} has {MOST_SCHEDULES} schedules already", field="name")
        record.schedules = [*others, made.to_plain()]
        detail = wanted.model_dump(mode="json", exclude={"pool", "name"})
        audit.write(service, principal, "schedule.save", f"{wanted.pool}/{wanted.name}", detail)
        return made

    return _change(service, wanted.pool, step)


def remove_schedule(service: Service, principal: Principal, pool: str, name: str) -> None:
    """Ends a schedule; what it has announced so far and is not due yet is gone with it.

    Raises:
        NotFound: there is none of this name.
        PermissionDenied, Unauthenticated: no right to edit specs of the pool.
    """
    principal.require(Permission.SPEC_EDIT, pool)

    def step(record: PoolAnnouncements, posted: Posted) -> None:
        others = [one for one in record.schedules if one["body"]["name"] != name]
        if len(others) == len(record.schedules):
            raise errors.NotFound(f"pool {pool[:100]!r} has no schedule {name[:100]!r}")
        record.schedules = others
        audit.write(service, principal, "schedule.remove", f"{pool}/{name}", {})

    _change(service, pool, step)


def add_learned(service: Service, pool: str, said: Iterable[Said]) -> None:
    """What the server announces to itself, as far as there is room; what is known or settled is left as it is."""
    wanted = list(said)

    def step(record: PoolAnnouncements, posted: Posted) -> None:
        known = {one.entry.id for one in posted.said}
        live = sum(1 for one in posted.said if one.entry.source == FOLLOWERS)
        news = [one for one in wanted if one.entry.id not in known and one.entry.closes_s > posted.settled_s]
        room = min(MOST_LIVE_PER_SOURCE - live, MOST_LIVE_PER_POOL - len(posted.said))
        record.entries = [*record.entries, *(one.to_plain() for one in news[: max(0, room)])]

    _change(service, pool, step)


def settle(service: Service, pool: str, up_since_s: float) -> int:
    """Books what became of the entries that closed: scores and outcomes; gives how many there were.

    Each is booked once, whichever process does it: by the transaction that moves the pool's mark past its end.

    Args:
        service: this process.
        pool: whose entries.
        up_since_s: an entry that was due before, while the service was away, is nobody's fault.
    """
    until_s = service.clock.now_s() - SETTLED_AFTER_S
    said = service.announced.said(pool)
    due = [one for one in said if one.entry.closes_s <= until_s]
    if not due:
        return 0
    # Those that are still open take part too: a task that came is theirs if they were due first.
    entries = [one.entry for one in said]
    came = came_by_source(entries, service.announced.arrivals(pool, entries))

    def step(record: PoolAnnouncements, posted: Posted) -> int:
        closed = [one for one in due if one.entry.closes_s > posted.settled_s]
        closed.sort(key=lambda one: (one.entry.closes_s, one.entry.id))
        outcomes = [_outcome(one, came.get(one.entry.id, 0), up_since_s) for one in closed]
        _book(record, posted, outcomes)
        gone = {one.entry.id for one in closed}
        record.entries = [one for one in record.entries if one["id"] not in gone]
        record.retracted = {name: at_s for name, at_s in record.retracted.items() if name not in gone}
        record.settled_s = max(until_s, record.settled_s)
        return len(closed)

    return _change(service, pool, step)


# ---- within


def _change(service: Service, pool: str, step: Callable[[PoolAnnouncements, Posted], Result]) -> Result:
    """One transaction over the pool's record, written if `step` changed it; this process knows it at once."""
    taken: list[PoolAnnouncements] = []

    def attempt() -> Result:
        record = PoolAnnouncements.get_by_id(pool) or PoolAnnouncements(id=pool)
        before = record.to_dict()
        result = step(record, announced.read(record))
        if record.to_dict() != before:
            record.changes += 1
            put_multi([record])
        taken[:] = [record]
        return result

    result = service.store.transaction(attempt)
    service.announced.take(taken)
    return result


def _said(service: Service, principal: Principal, wanted: Announce) -> Said:
    now_s = service.clock.now_s()
    from_s = wanted.from_s if wanted.from_s is not None else now_s + (wanted.in_s or 0.0)
    entry = Entry(
        id=_id(service, principal, wanted.request_id),
        family=wanted.family,
        generation=wanted.generation,
        count=wanted.count,
        from_s=from_s,
        until_s=from_s + wanted.for_s,
        confidence=wanted.confidence,
        source=f"{principal.identity}/{wanted.source}" if wanted.source else principal.identity,
        at_s=now_s,
    )
    return Said(entry, principal.identity, CALL)


def _id(service: Service, principal: Principal, request_id: str) -> str:
    if request_id:
        return hashlib.sha256(f"{principal.identity}\n{request_id}".encode()).hexdigest()[:12]
    return f"{service.rng.getrandbits(48):012x}"


def _find(posted: Posted, entry_id: str) -> Said | None:
    known = [*posted.said, *(outcome.said for outcome in posted.outcomes)]
    return next((one for one in known if one.entry.id == entry_id), None)


def _check_time(wanted: Entry) -> None:
    ahead_s = wanted.from_s - wanted.at_s
    if ahead_s < -LATEST_S:
        raise errors.FieldErrors({"from_s": f"must not be in the past; it was {-ahead_s:.0f} s ago"})
    if ahead_s > FURTHEST_S:
        raise errors.FieldErrors({"from_s": f"must be within {FURTHEST_S:.0f} s from now; it is {ahead_s:.0f} s ahead"})


def _check_room(posted: Posted, wanted: Entry) -> None:
    live = [one.entry for one in posted.said if one.entry.id not in posted.retracted]
    live = [entry for entry in live if entry.closes_s > wanted.at_s]
    own = sum(1 for entry in live if entry.source == wanted.source)
    if own >= MOST_LIVE_PER_SOURCE:
        text = f"{wanted.source} has {own} live announcements in the pool; {MOST_LIVE_PER_SOURCE} are allowed"
        raise errors.ResourceExhausted(text, field="source")
    if len(live) >= MOST_LIVE_PER_POOL:
        text = f"the pool has {len(live)} live announcements; {MOST_LIVE_PER_POOL} are allowed"
        raise errors.ResourceExhausted(text, field="pool")


def _outcome(said: Said, came: int, up_since_s: float) -> Outcome:
    entry = said.entry
    return Outcome(said, came, scored=entry.counts_for_score and entry.from_s >= up_since_s)


def _book(record: PoolAnnouncements, posted: Posted, outcomes: Iterable[Outcome]) -> None:
    scores, kept = dict(posted.scores), list(record.outcomes)
    for outcome in outcomes:
        entry = outcome.said.entry
        if outcome.scored:
            scores[entry.source] = scores.get(entry.source, UNKNOWN).add(entry, outcome.came, entry.closes_s)
        kept.append(outcome.to_plain())
    newest = sorted(scores.items(), key=lambda item: (item[1].at_s, item[0]))[-MOST_SOURCES:]
    record.scores = {source: [score.promised, score.came, score.at_s] for source, score in newest}
    record.outcomes = kept[-OUTCOMES_KEPT:]
