"""Background work for the idle bots: clean-ups that are owed, then what was announced, then bets, the best first.

Each hand-out counts at once: it takes a bot from the reserve, a run from the shares, and makes the next copy of its
state worth less. So several families find their balance by themselves.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from functools import cached_property

from server.policy import gates
from server.policy.cleaning import cleaning_spec
from server.policy.dimensions import Requirement
from server.policy.dispatch import Dispatch
from server.policy.ends import start_ups_left_s
from server.policy.levels import Levels
from server.policy.minds import Minds
from server.policy.model import Announcement, Bot, Gate, Purpose, Spec, Wish
from server.policy.outcome import GateCheck, HandOut, Value
from server.policy.promises import is_due, maker_of, makes_a_state
from server.policy.queues import State
from server.policy.ranks import SHORT_BY, Ranks
from server.policy.words import named, seconds, share

_SETTLED = 1e-9


class Background:
    """One round of hand-outs: `decide()` fills `hand_outs`, by bot, and moves the fleet."""

    def __init__(self, minds: Minds, assigned: Dispatch, superseded: dict[State, str]) -> None:
        self._fleet, self._outlook, self._stock, self._victims = minds.fleet, minds.outlook, minds.stock, minds.victims
        self._view, self._superseded, self.appraiser = minds.fleet.view, superseded, minds.appraiser
        self.levels = Levels(minds.fleet, assigned)
        self.hand_outs: dict[str, HandOut] = {}
        self.thought_ahead = False
        """Whether warm-ups ahead were considered: not where no bot is idle, tasks wait for all, or many are busy."""

    def may_bet(self, spec: Spec) -> bool:
        """Whether the spec makes a state that is bet on at all: no former generation's is."""
        return makes_a_state(spec) and (spec.family, spec.generation) not in self._superseded

    def decide(self, *, thinks_ahead: bool) -> None:
        """Places the clean-ups, then, where it is to think ahead, what was announced and the bets."""
        self._clean()
        if not thinks_ahead or not self._fleet.idle or not self.levels.gate_open or not self.levels.may_bet:
            return
        self.thought_ahead = True
        hopeful = [spec for spec in self.appraiser.promising(self._least_net) if self.may_bet(spec)]
        if (hopeful or self._view.announcements) and self._pool_lets_pass():
            if self._view.announcements:
                self._keep_promises()
            self._place_bets(hopeful)

    def _pool_lets_pass(self) -> bool:
        """The gates that are the same for all bets, but for utilization, which is asked first of all."""
        levels = self.levels
        return all(check.passed for check in (levels.switch_check(), levels.view_check(), levels.ledger_check()))

    def _is_ready(self, bot: Bot) -> bool:
        """Whether the bot may be bet on at all: nothing waits for it, and no slot of it is dirty or in doubt."""
        rested = self._fleet.now_s - bot.idle_since_s >= self._view.thresholds.min_idle_s
        return rested and not gates.is_blocked(bot) and not self.levels.pending_for(bot)

    def _is_ready_for(self, bot: Bot, spec: Spec) -> bool:
        """Whether it may be bet on the spec, which may have failed there."""
        waits = gates.is_backing_off(bot, spec, self._view.thresholds, self._fleet.now_s)
        return not waits and self._is_ready(bot)

    # ---- clean-ups

    def _clean(self) -> None:
        if not self._fleet.cleaning_specs:
            return
        for bot in list(self._fleet.idle.values()):
            spec = cleaning_spec(self._fleet, bot)
            if spec is not None and all(check.passed for check in self.levels.checks(bot, spec)):
                text = f"{bot.id} is dirty since its last task; a clean-up is owed."
                self._place(bot, spec, HandOut(spec.family, spec.generation, spec.revision, Purpose.CLEAN, text=text))

    # ---- what was announced

    def _keep_promises(self) -> None:
        """Warms for announced tasks for which a copy will be lacking, what is due first at the front.

        Supply for an entry: idle and warming copies, and of the busy ones those that probably end before half a cold
        cost after it is due: Σ (1 − e^(−(due − now + c/2 − left)/d)), where left is that of a cold start under way.
        """
        ranks: dict[State, Ranks] = {}
        for one in self._view.announcements:
            spec = maker_of(self._fleet, self._superseded, one.family, one.generation)
            if spec is None or not is_due(one, spec, self._outlook, self._fleet.now_s):
                continue
            state = spec.family, spec.generation
            if state not in ranks:
                ranks[state] = self._outlook.ranks(spec.family)
            needed = ranks[state].at(one)
            while needed - (supply := self._supply(state, one.from_s)) >= SHORT_BY:
                if not self._gates_let_pass(spec) or not self._warm_announced(spec, one, supply, needed - supply):
                    break

    def _supply(self, state: State, due_s: float) -> float:
        costs, starting_s = self._outlook.costs(state[0]), start_ups_left_s(self._fleet, self._outlook, Wish(*state))
        until_s, duration_s = due_s - self._fleet.now_s + costs.cold_s / 2.0, max(1.0, costs.duration_s)
        ended = math.fsum(-math.expm1(-max(0.0, until_s - left_s) / duration_s) for left_s in starting_s)
        return float(self._stock.next_copy(state) - 1) + ended

    def _warm_announced(self, spec: Spec, one: Announcement, supply: float, lacking: float) -> bool:
        """Warms the bot that loses least, if what was announced is worth that beside what there will be, and pays.

        Its weight is the one at which it is kept: two that are due at about the same time do not displace each other.
        """
        weight = self._outlook.weight(one)
        bot = self._best_bot(spec, weight)
        if bot is None:
            return False
        value = self.appraiser.announced(spec, weight, bot, supply, lacking)
        if value.net < self._view.thresholds.value_threshold or not self._is_granted(value.net):
            return False
        self._bet(spec, bot, Purpose.ANNOUNCED, value)
        return True

    # ---- bets

    def _place_bets(self, hopeful: Iterable[Spec]) -> None:
        if not self.levels.reserve_check().passed or not self.levels.shares_check().passed:
            return
        heap: list[tuple[float, str, str]] = []
        for spec in self._that_could_pay(hopeful):
            self._push(heap, spec)
        while heap:
            stood, family, bot_id = heapq.heappop(heap)
            spec, bot = self._fleet.specs[family], self._fleet.by_id[bot_id]
            if bot_id not in self._fleet.idle:
                self._push(heap, spec)
                continue
            now = self.appraiser.net(spec, bot)
            if now < -stood - _SETTLED:
                self._push(heap, spec)
            elif self._gates_let_pass(spec):
                displaced = bot.slots.get(self._stock.given_up(bot, spec.slot))
                self._bet(spec, bot, Purpose.FORECAST, self.appraiser.value(spec, bot))
                self._push(heap, spec)
                other = self._fleet.specs.get(displaced.family) if displaced is not None else None
                if other is not None and other is not spec and self.may_bet(other):
                    self._push(heap, other)

    def _that_could_pay(self, hopeful: Iterable[Spec]) -> list[Spec]:
        """Those whose promise is enough for the bot that loses least: found out at once for all that fit alike."""
        least_s: dict[tuple[Requirement, str], float] = {}
        found = []
        for spec in hopeful:
            alike = spec.dimensions, spec.slot
            if alike not in least_s:
                least_s[alike] = self._victims.least_s(*alike)
            if self.appraiser.promise(spec) >= self._least_on_any_bot(spec, least_s[alike]):
                found.append(spec)
        return found

    def _gates_let_pass(self, spec: Spec) -> bool:
        levels = self.levels
        return (
            levels.reserve_check(spec).passed
            and levels.shares_check(spec).passed
            and levels.utilization_check(spec).passed
            and gates.breaker_gate(spec, self._view.gate).passed
        )

    def _push(self, heap: list[tuple[float, str, str]], spec: Spec) -> None:
        least_s = self._victims.least_s(spec.dimensions, spec.slot)
        worth_it = self.appraiser.net(spec) >= self._least_on_any_bot(spec, least_s)
        bot = self._best_bot(spec, self.appraiser.probability(spec)) if worth_it else None
        if bot is not None:
            net = self.appraiser.net(spec, bot)
            if net >= self._view.thresholds.value_threshold and self._is_granted(net):
                heapq.heappush(heap, (-net, spec.family, bot.id))

    def _least_on_any_bot(self, spec: Spec, least_s: float) -> float:
        """What a bet must be worth before what it displaces: as much more as the bot loses that loses least, `least_s`.

        One that has a former generation may lose less.
        """
        cold_s = self._outlook.cold_s(spec.family)
        if cold_s <= 0.0 or self._has_former(spec):
            return self._least_net
        return self._least_net + least_s / cold_s

    def _has_former(self, spec: Spec) -> bool:
        """Whether an idle bot holds a former generation of the family, or a stale copy."""
        held = self._fleet.generations.get(spec.family, ())
        return len(held) > (spec.generation in held) or bool(self._fleet.stale.get((spec.family, spec.generation)))

    @cached_property
    def _least_net(self) -> float:
        """What a bet must be worth by the threshold and the ledger; what is worth less displaces nothing, either."""
        ledger, least = self._view.bets, self._view.thresholds.value_threshold
        return ledger.least_open(least, self._fleet.now_s) if ledger is not None else least

    def _is_granted(self, net: float) -> bool:
        """Whether gate 9 lets a bet of this value pass."""
        ledger = self._view.bets
        return ledger is None or ledger.standing(net, self._fleet.now_s).is_open

    def ledger_check(self, net: float) -> GateCheck:
        """Gate 9 for a bet of this value: those of about the same value have brought enough."""
        ledger = self._view.bets
        if ledger is None:
            return GateCheck(Gate.LEDGER, True, "No bets are on record.")
        return ledger.check(net, self._fleet.now_s)

    def _best_bot(self, spec: Spec, probability: float) -> Bot | None:
        """The ready bot that loses least of what is needed soon; on a par one that has a former generation there.

        `probability` is that with which the warmed copy will be used.
        """
        best = self._victims.cheapest(spec.dimensions, spec.slot, spec, lambda bot: self._is_ready_for(bot, spec))
        former = self._former_holder(spec, probability)
        if former is None or best is None:
            return former or best
        lost_s = self._stock.displaced_by
        return former if lost_s(former, spec, probability) <= lost_s(best, spec, probability) else best

    def _former_holder(self, spec: Spec, probability: float) -> Bot | None:
        """The ready bot that holds a former (or stale) state of the family whose stragglers miss it least.

        Where the spec is a former one itself, a stale copy of what it makes.
        """
        fleet, best = self._fleet, None
        held = fleet.generations.get(spec.family, ()) if fleet.is_current(spec) else (spec.generation,)
        for generation in held:
            state = spec.family, generation
            copies = [] if generation == spec.generation else list(fleet.fresh.get(state, ()))
            for name in [*copies, *fleet.stale.get(state, ())]:
                bot = fleet.by_id[name]
                ready = self._is_ready_for(bot, spec) and not fleet.has(bot, spec)
                if ready and fleet.fits.fits(spec.dimensions, name):
                    order = self._stock.displaced_by(bot, spec, probability), fleet.poll_order(bot)
                    if best is None or order < best[0]:
                        best = order, bot
        return best[1] if best is not None else None

    def _bet(self, spec: Spec, bot: Bot, purpose: Purpose, value: Value) -> None:
        state = named(spec.family, spec.generation)
        worth_s = value.net * self._outlook.cold_s(spec.family)
        text = f"Warming {bot.id} for {state} is worth {seconds(worth_s)}, {share(value.net)} of a cold start."
        self._place(bot, spec, HandOut(spec.family, spec.generation, spec.revision, purpose, value, text=text))

    def _place(self, bot: Bot, spec: Spec, hand_out: HandOut) -> None:
        self.hand_outs[bot.id] = hand_out
        self._fleet.begin_warm_up(bot, spec)
        self.levels.moved(spec)
