"""What this process knows of the fleet: bots, pending tasks, specs, gates; refreshed by deltas, asked for by polls.

Two delta queries on `changed_s` for all pools together keep it current, single-flight, at most about one refresh a
second on average with short bursts. Its age is known; an old view hands out no background work. A view may say "go on"
or "sleep", never "no": what a bot must be told comes from the store.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from server import errors, prewarm_spec
from server.latest import Head
from server.page_exchange import NEWS_AFTER_S
from server.policy import model, outcome
from server.policy.self_disabling import Watch
from server.pool_planner import PoolPlanner
from server.records import Record, get_multi, key_of
from server.records.bot import Bot
from server.records.pool import PoolGate
from server.records.task import TaskToRun
from server.seen_polls import NEVER, OVERDUE_S, Presence, SeenPoll, presence
from server.view_entries import BotEntry, Standing, TaskEntry, bot_entry, task_entry
from server.view_looks import OVERLAP_S, Looks
from server.withheld import Withheld

if TYPE_CHECKING:
    from server.bot_session import Token
    from server.service import Service

WATCH = Watch()
"""Of a pool that never lost."""


class FleetView:
    """One process's view. Threads share it: writers take the lock, readers get immutable entries."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.RLock()
        self._bots: dict[str, BotEntry] = {}
        self._by_pool: dict[str, set[str]] = {}
        self._tasks: dict[str, TaskEntry] = {}
        self._pending: dict[str, set[str]] = {}
        self._gates: dict[str, model.GateState] = {}
        self._watches: dict[str, Watch] = {}
        self._specs: dict[str, prewarm_spec.LoadedSpec] = {}
        self._spec_changes = -1
        self._polls: dict[str, SeenPoll] = {}
        self._dirty: set[str] = set()
        self._planner = PoolPlanner(service, self)
        self._withheld = Withheld(service)
        self._acted: dict[str, outcome.PoolPlan] = {}
        self._refusals: dict[str, tuple[float, outcome.Refused]] = {}
        self._unconfirmed: set[str] = set()
        self._switch = Head()
        self._looks = Looks(service, self)

    # ---- reading

    def age_s(self) -> float:
        """Seconds since the last refresh; infinite before the first."""
        return self._looks.age_s()

    @property
    def store_lost(self) -> bool:
        """Whether the last look at the store failed."""
        return self._looks.store_lost

    def bot(self, bot_id: str) -> BotEntry | None:
        """A bot, with what this process saw of its polls."""
        return self._bots.get(bot_id)

    def bots(self, pool: str | None = None) -> list[BotEntry]:
        """Bots of a pool, or all, by id, with their last-seen times."""
        with self._lock:
            ids = sorted(self._bots if pool is None else self._by_pool.get(pool, ()))
            entries = [self._bots[bot_id] for bot_id in ids]
        policies = [replace(entry.policy, **self.presence(entry.policy)._asdict()) for entry in entries]
        return [replace(entry, policy=policy) for entry, policy in zip(entries, policies, strict=True)]

    def count_bots(self, pool: str) -> int:
        """How many bots the pool has."""
        return len(self._by_pool.get(pool, ()))

    def recorded_bots(self, pool: str) -> list[model.Bot]:
        """Bots of a pool, by id, as their records tell."""
        with self._lock:
            return [self._bots[bot_id].policy for bot_id in sorted(self._by_pool.get(pool, ()))]

    def presence(self, bot: model.Bot) -> Presence:
        """What is known of the bot's polls, here and elsewhere."""
        elsewhere = SeenPoll(*self._service.pages.seen_elsewhere(bot.id), held=False)
        here = self._polls.get(bot.id, NEVER)
        return presence(bot, here, elsewhere, self._service.clock.now_s(), NEWS_AFTER_S)

    def pools(self) -> list[str]:
        """Every pool with bots, pending tasks, a gate or a spec."""
        with self._lock:
            named = {pool for pool, ids in self._by_pool.items() if ids} | {
                pool for pool, ids in self._pending.items() if ids
            }
            return sorted(named | set(self._gates) | {spec.policy_pool for spec in self._specs.values()})

    def pending(self, pool: str | None = None) -> list[TaskEntry]:
        """Pending real tasks, most urgent first."""
        with self._lock:
            pools = [pool] if pool is not None else list(self._pending)
            found = [self._tasks[task_id] for name in pools for task_id in self._pending.get(name, ())]
        return sorted(found, key=lambda entry: (entry.policy.priority, entry.policy.created_s, entry.policy.id))

    def is_pending(self, task_id: str) -> bool:
        """Whether the task waits, as far as this process knows."""
        entry = self._tasks.get(task_id)
        return entry is not None and entry.pending

    def count_pending(self, pool: str) -> int:
        """How many real tasks wait in the pool, as far as this process knows."""
        return len(self._pending.get(pool, ()))

    def task(self, task_id: str) -> TaskEntry | None:
        """A task's place in the queue, as far as this process knows."""
        return self._tasks.get(task_id)

    def specs(self) -> dict[str, prewarm_spec.LoadedSpec]:
        """Current revision of each spec, by family."""
        return self._specs

    def gate(self, pool: str) -> model.GateState:
        """What the pool's gate remembered at the last refresh."""
        return self._gates.get(pool, model.GateState(stopped=self._switch.stopped, epoch=self._switch.switch_epoch))

    def watch(self, pool: str) -> Watch:
        """Whether the pool went to shadow mode by itself."""
        return self._watches.get(pool, WATCH)

    def switch(self) -> Head:
        """The stop switch as of the last refresh."""
        return self._switch

    def wishes_of(self, properties: Any, tags: Iterable[str]) -> tuple[model.Wish, ...]:
        """What a real task wants warm."""
        return prewarm_spec.wishes_of(self._specs, properties, tags)

    # ---- what this process does and sees

    def saw_poll(self, bot_id: str, next_s: float, held: bool) -> None:
        """A bot polled; it is due again at `next_s`. `held` while its poll waits here."""
        now_s = self._service.clock.now_s()
        self._polls[bot_id] = SeenPoll(now_s, next_s, held)
        self._service.pages.seen(bot_id, now_s, next_s)

    def begins_poll(self, entry: BotEntry) -> None:
        """The bot polls at this moment. One that was overdue here may have been counted as gone: plan with it again."""
        now_s = self._service.clock.now_s()
        was_overdue = self._polls.get(entry.policy.id, NEVER).next_s < now_s - OVERDUE_S
        self.saw_poll(entry.policy.id, now_s, held=False)
        if was_overdue:
            self._dirty.add(entry.pool)

    def saw_update(self, bot_id: str) -> None:
        """A bot reported on its run: it lives."""
        now_s = self._service.clock.now_s()
        self._polls[bot_id] = SeenPoll(now_s, 0.0, False)
        self._service.pages.seen(bot_id, now_s, 0.0)

    def apply(self, records: Iterable[Record]) -> None:
        """Takes in records that this process wrote or read; older versions than the known ones are dropped."""
        with self._lock:
            for record in records:
                if isinstance(record, Bot):
                    self._apply_bot(bot_entry(record))
                elif isinstance(record, TaskToRun):
                    self._apply_task(str(record.key.id()), task_entry(record))
                    self._service.announced.saw(record)
                elif isinstance(record, PoolGate):
                    self._gates[str(record.key.id())] = self._gate_state(record)

    def _apply_bot(self, entry: BotEntry) -> None:
        bot_id = entry.policy.id
        known = self._bots.get(bot_id)
        if known is not None and known.changed_s >= entry.changed_s:
            return
        if known is not None and known.pool != entry.pool:
            self._by_pool[known.pool].discard(bot_id)
            self._dirty.add(known.pool)
        self._bots[bot_id] = entry
        if known is not None and known.claim_no != entry.claim_no:
            self._service.shadow.saw(entry)
        self._unconfirmed.discard(bot_id)
        self._by_pool.setdefault(entry.pool, set()).add(bot_id)
        self._dirty.add(entry.pool)

    def _apply_task(self, task_id: str, entry: TaskEntry) -> None:
        known = self._tasks.get(task_id)
        if known is not None and known.changed_s >= entry.changed_s:
            return
        self._tasks[task_id] = entry
        waiting = self._pending.setdefault(entry.pool, set())
        (waiting.add if entry.pending else waiting.discard)(task_id)
        self._dirty.add(entry.pool)

    def free_for_poll(self, token: Token) -> None:
        """The poll shows that its bot has its last run behind it: plan with it as free until the store says no."""
        with self._lock:
            entry = self._bots.get(token.bot)
            if entry is not None and entry.held is not None and entry.held["n"] == token.claim:
                free = replace(entry.policy, held=None, idle_since_s=self._service.clock.now_s())
                self._bots[token.bot] = replace(entry, policy=free, held=None)
                self._unconfirmed.add(token.bot)
                self._dirty.add(entry.pool)

    def is_behind(self, token: Token) -> bool:
        """Whether the bot's token tells of a run whose end this view has not seen in the store."""
        entry = self._bots.get(token.bot)
        return entry is None or token.bot in self._unconfirmed or token.claim > entry.claim_no

    def forget_pending(self, task_id: str) -> None:
        """Somebody else has this task; the next delta tells the rest."""
        with self._lock:
            entry = self._tasks.get(task_id)
            if entry is not None:
                self._tasks[task_id] = replace(entry, pending=False)
                self._pending.get(entry.pool, set()).discard(task_id)
                self._dirty.add(entry.pool)

    def note_refusal(self, bot_id: str, refused: outcome.Refused) -> None:
        """The gate's own transaction refused what the plan had advised; kept for `why`."""
        self._refusals[bot_id] = (self._service.clock.now_s(), refused)

    def refusal(self, bot_id: str) -> tuple[float, outcome.Refused] | None:
        """The last such refusal for a bot, with its time."""
        return self._refusals.get(bot_id)

    def first_to_act(self, pool: str, plan: outcome.PoolPlan) -> bool:
        """True once per plan: who gets it carries out the plan's stops."""
        with self._lock:
            if self._acted.get(pool) is plan:
                return False
            self._acted[pool] = plan
            return bool(plan.preempt or plan.useless)

    # ---- looking at the store

    def refresh(self, *, eager: bool = False, force: bool = False) -> bool:
        """Refreshes when it is time, nobody else is at it, and the budget of queries allows; True if it did.

        `eager` asks for it as soon as somebody changed the store, where the store can tell. Where it tells that nobody
        did, the view is as new as a look would make it, and nothing is asked.

        Raises:
            StoreUnavailable: the store is gone; the view stays as it is and ages.
        """
        return self._looks.refresh(eager=eager, force=force)

    def catch_up(self, pool: str) -> Standing | None:
        """The pool with all that was committed before this call: what a bet rests on. None when that cannot be now.

        Raises:
            StoreUnavailable: the store is gone.
        """
        return self._planner.standing(pool) if self._looks.catch_up() else None

    def standing(self, pool: str) -> Standing:
        """The pool by what the view knows now, for work that is owed."""
        return self._planner.standing(pool)

    def has_seen(self, version: int | None) -> bool:
        """Whether the view knows all that was written up to this data version of the store."""
        return self._looks.has_seen(version)

    def time_passed(self) -> None:
        """Idle times and the hysteresis move with the clock alone: every pool is to be planned anew."""
        with self._lock:
            self._dirty |= set(self.pools())

    def take_in(self, now_s: float, since_s: float | None) -> None:
        """Reads what changed since then, or everything (None), and takes it in.

        Raises:
            StoreUnavailable: the store is gone.
        """
        service = self._service
        with service.store.context():
            latest = service.config.refresh(service)
            pools = self.pools()
            gates = get_multi([key_of(PoolGate, pool) for pool in pools])
            service.announced.refresh(pools)
            specs_changed = latest.spec_changes != self._spec_changes
            specs = prewarm_spec.load_all(service) if specs_changed else None
            if since_s is None:
                bots = Bot.query().fetch()
                tasks = TaskToRun.query(TaskToRun.status == "pending").fetch()
            else:
                bots = Bot.query(Bot.changed_s >= since_s).fetch()
                tasks = TaskToRun.query(TaskToRun.changed_s >= since_s).fetch()
        with self._lock:
            self._switch = latest
            for pool, record in zip(pools, gates, strict=True):
                if record is not None:
                    self._gates[pool] = self._gate_state(record)
                elif pool in self._gates:  # Its record is yet to be made, and will begin as the switch stands.
                    self._gates[pool] = replace(self._gates[pool], stopped=latest.stopped, epoch=latest.switch_epoch)
            if specs is not None:
                self._specs, self._spec_changes = specs, latest.spec_changes
            self.apply([*bots, *tasks])
            if since_s is None:
                self._forget_missing({record.key.id() for record in bots}, {record.key.id() for record in tasks}, now_s)
            self.time_passed()

    def _forget_missing(self, bots: set, tasks: set, now_s: float) -> None:
        """After a full read: what the store no longer has leaves, unless it is younger than the read's uncertainty."""
        for bot_id in [b for b, entry in self._bots.items() if b not in bots and entry.changed_s < now_s - OVERLAP_S]:
            self._by_pool[self._bots.pop(bot_id).pool].discard(bot_id)
        for task_id in [
            t for t, entry in self._tasks.items() if t not in tasks and entry.changed_s < now_s - OVERLAP_S
        ]:
            self._pending.get(self._tasks.pop(task_id).pool, set()).discard(task_id)

    def _gate_state(self, record: PoolGate) -> model.GateState:
        pool = str(record.key.id())
        known = self._gates.get(pool)
        self._watches[pool] = Watch.from_plain(record.watch)
        return model.GateState(
            stopped=record.stopped or self._switch.stopped,
            epoch=record.epoch,
            open=known.open if known else record.open,
            below_since_s=known.below_since_s if known else record.below_since_s,
            preempted_s=record.preempted_s,
            recent_hand_outs_s=tuple(record.hand_outs_s),
            open_breakers={f: b["why"] for f, b in record.breakers.items() if b.get("open_since_s")},
        )

    # ---- planning

    def plan(self, pool: str, *, wait: bool = False) -> outcome.PoolPlan:
        """The pool's plan; made anew when something changed and the last one's cost allows.

        While another thread plans, the last plan is given, unless the caller would rather `wait`.
        """
        return self._withheld.left_of(pool, self._planner.plan(pool, wait=wait), self._specs, self.watch(pool))

    def held_out_s(self, spec: prewarm_spec.LoadedSpec) -> float:
        """For how long nothing is prewarmed for the spec, so that it can be measured what that saves; 0: it is."""
        return self._withheld.left_s(spec.policy_pool, spec, self._specs)

    def pool_view(self, pool: str) -> model.PoolView:
        """All that the policy needs to know of the pool, now."""
        return self._planner.pool_view(pool)

    def take_dirty(self, pool: str) -> bool:
        """Whether the pool changed since the last call."""
        with self._lock:
            was = pool in self._dirty
            self._dirty.discard(pool)
            return was

    def is_dirty(self, pool: str) -> bool:
        """Whether the pool changed since its last plan."""
        return pool in self._dirty

    def keep_hysteresis(self, pool: str, plan: outcome.PoolPlan) -> None:
        """The next plan goes on from where this one left the utilization gate."""
        with self._lock:
            self._gates[pool] = replace(self.gate(pool), open=plan.gate_open, below_since_s=plan.below_since_s)

    def tasks_in_system(self, pool: str) -> int:
        """Real tasks that run or wait."""
        with self._lock:
            held = [self._bots[bot_id].policy.held for bot_id in self._by_pool.get(pool, ())]
            busy = sum(1 for run in held if run is not None and run.purpose is model.Purpose.REAL)
            return busy + len(self._pending.get(pool, ()))


def refresh_quietly(view: FleetView, *, eager: bool = False) -> bool:
    """A refresh for callers that can go on with an old view; False when the store is gone."""
    try:
        view.refresh(eager=eager)
    except (errors.StoreUnavailable, errors.Contention):
        return False
    return True
