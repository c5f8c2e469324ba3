"""How full the pool stands while a plan is made: the counts that the gates compare with their thresholds."""

from __future__ import annotations

from collections import Counter

from server.policy import gates
from server.policy.affinity import Dispatch
from server.policy.dimensions import Requirement
from server.policy.fleet import Fleet
from server.policy.model import Bot, GateCheck, Purpose, Spec
from server.policy.utilization import hysteresis, utilization

_SpecChecks = tuple[GateCheck, list[GateCheck], list[GateCheck]]


class Levels:
    """Counts per group of like bots and in all. `hand_out()` moves them: every hand-out of a plan counts at once."""

    def __init__(self, fleet: Fleet, assigned: Dispatch) -> None:
        self.fleet, self.view = fleet, fleet.view
        group_of = fleet.fits.group_of
        self._usable = Counter(group_of[bot.id] for bot in fleet.usable)
        self._real = Counter(group_of[bot.id] for bot in fleet.real)
        self._idle: Counter[int] = Counter()
        for bot in fleet.idle:
            side = self._real if bot.id in assigned.by_bot else self._idle
            side[group_of[bot.id]] += 1
        self._known: dict[str, _SpecChecks] = {}
        self._pending: Counter[int] = Counter()
        self._pending_by_id: dict[Requirement, int] = {}
        waiting = self._count_pending(assigned)
        self.idle_left = self._idle.total()
        self.running_all = len(fleet.background)
        self.running = Counter(bot.held.family for bot in fleet.background if bot.held is not None)
        self._recent = gates.recent_hand_outs(self.view.gate, self.view.now_s)
        self.utilization = utilization(len(fleet.real), waiting, len(fleet.usable))
        self.gate_open, self.below_since_s = hysteresis(
            self.utilization, self.view.thresholds, self.view.gate.open, self.view.gate.below_since_s, self.view.now_s
        )

    def _count_pending(self, assigned: Dispatch) -> int:
        """Fills the pending counts; returns how many more bots the pending tasks could occupy."""
        group_of, waiting = self.fleet.fits.group_of, 0
        busy = Counter(group_of[bot.id] for bot in self.fleet.real)
        for requirement, number in Counter(task.dimensions for task in assigned.order).items():
            groups = self.fleet.fits.groups(requirement)
            waiting += min(number, sum(self._usable[group] - busy[group] for group in groups))
            if self.fleet.fits.names_a_bot(requirement):
                self._pending_by_id[requirement] = number
            else:
                self._pending.update(dict.fromkeys(groups, number))
        return waiting

    def pending_for(self, bot: Bot) -> int:
        """How many pending tasks fit the bot."""
        fits = self.fleet.fits
        by_id = sum(number for asked, number in self._pending_by_id.items() if fits.fits(asked, bot.id))
        return self._pending[fits.group_of[bot.id]] + by_id

    def idle_fitting(self, spec: Spec) -> int:
        """Idle, untouched bots that fit the spec."""
        return sum(self._idle[group] for group in self.fleet.fits.groups(spec.dimensions))

    def hand_out(self, spec: Spec, bot: Bot) -> None:
        """The bot runs for the spec from now on."""
        self._idle[self.fleet.fits.group_of[bot.id]] -= 1
        self.idle_left -= 1
        self.running_all += 1
        self.running[spec.family] += 1
        self._recent += 1
        self._known.clear()

    def switch_check(self, spec: Spec | None = None) -> GateCheck:
        """Gate 1, but for shadow mode."""
        return gates.switch_gate(self.view.pool, spec, self.view.thresholds, self.view.gate)

    def utilization_check(self, spec: Spec | None = None) -> GateCheck:
        """Gate 3, for the pool, or for the bots that compete with the spec's for the same tasks if they are busier."""
        level, who = self.utilization, ""
        if spec is not None:
            groups = self.fleet.fits.groups(spec.dimensions)
            usable = sum(self._usable[group] for group in groups)
            part = utilization(sum(self._real[group] for group in groups), 0, usable) if usable else 0.0
            if part > level and (self.gate_open or part >= self.view.thresholds.utilization_stop):
                level, who = part, f" that fit {spec.family}"
        view = self.view
        return gates.utilization_gate(level, self.gate_open, self.below_since_s, view.thresholds, view.now_s, who)

    def reserve_check(self, spec: Spec | None = None) -> GateCheck:
        """Gate 4 for the next hand-out: for the pool, and for the bots that fit the spec."""
        thresholds = self.view.thresholds
        whole = gates.reserve_gate(self.idle_left, len(self.fleet.usable), thresholds, self.view.gate.growth_p90)
        if spec is None or not whole.passed:
            return whole
        usable = sum(self._usable[group] for group in self.fleet.fits.groups(spec.dimensions))
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
        """All gates for one bot and spec, in the model's order; for a clean-up those that hold back what is owed."""
        first, middle, last = self._spec_checks(spec)
        return [
            first,
            gates.pending_gate(bot.id, self.pending_for(bot)),
            *middle,
            gates.bot_gate(bot, spec, self.view.thresholds, self.view.gate, self.view.now_s),
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
