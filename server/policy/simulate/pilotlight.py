"""The server's own policy on the virtual fleet: keeps up the index that the server's plan makes, and does what follows.

What is the server's: `decide()` and `plan()`, the demand sums, the memories' weights, the turnover, the utilization
hysteresis, the growth for the reserve. What stands in for it: warmth (a state that a run made is there until another
displaces it), and an operator who registers a new generation when the first task asks for it, or a little before one
that was announced is due.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from dataclasses import replace

from server.policy import growth, model
from server.policy.announce import Arrival, Book, Entry
from server.policy.bet_watch import BetWatch
from server.policy.decision import Decision, decide
from server.policy.fleet import Fleet
from server.policy.growth import Growing
from server.policy.memories import Memories
from server.policy.minds import Minds
from server.policy.model import GateState, PendingTask, PoolView, Purpose, Spec, Thresholds, Victim, Wish
from server.policy.outcome import HandOut, Preempt, Useless
from server.policy.plan import claimable, plan
from server.policy.simulate import world as virtual
from server.policy.simulate.announced import Announcement
from server.policy.simulate.learning import Learning
from server.policy.simulate.mirror import DIMENSIONS, DIRT, EPOCH_S, ONLY, POOL, Demands, Mirror, state_of
from server.policy.simulate.options import Options
from server.policy.simulate.parts import CLEAN
from server.policy.simulate.world import World
from server.policy.turnover import Turnover
from server.policy.utilization import hysteresis, utilization

QUIET_PLAN_S = 10.0
"""While nothing is pending a decision is made at most so often …"""
TICK_S = 60.0
"""… and at least so often."""
AHEAD_S = 5.0
"""Warm-ups ahead are considered at most so often. A server does so in each plan; here that is half of the work."""
REGISTERED_AHEAD_S = 60.0
"""A generation that was announced is registered a cold start and this long before its first task is due."""
NEVER_WORTH_IT = 2.0
"""No bet is worth more than one cold start."""


def without_bets(thresholds: Thresholds) -> Thresholds:
    """Dispatch as with these, warm-ups on demand included, but nothing is ever warmed ahead."""
    return replace(thresholds, mode="live", value_threshold=NEVER_WORTH_IT)


class Pilotlight:
    """What the server runs today. `decisions` counts them."""

    tick_s = TICK_S

    def __init__(self, options: Options, thresholds: Thresholds, *, learns: bool = True) -> None:
        """Args: learns: whether what follows what is learned, and announced."""
        self._options, self._thresholds = options, thresholds
        self._mirror = Mirror(options)
        self._demands = Demands()
        self._gate = GateState()
        self._specs: dict[str, Spec] = {}
        self._tasks: dict[int, PendingTask] = {}
        self._sleeps: dict[int, float] = {}
        self._growing, self._memories, self._turnover = Growing(), Memories(), Turnover()
        self._bets = BetWatch()
        self._sampled_s = self._quiet_s = self._ahead_s = float("-inf")
        self._minds: Minds | None = None
        self._book, self._said = Book(), list[Entry]()
        self._learning = Learning(EPOCH_S) if learns else None
        self._told: tuple[model.Announcement, ...] | None = ()
        self._lapse_s = float("inf")
        self._coming: list[tuple[float, str]] = []
        """When generations that were announced are registered."""
        self._ahead: dict[str, list[str]] = defaultdict(list)
        """Family → keys of generations that were registered ahead and that nobody asked for yet."""
        self._asked: set[str] = set()
        if options.clean_s:
            self._specs[CLEAN] = _cleaning(options)
        self.decisions = 0

    # ---- news

    def submitted(self, world: World, task: virtual.Task) -> None:
        """Counts the arrival; a generation that nobody asked for before is registered."""
        arrival, at_s = task.arrival, EPOCH_S + task.submit_s
        family, generation = arrival.family, arrival.generation or ONLY
        if task.key not in self._asked:
            self._asked.add(task.key)
            self._make_newest(family, task.key, at_s)
        self._demands.add(family, arrival.generation, at_s, self._specs[family].generation != generation)
        self._memories.came((family, generation))
        if self._minds is not None:
            self._minds.outlook.stirred((family, generation))
        came = Arrival(str(task.number), family, arrival.generation, at_s)
        if self._book.arrive(came) is not None:
            self._told = None
        if self._learning is not None:
            for entry in self._learning.arrive(came, len(world.bots) / 2.0, self._book):
                self._book.add(entry)
                self._told = None
        self._wait(task)

    def _make_newest(self, family: str, key: str, at_s: float) -> None:
        """Registers what is asked for the first time; what is said to be asked for first later still is newer."""
        ahead = self._ahead[family]
        if key in ahead:
            ahead.remove(key)
        for one in (key, *ahead[-1:]):
            known = self._specs.get(family)
            if known is None or known.generation != state_of(one)[1]:
                self._register(one, at_s)

    def _wait(self, task: virtual.Task) -> None:
        arrival = task.arrival
        wish, at_s = Wish(arrival.family, arrival.generation), EPOCH_S + task.submit_s
        made = PendingTask(str(task.number), arrival.priority, at_s, DIMENSIONS, (wish,))
        self._tasks[task.number] = made
        if self._minds is not None:
            self._minds.fleet.put_task(made)

    def _register(self, key: str, at_s: float) -> None:
        family, generation = state_of(key)
        self._mirror.keys[family, generation] = key
        known = self._specs.get(family)
        sequence = known.sequence + 1 if known else 1
        generations = {**(known.known_generations if known else {}), generation: sequence}
        spec = self._specs[family] = Spec(
            family,
            generation,
            revision=sequence,
            slot=self._mirror.slot_of((family, generation)),
            dimensions=DIMENSIONS,
            sequence=sequence,
            cold_cost_s=self._options.cold_s,
            warm_cost_s=self._options.warm_s,
            run_s=self._options.cold_s,
            fresh_for_s=math.inf,
            registered_s=at_s,
            known_generations=generations,
        )
        if self._minds is not None:
            self._minds.fleet.put_spec(spec)

    def announced(self, world: World, said: Announcement) -> None:
        """An entry in the book, as if it had come by the API. A new generation will be registered in time for it."""
        family, at_s = said.family, EPOCH_S + said.at_s
        if not said.is_false and state_of(said.key) not in self._mirror.keys:
            ready_s = EPOCH_S + said.due_s - self._options.cold_s - REGISTERED_AHEAD_S
            heapq.heappush(self._coming, (max(at_s, ready_s), said.key))
        entry = Entry(
            f"a{len(self._said)}",
            family,
            said.generation,
            1,
            EPOCH_S + said.due_s,
            EPOCH_S + said.until_s,
            said.confidence,
            said.source,
            at_s,
        )
        self._said.append(entry)
        self._book.add(entry)
        self._told = None

    def _register_what_comes(self, now_s: float) -> None:
        while self._coming and self._coming[0][0] <= now_s:
            at_s, key = heapq.heappop(self._coming)
            if state_of(key) not in self._mirror.keys:
                self._register(key, at_s)
                self._ahead[state_of(key)[0]].append(key)

    def _announcements(self, now_s: float) -> tuple[model.Announcement, ...]:
        """What is announced and has not come; made anew when something of it came, was said, or lapsed."""
        if self._told is None or now_s >= self._lapse_s:
            self._book.forget(now_s)
            scores = self._learning.scores(now_s) if self._learning is not None else {}
            self._told = self._book.announcements(now_s, scores)
            self._lapse_s = min((one.until_s for one in self._told), default=float("inf"))
        return self._told

    def ended(self, world: World, bot: virtual.Bot, run: virtual.Run) -> None:
        """Learns how long tasks of the family take."""
        if run.task is not None:
            arrival = run.task.arrival
            self._demands.ran(arrival.family, arrival.duration_s)
            if self._minds is not None:
                self._minds.outlook.measured(arrival.family)

    def sleep_of(self, bot: virtual.Bot) -> float:
        """How long the plan lets the bot sleep."""
        return self._sleeps.get(bot.number, self._options.sleep_s)

    # ---- acting

    def act(self, world: World) -> None:
        """Decides when there can be something to do, and carries it out."""
        self._register_what_comes(EPOCH_S + world.now_s)
        self._learn(world)
        if world.pending and (world.asking or world.background):
            self._decide(world)
        if world.asking and not world.pending and world.now_s - self._quiet_s >= QUIET_PLAN_S:
            self._quiet_s = world.now_s
            self._decide(world)
        self._keep_level(world)

    def _decide(self, world: World) -> None:
        self.decisions += 1
        if world.asking is world.idle:
            self._decide_for_all(world)
        else:
            self._answer(world)

    def _decide_for_all(self, world: World) -> None:
        """Everybody hears at once: the index is kept up, and what is decided is done."""
        minds = self._catch_up(world)
        thinks_ahead = world.now_s - self._ahead_s >= AHEAD_S
        made = decide(minds, {}, thinks_ahead=thinks_ahead)
        if made.background.thought_ahead:
            self._ahead_s = world.now_s
        self._keep_gate(made.background.levels.gate_open, made.background.levels.below_since_s)
        self._carry_out(world, made)

    def _catch_up(self, world: World) -> Minds:
        """The index as the world is now."""
        now_s = EPOCH_S + world.now_s
        if self._minds is None:
            self._minds = Minds.about(Fleet(self.view(world)))
            self._take_note(list(self._minds.fleet.by_id.values()))
        elif len(world.pending) != len(self._minds.fleet.queues.by_id):
            for number, task in world.pending.items():
                if number not in self._tasks:  # its bot died
                    self._wait(task)
        minds = self._minds
        view, told = minds.fleet.view, self._announcements(now_s)
        if view.gate is not self._gate or view.announcements is not told:
            view = replace(view, gate=self._gate, announcements=told)
        minds.fleet.advance(now_s, view)
        changed = [self._mirror.bot(world, world.bots[number]) for number in world.touched]
        world.touched.clear()
        for bot in changed:
            minds.fleet.put_bot(bot)
        self._take_note(changed)
        if minds.fleet.view.bets is not self._bets.ledger:
            minds.fleet.view = replace(minds.fleet.view, bets=self._bets.ledger)
        return minds

    def _take_note(self, changed: list[model.Bot]) -> None:
        """What changed since these bots were last seen tells of turnover and of bets; at first all are seen."""
        assert self._minds is not None
        self._turnover.see(changed)
        self._bets.see(changed, self._minds.fleet, self._minds.outlook)

    def _carry_out(self, world: World, made: Decision) -> None:
        for assignment in made.assigned.by_task.values():
            bot = world.bots[int(assignment.bot.id)]
            number = int(assignment.task.id)
            bot.out_of_turn += assignment.out_of_turn
            world.start(world.pending[number], bot)
            del self._tasks[number]
        for covered in made.assigned.counted_on.values():
            task = world.pending[int(covered)]
            task.covered_s = world.now_s if task.covered_s is None else task.covered_s
        if self._thresholds.mode == "live":
            for name, hand_out in made.hand_outs.items():
                self._hand_out(world, name, hand_out)
        world.touched.update(int(name) for name in made.hand_outs)
        self._stop_runs(world, made.preempt, made.useless)

    def _answer(self, world: World) -> None:
        """Bots sleep between polls: the one that asks is answered from a plan of its own."""
        made = plan(self.view(world))
        self._keep_gate(made.gate_open, made.below_since_s)
        for number, bot in list(world.asking.items()):
            advice = made.advice[str(number)]
            self._sleeps[number] = advice.sleep_s
            tasks = [int(task) for task in claimable(made, str(number), EPOCH_S + world.now_s)]
            if tasks:
                bot.out_of_turn += advice.out_of_turn
                world.start(world.pending[tasks[0]], bot)
                del self._tasks[tasks[0]]
            elif advice.background is not None:
                self._hand_out(world, str(number), advice.background)
        self._stop_runs(world, made.preempt, made.useless)

    def _hand_out(self, world: World, name: str, hand_out: HandOut) -> None:
        now_s = EPOCH_S + world.now_s
        if hand_out.purpose is Purpose.CLEAN:
            world.clean(world.bots[int(name)])
            return
        key = self._mirror.keys[hand_out.family, hand_out.generation]
        self._mirror.nets[int(name)] = hand_out.value.net if hand_out.value is not None else 0.0
        world.warm(world.bots[int(name)], key, hand_out.purpose.value)
        recent = [at_s for at_s in self._gate.recent_hand_outs_s if at_s > now_s - 60.0]
        self._gate = replace(self._gate, recent_hand_outs_s=(*recent, now_s))

    def _stop_runs(self, world: World, preempt: tuple[Preempt, ...], useless: tuple[Useless, ...]) -> None:
        for wanted in preempt:
            self._stop(world, wanted.bot, wanted.n, int(wanted.for_task))
        for needless in useless:
            self._stop(world, needless.bot, needless.n, None)

    def _stop(self, world: World, bot_id: str, serial: int, for_task: int | None) -> None:
        bot = world.bots[int(bot_id)]
        if bot.run is None or bot.run.serial != serial or bot.run.wanted:
            return
        world.preempt(bot)
        now_s = EPOCH_S + world.now_s
        self._gate = replace(self._gate, preempted_s=now_s)
        if for_task is not None and for_task in self._tasks:
            victim = Victim(bot_id, bot.run.serial, now_s + self._thresholds.preempt_valid_s)
            marked = self._tasks[for_task] = replace(self._tasks[for_task], victim=victim)
            if self._minds is not None:
                self._minds.fleet.put_task(marked)

    # ---- what the server learns and remembers

    def _learn(self, world: World) -> None:
        now_s = EPOCH_S + world.now_s
        if world.now_s - self._sampled_s >= growth.step_s(self._options.cold_s):
            self._sampled_s = world.now_s
            busy = len(world.bots) - len(world.idle) - len(world.background) - world.away
            self._growing.add(busy + len(world.pending))
            if self._growing.p90 != self._gate.growth_p90:
                self._gate = replace(self._gate, growth_p90=self._growing.p90)
        if self._minds is None or not (self._turnover.pass_on(now_s) or self._memories.is_due(now_s)):
            return
        fleet, outlook = self._minds.fleet, self._minds.outlook
        fleet.advance(now_s)
        self._memories.look(outlook.expected_per_s(), now_s)
        weights = dict(self._memories.weights)
        fleet.view = replace(fleet.view, states_put_per_s=self._turnover.per_s, memory_weights=weights)
        outlook.turned()

    def _keep_gate(self, is_open: bool, below_since_s: float) -> None:
        if (is_open, below_since_s) != (self._gate.open, self._gate.below_since_s):
            self._gate = replace(self._gate, open=is_open, below_since_s=below_since_s)

    def _keep_level(self, world: World) -> None:
        """The utilization gate's memory goes on where nothing is decided."""
        alive = len(world.bots) - world.away
        busy = alive - len(world.idle) - len(world.background)
        level = utilization(busy, min(len(world.pending), alive - busy), alive)
        now_s = EPOCH_S + world.now_s
        self._keep_gate(*hysteresis(level, self._thresholds, self._gate.open, self._gate.below_since_s, now_s))

    def view(self, world: World) -> PoolView:
        """The pool as the server would see it now."""
        for number, task in world.pending.items():
            if number not in self._tasks:
                self._wait(task)
        return PoolView(
            pool=POOL,
            now_s=EPOCH_S + world.now_s,
            view_age_s=0.0,
            bots=tuple([self._mirror.bot(world, bot) for bot in world.bots]),
            pending=tuple([self._tasks[number] for number in world.pending]),
            specs=tuple(self._specs.values()),
            demand=self._demands.families,
            thresholds=self._thresholds,
            gate=self._gate,
            generation_demand=self._demands.states,
            states_put_per_s=self._turnover.per_s,
            memory_weights=dict(self._memories.weights),
            bets=self._bets.ledger,
            announcements=self._announcements(EPOCH_S + world.now_s),
        )


def _cleaning(options: Options) -> Spec:
    """The spec by which bots are cleaned."""
    return Spec(CLEAN, "", 1, DIRT, DIMENSIONS, purpose=Purpose.CLEAN, run_s=options.clean_s)
