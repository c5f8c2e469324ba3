"""Sweeps over an index instead of a job per task: claims that lapse, slices that expire, bots that fell silent.

Each decides nothing by itself: it finds candidates, and the scheduler's transaction reads them again. Silence counts
only while the service was up (`Beat.up_since_s`), so after a gap all clocks start anew.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import structlog

from server import announcement_sweep, errors, latest, pool_watch, shadow_scores, task_stops
from server.records.task import TaskResult, TaskToRun
from server.sweep_schedule import Beat, Sweep

if TYPE_CHECKING:
    from server.service import Service

log = structlog.get_logger(__name__)

MOST_PER_SWEEP = 500
FEWEST_FOR_ALARM = 4
"""A share of fewer bots than this is no sign of a fault of the service."""


def lapse_claims(service: Service, beat: Beat) -> None:
    """Takes back offers that nobody took delivery of; after a gap of the service they get their time again."""
    with service.store.context():
        query = TaskResult.query(TaskResult.claim_until_s > 0.0, TaskResult.claim_until_s < beat.now_s)
        keys = query.fetch(MOST_PER_SWEEP, keys_only=True)
    _each((key.id() for key in keys), lambda task_id: task_stops.lapse(service, task_id, beat.up_since_s))


def expire_tasks(service: Service, beat: Beat) -> None:
    """Moves tasks past their slice's expiry on."""
    with service.store.context():
        query = TaskToRun.query(TaskToRun.expires_s > 0.0, TaskToRun.expires_s < beat.now_s)
        keys = query.fetch(MOST_PER_SWEEP, keys_only=True)
    _each((key.id() for key in keys), lambda task_id: task_stops.expire(service, task_id))


def _each(ids: Iterable[str], sweep: Callable[[str], object]) -> None:
    """Sweeps each; trouble with one keeps no other waiting, and the next sweep comes back to it."""
    for one in ids:
        try:
            sweep(one)
        except errors.StoreUnavailable:
            raise
        except errors.PilotlightError as error:
            log.warning("not swept", id=one, error=error.text)


def declare_deaths(service: Service, beat: Beat) -> None:
    """Ends what silent bots hold. A pool in which too many would die at once is left alone: the fault is elsewhere."""
    service.view.refresh(force=True)
    service.pages.merge()
    silent: dict[str, dict[str, float]] = {}
    living: Counter[str] = Counter()
    for entry in service.view.bots():
        bot = entry.policy
        if not bot.alive:
            continue
        living[entry.pool] += 1
        seen_s = max(bot.last_seen_s, entry.changed_s if bot.held is not None else 0.0, beat.up_since_s)
        if beat.now_s - seen_s > service.config.pool(entry.pool).death_timeout_s:
            silent.setdefault(entry.pool, {})[bot.id] = seen_s
    alarms = []
    for pool, since_s in sorted(silent.items()):
        share = service.config.pool(pool).death_alarm_share
        if len(since_s) >= FEWEST_FOR_ALARM and len(since_s) > share * living[pool]:
            share_lost = f"{len(since_s)} of {living[pool]} bots of {pool}"
            alarms.append(f"{share_lost} fell silent at once; none was declared dead")
            log.error("mass silence", pool=pool, silent=len(since_s), living=living[pool])
            continue
        _each(since_s, functools.partial(_declare_dead, service, since_s))
    raise_alarm(service, "; ".join(alarms))


def raise_alarm(service: Service, text: str) -> None:
    """Has every process show that many bots are silent, with its next look at the store; "" takes it back."""

    def step() -> None:
        head = latest.record()
        if head.alarm != text:
            head.alarm = text
            head.put()

    if service.alarm != text:
        service.store.transaction(step)
        service.note_change()


def _declare_dead(service: Service, since_s: Mapping[str, float], bot_id: str) -> None:
    task_stops.declare_dead(service, bot_id, since_s[bot_id])


def retire_records(service: Service, beat: Beat) -> None:
    """Deletes what is past its `expire_at`, in batches (production has a TTL policy for that)."""
    service.store.sweep_expired(beat.now_s)


def rotate_keys(service: Service, beat: Beat) -> None:
    """A new signing key every week."""
    service.sessions.rotate()


SWEEPS: tuple[Sweep, ...] = (
    ("lapse", 5.0, lapse_claims),
    ("expire", 5.0, expire_tasks),
    ("death", 30.0, declare_deaths),
    ("announcements", announcement_sweep.PERIOD_S, announcement_sweep.sweep),
    ("watch", pool_watch.PERIOD_S, pool_watch.sweep),
    ("shadow", shadow_scores.PERIOD_S, shadow_scores.sweep),
    ("retention", 3600.0, retire_records),
    ("keys", 6 * 3600.0, rotate_keys),
)
