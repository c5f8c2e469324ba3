"""Sweeps: work that is done again and again over an index, by one process at a time.

Each sweep has a lease in the record `Job sweep:NAME`. The process that has it sweeps without asking again and renews it
before it ends, so that a sweep every two seconds does not cost two writes every two seconds.

The record of the most frequent sweep is also the heartbeat of the service. Silence of bots counts only while it was
up: every sweep is told since when that heart has beaten without a gap (`Beat.up_since_s`), and takes nothing before as
silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from server import errors
from server.records import DAY_S, Key, expiry, key_of
from server.records.job import Job

if TYPE_CHECKING:
    from server.service import Service

log = structlog.get_logger(__name__)

SHORTEST_LEASE_S = 20.0
RENEW_AT = 0.4
"""The part of a lease that is left when it is renewed, if the next sweep does not come later still."""
CLOCK_JUMP_S = 5.0
"""Wall clock and monotonic clock may drift apart by so much between two sweeps."""
RETAIN_S = 30 * DAY_S


@dataclass(frozen=True, slots=True)
class Beat:
    """What a sweep is told about time.

    Attributes:
        now_s: the present.
        last_s: the last time anybody did this sweep, as far as is known; 0 for never.
        up_since_s: since when the service has been up without a gap: silence from before counts from here.
    """

    now_s: float
    last_s: float
    up_since_s: float


SweepFunction = Callable[["Service", Beat], None]
Sweep = tuple[str, float, SweepFunction]
"""Name, period in seconds, and what to do."""


def lease_s(period_s: float) -> float:
    """How long a process may have a sweep for itself; if it is killed, the sweep pauses for so long."""
    return max(SHORTEST_LEASE_S, 2.5 * period_s)


def gap_s(period_s: float, bell_s: float = 0.0) -> float:
    """A longer pause between two heartbeats means that the service was down.

    Somebody may be killed who has the lease, and after its end the bell must come, which may come every `bell_s` only:
    40 s for a sweep every few seconds, 110 s where nothing but cron is sure to ring for it.
    """
    return lease_s(period_s) + max(SHORTEST_LEASE_S, period_s, 1.5 * bell_s)


@dataclass(slots=True)
class _State:
    """This process's side of one sweep; times are monotonic but for `last_s` and `up_since_s`."""

    name: str
    wanted_s: float
    period_s: float
    function: SweepFunction
    next_s: float = 0.0
    held_until_s: float = 0.0
    ran_at_s: float = 0.0
    last_s: float = 0.0
    up_since_s: float = 0.0


