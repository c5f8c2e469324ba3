"""`off`: the design's dispatch without any forecast: warm match, cover, late binding, hold, least valuable victim."""

from __future__ import annotations

from server.policy.simulate.affinity import Baseline, warm_bot
from server.policy.simulate.forecast import Forecast
from server.policy.simulate.options import Options
from server.policy.simulate.world import ON_DEMAND, Bot, Run, Task, World
from server.policy.value import erlang_excess

HEAD_PATIENCE_S = 60.0
"""The oldest uncovered task waits 2 × cold + this before younger ones need leave to go before it."""
SWITCH_SHARE = 10.0
"""A bot may have this many cold times' worth of task time in out-of-turn starts: switching costs about a tenth."""


class LateBinding(Baseline):
    """No background work but warm-ups on demand, which are never cancelled."""

    def __init__(self, options: Options) -> None:
        self.forecast = Forecast(options.bots, options.slots, options.cold_s, options.warm_s)
        self._cold_s, self._warm_s = options.cold_s, options.warm_s
        self._values: dict[str, dict[int, float]] = {}
        """Key → number of a copy → V, of this moment."""

    def submitted(self, world: World, task: Task) -> None:
        self.forecast.arrived(task.key, task.arrival.submit_s)

    def ended(self, world: World, bot: Bot, run: Run) -> None:
        if run.task is not None:
            self.forecast.ran(run.key, run.task.arrival.duration_s)

    def act(self, world: World) -> None:
        if world.pending and world.asking:
            self._values.clear()
            self._serve(world)
        if world.pending:
            if not world.asking:
                self.preempt(world)
        elif world.asking:
            self.prewarm(world)

    def _serve(self, world: World) -> None:
        """The more urgent tasks first: no other is served before they have what there is for them."""
        covered: dict[str, int] = {}
        ranks: dict[str, int] = {}
        for priority in dict.fromkeys(task.turn[0] for task in world.pending.values()):
            self._match_warm(world, priority)
            self._bind(world, priority, covered, ranks)

    # ---- warm match

    def _match_warm(self, world: World, priority: int) -> None:
        """While a pending task's key has an idle warm bot, the oldest such task of this priority starts there."""
        ready = {key for key in world.waiting if _is_ready(world, key, priority)}
        while ready and world.asking:
            task = min((next(iter(world.waiting[key].values())) for key in ready), key=lambda task: task.turn)
            bot = warm_bot(world, task.key)
            if bot is None:
                ready.discard(task.key)
                continue
            self._start_in_turn(world, task, bot)
            for key in list(ready):
                if not _is_ready(world, key, priority):
                    ready.discard(key)

    def _start_in_turn(self, world: World, task: Task, bot: Bot) -> None:
        """Starts the task on the bot that is warm for it, or the older task that has waited too long."""
        head = self._oldest_uncovered(world)
        if head is not None and head.turn < task.turn:
            if world.now_s - head.since_s > 2.0 * self._cold_s + HEAD_PATIENCE_S:
                limit = SWITCH_SHARE * self._cold_s / max(1.0, self.forecast.duration_s(task.key))
                if bot.out_of_turn >= limit:
                    self._start(world, head, bot)
                    return
            bot.out_of_turn += 1
        self._start(world, task, bot)

    def _start(self, world: World, task: Task, bot: Bot) -> None:
        self._outdate(task.key, bot)
        if not world.start(task, bot):
            self.forecast.put()

    def _outdate(self, key: str, bot: Bot) -> None:
        """Forgets what the copies of the key, and of what the bot holds, are worth: their number is about to change."""
        for gone in (key, *bot.states):
            self._values.pop(gone, None)

    # ---- late binding

    def _oldest_uncovered(self, world: World) -> Task | None:
        """The oldest task that no warm-up runs for; those of one key are covered oldest first."""
        covered: dict[str, int] = {}
        for task in world.pending.values():
            left = covered.get(task.key)
            if left is None:
                left = self.coming(world, task.key)
            if left <= 0:
                return task
            covered[task.key] = left - 1
        return None

    def _bind(self, world: World, priority: int, covered: dict[str, int], ranks: dict[str, int]) -> None:
        """Uncovered tasks, oldest first, meet the idle bots, which are cold for them."""
        victim: Bot | None = None
        for task in [task for task in world.pending.values() if task.turn[0] == priority]:
            if not world.asking:
                return
            key = task.key
            rank = ranks[key] = ranks.get(key, 0) + 1
            if key not in covered:
                covered[key] = self.coming(world, key)
            if rank <= covered[key]:
                continue
            if victim is None:
                victim, lost = self._victim(world)
            if victim is None:
                return
            if not world.busy[key] + self.coming(world, key) or len(world.idle) == 1:
                self._start(world, task, victim)
                ranks[key] -= 1
                victim = None
            elif not self._should_hold(world, task, rank, lost):
                self._cover(world, task, victim)
                covered[key] += 1
                victim = None

    def coming(self, world: World, key: str) -> int:
        """How many bots are being warmed for the key; a pending task counts on each."""
        return world.warming[key]

    def _cover(self, world: World, task: Task, bot: Bot) -> None:
        self._outdate(task.key, bot)
        world.warm(bot, task.key, ON_DEMAND)
        self.forecast.put()
        if task.covered_s is None:
            task.covered_s = world.now_s

    def _should_hold(self, world: World, task: Task, rank: int, lost: float) -> bool:
        """Whether waiting for one of the bots that are busy with the key beats a warm-up on the victim."""
        cold_s, warm_s, key = self._cold_s, self._warm_s, task.key
        if world.now_s - task.since_s >= cold_s / 2.0:
            return False
        coming = self.coming(world, key)
        copies = world.busy[key] + coming
        rate = copies / (self.forecast.duration_s(key) + warm_s)
        future = self._value(world, key, len(world.copies[key]) + coming + 1)
        gained_s = erlang_excess(rank, rate, cold_s) + (cold_s - warm_s) * future
        return gained_s <= (cold_s - warm_s) * lost

    # ---- whom it costs least

    def state_value(self, world: World, key: str) -> float:
        """V of the last idle copy of a key: what is lost when one goes; more than certain where a task waits for it."""
        copies = len(world.copies[key])
        if copies == 1 and world.waiting.get(key):
            return 2.0
        return self._value(world, key, max(1, copies))

    def _value(self, world: World, key: str, copy: int) -> float:
        known = self._values.setdefault(key, {})
        if copy not in known:
            known[copy] = self.forecast.value(key, copy, world.busy[key], world.now_s)
        return known[copy]

    def _victim(self, world: World) -> tuple[Bot | None, float]:
        """The asking bot with an empty slot, else the one whose least recently used state is worth least."""
        slots = world.options.slots
        best: Bot | None = None
        best_order = (3.0, 0.0)
        for bot in world.asking.values():
            if len(bot.states) < slots:
                return bot, 0.0
            key, used_s = next(iter(bot.states.items()))
            order = self.state_value(world, key), used_s
            if order < best_order:
                best, best_order = bot, order
        if best is None or best_order[0] > 1.0:
            return (None, 0.0) if best is None else (best, 1.0)
        return best, best_order[0]


def _is_ready(world: World, key: str, priority: int) -> bool:
    """Whether the first task that waits for the key has this priority, and an idle bot is warm for it."""
    tasks = world.waiting[key]
    return bool(tasks) and bool(world.copies.get(key)) and next(iter(tasks.values())).turn[0] == priority
