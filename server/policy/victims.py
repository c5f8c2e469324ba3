"""Which idle bot loses least when it takes something new."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from server.policy import gates
from server.policy.cleaning import is_dirty
from server.policy.dimensions import Requirement
from server.policy.fleet import HOLDING, Fleet
from server.policy.model import Bot, Spec
from server.policy.stock import Stock, touched_s

QUARTER_S = 4.0
"""Losses that differ by less than this part of a second are alike: then the bot that hears of it first is taken."""

Loss = tuple[bool, bool, bool, int, int]
"""Dirty, asked for by pending tasks, its room is full, then in quarters of a second what is displaced and all of it."""
_Order = tuple[int, float, float, str]
_Look = tuple[int, bool, bool, str, tuple[tuple[str, str, str, bool], ...]]
"""What makes bots alike: group, dirty, a room that is shared and full, the slot given up for something new, and what
counts of the slots, fresh or not."""
_Entry = tuple[Loss, _Order, _Look]


class Looks:
    """What bots look like, remembered for as long as they stay the same."""

    def __init__(self, fleet: Fleet, stock: Stock) -> None:
        self._fleet, self._stock = fleet, stock
        self._known: dict[tuple[str, str], tuple[Bot, int, _Look]] = {}

    def of(self, bot: Bot, slot: str) -> _Look:
        """The bot's look where something new is to go into this slot.

        Where states share the room of a bot only what is given up counts: to spare bots for all that they hold would
        pile up what is rare on the others, whose states then push each other out before their time.
        """
        group = self._fleet.fits.group_of[bot.id]
        known = self._known.get((bot.id, slot))
        if known is not None and known[0] is bot and known[1] == group:
            return known[2]
        given_up, shares_room = self._stock.given_up(bot, slot), bool(bot.most_states and slot)
        counting = tuple(
            [
                (name, held.family, held.generation, self._fleet.is_stale(held))
                for name, held in bot.slots.items()
                if held.phase in HOLDING and (name == given_up or not shares_room)
            ]
        )
        look = group, is_dirty(bot), shares_room and bool(given_up), given_up, counting
        self._known[bot.id, slot] = bot, group, look
        return look


class _Pile:
    """Bots that look alike, the one to take first at the end; sorted when first asked for."""

    __slots__ = ("_sorted", "bots")

    def __init__(self) -> None:
        self.bots: list[Bot] = []
        self._sorted = False

    def ready(self, order: Callable[[Bot], _Order]) -> list[Bot]:
        if not self._sorted:
            if len(self.bots) > 1:
                self.bots.sort(key=order, reverse=True)
            self._sorted = True
        return self.bots


@dataclass(frozen=True, slots=True)
class _Heap:
    """The first bot of each pile that fits, as it stood when the fleet had this version."""

    version: int
    entries: list[_Entry]


class Victims:
    """The idle bots of a moment by what their loss costs; bots that are taken meanwhile are passed over.

    Losses are worked out for kinds of bots that look alike, and again only when such a kind comes to the front.
    """

    def __init__(self, fleet: Fleet, stock: Stock, looks: Looks, bots: Iterable[Bot]) -> None:
        self._fleet, self._stock, self._looks = fleet, stock, looks
        self._piles: dict[str, dict[_Look, _Pile]] = {}
        self._heaps: dict[tuple[Requirement, str], _Heap] = {}
        self._bots = list(bots)

    def cheapest(self, requirement: Requirement, slot: str, spec: Spec | None = None) -> Bot | None:
        """The bot that loses least by something new in this slot.

        For a spec, bots that hold its state there already, or where it failed lately, are left out.
        """
        heap = self._heaps.get((requirement, slot))
        if heap is None:
            heap = self._heaps[requirement, slot] = self._heap(requirement, slot)
        aside: list[_Entry] = []
        found: Bot | None = None
        while found is None and (bot := self._front(heap, requirement, slot)) is not None:
            found = bot if spec is None else self._unless_had(bot, spec, heap.entries[0][2], requirement)
            if found is None:
                aside.append(heapq.heappop(heap.entries))
        for one in aside:
            heapq.heappush(heap.entries, one)
        return found

    def _unless_had(self, bot: Bot, spec: Spec, look: _Look, requirement: Requirement) -> Bot | None:
        """The first bot of a pile, unless the pile has the spec's state already; the next where it failed lately."""
        if self._fleet.has(bot, spec):
            return None
        if not bot.failed_s or not self._waits(bot, spec):
            return bot
        pile = self._piles_for(spec.slot)[look]
        return next((one for one in self._others(pile, requirement) if not self._waits(one, spec)), None)

    def _front(self, heap: _Heap, requirement: Requirement, slot: str) -> Bot | None:
        """The bot that loses least of all in the heap. A pile that comes first is looked at again once the fleet
        has moved: bots are taken from it, and copies that have become fewer are worth more.
        """
        entries, is_true = heap.entries, heap.version == self._fleet.version
        while entries:
            _, order, look = entries[0]
            if is_true:
                return self._fleet.by_id[order[-1]]
            bot = self._first(self._piles_for(slot)[look], look, requirement)
            now = (self._loss(look), self._order(bot, look), look) if bot is not None else None
            if now is None:
                heapq.heappop(entries)
            elif now > entries[0]:
                heapq.heapreplace(entries, now)
            else:
                return bot
        return None

    def _heap(self, requirement: Requirement, slot: str) -> _Heap:
        entries, groups = [], self._fleet.fits.groups(requirement)
        for look, pile in self._piles_for(slot).items():
            bot = self._first(pile, look, requirement) if look[0] in groups else None
            if bot is not None:
                entries.append((self._loss(look), self._order(bot, look), look))
        heapq.heapify(entries)
        return _Heap(self._fleet.version, entries)

    def _first(self, pile: _Pile, look: _Look, requirement: Requirement) -> Bot | None:
        bots, idle = pile.ready(lambda bot: self._order(bot, look)), self._fleet.idle
        while bots and bots[-1].id not in idle:
            bots.pop()
        if not bots or not self._fleet.fits.names_a_bot(requirement):
            return bots[-1] if bots else None
        return next(iter(self._others(pile, requirement)), None)

    def _piles_for(self, slot: str) -> dict[_Look, _Pile]:
        found = self._piles.get(slot)
        if found is None:
            found = self._piles[slot] = defaultdict(_Pile)
            for bot in self._bots:
                found[self._looks.of(bot, slot)].bots.append(bot)
        return found

    def _loss(self, look: _Look) -> Loss:
        _, dirty, is_full, given_up, counting = look
        wanted, displaced_s, all_s = False, 0.0, 0.0
        for name, family, generation, stale in counting:
            state = family, generation
            worth_s = self._stock.worth_s(state, stale=stale)
            all_s += worth_s
            displaced_s += worth_s if name == given_up else 0.0
            wanted = wanted or self._stock.is_asked_for(state)
        return dirty, wanted, is_full, int(displaced_s * QUARTER_S), int(all_s * QUARTER_S)

    def _order(self, bot: Bot, look: _Look) -> _Order:
        """Who hears first, then whose state was used longest ago; where none counts, who is idle longest."""
        rank, poll_s, name = self._fleet.poll_order(bot)
        given_up, counting = look[3], look[4]
        if given_up:
            return rank, poll_s, touched_s(bot.slots[given_up]), name
        used_s = [touched_s(bot.slots[one[0]]) for one in counting]
        return rank, poll_s, min(used_s, default=bot.idle_since_s), name

    def _others(self, pile: _Pile, requirement: Requirement) -> Iterable[Bot]:
        """The bots of a pile that are idle and fit, the first to take first."""
        idle, fits = self._fleet.idle, self._fleet.fits
        return (bot for bot in reversed(pile.bots) if bot.id in idle and fits.fits(requirement, bot.id))

    def _waits(self, bot: Bot, spec: Spec) -> bool:
        return gates.is_backing_off(bot, spec, self._fleet.view.thresholds, self._fleet.now_s)
