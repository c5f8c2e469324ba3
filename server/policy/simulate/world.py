"""The virtual fleet: bots, the queue, runs and their ends, in virtual time. Policies act on it; it keeps the books.

A policy sees the world after each moment at which something happened, when all events of that moment are applied.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Sequence

from server.policy.simulate.announced import Announcement, Queue
from server.policy.simulate.options import Options
from server.policy.simulate.parts import (
    ANNOUNCED,
    CLEAN,
    FORECAST,
    ON_DEMAND,
    Books,
    Bot,
    Policy,
    Run,
    Started,
    Task,
    put_in_turn,
)
from server.policy.simulate.trace import Arrival, Dice
from server.policy.simulate.watch import Watcher

__all__ = ["ANNOUNCED", "CLEAN", "FORECAST", "ON_DEMAND", "Books", "Bot", "Policy", "Run", "Started", "Task", "World"]

_END, _WAKE, _DEATH, _REPAIR = range(4)
TICK, HEARD, DUE = -1, -2, -3
"""Wakes that concern no single bot."""
DUE_AHEAD_S = 30.0
"""A policy that hears announcements is woken one cold time and this before each is due …"""
DUE_GRID_S = 10.0
"""… at times of this grid."""
ENDLESS_S = float("inf")


class World:
    """The fleet at one moment. Only its methods change it."""

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        options: Options,
        policy: Policy,
        dice: Dice,
        announcements: Sequence[Announcement] = (),
        watcher: Watcher | None = None,
    ) -> None:
        self.options, self.policy, self.dice, self.arrivals = options, policy, dice, arrivals
        self.now_s = 0.0
        self.bots = [Bot(number) for number in range(options.bots)]
        self.idle: dict[int, Bot] = {bot.number: bot for bot in self.bots}
        """Bots without a run, the one that is idle longest first."""
        self.copies: dict[str, dict[int, Bot]] = defaultdict(dict)
        """Idle bots by a state that they hold, the one used last at the end."""
        self.pending: dict[int, Task] = {}
        """The tasks that wait, in turn."""
        self.waiting: dict[str, dict[int, Task]] = defaultdict(dict)
        """The same by key."""
        self.busy: dict[str, int] = defaultdict(int)
        self.warming: dict[str, int] = defaultdict(int)
        self.background: dict[int, Bot] = {}
        """Bots that warm up or are cleaned."""
        self.cleaning: dict[str, int] = defaultdict(int)
        """How many bots that hold the key's state are being cleaned."""
        self.newest: dict[str, str] = {}
        """Family → the key of it that was asked for first last."""
        self.seen: dict[str, str] = {}
        """Keys asked for so far, with their family."""
        self.books = Books()
        self.away = 0
        """Bots that are dead."""
        self.touched: set[int] = set()
        """Bots that changed since the policy last looked; it empties this itself."""
        self.asking: dict[int, Bot] = self.idle
        """The idle bots that can be given something now: all, or in a world of sleeping polls the one that asks."""
        self._events: list[tuple[float, int, int, int]] = []
        self._serial = 0
        self._next = 0
        self._wake_due_s = ENDLESS_S
        self._tell = getattr(policy, "announced", None)
        self._said = Queue(announcements if self._tell is not None else ())
        self._due_wakes: set[float] = set()
        self._watcher = watcher or Watcher(())

    # ---- time

    def run(self) -> Books:
        """Replays all arrivals, until the last task has started."""
        self._prepare()
        while self._next < len(self.arrivals) or self.pending:
            at_s = self._next_s()
            if at_s == ENDLESS_S:
                break
            if self._watcher.next_s < at_s:
                self._watcher.look(self, at_s)
            self.now_s = at_s
            self._advance()
        return self.books

    def _prepare(self) -> None:
        options = self.options
        if options.bot_lives_s:
            for bot in self.bots:
                self._push(self.dice.expovariate(1.0 / options.bot_lives_s), _DEATH, bot.number)
        if options.sleeping_polls:
            for bot in self.bots:
                bot.next_poll_s = self.dice.uniform(0.0, options.sleep_s)
                self._push(bot.next_poll_s, _WAKE, bot.number)
        elif self.policy.tick_s:
            self._push(self.policy.tick_s, _WAKE, TICK)

    def _next_s(self) -> float:
        coming_s = self.arrivals[self._next].submit_s if self._next < len(self.arrivals) else ENDLESS_S
        return min(coming_s, self._said.next_s, self._events[0][0] if self._events else ENDLESS_S)

    def _push(self, at_s: float, kind: int, subject: int) -> int:
        self._serial += 1
        heapq.heappush(self._events, (at_s, self._serial, kind, subject))
        return self._serial

    def _advance(self) -> None:
        """Applies every event of this moment, then lets the policy act."""
        now_s, act, polls = self.now_s, self._announce(), []
        while self._next < len(self.arrivals) and self.arrivals[self._next].submit_s <= now_s:
            self._submit(self.arrivals[self._next])
            act = self._act_or_hear() or act
        while self._events and self._events[0][0] <= now_s:
            _, serial, kind, subject = heapq.heappop(self._events)
            if kind == _END:
                freed = self._end(self.bots[subject], serial)
                act = act or freed
                polls += [self.bots[subject]] if freed else []
            elif kind == _DEATH:
                act = self._die(self.bots[subject]) or act
            elif kind == _REPAIR:
                self._repair(self.bots[subject])
                act = True
            elif subject >= 0:
                polls += [self.bots[subject]] if self.bots[subject].next_poll_s == now_s else []
            else:
                act = True
                if subject == DUE:
                    self._due_wakes.discard(now_s)
                if subject == TICK:
                    self._push(now_s + self.policy.tick_s, _WAKE, TICK)
        if self.options.sleeping_polls:
            self._polled(polls)
        elif act:
            self.policy.act(self)

    def _announce(self) -> bool:
        """Tells what is announced now; whether the policy acts on it at once."""
        act = False
        while self._said.next_s <= self.now_s:
            said = self._said.pop()
            assert self._tell is not None
            self._tell(self, said)
            act = self._act_or_hear() or act
            self._wake_when_due(said.due_s - self.options.cold_s - DUE_AHEAD_S)
        return act

    def _wake_when_due(self, due_s: float) -> None:
        at_s = math.ceil(due_s / DUE_GRID_S) * DUE_GRID_S
        if at_s > self.now_s and at_s not in self._due_wakes and not self.options.sleeping_polls:
            self._due_wakes.add(at_s)
            self._push(at_s, _WAKE, DUE)

    def _act_or_hear(self) -> bool:
        """Whether the policy acts on an arrival at once; else it is woken when held polls have heard of it."""
        options = self.options
        if options.hear_s and not options.sleeping_polls:
            at_s = self.now_s + self.dice.uniform(0.0, options.hear_s)
            if self._wake_due_s <= self.now_s or at_s < self._wake_due_s:
                self._wake_due_s = at_s
                self._push(at_s, _WAKE, HEARD)
            return False
        return True

    def _polled(self, bots: list[Bot]) -> None:
        """In a world of sleeping polls each bot that asks is answered by itself, and sleeps when it gets nothing."""
        for bot in bots:
            if bot.run is None and bot.alive:
                bot.next_poll_s = self.now_s
                self.asking = {bot.number: bot}
                self.policy.act(self)
                self.asking = {}
                if bot.run is None:
                    sleep_s = getattr(self.policy, "sleep_of", lambda _bot: self.options.sleep_s)(bot)
                    bot.next_poll_s = self.now_s + sleep_s * (0.8 + 0.4 * self.dice.random())
                    self._push(bot.next_poll_s, _WAKE, bot.number)

    # ---- events

    def _submit(self, arrival: Arrival) -> None:
        task = Task(self._next, arrival)
        self._next += 1
        if arrival.key not in self.seen:
            self.seen[arrival.key] = arrival.family
            self.newest[arrival.family] = arrival.key
        self._queue(task)
        self.policy.submitted(self, task)

    def _queue(self, task: Task) -> None:
        put_in_turn(self.pending, task)
        put_in_turn(self.waiting[task.key], task)

    def _end(self, bot: Bot, serial: int) -> bool:
        run = bot.run
        if run is None or run.serial != serial:
            return False
        bot.run = None
        self._leave(run, bot)
        if run.task is not None:
            bot.states[run.key] = self.now_s
            bot.dirty = self.options.clean_s > 0.0
        elif not run.stopped:
            self._made(bot, run)
        self._free(bot)
        self.policy.ended(self, bot, run)
        return True

    def _leave(self, run: Run, bot: Bot) -> None:
        """Takes a run that is over out of the counts."""
        if run.task is not None:
            self.busy[run.key] -= 1
            self.books.occupied.append((run.began_s, self.now_s))
            return
        self.background.pop(bot.number, None)
        spent_s = self.now_s - run.began_s
        if run.purpose == CLEAN:
            self.books.clean_s += spent_s
            for key in bot.states:
                self.cleaning[key] -= 1
            return
        self.warming[run.key] -= 0 if run.stopped else 1
        if run.purpose == ON_DEMAND:
            self.books.on_demand_s += spent_s
        else:
            self.books.background_s += spent_s

    def _made(self, bot: Bot, run: Run) -> None:
        """The bot is clean now, or warm if the warm-up did not fail."""
        if run.purpose == CLEAN:
            bot.dirty = False
            bot.cleaned_s = run.began_s, self.now_s
            self.books.owed_s += self.options.clean_s
            return
        if self.options.prewarm_failures and self.dice.random() < self.options.prewarm_failures:
            self.books.failed += 1
            return
        bot.states[run.key] = self.now_s
        if run.purpose != ON_DEMAND:
            bot.unused[run.key] = run.purpose

    def _free(self, bot: Bot) -> None:
        self.touched.add(bot.number)
        bot.free_since_s = self.now_s
        self.idle[bot.number] = bot
        for key in bot.states:
            self.copies[key][bot.number] = bot

    def _occupy(self, bot: Bot) -> None:
        self.touched.add(bot.number)
        del self.idle[bot.number]
        if self.asking is not self.idle:
            self.asking.pop(bot.number, None)
        for key in bot.states:
            self.copies[key].pop(bot.number, None)

    def _die(self, bot: Bot) -> bool:
        """The bot's states are lost and its task waits again; it comes back cold after its repair."""
        self.books.deaths += 1
        self.touched.add(bot.number)
        run, bot.run = bot.run, None
        if run is not None:
            self._leave(run, bot)
            if run.task is not None:
                bot.dirty = self.options.clean_s > 0.0
                run.task.since_s = self.now_s
                self._queue(run.task)
        else:
            self._occupy(bot)
        bot.states.clear()
        bot.unused.clear()
        bot.alive = False
        self.away += 1
        self._push(self.now_s + self.options.repair_s, _REPAIR, bot.number)
        return True

    def _repair(self, bot: Bot) -> None:
        bot.alive = True
        self.away -= 1
        self._free(bot)
        self._push(self.now_s + self.dice.expovariate(1.0 / self.options.bot_lives_s), _DEATH, bot.number)
        if self.options.sleeping_polls:
            bot.next_poll_s = self.now_s
            self._push(self.now_s, _WAKE, bot.number)

    # ---- what a policy does

    def start(self, task: Task, bot: Bot) -> bool:
        """Starts the task on the idle bot; True when the bot was warm for it."""
        del self.pending[task.number]
        self.waiting[task.key].pop(task.number)
        self._occupy(bot)
        warm = task.key in bot.states
        if warm:
            if bot.unused.pop(task.key, ""):
                self.books.used += 1
            del bot.states[task.key]
        else:
            self._make_room(bot)
            bot.out_of_turn = 0
        bot.states[task.key] = self.now_s
        clean_s = self._clean_up(task, bot)
        setup_s = clean_s + (self.options.warm_s if warm else self.options.cold_s)
        end_s = self.now_s + setup_s + task.arrival.duration_s
        bot.run = Run(task.key, self.now_s, end_s, task, "", self._push(end_s, _END, bot.number))
        bot.run.is_cold = not warm
        self.busy[task.key] += 1
        first_s = self.now_s if task.covered_s is None else min(self.now_s, task.covered_s)
        overhead_s = self.now_s + setup_s - task.submit_s
        self.books.started.append(Started(task, self.now_s, overhead_s, first_s + clean_s - task.submit_s, warm))
        return warm

    def _clean_up(self, task: Task, bot: Bot) -> float:
        """Seconds of clean-up before the task's own start-up. It paid, too, for the clean-up that it waited for."""
        began_s, ended_s = bot.cleaned_s
        if ended_s == self.now_s:
            self.books.paid_s += max(0.0, min(self.options.clean_s, self.now_s - max(began_s, task.since_s)))
        if not bot.dirty:
            return 0.0
        bot.dirty = False
        self.books.owed_s += self.options.clean_s
        self.books.paid_s += self.options.clean_s
        return self.options.clean_s

    def clean(self, bot: Bot) -> None:
        """Starts a clean-up of the idle bot; a task that is to have it waits for its end, or preempts it."""
        self._occupy(bot)
        end_s = self.now_s + self.options.clean_s
        bot.run = Run("", self.now_s, end_s, None, CLEAN, self._push(end_s, _END, bot.number))
        self.background[bot.number] = bot
        for key in bot.states:
            self.cleaning[key] += 1

    def warm(self, bot: Bot, key: str, purpose: str) -> None:
        """Starts a warm-up on the idle bot, which displaces its least recently used state when it is full."""
        self._occupy(bot)
        self._forget(bot, key)
        self._make_room(bot)
        end_s = self.now_s + self.options.cold_s
        bot.run = Run(key, self.now_s, end_s, None, purpose, self._push(end_s, _END, bot.number))
        self.warming[key] += 1
        self.background[bot.number] = bot
        if purpose == ON_DEMAND:
            self.books.on_demand += 1
            return
        self.books.prewarms += 1
        if purpose == FORECAST and self.is_superseded(key):
            self.books.stale += 1

    def preempt(self, bot: Bot) -> None:
        """Stops the bot's background run: it is free when it ends or after the grace, whichever comes first."""
        run = bot.run
        assert run is not None and run.task is None
        run.wanted = True
        self.touched.add(bot.number)
        until_s = self.now_s + self.options.grace_s
        if self.options.hear_s:
            until_s += self.dice.uniform(0.0, self.options.hear_s)
        self.books.preempted += 1
        if until_s >= run.end_s:
            return
        run.stopped, run.end_s = True, until_s
        if run.purpose != CLEAN:
            self.warming[run.key] -= 1
        run.serial = self._push(until_s, _END, bot.number)

    def _make_room(self, bot: Bot) -> None:
        while len(bot.states) >= self.options.slots:
            self._forget(bot, next(iter(bot.states)))

    def _forget(self, bot: Bot, key: str) -> None:
        if key in bot.states:
            del bot.states[key]
            bot.unused.pop(key, None)

    # ---- what a policy sees

    def is_superseded(self, key: str) -> bool:
        """Whether a newer generation of the key's family was asked for."""
        return self.newest.get(self.seen.get(key, ""), key) != key

    def upcoming(self, until_s: float) -> Sequence[Arrival]:
        """The future up to then: for the clairvoyant alone."""
        end = self._next
        while end < len(self.arrivals) and self.arrivals[end].submit_s <= until_s:
            end += 1
        return self.arrivals[self._next : end]
