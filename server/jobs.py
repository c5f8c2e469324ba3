"""Outbox: deferred work, written down in the transaction that is its cause, done by whoever is rung.

A job's handler may run twice, late, or in another process than its cause: it must ask the records whether there is
still something to do. Carriers (`server/carriers.py`) only ring the bell; a job whose bell was lost is found by the
next ring of anybody.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog

from server.records import expiry
from server.records.job import Job

if TYPE_CHECKING:
    from server.service import Service
    from server.sweep_schedule import SweepSchedule

log = structlog.get_logger(__name__)

LEASE_S = 60.0
"""How long a handler has before another process may run the job too."""
MAX_PAUSE_S = 600.0
RETAIN_WAITING_S = 7 * 86_400.0
"""A job that nobody could do for so long is given up."""
RETAIN_DONE_S = 86_400.0
ERROR_TEXT_LIMIT = 1_000

Handler = Callable[["Service", Mapping[str, Any]], None]
HandlerT = TypeVar("HandlerT", bound=Handler)


class Carrier(Protocol):
    """Rings the bell for jobs that are due, and for sweeps."""

    sweeps: SweepSchedule

    def start(self) -> None:
        """Begins; nothing rings by itself before."""

    def ring(self, due_s: float = 0.0) -> None:
        """Jobs are waiting; call it after the transaction that added them.

        Args:
            due_s: when the first of them is due; 0 for now.
        """

    def stop(self) -> None:
        """Ends cleanly: what runs is finished, leases are given back. Twice does no harm."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A handler and how long its lease is."""

    function: Handler
    lease_s: float


@dataclass(frozen=True, slots=True)
class Rung:
    """What a ring came to: jobs run, how many of them failed, and when the next one is due (0 when none waits)."""

    ran: int
    failed: int
    next_due_s: float


_handlers: dict[str, Registered] = {}
_lease_numbers = itertools.count(1)


def handler(kind: str, *, lease_s: float = LEASE_S) -> Callable[[HandlerT], HandlerT]:
    """Registers the decorated function, `(service, payload)`, for jobs of `kind`.

    Args:
        kind: of the jobs.
        lease_s: longer than the function ever takes; after it the job is run once more.

    Raises:
        ValueError: the kind has a handler already.
    """

    def register(function: HandlerT) -> HandlerT:
        if kind in _handlers and _handlers[kind].function is not function:
            raise ValueError(f"jobs of kind {kind!r} have a handler already")
        _handlers[kind] = Registered(function, lease_s)
        return function

    return register


def add(kind: str, key: str, payload: Mapping[str, Any], due_s: float, now_s: float) -> None:
    """Adds a job to the transaction in which this is called; one write, no read.

    The same kind and key are the same job: adding it again replaces what is waiting, and starts it anew once it is
    done. Afterwards, outside of the transaction, ring: `service.carrier.ring(due_s)`.

    Args:
        kind: names the handler.
        key: of the cause.
        payload: what the handler needs to know, as JSON.
        due_s: not before; times in the past are now.
        now_s: the present.
    """
    due_s = max(due_s, now_s)
    record = Job(id=f"{kind}:{key}", kind=kind, payload=dict(payload), due_s=due_s)
    record.expire_at = expiry(due_s, RETAIN_WAITING_S)
    record.put()


def run_due(service: Service, limit: int = 20) -> Rung:
    """Runs the jobs that are due, oldest first, at most `limit`; what fails waits longer each time.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    now_s = service.clock.now_s()
    with service.store.context():
        waiting = Job.query(Job.due_s > 0.0).order(Job.due_s).fetch(limit + 1)
    due = [job for job in waiting[:limit] if job.due_s <= now_s]
    again_s = [again_s for again_s in (_run(service, job.key) for job in due) if again_s is not None]
    failed_s = [due_s for due_s in again_s if due_s]
    later_s = [job.due_s for job in waiting[len(due) :]]
    return Rung(len(again_s), len(failed_s), min(later_s + failed_s, default=0.0))


def pause_s(tries: int) -> float:
    """How long a job rests after its n-th failure: 2, 4, 8 … seconds, ten minutes at most."""
    return min(MAX_PAUSE_S, 2.0 ** min(tries, 16))


@dataclass(frozen=True, slots=True)
class _Lease:
    holder: str
    kind: str
    payload: Mapping[str, Any]
    tries: int


def _run(service: Service, key: Any) -> float | None:
    """Leases, runs and finishes one job: when it is due again, 0 for never, or None if somebody else has it."""
    lease = _lease(service, key)
    if lease is None:
        return None
    error = ""
    try:
        registered = _handlers.get(lease.kind)
        if registered is None:
            # A newer version of the server may know it: this one shares its store during a roll-out.
            raise LookupError(f"this version has no handler for jobs of kind {lease.kind!r}")
        registered.function(service, lease.payload)
    except Exception as caught:  # whatever a handler raises, the job is tried again
        error = f"{type(caught).__name__}: {caught}"[:ERROR_TEXT_LIMIT]
        log.warning("job_failed", job=key.id(), tries=lease.tries, exc_info=True)
    again_s = service.clock.now_s() + pause_s(lease.tries) * service.rng.uniform(0.8, 1.2) if error else 0.0
    _finish(service, key, lease, error, again_s)
    return again_s


def _lease(service: Service, key: Any) -> _Lease | None:
    now_s = service.clock.now_s()
    holder = f"{service.process_id}#{next(_lease_numbers)}"

    def take() -> _Lease | None:
        job = key.get()
        if job is None or not 0.0 < job.due_s <= now_s:
            return None
        registered = _handlers.get(job.kind)
        job.tries += 1
        job.lease_by = holder
        # Being due again at its end is what makes a lease of a killed process lapse.
        job.lease_until_s = job.due_s = now_s + (registered.lease_s if registered else LEASE_S)
        job.put()
        return _Lease(holder, job.kind, job.payload, job.tries)

    return service.store.transaction(take)


def _finish(service: Service, key: Any, lease: _Lease, error: str, again_s: float) -> None:
    def put() -> None:
        job = key.get()
        if job is None or job.lease_by != lease.holder:
            return  # added anew, or leased by another process because this one took too long
        job.lease_by, job.lease_until_s, job.error = "", 0.0, error
        job.due_s = again_s
        if not error:
            job.expire_at = expiry(service.clock.now_s(), RETAIN_DONE_S)
        job.put()

    service.store.transaction(put)
