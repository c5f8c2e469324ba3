"""Dispatch: which pending real task goes to which idle bot, which one is warmed for it, and who waits for whom.

Tasks are served by priority, then by age. Within one priority:

1. *Warm match.* The oldest task for which an idle bot is warm takes that bot, before older ones that have none. Once
   the oldest task that no warm-up runs for has waited for more than 2 × cold cost + 60 s, a bot lends itself to such
   starts out of turn only while it has had fewer than 10 · c/d of them since its last cold start.
2. *Cover.* A task is covered while a warm-up runs, or the clean-up of a bot that holds its state, that no earlier task
   counts on. It asks for no bot, and takes whichever is warm and free first.
3. *Late binding.* The oldest task that is not covered meets the idle bot whose loss costs least. Where no bot is busy
   with its state or being warmed for it, or the bot is the last idle one, the task starts there and pays. Otherwise the
   bot is warmed for it, and the task stays pending, covered.
4. *Hold.* It waits for a busy bot instead while that is expected to cost less than what the bot would lose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, merge

from server.policy.at_hand import fulfilled
from server.policy.cleaning import is_dirty
from server.policy.ends import start_ups_left_s
from server.policy.fleet import Copies, overdue_s
from server.policy.minds import Minds
from server.policy.model import Bot, PendingTask, Purpose, Spec, Wish
from server.policy.on_demand import OnDemand
from server.policy.outcome import HandOut, Hold
from server.policy.outlook import DEFAULT_COLD_S, Outlook
from server.policy.queues import Kind, State, turn
from server.policy.value import erlang_excess
from server.policy.words import duration, named

OUT_OF_TURN_S = 60.0
SWITCH_SHARE = 10.0
"""Out-of-turn starts of a bot between two cold ones, in cold costs' worth of task time: switching costs a tenth."""
HOLD_SHARE = 0.5
"""A task is held for a busy bot for this share of its cold cost at most."""
MOST_HELD = 64
DEADLINE_MARGIN_S = 15.0
"""A task waits for nothing that would leave it less than this before it expires."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task and the idle bot that is to take it. `warm` are its wishes that the bot fulfils."""

    task: PendingTask
    bot: Bot
    warm: tuple[Wish, ...] = ()
    freed: bool = False
    out_of_turn: bool = False

    def why(self, outlook: Outlook) -> str:
        """In words, why this bot."""
        if self.freed:
            return f"{self.bot.id} was freed for this task."
        if self.warm:
            states = " and ".join(named(wish.family, wish.generation) for wish in self.warm)
            longer_s = sum(outlook.saved_s(wish.family) for wish in self.warm)
            return f"{self.bot.id} is warm for {states}; a cold bot would take {duration(longer_s)} longer."
        if self.task.wishes:
            states = " or ".join(named(wish.family, wish.generation) for wish in self.task.wishes)
            return f"No idle bot that fits is warm for {states}; what {self.bot.id} holds is worth least."
        return f"The task asks for no warm state; what {self.bot.id} holds is worth least."


@dataclass(slots=True)
class Dispatch:
    """The outcome: who takes what, who is warmed for which task, who waits, and for whom no idle bot was left."""

    by_bot: dict[str, Assignment] = field(default_factory=dict)
    by_task: dict[str, Assignment] = field(default_factory=dict)
    hand_outs: dict[str, HandOut] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    counted_on: dict[str, str] = field(default_factory=dict)
    """Bots whose warm-up a task waits for, with that task."""
    unserved: list[PendingTask] = field(default_factory=list)


