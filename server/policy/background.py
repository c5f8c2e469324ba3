"""Background work for the idle bots: clean-ups that are owed, then bets, the best first, until a gate closes.

Each bet that is placed counts: it takes a bot from the reserve, a run from the shares, and makes the next copy of the
same state worth less. So several families find their balance by themselves.
"""

from __future__ import annotations

import heapq
from collections import defaultdict

from server.policy import gates
from server.policy.affinity import Dispatch
from server.policy.appraise import Appraiser
from server.policy.dimensions import Requirement
from server.policy.fleet import HOLDING, Fleet, State
from server.policy.levels import Levels
from server.policy.model import Bot, HandOut, Phase, Purpose, Spec
from server.policy.outlook import Outlook
from server.policy.stock import Stock
from server.policy.words import named, seconds, share

_SETTLED = 1e-9


class Background:
    """One round of hand-outs: `decide()` fills `hand_outs`, by bot."""

    def __init__(
        self,
        fleet: Fleet,
        outlook: Outlook,
        stock: Stock,
        assigned: Dispatch,
        levels: Levels,
        superseded: dict[State, str],
    ) -> None:
        self._fleet, self._outlook, self._stock, self._levels = fleet, outlook, stock, levels
        self._view = fleet.view
        self._superseded = superseded
        self.appraiser = Appraiser(fleet, outlook, stock, levels)
        self.hand_outs: dict[str, HandOut] = {}
        self.bets = {spec.family: spec for spec in fleet.specs.values() if self._may_bet(spec)}
        self._free = [bot for bot in fleet.idle if bot.id not in assigned.by_bot]
        self._ready = [bot for bot in self._free if self._is_ready(bot)]
        self._holders = self._by_held()
        self._orders: dict[str, list[Bot]] = {}
        self._queues: dict[tuple[Requirement, str], list[Bot]] = {}

    def _may_bet(self, spec: Spec) -> bool:
        is_bet = spec.purpose not in (Purpose.CLEAN, Purpose.REAL)
        return spec.active and is_bet and (spec.family, spec.generation) not in self._superseded

    def _is_ready(self, bot: Bot) -> bool:
        """Whether the bot may be bet on at all: nothing waits for it, and no slot of it is dirty or in doubt."""
        if self._levels.pending_for(bot):
            return False
        return gates.bot_gate(bot, None, self._view.thresholds, self._view.gate, self._view.now_s).passed

    def decide(self) -> None:
        """Places the clean-ups, then the bets."""
        for bot in self._free:
            spec = self.cleaning_spec(bot)
            if spec is not None and all(check.passed for check in self._levels.checks(bot, spec)):
                text = f"{bot.id} is dirty since its last task; a clean-up is owed."
                self._place(bot, spec, HandOut(spec.family, spec.generation, spec.revision, Purpose.CLEAN, text=text))
        levels = self._levels
        for check in (levels.switch_check(), levels.utilization_check(), levels.view_check(), levels.ledger_check()):
            if not check.passed:
                return
        self._place_bets()

    def cleaning_spec(self, bot: Bot) -> Spec | None:
        """The spec that cleans the bot: one for its dirty slot, else one without a slot; None when it is not dirty."""
        dirty = {name for name, slot in bot.slots.items() if slot.phase is Phase.DIRTY}
        if not dirty:
            return None
        fitting = [
            spec
            for spec in self._fleet.specs.values()
            if spec.purpose is Purpose.CLEAN
            and spec.active
            and (spec.slot in dirty or not spec.slot)
            and self._fleet.fits.fits(spec.dimensions, bot.id)
        ]
        return min(fitting, key=lambda spec: (spec.slot == "", spec.slot, spec.family), default=None)

    def _place_bets(self) -> None:
        heap: list[tuple[float, str, str]] = []
        for spec in self.bets.values():
            self._push(heap, spec)
        while heap:
            stood, family, bot_id = heapq.heappop(heap)
            spec = self.bets[family]
            now = self.appraiser.net(spec, self._stock.displaced_s(self._fleet.by_id[bot_id], spec))
            if bot_id in self.hand_outs or now < -stood - _SETTLED:
                self._push(heap, spec)
            elif self._gates_let_pass(spec):
                self._bet(heap, spec, self._fleet.by_id[bot_id])

    def _gates_let_pass(self, spec: Spec) -> bool:
        levels = self._levels
        return (
            levels.reserve_check(spec).passed
            and levels.shares_check(spec).passed
            and levels.utilization_check(spec).passed
            and gates.breaker_gate(spec, self._view.gate).passed
        )

    def _push(self, heap: list[tuple[float, str, str]], spec: Spec) -> None:
        if self.appraiser.net(spec) < self._view.thresholds.value_threshold:
            return
        bot = self._best_bot(spec)
        if bot is not None:
            net = self.appraiser.net(spec, self._stock.displaced_s(bot, spec))
            if net >= self._view.thresholds.value_threshold:
                heapq.heappush(heap, (-net, spec.family, bot.id))

    def _best_bot(self, spec: Spec) -> Bot | None:
        """The eligible bot that loses least in the spec's slot; on a par one that has a former generation of it."""
        queue = self._queue(spec)
        while queue and queue[-1].id in self.hand_outs:
            queue.pop()
        best = next((bot for bot in reversed(queue) if self._may_have(bot, spec)), None)
        for bot in self._holders.get((spec.family, spec.slot), ()):
            if self._may_have(bot, spec) and self._fleet.fits.fits(spec.dimensions, bot.id):
                if best is None or self._stock.displaced_s(bot, spec) <= self._stock.displaced_s(best, spec):
                    return bot
                break
        return best

    def _may_have(self, bot: Bot, spec: Spec) -> bool:
        waits = gates.backoff_until_s(bot, spec, self._view.thresholds) > self._view.now_s
        return bot.id not in self.hand_outs and not waits and not self.holds(bot, spec)

    def _by_held(self) -> dict[tuple[str, str], list[Bot]]:
        """Ready bots by (family, slot) that they hold, the one that its stragglers miss least first."""
        found: dict[tuple[str, str], list[Bot]] = defaultdict(list)
        for bot in self._ready:
            for name, slot in bot.slots.items():
                if slot.phase in HOLDING and slot.family in self.bets and self.bets[slot.family].slot == name:
                    found[slot.family, name].append(bot)
        for (family, _), bots in found.items():
            spec = self.bets[family]
            bots.sort(key=lambda bot: (self._stock.displaced_s(bot, spec), self._fleet.poll_order(bot)))
        return found

    def _queue(self, spec: Spec) -> list[Bot]:
        """The ready bots that fit the spec, the one that loses least last; shared by specs for like bots and slot."""
        key = spec.dimensions, spec.slot
        queue = self._queues.get(key)
        if queue is None:
            order = self._orders.get(spec.slot)
            if order is None:
                order = self._orders[spec.slot] = self._by_loss(spec.slot)
            queue = self._queues[key] = self._fleet.fitting(spec.dimensions, order)
        return queue

    def _by_loss(self, slot: str) -> list[Bot]:
        stock, poll_order = self._stock, self._fleet.poll_order
        return sorted(
            self._ready,
            key=lambda bot: (stock.slot_worth_s(bot.id, slot), stock.bot_worth_s(bot.id), poll_order(bot)),
            reverse=True,
        )

    def holds(self, bot: Bot, spec: Spec) -> bool:
        """Whether the bot has the spec's state already, and fresh."""
        slot = bot.slots.get(spec.slot)
        if slot is None or (slot.family, slot.generation) != (spec.family, spec.generation):
            return False
        return slot.phase in HOLDING and not self._stock.is_stale(slot)

    def _bet(self, heap: list[tuple[float, str, str]], spec: Spec, bot: Bot) -> None:
        value = self.appraiser.value(spec, bot)
        curve, copy = self._outlook.curve((spec.family, spec.generation)), self._stock.next_copy(spec)
        purpose = Purpose.ANNOUNCED if curve.announced(copy) > curve.forecast(copy) else Purpose.FORECAST
        state = named(spec.family, spec.generation)
        worth_s = value.net * self._outlook.cold_s(spec.family)
        text = f"Warming {bot.id} for {state} is worth {seconds(worth_s)}, {share(value.net)} of a cold start."
        displaced = bot.slots.get(spec.slot)
        self._place(bot, spec, HandOut(spec.family, spec.generation, spec.revision, purpose, value, text=text))
        self._push(heap, spec)
        if displaced is not None and displaced.phase in HOLDING:
            other = self.bets.get(displaced.family)
            if other is not None and other is not spec:
                self._push(heap, other)

    def _place(self, bot: Bot, spec: Spec, hand_out: HandOut) -> None:
        self.hand_outs[bot.id] = hand_out
        self._levels.hand_out(spec, bot)
        self._stock.hand_out(spec, bot)
        self.appraiser.moved()
