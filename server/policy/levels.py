"""How full the pool stands while a plan is made: the counts that the gates compare with their thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property

from server.policy import gates
from server.policy.dimensions import Requirement
from server.policy.dispatch import Dispatch
from server.policy.fleet import Fleet
from server.policy.model import Bot, Purpose, Spec
from server.policy.outcome import GateCheck
from server.policy.utilization import hysteresis, utilization

_SpecChecks = tuple[GateCheck, list[GateCheck], list[GateCheck]]


class Levels:
    """Counts per group of like bots and in all. They move with the fleet; `moved()` tells of each hand-out."""

    def __init__(self, fleet: Fleet, assigned: Dispatch) -> None:
        self.fleet, self.view = fleet, fleet.view
        self._known: dict[str, _SpecChecks] = {}
        self._pending: Counter[int] = Counter()
        self._pending_by_id: dict[Requirement, int] = {}
        waiting = self._count_pending(assigned)
        self._assigned, self._handed_out = assigned, 0
        self.utilization = utilization(len(fleet.real), waiting, len(fleet.usable))
        self.gate_open, self.below_since_s = hysteresis(
            self.utilization, self.view.thresholds, self.view.gate.open, self.view.gate.below_since_s, fleet.now_s
        )

    @cached_property
    def running(self) -> Counter[str]:
        """Background runs by family, under way or handed out."""
        held = Counter(bot.held.family for bot in self.fleet.background.values() if bot.held is not None)
        held.update(hand_out.family for hand_out in self._assigned.hand_outs.values())
        return held

    @property
    def _recent(self) -> int:
        """Hand-outs of the last minute and of this plan."""
        before = gates.recent_hand_outs(self.view.gate, self.fleet.now_s)
        return before + len(self._assigned.hand_outs) + self._handed_out

    @property
    def idle_left(self) -> int:
        """Idle, untouched bots."""
        return len(self.fleet.idle)

    @property
    def running_all(self) -> int:
        """Background runs under way or handed out."""
        return len(self.fleet.background)

    def _count_pending(self, assigned: Dispatch) -> int:
        """Fills the pending counts; returns how many more bots the tasks without one could occupy.

        A task that is covered asks for no bot: one is being made ready for it.
        """
        fleet, waiting = self.fleet, 0
        if not fleet.queues.asked and not assigned.by_task:
            return 0
        asked = dict(fleet.queues.asked)
        for covered in assigned.counted_on.values():
            asked[fleet.queues.by_id[covered].dimensions] -= 1
        for requirement, number in asked.items():
            groups = fleet.fits.groups(requirement)
            free = sum(fleet.usable_in[group] - fleet.real_in[group] for group in groups)
            waiting += min(number, free)
        for made in assigned.by_task.values():
            asked[made.task.dimensions] = asked.get(made.task.dimensions, 0) + 1
        for requirement, number in asked.items():
            if number and fleet.fits.names_a_bot(requirement):
                self._pending_by_id[requirement] = number
            elif number:
                for group in fleet.fits.groups(requirement):
                    self._pending[group] += number
        return waiting

    @property
    def may_bet(self) -> bool:
        """Whether there is an idle bot that no pending task fits, as far as groups tell."""
        pending = self._pending
        return not pending or any(number and not pending[group] for group, number in self.fleet.idle_in.items())

    def pending_for(self, bot: Bot) -> int:
        """How many pending tasks fit the bot."""
        if not self._pending and not self._pending_by_id:
            return 0
        return self._pending[self.fleet.fits.group_of[bot.id]] + self._fitting(self._pending_by_id, bot)

    def unserved_for(self, bot: Bot) -> int:
        """How many pending tasks fit the bot and neither got one nor wait for another by choice."""
        return self._fitting(self._unserved, bot)

    def _fitting(self, asked: Mapping[Requirement, int], bot: Bot) -> int:
        fits = self.fleet.fits
        return sum(number for requirement, number in asked.items() if fits.fits(requirement, bot.id))

    @cached_property
    def _unserved(self) -> Counter[Requirement]:
        return Counter(task.dimensions for task in self._assigned.unserved)

    def idle_fitting(self, spec: Spec) -> int:
        """Idle, untouched bots that fit the spec."""
        return sum(self.fleet.idle_in[group] for group in self.fleet.fits.groups(spec.dimensions))

    def moved(self, spec: Spec) -> None:
        """A bot runs for the spec from now on."""
        self.running[spec.family] += 1
        self._handed_out += 1
        self._known.clear()

    def switch_check(self, spec: Spec | None = None) -> GateCheck:
        """Gate 1, but for shadow mode."""
        return gates.switch_gate(self.view.pool, spec, self.view.thresholds, self.view.gate)

    def utilization_check(self, spec: Spec | None = None) -> GateCheck:
        """Gate 3, for the pool, or for the bots that compete with the spec's for the same tasks if they are busier."""
        fleet, level, who = self.fleet, self.utilization, ""
        if spec is not None and fleet.fits.group_count > 1:
            groups = fleet.fits.groups(spec.dimensions)
            usable = sum(fleet.usable_in[group] for group in groups)
            part = utilization(sum(fleet.real_in[group] for group in groups), 0, usable) if usable else 0.0
            if part > level and (self.gate_open or part >= self.view.thresholds.utilization_stop):
                level, who = part, f" that fit {spec.family}"
        return gates.utilization_gate(level, self.gate_open, self.below_since_s, self.view.thresholds, fleet.now_s, who)

    def reserve_check(self, spec: Spec | None = None) -> GateCheck:
        """Gate 4 for the next hand-out: for the pool, and for the bots that fit the spec."""
        fleet, thresholds = self.fleet, self.view.thresholds
        whole = gates.reserve_gate(self.idle_left, len(fleet.usable), thresholds, self.view.gate.growth_p90)
        if spec is None or not whole.passed or fleet.fits.group_count == 1:
            return whole
        usable = sum(fleet.usable_in[group] for group in fleet.fits.groups(spec.dimensions))
        part = gates.reserve_gate(self.idle_fitting(spec), usable, thresholds, who=f" that fit {spec.family}")
        return whole if part.passed else part

    def shares_check(self, spec: Spec | None = None) -> GateCheck:
        """Gate 5 for the next hand-out, of the spec where one is named."""
        running = self.running[spec.family] if spec is not None else 0
        usable = len(self.fleet.usable)
        return gates.shares_gate(spec, self.running_all, running, usable, self.view.thresholds, self._recent)

    def view_check(self) -> GateCheck:
        """Gate 8."""
        return gates.fresh_view_gate(self.view.view_age_s, self.view.thresholds)

    def ledger_check(self) -> GateCheck:
        """Gate 9."""
        return gates.ledger_gate(self.view.gate, self.view.thresholds)

    def checks(self, bot: Bot, spec: Spec | None) -> list[GateCheck]:
        """All gates for one bot and spec, in the model's order; for a clean-up those that hold back what is owed.

        A clean-up is in no way of tasks that got a bot or wait for one by choice: whoever takes this bot later would
        have to clean it.
        """
        first, middle, last = self._spec_checks(spec)
        owed = spec is not None and spec.purpose is Purpose.CLEAN
        return [
            first,
            gates.pending_gate(bot.id, self.unserved_for(bot) if owed else self.pending_for(bot)),
            *middle,
            gates.bot_gate(bot, spec, self.view.thresholds, self.view.gate, self.fleet.now_s),
            *last,
        ]

    def _spec_checks(self, spec: Spec | None) -> _SpecChecks:
        """The gates that are the same for all bots: gate 1, those before the bot's own, those after it."""
        key = spec.family if spec is not None else ""
        found = self._known.get(key)
        if found is None:
            owed = spec is not None and spec.purpose is Purpose.CLEAN
            middle = [] if owed else [self.utilization_check(spec), self.reserve_check(spec)]
            last = [self.view_check()] if owed else [self.view_check(), self.ledger_check()]
            if spec is not None:
                middle += [] if owed else [self.shares_check(spec)]
                last.insert(0, gates.breaker_gate(spec, self.view.gate))
            found = self._known[key] = self.switch_check(spec), middle, last
        return found
