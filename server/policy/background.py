"""Background work for the idle bots: clean-ups that are owed, then bets, the best first, until a gate closes.

Each bet that is placed counts: it takes a bot from the reserve, a run from the shares, and makes the next copy of the
same state worth less. So several families find their balance by themselves.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from server.policy import gates
from server.policy.affinity import Dispatch
from server.policy.appraise import Appraiser
from server.policy.fleet import HOLDING, Fleet, State
from server.policy.levels import Levels
from server.policy.model import Bot, HandOut, Phase, Purpose, Spec
from server.policy.stock import Stock
from server.policy.words import named, share

_BLOCKED = frozenset({Phase.DIRTY, Phase.IN_USE, Phase.WARMING})
_SETTLED = 1e-9


class Background:
    """One round of hand-outs: `decide()` fills `hand_outs`, by bot."""

    def __init__(
        self, fleet: Fleet, stock: Stock, assigned: Dispatch, levels: Levels, superseded: dict[State, str]
    ) -> None:
        self._fleet, self._stock, self._assigned, self._levels = fleet, stock, assigned, levels
        self._view = fleet.view
        self._superseded = superseded
        self.appraiser = Appraiser(fleet, stock, levels)
        self.hand_outs: dict[str, HandOut] = {}
        self.bets = {spec.family: spec for spec in fleet.specs.values() if self._may_bet(spec)}
        self._free = [bot for bot in fleet.idle if bot.id not in assigned.by_bot]
        self._orders: dict[str, list[Bot]] = {}
        self._cursors: dict[str, Iterator[Bot]] = {}
        self._heads: dict[str, Bot] = {}

    def _may_bet(self, spec: Spec) -> bool:
        is_bet = spec.purpose not in (Purpose.CLEAN, Purpose.REAL)
        return spec.active and is_bet and (spec.family, spec.generation) not in self._superseded

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
            if spec.purpose is Purpose.CLEAN and spec.active and (spec.slot in dirty or not spec.slot)
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
            now = self.appraiser.net(spec, self._stock.slot_worth_s(bot_id, spec.slot))
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
        if self.appraiser.net(spec, 0.0) < self._view.thresholds.value_threshold:
            return
        bot = self._best_bot(spec)
        if bot is not None:
            net = self.appraiser.net(spec, self._stock.slot_worth_s(bot.id, spec.slot))
            if net >= self._view.thresholds.value_threshold:
                heapq.heappush(heap, (-net, spec.family, bot.id))

    def _best_bot(self, spec: Spec) -> Bot | None:
        """The eligible bot that loses least in the spec's slot."""
        head = self._heads.get(spec.family)
        if head is not None and head.id not in self.hand_outs:
            return head
        cursor = self._cursors.get(spec.family)
        if cursor is None:
            cursor = self._cursors[spec.family] = iter(self._by_loss(spec.slot))
        for bot in cursor:
            if self._eligible(bot, spec):
                self._heads[spec.family] = bot
                return bot
        self._heads.pop(spec.family, None)
        return None

    def _by_loss(self, slot: str) -> list[Bot]:
        found = self._orders.get(slot)
        if found is None:
            stock, poll_order = self._stock, self._fleet.poll_order
            found = self._orders[slot] = sorted(
                (bot for bot in self._free if self._levels.pending_for(bot) == 0),
                key=lambda bot: (stock.slot_worth_s(bot.id, slot), stock.bot_worth_s(bot.id), poll_order(bot)),
            )
        return found

    def _eligible(self, bot: Bot, spec: Spec) -> bool:
        if bot.id in self.hand_outs or not self._fleet.fits.fits(spec.dimensions, bot.id):
            return False
        if any(slot.phase in _BLOCKED for slot in bot.slots.values()) or self.holds(bot, spec):
            return False
        return gates.bot_gate(bot, spec, self._view.thresholds, self._view.now_s).passed

    def holds(self, bot: Bot, spec: Spec) -> bool:
        """Whether the bot has the spec's state already, and fresh."""
        slot = bot.slots.get(spec.slot)
        if slot is None or (slot.family, slot.generation) != (spec.family, spec.generation):
            return False
        return slot.phase in HOLDING and not self._stock.is_stale(slot)

    def _bet(self, heap: list[tuple[float, str, str]], spec: Spec, bot: Bot) -> None:
        value = self.appraiser.value(spec, bot)
        curve, copy = self._stock.curve((spec.family, spec.generation)), self._stock.next_copy(spec)
        purpose = Purpose.ANNOUNCED if curve.announced(copy) > curve.forecast(copy) else Purpose.FORECAST
        state = named(spec.family, spec.generation)
        text = f"Warming {bot.id} for {state} is worth {share(value.net)} of a cold start."
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
