"""The virtual fleet: bots, the queue, runs and their ends, in virtual time. Policies act on it; it keeps the books.

A policy sees the world after each moment at which something happened, when all events of that moment are applied.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from server.policy.simulate.options import Options
from server.policy.simulate.trace import Arrival, Dice

FORECAST, ANNOUNCED, ON_DEMAND = "forecast", "announced", "on_demand"
_END, _WAKE, _DEATH, _REPAIR = range(4)
TICK, HEARD = -1, -2
"""Wakes that concern no single bot."""


class Task:
    """A real task while it waits and runs. `covered_s`: since when a warm-up runs that it counts on."""

    __slots__ = ("arrival", "covered_s", "key", "number", "since_s", "submit_s")

    def __init__(self, number: int, arrival: Arrival) -> None:
        self.number, self.arrival = number, arrival
        self.key, self.submit_s, self.since_s = arrival.key, arrival.submit_s, arrival.submit_s
        self.covered_s: float | None = None


class Run:
    """What occupies a bot: a real task, or a warm-up when `task` is None.

    `stopped`: it ends before it is done. `wanted`: somebody preempts it, or waits for its near end.
    """

    __slots__ = ("began_s", "end_s", "key", "purpose", "serial", "stopped", "task", "wanted")

    def __init__(self, key: str, began_s: float, end_s: float, task: Task | None, purpose: str, serial: int) -> None:
        self.key, self.began_s, self.end_s, self.task = key, began_s, end_s, task
        self.purpose, self.serial, self.stopped, self.wanted = purpose, serial, False, False


class Bot:
    """A virtual bot: its states by key with their last use (the least recently used first), and its run."""

    __slots__ = ("alive", "free_since_s", "next_poll_s", "number", "out_of_turn", "run", "states", "unused")

    def __init__(self, number: int) -> None:
        self.number = number
        self.states: dict[str, float] = {}
        self.unused: dict[str, str] = {}
        """States here that a warm-up made and no task used yet, with its purpose."""
        self.run: Run | None = None
        self.alive = True
        self.free_since_s = 0.0
        self.next_poll_s = 0.0
        self.out_of_turn = 0
        """Out-of-turn starts since its last cold start."""


class Started:
    """One start of a real task, for the books: waits and kinds, in seconds."""

    __slots__ = ("at_s", "overhead_s", "queue_s", "task", "warm")

    def __init__(self, task: Task, at_s: float, overhead_s: float, queue_s: float, warm: bool) -> None:
        self.task, self.at_s, self.overhead_s, self.queue_s, self.warm = task, at_s, overhead_s, queue_s, warm


class Books:
    """What happened, in counts and seconds."""

    def __init__(self) -> None:
        self.started: list[Started] = []
        self.occupied: list[tuple[float, float]] = []
        self.background_s = 0.0
        self.on_demand_s = 0.0
        self.prewarms = self.used = self.stale = self.preempted = self.failed = self.deaths = self.on_demand = 0


class Policy(Protocol):
    """Who decides. All but `act` are news, told before it is asked to act."""

    tick_s: float
    """It is also asked at least this often; 0 for never."""

    def submitted(self, world: World, task: Task) -> None:
        """A task came."""

    def ended(self, world: World, bot: Bot, run: Run) -> None:
        """A run ended, well or stopped."""

    def act(self, world: World) -> None:
        """Start tasks, warm, preempt."""


class World:
    """The fleet at one moment. Only its methods change it."""

    def __init__(self, arrivals: Sequence[Arrival], options: Options, policy: Policy, dice: Dice) -> None:
        self.options, self.policy, self.dice, self.arrivals = options, policy, dice, arrivals
        self.now_s = 0.0
        self.bots = [Bot(number) for number in range(options.bots)]
        self.idle: dict[int, Bot] = {bot.number: bot for bot in self.bots}
        """Bots without a run, the one that is idle longest first."""
        self.copies: dict[str, dict[int, Bot]] = defaultdict(dict)
        """Idle bots by a state that they hold, the one used last at the end."""
        self.pending: dict[int, Task] = {}
        self.waiting: dict[str, dict[int, Task]] = defaultdict(dict)
        """The pending tasks by key, oldest first."""
        self.busy: dict[str, int] = defaultdict(int)
        self.warming: dict[str, int] = defaultdict(int)
        self.background: dict[int, Bot] = {}
        self.newest: dict[str, str] = {}
        """Family → the key of it that was asked for first last."""
        self.seen: dict[str, str] = {}
        """Keys asked for so far, with their family."""
        self.books = Books()
        self.touched: set[int] = set()
        """Bots that changed since the policy last looked; it empties this itself."""
        self.asking: dict[int, Bot] = self.idle
        """The idle bots that can be given something now: all, or in a world of sleeping polls the one that asks."""
        self._events: list[tuple[float, int, int, int]] = []
        self._serial = 0
        self._next = 0
        self._wake_due_s = float("inf")

    # ---- time

    def run(self) -> Books:
        """Replays all arrivals, until the last task has started."""
        self._prepare()
        while self._next < len(self.arrivals) or self.pending:
            at_s = self._next_s()
            if at_s == float("inf"):
                break
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
        coming = self.arrivals[self._next].submit_s if self._next < len(self.arrivals) else float("inf")
        return min(coming, self._events[0][0] if self._events else float("inf"))

    def _push(self, at_s: float, kind: int, subject: int) -> int:
        self._serial += 1
        heapq.heappush(self._events, (at_s, self._serial, kind, subject))
        return self._serial

    def _advance(self) -> None:
        """Applies every event of this moment, then lets the policy act."""
        now_s, act, polls = self.now_s, False, []
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
                if subject == TICK:
                    self._push(now_s + self.policy.tick_s, _WAKE, TICK)
        if self.options.sleeping_polls:
            self._polled(polls)
        elif act:
            self.policy.act(self)

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
        self.pending[task.number] = task
        self.waiting[task.key][task.number] = task

    def _end(self, bot: Bot, serial: int) -> bool:
        run = bot.run
        if run is None or run.serial != serial:
            return False
        bot.run = None
        self._leave(run, bot)
        if run.task is not None:
            bot.states[run.key] = self.now_s
        elif not run.stopped:
            self._warmed(bot, run)
        self._free(bot)
        self.policy.ended(self, bot, run)
        return True

    def _leave(self, run: Run, bot: Bot) -> None:
        """Takes a run that is over out of the counts."""
        if run.task is not None:
            self.busy[run.key] -= 1
            self.books.occupied.append((run.began_s, self.now_s))
            return
        self.warming[run.key] -= 0 if run.stopped else 1
        self.background.pop(bot.number, None)
        spent_s = self.now_s - run.began_s
        if run.purpose == ON_DEMAND:
            self.books.on_demand_s += spent_s
        else:
            self.books.background_s += spent_s

    def _warmed(self, bot: Bot, run: Run) -> None:
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
                run.task.since_s = self.now_s
                self._queue(run.task)
        else:
            self._occupy(bot)
        bot.states.clear()
        bot.unused.clear()
        bot.alive = False
        self._push(self.now_s + self.options.repair_s, _REPAIR, bot.number)
        return True

    def _repair(self, bot: Bot) -> None:
        bot.alive = True
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
        setup_s = self.options.warm_s if warm else self.options.cold_s
        end_s = self.now_s + setup_s + task.arrival.duration_s
        bot.run = Run(task.key, self.now_s, end_s, task, "", self._push(end_s, _END, bot.number))
        self.busy[task.key] += 1
        first_s = self.now_s if task.covered_s is None else min(self.now_s, task.covered_s)
        overhead_s = self.now_s + setup_s - task.submit_s
        self.books.started.append(Started(task, self.now_s, overhead_s, first_s - task.submit_s, warm))
        return warm

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
        """Stops the bot's warm-up: it is free when it ends or after the grace, whichever comes first."""
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