class SweepSchedule:
    """The sweeps of one process."""

    def __init__(
        self,
        service: Service,
        sweeps: Sequence[Sweep],
        *,
        at_least_s: float = 0.0,
        is_gone: Callable[[str], bool] = lambda holder: False,
    ) -> None:
        """Args:
        service: whose store and clock count.
        sweeps: (name, period in seconds, function); the function may run late, or at two processes at once when the
            first of them was suspended, and so decides nothing that its own transactions do not check.
        at_least_s: shortest period, where the bell comes from outside and not more often.
        is_gone: whether a process that has a lease is known to be dead, so that nobody need wait for its end.
        """
        self._service = service
        self._is_gone = is_gone
        self._states = {
            name: _State(name, wanted_s, max(wanted_s, at_least_s), function) for name, wanted_s, function in sweeps
        }
        self.wanted_s = {name: wanted_s for name, wanted_s, _ in sweeps}
        """Name → the period that the sweep asks for, in seconds."""
        self._bell_s = at_least_s
        self._heart = min(self._states.values(), key=lambda state: state.wanted_s, default=None)
        self._lock = threading.Lock()

    def run_due(self) -> float:
        """Runs the sweeps whose time has come and whose lease this process has or can get.

        Returns:
            Seconds until it is worth asking again.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        clock = self._service.clock
        with self._lock:
            for state in self._states.values():
                if clock.monotonic_s() >= state.next_s:
                    self._run(state)
            if not self._states:
                return SHORTEST_LEASE_S
            return max(0.0, min(state.next_s for state in self._states.values()) - clock.monotonic_s())

    def run_now(self, name: str) -> bool:
        """Runs one sweep and gives its lease back; for carriers that come from outside.

        Returns:
            False if another process is at it.

        Raises:
            NotFound: there is no such sweep.
            StoreUnavailable: the store cannot be reached.
        """
        state = self._states.get(name)
        if state is None:
            raise errors.NotFound(f"there is no sweep {name[:100]!r}; there are {', '.join(sorted(self._states))}")
        with self._lock:
            ran = self._run(state)
            if ran:
                self._release(state)
            return ran

    def release(self) -> None:
        """Gives back all leases that this process has, so that others need not wait for their end."""
        with self._lock:
            for state in self._states.values():
                if state.held_until_s:
                    self._release(state)

    def _run(self, state: _State) -> bool:
        service, clock = self._service, self._service.clock
        state.next_s = clock.monotonic_s() + state.period_s
        if not self._have_lease(state):
            return False
        now_s = clock.now_s()
        beat = Beat(now_s, state.last_s, state.up_since_s)
        state.last_s, state.ran_at_s = now_s, clock.monotonic_s()
        try:
            state.function(service, beat)
        except errors.StoreUnavailable:
            raise
        except Exception:  # the other sweeps go on, and this one is tried again
            log.exception("sweep_failed", sweep=state.name)
        return True

    def _have_lease(self, state: _State) -> bool:
        left_s = state.held_until_s - self._service.clock.monotonic_s()
        renew_at_s = max(RENEW_AT * lease_s(state.wanted_s), 1.5 * state.period_s)
        if left_s > renew_at_s and not self._clock_jumped(state):
            return True
        return self._take(state)

    def _clock_jumped(self, state: _State) -> bool:
        clock = self._service.clock
        return abs((clock.now_s() - state.last_s) - (clock.monotonic_s() - state.ran_at_s)) > CLOCK_JUMP_S

    def _take(self, state: _State) -> bool:
        clock, me = self._service.clock, self._service.process_id
        now_s, length_s = clock.now_s(), lease_s(state.wanted_s)
        held = state.held_until_s > clock.monotonic_s()
        jumped = held and self._clock_jumped(state)

        def take() -> tuple[float, float] | None:
            record = _key(state.name).get() or Job(key=_key(state.name), kind="sweep")
            if not self._is_free(record, now_s, length_s):
                return None
            last_s, up_since_s = record.payload.get("beat_s", 0.0), self._up_since_s(state, record, now_s, jumped)
            record.payload = {"beat_s": now_s, "up_since_s": up_since_s}
            record.lease_by, record.lease_until_s = me, now_s + length_s
            record.expire_at = expiry(now_s, RETAIN_S)
            record.put()
            return last_s, up_since_s

        taken = self._service.store.transaction(take)
        if taken is None:
            state.held_until_s = 0.0
            return False
        state.last_s, state.up_since_s = max(taken[0], state.last_s if held else 0.0), taken[1]
        state.held_until_s = clock.monotonic_s() + length_s
        return True

    def _up_since_s(self, state: _State, record: Job, now_s: float, jumped: bool) -> float:
        """Since when the heart has beaten without a gap; within the transaction that takes the lease."""
        heart = self._heart
        beats = record if heart is None or heart is state else _key(heart.name).get()
        if beats is None or jumped:
            return now_s
        pause_s = now_s - beats.payload.get("beat_s", 0.0)
        alive = 0.0 <= pause_s <= gap_s((heart or state).wanted_s, self._bell_s)
        return beats.payload.get("up_since_s", now_s) if alive else now_s

    def _is_free(self, record: Job, now_s: float, length_s: float) -> bool:
        # A lease that ends far in the future was taken before the clock was set back.
        lapsed = not now_s < record.lease_until_s <= now_s + 2 * length_s
        return lapsed or record.lease_by == self._service.process_id or self._is_gone(record.lease_by)

    def _release(self, state: _State) -> None:
        now_s, me = self._service.clock.now_s(), self._service.process_id
        state.held_until_s = 0.0

        def give_back() -> None:
            record = _key(state.name).get()
            if record is not None and record.lease_by == me:
                record.lease_until_s = 0.0
                record.payload = {**record.payload, "beat_s": now_s}
                record.put()

        self._service.store.transaction(give_back)


def _key(name: str) -> Key:
    return key_of("Job", f"sweep:{name}")
