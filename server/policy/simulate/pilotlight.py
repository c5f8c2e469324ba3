"""The server's own policy on the virtual fleet: builds the view that the server builds, and carries out its plan.

What is the server's: `plan()`, `claimable()`, the demand sums, the utilization hysteresis, the growth for the reserve.
What stands in for it: warmth (a state that a run made is there until another displaces it), and an operator who
registers a new generation when the first task asks for it.
"""

from __future__ import annotations

from dataclasses import replace

from server.policy import growth
from server.policy.demand import DemandSums
from server.policy.growth import Growing
from server.policy.model import (
    Bot,
    Demand,
    GateState,
    Held,
    PendingTask,
    Phase,
    PoolPlan,
    PoolView,
    Purpose,
    Slot,
    Spec,
    Thresholds,
    Victim,
    Wish,
)
from server.policy.plan import claimable, plan
from server.policy.simulate import world as virtual
from server.policy.simulate.options import Options
from server.policy.simulate.world import World
from server.policy.utilization import hysteresis, utilization

EPOCH_S = 1_000_000_000.0
"""Time 0 of a trace; a time of 0 means "never" in the server's values."""
POOL = "replay"
DIMENSIONS = (("pool", (POOL,)),)
ONLY = "current"
"""Generation of a family whose keys name none."""
QUIET_PLAN_S = 10.0
"""While nothing is pending a plan is made at most so often …"""
TICK_S = 60.0
"""… and at least so often."""
DEMAND_AGE_S = 60.0
"""Demand of a family that nobody asked for is at most so old."""
MOST_ROUNDS = 8


