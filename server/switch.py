"""The stop switch: one act that ends all background work, everywhere, and can be undone.

It is first set in the head record, from which every process learns it, then in each pool's gate, where a claim would
meet it; for every run that a gate holds a job stops that run. A job written with the first step does the others again,
should this process die in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from server import audit, errors, jobs, latest, task_stops
from server.records.pool import PoolGate

if TYPE_CHECKING:
    from server.access import Principal
    from server.latest import Head
    from server.service import Service

SPREAD, STOP = "switch_spread", "switch_stop"
"""Kinds of jobs: tell all gates; stop one run."""
SPREAD_AGAIN_S = 5.0
JOBS_AT_ONCE = 200
"""Most jobs written in one transaction."""


def set_switch(service: Service, principal: Principal, stopped: bool, why: str = "") -> Head:
    """Stops all prewarming and cancels what runs, or lets it begin again; setting it as it is does no harm.

    Args:
        service: this process.
        principal: who does it; the caller has checked that it may.
        stopped: whether background work is off.
        why: for those who find it off.

    Raises:
        FieldErrors: `why` is too long.
    """
    if len(why) > 1000:
        raise errors.FieldErrors({"why": "may have at most 1000 characters"})

    def flip() -> None:
        head = latest.record()
        if head.stopped == stopped:
            return
        now_s = service.clock.now_s()
        head.stopped, head.stopped_by, head.stopped_since_s = stopped, principal.identity, now_s
        head.stopped_why = why
        head.switch_epoch += 1
        head.put()
        jobs.add(SPREAD, str(head.switch_epoch), {}, now_s + SPREAD_AGAIN_S, now_s)
        audit.write(service, principal, "switch.stop" if stopped else "switch.start", "prewarming", {"why": why})

    service.store.transaction(flip)
    head = spread(service)
    service.note_change()
    return head


@jobs.handler(SPREAD)
def spread_again(service: Service, payload: Mapping[str, Any]) -> None:
    """The job that was written with the first step."""
    spread(service)


def spread(service: Service) -> Head:
    """Sets the switch in every pool's gate as it is in the head record, and has the runs stopped. Idempotent."""
    head = latest.read(service)
    with service.store.context():
        pools = {str(key.id()) for key in PoolGate.query().fetch(keys_only=True)}
    for pool in sorted(pools | set(service.config.current.pools)):
        _set_gate(service, pool, head)
    service.carrier.ring()
    return head


@jobs.handler(STOP)
def stop_run(service: Service, payload: Mapping[str, Any]) -> None:
    """Stops one background run, unless the switch was set back in the meantime."""
    if latest.read(service).stopped:
        task_stops.stop_background(service, payload["task"], payload["n"], payload["reason"])


def new_gate(pool: str) -> PoolGate:
    """A pool's first gate record, for the transaction that makes it: one look-up.

    It begins as the switch stands in the *store*: a process with an old view must not open a gate that the switch could
    not find to close.
    """
    head = latest.record()
    return PoolGate(id=pool, stopped=head.stopped, stopped_why=head.stopped_why, epoch=head.switch_epoch)


def _set_gate(service: Service, pool: str, head: Head) -> None:
    told: set[tuple[str, int]] = set()

    def step() -> list[tuple[str, int]]:
        gate = PoolGate.get_by_id(pool) or PoolGate(id=pool)
        if gate.epoch > head.switch_epoch:
            return []  # somebody set the switch again, and was here first
        if (gate.stopped, gate.epoch) != (head.stopped, head.switch_epoch):
            gate.stopped, gate.epoch, gate.stopped_why = head.stopped, head.switch_epoch, head.stopped_why
            gate.put()
        runs = [(entry["task"], entry["n"]) for entry in gate.entries] if head.stopped else []
        batch = [run for run in runs if run not in told][:JOBS_AT_ONCE]
        now_s = service.clock.now_s()
        reason = f"prewarming was stopped by {head.stopped_by}"
        for task, n in batch:
            payload = {"pool": pool, "task": task, "n": n, "reason": reason}
            jobs.add(STOP, f"{head.switch_epoch}:{task}:{n}", payload, now_s, now_s)
        return batch

    while batch := service.store.transaction(step):
        told |= set(batch)
