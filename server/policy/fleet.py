"""A pool as an index: who is usable, idle, busy, what is held where, who fits what; made from a view, then kept up.

`plan()` makes one from a PoolView. The simulator keeps one for a whole replay and puts in what changed. A decision
moves it too: `begin()` and `begin_warm_up()` take the bot that was given something.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from server.policy.at_hand import HOLDING, held_states
from server.policy.dimensions import Fits, Requirement
from server.policy.feed import Feed
from server.policy.model import Bot, PendingTask, Phase, PoolView, Purpose, Slot, Spec, Wish
from server.policy.queues import Queues, State
from server.policy.uses import Use, Uses, use_of

LATE_S = 10.0
"""A bot whose poll is due for longer may be gone."""

Copies = dict[str, str]
"""Idle bots that hold a state, with the slot that it is in."""


OVERDUE_SHARE, OVERDUE_S = 1.5, 10.0
"""A warm-up that has run for 1.5 times its expected length and 10 s is overdue: it may hang, nobody counts on it."""


def overdue_s(run_s: float) -> float:
    """After how long a run of this expected length is overdue."""
    return OVERDUE_SHARE * run_s + OVERDUE_S


def newest_specs(specs: Iterable[Spec]) -> dict[str, Spec]:
    """Per family the spec of the highest sequence: the others are superseded by it."""
    newest: dict[str, Spec] = {}
    for spec in specs:
        known = newest.get(spec.family)
        if known is None or (spec.sequence, spec.revision) > (known.sequence, known.revision):
            newest[spec.family] = spec
    return newest


def count_down(counts: Counter[Any], key: object) -> None:
    """One less; what is down to nothing is no longer there."""
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]


class Fleet:
    """The bots of a pool by what they do, its pending tasks, and the index of what they fit and hold.

    `usable` bots are alive and healthy. `idle` ones hold no run and their quiet time is over. `real` and `background`
    are the usable bots that hold a run. The dimensions of a bot may not change within an index. `view` is the pool as
    it was last looked at: of its bots and tasks the index knows better.
    """

    def __init__(self, view: PoolView) -> None:
        self.view, self.now_s = view, view.now_s
        self.by_id: dict[str, Bot] = {}
        self.usable: dict[str, Bot] = {}
        self.idle: dict[str, Bot] = {}
        self.real: dict[str, Bot] = {}
        self.background: dict[str, Bot] = {}
        self.usable_in: Counter[int] = Counter()
        self.idle_in: Counter[int] = Counter()
        self.real_in: Counter[int] = Counter()
        self.held_states = 0
        """Warm states on all usable bots, in use or not."""
        self.fresh: dict[State, Copies] = defaultdict(dict)
        self.stale: dict[State, Copies] = defaultdict(dict)
        self.generations: dict[str, Counter[str]] = defaultdict(Counter)
        """Per family the generations that idle bots hold."""
        self.use_changes: Counter[str] = Counter()
        """Per family how often it changed which tasks use its states, or keep bots busy that hold them as well."""
        self.busy = Uses(self.use_changes)
        """Real tasks that use a state now."""
        self.beside = Uses(self.use_changes)
        """Real tasks on bots that hold a state as well which those do not use."""
        self.warming: dict[State, dict[str, Bot]] = defaultdict(dict)
        """Background runs that make a state and are not being stopped."""
        self.cleaning: dict[State, dict[str, Bot]] = defaultdict(dict)
        """Bots that are being cleaned, by the states that they keep."""
        self._set_specs(newest_specs(view.specs))
        self.spec_of = {(spec.family, spec.generation): spec for spec in view.specs}
        """The newest revision of each state that a spec makes, former generations included."""
        self.queues = Queues()
        self.changed: Feed[str] = Feed()
        """Families of which copies, runs, waiting tasks, the spec, the demand or what is announced changed."""
        self.moved: Feed[str] = Feed()
        """Bots that were put in anew or were given something."""
        self._begun: dict[str, State] = {}
        """Bots that a decision gave something, with the state that they use or make: until they are put in anew."""
        self._expiries: list[tuple[float, str, str]] = []
        """When states on idle bots go stale, by bot and slot; those that were used or displaced since are no more."""
        self._quiet: list[tuple[float, str]] = []
        """When bots that are kept quiet are idle."""
        requirements = {task.dimensions for task in view.pending} | {spec.dimensions for spec in view.specs}
        self.fits = Fits(view.bots, requirements)
        for bot in view.bots:
            self.put_bot(bot)
        for task in view.pending:
            self.put_task(task)

    # ---- what changes

    def advance(self, now_s: float, view: PoolView | None = None) -> None:
        """A later look at the same pool, the view where it changed; bots, tasks and specs come by `put_…()`."""
        self.now_s, self.view = now_s, self.view if view is None else view
        while self._expiries and self._expiries[0][0] < now_s:
            at_s, name, slot = heapq.heappop(self._expiries)
            if name in self.idle and self._expires_s(self.by_id[name].slots.get(slot)) == at_s:
                self.put_bot(self.by_id[name])
        while self._quiet and self._quiet[0][0] <= now_s:
            self.put_bot(self.by_id[heapq.heappop(self._quiet)[1]])

    def put_spec(self, spec: Spec) -> None:
        """Another revision or generation of a spec, or a new one; the generation before it stays known."""
        self.changed.note(spec.family)
        known = self.specs.get(spec.family)
        kept = {spec.generation, known.generation if known is not None else ""}
        for state in [one for one in self.spec_of if one[0] == spec.family and one[1] not in kept]:
            del self.spec_of[state]
        self.spec_of[spec.family, spec.generation] = spec
        self._set_specs(newest_specs([*self.specs.values(), spec]))
        self._know(spec.dimensions)
        if known is None or known.fresh_for_s != spec.fresh_for_s:
            for bot in list(self.idle.values()):
                if any(slot.family == spec.family for slot in bot.slots.values()):
                    self.put_bot(bot)

    def _set_specs(self, specs: dict[str, Spec]) -> None:
        """The newest of each family, and those of them that clean."""
        self.specs = specs
        self.cleaning_specs = [spec for spec in specs.values() if spec.purpose is Purpose.CLEAN and spec.active]

    def put_task(self, task: PendingTask) -> None:
        """A task that waits, in place of what was known of it."""
        known = self.queues.by_id.get(task.id, task)
        for wish in dict.fromkeys((*task.wishes, *known.wishes)):
            self.changed.note(wish.family)
        self._know(task.dimensions)
        self.queues.put(task)

    def drop_task(self, task: PendingTask) -> None:
        """A task that waits no longer."""
        for wish in task.wishes:
            self.changed.note(wish.family)
        self.queues.drop(task.id)

    def _know(self, requirement: Requirement) -> None:
        """Bots that looked alike so far may differ in what the requirement asks for."""
        if requirement in self.fits:
            return
        self.fits = self.fits.knowing(requirement)
        group_of = self.fits.group_of
        self.usable_in = Counter(group_of[name] for name in self.usable)
        self.idle_in = Counter(group_of[name] for name in self.idle)
        self.real_in = Counter(group_of[name] for name in self.real)

    def put_bot(self, bot: Bot) -> None:
        """A bot as it is now, in place of what was known of it."""
        if bot.id in self.usable:
            self._forget(self.by_id[bot.id])
        self._note(bot)
        self.by_id[bot.id] = bot
        if not bot.alive or bot.quarantined or bot.maintenance:
            return
        group = self.fits.group_of[bot.id]
        self.usable[bot.id] = bot
        self.usable_in[group] += 1
        for slot in bot.slots.values():
            if slot.phase in HOLDING:
                self.held_states += 1
            elif slot.phase is Phase.IN_USE and slot.family:
                self.held_states += 1
                self.busy.put((slot.family, slot.generation), bot, use_of(bot, slot.since_s))
        held = bot.held
        if held is None:
            if bot.quiet_until_s <= self.now_s:
                self._put_idle(bot, group)
            else:
                heapq.heappush(self._quiet, (bot.quiet_until_s, bot.id))
        elif held.purpose is Purpose.REAL:
            self.real[bot.id] = bot
            self.real_in[group] += 1
            self._keep_busy(bot, held.since_s)
        else:
            self.background[bot.id] = bot
            if held.purpose is Purpose.CLEAN:
                for state in held_states(bot) if not held.stop else ():
                    self.cleaning[state][bot.id] = bot
            elif held.family and not held.stop:
                self.warming[held.family, held.generation][bot.id] = bot

    def _put_idle(self, bot: Bot, group: int) -> None:
        self.idle[bot.id] = bot
        self.idle_in[group] += 1
        for name, slot in bot.slots.items():
            if slot.phase in HOLDING:
                state = slot.family, slot.generation
                copies = self.stale if self.is_stale(slot) else self.fresh
                copies[state][bot.id] = name
                self.generations[slot.family][slot.generation] += 1
                at_s = self._expires_s(slot)
                if at_s is not None and copies is self.fresh:
                    heapq.heappush(self._expiries, (at_s, bot.id, name))

    def _expires_s(self, slot: Slot | None) -> float | None:
        """When the state goes stale by age; None when it never does."""
        spec = self.specs.get(slot.family) if slot is not None else None
        if slot is None or spec is None or math.isinf(spec.fresh_for_s):
            return None
        return slot.since_s + spec.fresh_for_s

    def _keep_busy(self, bot: Bot, since_s: float, aim: State | None = None) -> None:
        """A real task keeps all from the states of the bot that it does not use; what is stale is none."""
        for slot in bot.slots.values() if len(bot.slots) > 1 else ():
            if slot.phase is Phase.WARM and (slot.family, slot.generation) != aim:
                self.beside.put((slot.family, slot.generation), bot, Use(since_s))

    def _forget(self, bot: Bot) -> None:
        """Takes a usable bot out of all but `by_id`."""
        self._note(bot)
        group = self.fits.group_of[bot.id]
        del self.usable[bot.id]
        self.usable_in[group] -= 1
        for slot in bot.slots.values():
            if slot.phase in HOLDING:
                self.held_states -= 1
            elif slot.phase is Phase.IN_USE and slot.family:
                self.held_states -= 1
                self.busy.drop((slot.family, slot.generation), bot)
        self._leave_idle(bot)
        if self.real.pop(bot.id, None) is not None:
            self.real_in[group] -= 1
            for state in held_states(bot) if len(bot.slots) > 1 else ():
                self.beside.drop(state, bot)
        begun = self._begun.pop(bot.id, None)
        if self.background.pop(bot.id, None) is not None:
            made = begun if bot.held is None else (bot.held.family, bot.held.generation)
            for state in held_states(bot):
                self.cleaning[state].pop(bot.id, None)
            if made is not None:
                self.warming[made].pop(bot.id, None)
        elif begun is not None:
            self.busy.drop(begun, bot)

    def _note(self, bot: Bot) -> None:
        """What the bot holds, runs or was given has changed, or is about to."""
        self.moved.note(bot.id)
        for slot in bot.slots.values():
            if slot.family:
                self.changed.note(slot.family)
        if bot.held is not None:
            self.changed.note(bot.held.family)
        elif bot.id in self._begun:
            self.changed.note(self._begun[bot.id][0])

    def _leave_idle(self, bot: Bot) -> None:
        if self.idle.pop(bot.id, None) is None:
            return
        self.idle_in[self.fits.group_of[bot.id]] -= 1
        for slot in bot.slots.values():
            if slot.phase in HOLDING:
                state = slot.family, slot.generation
                if self.fresh[state].pop(bot.id, None) is None:
                    self.stale[state].pop(bot.id, None)
                count_down(self.generations[slot.family], slot.generation)

    # ---- what a decision does

    def begin(self, task: PendingTask, bot: Bot, aim: State | None, makes: tuple[str, ...] = ()) -> None:
        """The idle bot runs the task from now on. `aim` is the state that it uses; states of `makes` it makes first."""
        self.drop_task(task)
        self._leave_idle(bot)
        self.real[bot.id] = bot
        self.real_in[self.fits.group_of[bot.id]] += 1
        self._keep_busy(bot, self.now_s, aim)
        if aim is not None:
            self.busy.put(aim, bot, Use(self.now_s, makes))
            self._begun[bot.id] = aim
        self._note(bot)

    def begin_warm_up(self, bot: Bot, spec: Spec) -> None:
        """The idle bot runs for the spec from now on."""
        self._leave_idle(bot)
        self.background[bot.id] = bot
        self._begun[bot.id] = made = spec.family, spec.generation
        for state in held_states(bot) if spec.purpose is Purpose.CLEAN else ():
            self.cleaning[state][bot.id] = bot
        if spec.purpose is not Purpose.CLEAN:
            self.warming[made][bot.id] = bot
        self._note(bot)

    # ---- what is asked

    def is_stale(self, slot: Slot) -> bool:
        """Whether the state is known to be stale, or is past its spec's freshness."""
        if slot.phase is not Phase.WARM:
            return True
        spec = self.specs.get(slot.family)
        return spec is not None and self.now_s - slot.since_s > spec.fresh_for_s

    def has(self, bot: Bot, spec: Spec) -> bool:
        """Whether the idle bot has the spec's state already, and fresh."""
        slot = bot.slots.get(spec.slot)
        if slot is None or (slot.family, slot.generation) != (spec.family, spec.generation):
            return False
        return slot.phase in HOLDING and not self.is_stale(slot)

    def run_spec(self, bot: Bot) -> Spec | None:
        """The spec of the background run that the bot holds or was given; None: nothing is known of such a run."""
        held = bot.held
        made = (held.family, held.generation) if held is not None else self._begun.get(bot.id)
        return self.spec_of.get(made) if made is not None else None

    def is_overdue(self, bot: Bot) -> bool:
        """Whether the bot's background run should have ended a while ago."""
        held, spec = bot.held, self.run_spec(bot)
        return held is not None and spec is not None and self.now_s - held.since_s > overdue_s(spec.run_s)

    def uses_of(self, state: State) -> list[Use]:
        """Those of real tasks that use the state; one on a cold bot that took any generation makes the current one."""
        family, generation = state
        spec = self.specs.get(family)
        is_current = generation and spec is not None and spec.generation == generation
        return self.busy.of((state, (family, "")) if is_current else (state,))

    def uses(self, wish: Wish) -> list[Use]:
        """Those of real tasks that use a state which is warm for the wish."""
        return self.uses_of((wish.family, wish.generation)) if wish.generation else self.busy.of_family(wish.family)

    def coming_well(self, wish: Wish) -> list[Bot]:
        """Bots that are being made ready for the wish, but for those on which nobody should count."""
        states = [(wish.family, wish.generation)]
        if not wish.generation:
            states = [state for state in {*self.warming, *self.cleaning} if state[0] == wish.family]
        coming = [bot for state in states for bot in self.coming(state)]
        return [bot for bot in coming if not bot.silent and not self.is_overdue(bot)]

    def working_on(self, wish: Wish) -> int:
        """Busy and warming bots, and those that are being cleaned, that will be warm for the wish."""
        return len(self.uses(wish)) + len(self.coming_well(wish))

    def coming(self, state: State) -> list[Bot]:
        """Bots that will be idle and warm for the state without a task: they are being warmed for it, or cleaned."""
        warming, cleaning = self.warming.get(state), self.cleaning.get(state)
        return [*(warming.values() if warming else ()), *(cleaning.values() if cleaning else ())]

    def is_current(self, spec: Spec) -> bool:
        """Whether it is the family's newest."""
        return self.specs.get(spec.family) is spec

    def spec_for(self, wish: Wish) -> Spec | None:
        """The spec that makes the state wished for; where any generation serves, the current one."""
        if not wish.generation:
            return self.specs.get(wish.family)
        return self.spec_of.get((wish.family, wish.generation))

    def aim(self, wishes: tuple[Wish, ...]) -> Wish | None:
        """The wish that decides how a task is served: the first that a spec knows, else the first."""
        for wish in wishes:
            if wish.family in self.specs:
                return wish
        return wishes[0] if wishes else None

    def holders(self, wish: Wish) -> list[tuple[State, Copies]]:
        """Who is idle and holds what serves the wish: fresh copies first, of generations that nobody else asks for."""
        family, generation = wish.family, wish.generation
        known = self.generations.get(family)
        if not known or (generation and generation not in known):
            return []
        states = [(family, generation)] if generation else [(family, one) for one in self._former_first(family)]
        found = [(state, self.fresh[state]) for state in states] + [(state, self.stale[state]) for state in states]
        return [(state, copies) for state, copies in found if copies]

    def _former_first(self, family: str) -> list[str]:
        """The generations that idle bots hold; the current one late, since there are tasks that take no other.

        Last comes a former one that is announced by its name.
        """
        held, spec = self.generations[family], self.specs.get(family)
        if len(held) < 2 or spec is None:
            return sorted(held)
        named = {one.generation for one in self.view.announcements if one.family == family} - {spec.generation}
        return sorted(held, key=lambda one: (one in named, one == spec.generation, one))

    def poll_order(self, bot: Bot) -> tuple[int, float, str]:
        """Sorts bots by how soon the process that plans can tell them something: held polls (0) first.

        Bots that poll another process come later: it plans for them itself, and a hand-out advised here would wait for
        a poll that comes there. Last come those of which no poll is due, or that are late: they may be gone, and what
        is meant for them would be made by nobody.
        """
        if bot.held_poll:
            return 0, 0.0, bot.id
        if bot.next_poll_s < self.now_s - LATE_S:
            return 3, -bot.next_poll_s, bot.id
        return (2 if bot.polls_elsewhere else 1), bot.next_poll_s, bot.id