class Pilotlight:
    """What the server runs today. `plans` counts the plans made."""

    tick_s = TICK_S

    def __init__(self, options: Options, thresholds: Thresholds) -> None:
        self._options, self._thresholds = options, thresholds
        self._gate = GateState()
        self._specs: dict[str, Spec] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._sums: dict[tuple[str, str], DemandSums] = {}
        self._demand: dict[tuple[str, str], tuple[float, Demand]] = {}
        self._bots: dict[int, tuple[tuple[object, ...], Bot]] = {}
        self._tasks: dict[int, PendingTask] = {}
        self._sleeps: dict[int, float] = {}
        self._growing = Growing()
        self._sampled_s = self._planned_s = float("-inf")
        self._made: PoolPlan | None = None
        self.plans = 0

    # ---- news

    def submitted(self, world: World, task: virtual.Task) -> None:
        """Counts the arrival; a generation that nobody asked for before is registered."""
        arrival, at_s = task.arrival, EPOCH_S + task.submit_s
        family, generation = arrival.family, arrival.generation or ONLY
        if (family, generation) not in self._keys:
            self._register(family, generation, task.key, at_s)
        for state in ((family, ""), (family, generation)):
            sums = self._sums.get(state) or DemandSums.watching(EPOCH_S)
            self._sums[state] = sums.add(at_s)
            self._demand.pop(state, None)
        wish = Wish(family, arrival.generation)
        self._tasks[task.number] = PendingTask(str(task.number), arrival.priority, at_s, DIMENSIONS, (wish,))

    def _register(self, family: str, generation: str, key: str, at_s: float) -> None:
        self._keys[family, generation] = key
        known = self._specs.get(family)
        sequence = known.sequence + 1 if known else 1
        generations = {**(known.known_generations if known else {}), generation: sequence}
        self._specs[family] = Spec(
            family,
            generation,
            revision=sequence,
            slot=self._slot_of(family),
            dimensions=DIMENSIONS,
            sequence=sequence,
            cold_cost_s=self._options.cold_s,
            warm_cost_s=self._options.warm_s,
            run_s=self._options.cold_s,
            registered_s=at_s,
            known_generations=generations,
        )

    def _slot_of(self, family: str) -> str:
        return "cache" if self._options.slots == 1 else family

    def ended(self, world: World, bot: virtual.Bot, run: virtual.Run) -> None:
        """Learns how long tasks of the family take."""
        if run.task is not None:
            state = run.task.arrival.family, ""
            self._sums[state] = self._sums[state].observe(duration_s=run.task.arrival.duration_s)

    def sleep_of(self, bot: virtual.Bot) -> float:
        """How long the plan lets the bot sleep."""
        return self._sleeps.get(bot.number, self._options.sleep_s)

    # ---- acting

    def act(self, world: World) -> None:
        """Plans when there can be something to do, and carries the plan out until nothing more follows from it."""
        self._sample(world)
        for _ in range(MOST_ROUNDS):
            if not self._is_due(world):
                break
            made = self._plan(world)
            self._made = made
            if not self._carry_out(world, made):
                break
        else:
            return
        self._keep_level(world)

    def _is_due(self, world: World) -> bool:
        if world.pending:
            return bool(world.asking or world.background)
        return bool(world.asking) and world.now_s - self._planned_s >= QUIET_PLAN_S

    def _carry_out(self, world: World, made: PoolPlan) -> bool:
        """Whether a real task was started: then a new plan may find more to do."""
        started = False
        now_s = EPOCH_S + world.now_s
        for number, bot in list(world.asking.items()):
            name = str(number)
            task = next((int(t) for t in claimable(made, name, now_s) if int(t) in world.pending), None)
            advice = made.advice[name]
            self._sleeps[number] = advice.sleep_s
            if task is not None:
                world.start(world.pending[task], bot)
                del self._tasks[task]
                started = True
            elif advice.background is not None:
                self._hand_out(world, bot, made, name)
        for stop in made.preempt:
            self._stop(world, stop.bot, stop.n, int(stop.for_task))
        for useless in made.useless:
            self._stop(world, useless.bot, useless.n, None)
        return started

    def _hand_out(self, world: World, bot: virtual.Bot, made: PoolPlan, name: str) -> None:
        hand_out = made.advice[name].background
        assert hand_out is not None
        now_s = EPOCH_S + world.now_s
        world.warm(bot, self._keys[hand_out.family, hand_out.generation], hand_out.purpose.value)
        recent = [at_s for at_s in self._gate.recent_hand_outs_s if at_s > now_s - 60.0]
        self._gate = replace(self._gate, recent_hand_outs_s=(*recent, now_s))

    def _stop(self, world: World, bot_id: str, serial: int, for_task: int | None) -> None:
        bot = world.bots[int(bot_id)]
        if bot.run is None or bot.run.serial != serial or bot.run.wanted:
            return
        world.preempt(bot)
        now_s = EPOCH_S + world.now_s
        self._gate = replace(self._gate, preempted_s=now_s)
        if for_task is not None and for_task in self._tasks:
            victim = Victim(bot_id, bot.run.serial, now_s + self._thresholds.preempt_valid_s)
            self._tasks[for_task] = replace(self._tasks[for_task], victim=victim)

    # ---- what the server sees

    def _plan(self, world: World) -> PoolPlan:
        self.plans += 1
        self._planned_s = world.now_s
        made = plan(self.view(world))
        self._gate = replace(self._gate, open=made.gate_open, below_since_s=made.below_since_s)
        return made

    def _keep_level(self, world: World) -> None:
        """The utilization gate's memory goes on where no plan is made."""
        alive = sum(1 for bot in world.bots if bot.alive)
        busy = alive - len(world.idle) - len(world.background)
        level = utilization(busy, min(len(world.pending), alive - busy), alive)
        is_open, since_s = hysteresis(
            level, self._thresholds, self._gate.open, self._gate.below_since_s, EPOCH_S + world.now_s
        )
        if (is_open, since_s) != (self._gate.open, self._gate.below_since_s):
            self._gate = replace(self._gate, open=is_open, below_since_s=since_s)

    def _sample(self, world: World) -> None:
        if world.now_s - self._sampled_s >= growth.step_s(self._options.cold_s):
            self._sampled_s = world.now_s
            busy = sum(1 for bot in world.bots if bot.run is not None and bot.run.task is not None)
            self._growing.add(busy + len(world.pending))
            self._gate = replace(self._gate, growth_p90=self._growing.p90)

    def view(self, world: World) -> PoolView:
        """The pool as the server would see it now."""
        now_s = EPOCH_S + world.now_s
        pending = []
        for number, task in world.pending.items():
            if number not in self._tasks:
                self.submitted_again(task)
            pending.append(self._tasks[number])
        families, states = self._demands(now_s)
        return PoolView(
            pool=POOL,
            now_s=now_s,
            view_age_s=0.0,
            bots=tuple([self._bot(world, bot) for bot in world.bots]),
            pending=tuple(pending),
            specs=tuple(self._specs.values()),
            demand=families,
            thresholds=self._thresholds,
            gate=self._gate,
            generation_demand=states,
        )

    def submitted_again(self, task: virtual.Task) -> None:
        """A task whose bot died waits again."""
        arrival = task.arrival
        wish = Wish(arrival.family, arrival.generation)
        self._tasks[task.number] = PendingTask(
            str(task.number), arrival.priority, EPOCH_S + task.submit_s, DIMENSIONS, (wish,)
        )

    def _demands(self, now_s: float) -> tuple[dict[str, Demand], dict[tuple[str, str], Demand]]:
        families: dict[str, Demand] = {}
        states: dict[tuple[str, str], Demand] = {}
        for state, sums in self._sums.items():
            known = self._demand.get(state)
            if known is None or now_s - known[0] > DEMAND_AGE_S:
                known = self._demand[state] = now_s, sums.demand(now_s)
            if state[1]:
                states[state] = known[1]
            else:
                families[state[0]] = known[1]
        return families, states

    def _bot(self, world: World, bot: virtual.Bot) -> Bot:
        run = bot.run
        stamp = (run and (run.serial, run.wanted), bot.alive, bot.free_since_s, bot.next_poll_s)
        known = self._bots.get(bot.number)
        if known is None or known[0] != stamp:
            known = self._bots[bot.number] = stamp, self._made_bot(world, bot)
        return known[1]

    def _made_bot(self, world: World, bot: virtual.Bot) -> Bot:
        name, run = str(bot.number), bot.run
        slots: dict[str, Slot] = {}
        for key, used_s in bot.states.items():
            family, generation = self._state(world, key)
            used = EPOCH_S + used_s
            phase = Phase.IN_USE if run is not None and run.task is not None and run.key == key else Phase.WARM
            slots[self._slot_of(family)] = Slot(phase, family, generation, since_s=used, last_used_s=used)
        held = None
        if run is not None:
            family, generation = self._state(world, run.key)
            purpose = Purpose.REAL if run.task is not None else Purpose(run.purpose)
            stop = "preempted" if run.wanted else ""
            began_s, slot = EPOCH_S + run.began_s, self._slot_of(family)
            task_id = str(run.task.number) if run.task is not None else f"run{run.serial}"
            held = Held(task_id, run.serial, purpose, family, generation, slot, since_s=began_s, stop=stop)
            if run.task is None:
                slots[slot] = Slot(Phase.WARMING, family, generation, since_s=began_s, task_id=task_id)
        if self._options.slots == 1 and not slots:
            slots["cache"] = Slot(Phase.COLD)
        sleeps = self._options.sleeping_polls
        return Bot(
            name,
            {"pool": frozenset((POOL,)), "id": frozenset((name,))},
            alive=bot.alive,
            idle_since_s=EPOCH_S + bot.free_since_s,
            slots=slots,
            held=held,
            next_poll_s=EPOCH_S + bot.next_poll_s if sleeps else 0.0,
            held_poll=not sleeps,
        )

    def _state(self, world: World, key: str) -> tuple[str, str]:
        family = world.seen[key]
        return family, key[len(family) + 1 :] or ONLY