class Dispatcher:
    """One round of dispatch; it moves the fleet."""

    def __init__(self, minds: Minds) -> None:
        self._fleet, self._outlook, self._stock, self._victims = minds.fleet, minds.outlook, minds.stock, minds.victims
        self._on_demand = OnDemand(minds.fleet, minds.outlook)
        self._coming: dict[State, list[Bot]] = {}
        self.result = Dispatch()

    def run(self) -> Dispatch:
        """Assigns the pending tasks to the idle bots."""
        fleet = self._fleet
        if not fleet.queues.by_id:
            return self.result
        self._give_freed_bots()
        for priority in fleet.queues.priorities():
            if fleet.idle:
                self._match_warm(priority)
            self._bind(priority)
        return self.result

    # ---- starts

    def _give_freed_bots(self) -> None:
        """A bot that was freed for a task is offered that task before any other."""
        fleet = self._fleet
        for task in sorted(fleet.queues.marked.values(), key=turn):
            mark = task.victim
            bot = fleet.idle.get(mark.bot) if mark is not None and fleet.now_s < mark.until_s else None
            if bot is not None and fleet.fits.fits(task.dimensions, bot.id):
                self._assign(Assignment(task, bot, fulfilled(bot, task.wishes), freed=True))

    def _assign(self, made: Assignment) -> None:
        self.result.by_bot[made.bot.id] = self.result.by_task[made.task.id] = made
        aim = self._fleet.aim(made.task.wishes)
        state = self._state_of(aim) if aim is not None else None
        makes = tuple([wish.family for wish in made.task.wishes if wish not in made.warm])
        self._fleet.begin(made.task, made.bot, state, makes)

    def _state_of(self, wish: Wish) -> State:
        """The state that a wish comes down to: where any generation serves, the current one."""
        spec = self._fleet.specs.get(wish.family)
        return wish.family, wish.generation or (spec.generation if spec is not None else "")

    # ---- warm match

    def _match_warm(self, priority: int) -> None:
        """As long as an idle bot is warm for a task of this priority, the oldest such task starts.

        Kinds for which no bot is warm are set aside for good: idle bots only become fewer.
        """
        kinds = self._fleet.queues.of(priority)
        heap = [(turn(kind.tasks[0]), number) for number, kind in enumerate(kinds)]
        heapify(heap)
        aside: list[Kind] = []
        while heap and self._fleet.idle:
            number = heappop(heap)[1]
            kind = kinds[number]
            bot = self._warm_bot(kind) if kind.tasks else None
            if bot is None:
                aside.append(kind)
                continue
            self._start_in_turn(kind.tasks[0], bot, priority, aside)
            if kind.tasks:
                heappush(heap, (turn(kind.tasks[0]), number))

    def _warm_bot(self, kind: Kind) -> Bot | None:
        """The idle bot that fits and fulfils most wishes: fresh ones first, then who hears first and loses least."""
        best: tuple[int, Bot] | None = None
        for wish in kind.wishes:
            for state, copies in self._fleet.holders(wish):
                bot = self._best_holder(kind, state, copies)
                if bot is not None:
                    met = len(fulfilled(bot, kind.wishes)) if len(kind.wishes) > 1 else 1
                    if best is None or met > best[0]:
                        best = met, bot
                    break
        return best[1] if best is not None else None

    def _best_holder(self, kind: Kind, state: State, copies: Copies) -> Bot | None:
        fleet = self._fleet
        fits = fleet.fits
        if len(copies) == 1:
            name = next(iter(copies))
            return fleet.by_id[name] if fits.fits(kind.requirement, name) else None
        bots = [fleet.by_id[name] for name in copies if fits.fits(kind.requirement, name)]

        def order(bot: Bot) -> tuple[bool, bool, int, tuple[int, float], float, str]:
            rank, poll_s, name = fleet.poll_order(bot)
            stock, alone = self._stock, len(bot.slots) == 1
            others_s = 0 if alone else round(stock.bot_worth_s(bot) - stock.worth_s(state))
            return is_dirty(bot), rank > 0, others_s, (rank, poll_s), bot.idle_since_s, name

        return min(bots, key=order, default=None)

    def _start_in_turn(self, task: PendingTask, bot: Bot, priority: int, aside: Sequence[Kind]) -> None:
        """Starts the task on the bot that is warm for it, or the older task that has waited for too long.

        Older ones are those of the kinds set aside.
        """
        fleet, late = self._fleet, False
        waited_s = max((fleet.now_s - kind.tasks[0].created_s for kind in aside if kind.tasks), default=0.0)
        head = self._oldest_uncovered(priority, bot, task) if waited_s > OUT_OF_TURN_S else None
        if head is not None:
            late = fleet.now_s - head.created_s > 2.0 * self._cold_s(head) + OUT_OF_TURN_S
            if late and bot.out_of_turn >= self._most_out_of_turn(task):
                self._assign(Assignment(head, bot, fulfilled(bot, head.wishes)))
                return
        self._assign(Assignment(task, bot, fulfilled(bot, task.wishes), out_of_turn=late))

    def _most_out_of_turn(self, task: PendingTask) -> float:
        aim = self._fleet.aim(task.wishes)
        if aim is None:
            return 0.0
        costs = self._outlook.costs(aim.family)
        return SWITCH_SHARE * costs.cold_s / max(1.0, costs.duration_s)

    def _cold_s(self, task: PendingTask) -> float:
        return max((self._outlook.cold_s(wish.family) for wish in task.wishes), default=DEFAULT_COLD_S)

    def _oldest_uncovered(self, priority: int, bot: Bot, before: PendingTask) -> PendingTask | None:
        """The oldest task older than `before` that could take the bot and that no warm-up runs for."""
        used: set[str] = set(self.result.counted_on)
        for task in self._fleet.queues.in_order(priority):
            if task is before:
                return None
            cover = self._cover_of(task, used)
            if cover:
                used.add(cover)
            elif self._fleet.fits.fits(task.dimensions, bot.id):
                return task
        return None

    def _cover_of(self, task: PendingTask, used: Set[str]) -> str:
        """The bot that is to be warm and free first for what the task aims at and that no other counts on; else ""."""
        aim = self._fleet.aim(task.wishes)
        if aim is None:
            return ""
        state, fits = self._state_of(aim), self._fleet.fits
        for bot in self._coming_to(state):
            if bot.id not in used and fits.fits(task.dimensions, bot.id) and self._is_in_time(task, bot, state):
                return bot.id
        return ""

    def _coming_to(self, state: State) -> list[Bot]:
        """Who is being warmed for the state, or holds it and is being cleaned; what is to end first at the front."""
        found = self._coming.get(state)
        if found is None:
            found = self._coming[state] = sorted(self._fleet.coming(state), key=self._ends)
        return found

    def _ends(self, bot: Bot) -> tuple[float, str]:
        """When the run is expected to end; the last where no spec says so."""
        spec = self._fleet.run_spec(bot)
        return bot.held.since_s + spec.run_s if bot.held is not None and spec is not None else math.inf, bot.id

    def _is_in_time(self, task: PendingTask, bot: Bot, state: State) -> bool:
        """Whether the run is expected to end before a cold start would, and long before the task expires.

        One that should have ended a while ago is not waited for, nor one of whose bot nothing is heard, nor one of
        which no spec says any more how long it takes.
        """
        if bot.held is None:
            return True  # It was begun a moment ago, for a task like this.
        spec = self._fleet.run_spec(bot)
        if spec is None or bot.silent:
            return False
        left_s = bot.held.since_s + spec.run_s - self._fleet.now_s
        is_soon = left_s <= self._outlook.cold_s(state[0]) and self._has_time(task, max(0.0, left_s))
        return is_soon and not self._fleet.is_overdue(bot)

    def _has_time(self, task: PendingTask, wait_s: float) -> bool:
        return not task.expires_s or self._fleet.now_s + wait_s + DEADLINE_MARGIN_S <= task.expires_s

    # ---- late binding

    def _bind(self, priority: int) -> None:
        """Tasks that are left, the oldest first: covered, held, given a bot, or unserved."""
        ranks: dict[State, int] = {}
        for task in self._first_in_turn(priority):
            aim = self._fleet.aim(task.wishes)
            if aim is None:
                self._start_cold(task, self._victim(task, None))
                continue
            state = self._state_of(aim)
            rank = ranks[state] = ranks.get(state, 0) + 1
            cover = self._cover_of(task, self.result.counted_on.keys())
            if cover:
                self._wait_for(task, self._fleet.by_id[cover], state)
                continue
            bot = self._victim(task, aim)
            spec = self._spec_to_wait_for(task, aim, bot) if bot is not None else None
            if bot is None or spec is None:
                ranks[state] -= self._start_cold(task, bot)
            elif self._should_hold(task, aim, bot, rank):
                self._hold(task, state)
            else:
                self._warm_for(task, bot, spec)

    def _first_in_turn(self, priority: int) -> list[PendingTask]:
        """As many tasks as could be served, of each kind: in a long queue the rest cannot."""
        fleet = self._fleet
        most = len(fleet.background) + (len(fleet.idle) + MOST_HELD if fleet.idle else 0)
        if not most:
            return []
        first = [kind.tasks[:most] for kind in fleet.queues.of(priority)]
        return list(merge(*first, key=turn))

    def _start_cold(self, task: PendingTask, bot: Bot | None) -> bool:
        if bot is None:
            self.result.unserved.append(task)
            return False
        self._assign(Assignment(task, bot, fulfilled(bot, task.wishes)))
        return True

    def _victim(self, task: PendingTask, aim: Wish | None) -> Bot | None:
        if not self._fleet.idle:
            return None
        return self._victims.cheapest(task.dimensions, self._slot_of(aim))

    def _slot_of(self, aim: Wish | None) -> str:
        spec = self._fleet.specs.get(aim.family) if aim is not None else None
        return spec.slot if spec is not None else ""

    def _spec_to_wait_for(self, task: PendingTask, aim: Wish, bot: Bot) -> Spec | None:
        """What to warm the bot with on the task's behalf.

        None where bots do not work on its state, this is the last idle one that fits, or there is no way or no time.
        """
        fleet = self._fleet
        fits = fleet.fits
        if not fleet.working_on(aim) or fits.names_a_bot(task.dimensions):
            return None
        idle = sum(fleet.idle_in[group] for group in fits.groups(task.dimensions))
        spec = self._on_demand.spec(task, bot) if idle > 1 else None
        return spec if spec is not None and self._has_time(task, spec.run_s) else None

    def _should_hold(self, task: PendingTask, aim: Wish, bot: Bot, rank: int) -> bool:
        """Whether waiting for one of the bots that work on the state beats a warm-up of this one.

        E[(T − c)⁺] + (c − w) · V(k, next copy) ≤ (c − w) · V(victim): the new copy's own future counts, too.
        """
        fleet, costs, state = self._fleet, self._outlook.costs(aim.family), self._state_of(aim)
        left_s = task.created_s + HOLD_SHARE * costs.cold_s - fleet.now_s
        if left_s <= 0.0 or not self._has_time(task, left_s):
            return False
        lost_s = self._stock.displaced_s(bot, self._slot_of(aim))
        future_s = costs.saved_s * self._outlook.value(state, self._stock.next_copy(state))
        if future_s > lost_s:
            return False
        ends_per_s = self._ends_per_s(aim)
        return ends_per_s > 0.0 and erlang_excess(rank, ends_per_s, costs.cold_s) + future_s <= lost_s

    def _ends_per_s(self, aim: Wish) -> float:
        """How many of the bots that work on the state are expected to be free a second: Σ 1 / (left + d + w).

        What is left is that of a cold start, or of the run that makes a bot ready.
        """
        fleet, state = self._fleet, self._state_of(aim)
        left_s = start_ups_left_s(fleet, self._outlook, aim)
        for bot in fleet.coming_well(aim):
            since_s, run_s = self._run_of(bot, state)
            left_s.append(max(0.0, since_s + run_s - fleet.now_s))
        occupied_s = self._outlook.costs(aim.family).occupied_s
        return math.fsum(1.0 / (one + occupied_s) for one in left_s)

    def _run_of(self, bot: Bot, state: State) -> tuple[float, float]:
        """When the run that makes the bot ready for the state began, now if just so, and how long it should take."""
        spec = self._fleet.run_spec(bot) or self._fleet.spec_of.get(state)
        run_s = spec.run_s if spec is not None else self._outlook.cold_s(state[0])
        return bot.held.since_s if bot.held is not None else self._fleet.now_s, run_s

    def _hold(self, task: PendingTask, state: State) -> None:
        until_s = task.created_s + HOLD_SHARE * self._outlook.cold_s(state[0])
        text = (
            f"It waits at most {duration(until_s - self._fleet.now_s)} for a bot that is busy with {named(*state)}: "
            "an idle bot would lose a state that is worth more."
        )
        self.result.holds[task.id] = Hold(task.id, "", until_s, text)

    def _wait_for(self, task: PendingTask, bot: Bot, state: State) -> None:
        self.result.counted_on[bot.id] = task.id
        since_s, run_s = self._run_of(bot, state)
        is_cleaned = bot.held is not None and bot.held.purpose is Purpose.CLEAN
        doing = "is being cleaned and warm" if is_cleaned else "is being warmed"
        text = f"{bot.id} {doing} for {named(*state)}; the task takes that bot or another that is warm sooner."
        until_s = since_s + overdue_s(run_s)
        if task.expires_s:
            until_s = min(until_s, max(self._fleet.now_s, task.expires_s - DEADLINE_MARGIN_S))
        self.result.holds[task.id] = Hold(task.id, "", until_s, text, bot.id)

    def _warm_for(self, task: PendingTask, bot: Bot, spec: Spec) -> None:
        state = spec.family, spec.generation
        text = f"{bot.id} is warmed for {task.id}, which takes the first bot that is warm for {named(*state)}."
        hand_out = HandOut(spec.family, spec.generation, spec.revision, Purpose.ON_DEMAND, None, task.id, text)
        self.result.hand_outs[bot.id] = hand_out
        self._coming_to(state).append(bot)
        self._fleet.begin_warm_up(bot, spec)
        self._wait_for(task, bot, state)
