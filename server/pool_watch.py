"""Pools that lose go to shadow mode by themselves, and come back: one process looks at all of them once a minute.

The state stands in the pool's gate, which every process reads anyhow with its view, and every claim in its transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from server import audit, errors
from server.access import Permission
from server.config import SYSTEM
from server.page_exchange import MERGE_EVERY_S
from server.policy import self_disabling
from server.policy.self_disabling import MEMORIES_S, Evidence, Watch
from server.records.pool import PoolGate

if TYPE_CHECKING:
    from server.access import Principal
    from server.service import Service
    from server.sweep_schedule import Beat

log = structlog.get_logger(__name__)

PERIOD_S = 60.0
WHY_LENGTH = 1000


def evidence(service: Service, pool: str) -> Evidence:
    """What all processes have booked of the pool."""
    pages, now_s = service.pages, service.clock.now_s()
    booked = pages.ledger(pool).values()
    by_family, _ = pages.demand(pool, now_s)
    short, long = (
        sum(known.rates_per_s.get(int(memory_s), 0.0) for known in by_family.values()) for memory_s in MEMORIES_S
    )
    spent_s, saved_s = sum(entry["spent"] for entry in booked), sum(entry["saved"] for entry in booked)
    return Evidence(spent_s, saved_s, pages.starts(pool), (short, long))


def sweep(service: Service, beat: Beat) -> None:
    """Sends pools that lose to shadow mode, and brings back those whose time is over."""
    service.pages.merge(max_age_s=MERGE_EVERY_S)
    for pool in service.view.pools():
        if service.config.thresholds(pool).mode != "live":
            continue
        known = service.view.watch(pool)
        max_cost = service.config.pool(pool).ledger_max_cost
        found = self_disabling.step(known, evidence(service, pool), max_cost, beat.now_s)
        if found is known:
            continue
        try:
            _keep(service, pool, known, found)
        except errors.Contention as error:
            log.warning("not kept", pool=pool, error=error.text)


def _keep(service: Service, pool: str, known: Watch, found: Watch) -> None:
    """Writes the state unless somebody changed it since this process saw it."""

    def step() -> PoolGate | None:
        gate = PoolGate.get_by_id(pool)
        if gate is None or Watch.from_plain(gate.watch) != known:
            return None
        gate.watch = found.to_plain()
        gate.put()
        if found.is_shadow:
            audit.write(service, SYSTEM, "pool.shadow", pool, {"why": found.why, "until_s": found.until_s})
        elif known.is_shadow:
            audit.write(service, SYSTEM, "pool.back", pool, {"why": "its time was over"})
        return gate

    gate = service.store.transaction(step)
    if gate is not None:
        service.view.apply([gate])
        if found.is_shadow:
            service.count(pool, "went_to_shadow")
            log.warning("pool went to shadow mode", pool=pool, why=found.why)
        service.note_change()


def start_again(service: Service, principal: Principal, pool: str, why: str = "") -> bool:
    """Lets a pool that went to shadow mode by itself hand out again; False when it had not.

    Args:
        service: this process.
        principal: who says so.
        pool: its name.
        why: for the history.

    Raises:
        FieldErrors: `why` is too long.
        PermissionDenied, Unauthenticated: not in this pool.
    """
    principal.require(Permission.SPEC_EDIT, pool)
    if len(why) > WHY_LENGTH:
        raise errors.FieldErrors({"why": f"may have at most {WHY_LENGTH} characters"})
    service.pages.merge(max_age_s=MERGE_EVERY_S)
    seen = evidence(service, pool)

    def step() -> PoolGate | None:
        gate = PoolGate.get_by_id(pool)
        known = Watch.from_plain(gate.watch) if gate is not None else Watch()
        if gate is None or not known.is_shadow:
            return None
        gate.watch = self_disabling.back(known, seen, service.clock.now_s()).to_plain()
        gate.put()
        audit.write(service, principal, "pool.start", pool, {"why": why})
        return gate

    gate = service.store.transaction(step)
    if gate is not None:
        service.view.apply([gate])
        service.note_change()
    return gate is not None
