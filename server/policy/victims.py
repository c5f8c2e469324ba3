"""Which idle bot loses least when it takes something new."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from server.policy.dimensions import Requirement
from server.policy.fleet import Fleet, count_down
from server.policy.looks import Look, Order, look_of, order_of
from server.policy.model import Bot, Spec
from server.policy.stock import Stock

QUARTER_S = 4.0
"""Losses that differ by less than this part of a second are alike: then the bot that hears of it first is taken."""
ROOM = 64
"""Entries of a heap that may be outdated, beside as many as there are piles."""

Loss = tuple[bool, bool, bool, int, int]
"""Dirty, asked for by pending tasks, its room is full, then in quarters of a second what is displaced and all of it."""
Test = Callable[[Bot], bool]


class _Entry(NamedTuple):
    """A pile by its first bot."""

    loss: Loss
    order: Order
    look: Look


class _Pile:
    """Idle bots that look alike. `entry` is up to date, or None."""

    __slots__ = ("entry", "orders")

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.entry: _Entry | None = None


class Victims:
    """The idle bots by what their loss costs. It outlives a decision where the fleet does."""

    def __init__(self, fleet: Fleet, stock: Stock) -> None:
        self._fleet, self._stock = fleet, stock
        self._of_slot: dict[str, _OfSlot] = {}

    def cheapest(
        self, requirement: Requirement, slot: str, spec: Spec | None = None, is_ready: Test | None = None
    ) -> Bot | None:
        """The bot that loses least by something new in this slot.

        Args:
            requirement: what the bot must fit.
            slot: where the new thing goes; "" where nothing is kept.
            spec: bots that hold its state there already are left out.
            is_ready: those that do not pass are left out.
        """
        return self._by_slot(slot).cheapest(requirement, spec, is_ready)

    def least_s(self, requirement: Requirement, slot: str) -> float:
        """What is lost of what is needed soon on the clean bot that fits and loses least; 0 where there is none."""
        return self._by_slot(slot).least_s(requirement)

    def _by_slot(self, slot: str) -> _OfSlot:
        found = self._of_slot.get(slot)
        if found is None:
            found = self._of_slot[slot] = _OfSlot(slot, self._fleet, self._stock)
        return found


class _OfSlot:
    """The idle bots in piles, by what is lost when something new goes into one slot.

    A pile is looked at again when bots joined or left it, or when what they hold may be worth something else.
    """

    def __init__(self, slot: str, fleet: Fleet, stock: Stock) -> None:
        self._slot, self._fleet, self._stock = slot, fleet, stock
        self._fits: object = None
        self._moved, self._forgotten, self._all_forgotten, self._at_s = 0, 0, -1, fleet.now_s
        self._start_again()

    def _start_again(self) -> None:
        self._piles: dict[Look, _Pile] = defaultdict(_Pile)
        self._where: dict[str, tuple[Bot, Look, Order]] = {}
        self._looks_with: dict[str, set[Look]] = defaultdict(set)
        """The looks in which something of a family counts."""
        self._polling: Counter[Look] = Counter()
        """How many bots of each look do not wait at the server: their turn depends on the time."""
        self._heaps: dict[Requirement, list[_Entry]] = {}

    # ---- asked

    def cheapest(self, requirement: Requirement, spec: Spec | None, is_ready: Test | None) -> Bot | None:
        """As for `Victims`."""
        heap = self._heap_of(requirement)
        test = self._test(requirement, is_ready)
        aside: list[_Entry] = []
        others: list[_Entry] = []  # of piles whose first bot is left out, by the first that is not
        best = self._front(heap)
        while best is not None and not (others and others[0] < best):
            bot = self._first(best.look, spec, test)
            if bot is not None and bot.id == best.order[-1]:
                break
            aside.append(heappop(heap))
            if bot is not None:
                heappush(others, best._replace(order=self._where[bot.id][2]))
            best = self._front(heap)
        for one in aside:
            heappush(heap, one)
        if others and (best is None or others[0] < best):
            best = others[0]
        return self._fleet.by_id[best.order[-1]] if best is not None else None

    def least_s(self, requirement: Requirement) -> float:
        """As for `Victims`."""
        front = self._front(self._heap_of(requirement))
        return front.loss[3] / QUARTER_S if front is not None and not front.look.dirty else 0.0

    def _heap_of(self, requirement: Requirement) -> list[_Entry]:
        """The piles that fit, as they are now, the one that loses least in front."""
        self._catch_up()
        heap = self._heaps.get(requirement)
        if heap is None or len(heap) > 2 * len(self._piles) + ROOM:
            heap = self._heaps[requirement] = self._heap(requirement)
        return heap

    def _test(self, requirement: Requirement, is_ready: Test | None) -> Test | None:
        """What a bot of a pile that fits must pass; None: nothing."""
        fits = self._fleet.fits
        if not fits.names_a_bot(requirement):
            return is_ready
        return lambda bot: fits.fits(requirement, bot.id) and (is_ready is None or is_ready(bot))

    def _first(self, look: Look, spec: Spec | None, test: Test | None) -> Bot | None:
        """The first bot of a pile that passes; none where all hold the spec's state."""
        by_id = self._fleet.by_id
        for order in self._piles[look].orders:
            bot = by_id[order[-1]]
            if spec is not None and self._fleet.has(bot, spec):
                return None
            if test is None or test(bot):
                return bot
        return None

    def _front(self, heap: list[_Entry]) -> _Entry | None:
        """The first entry that is up to date."""
        while heap:
            pile = self._piles.get(heap[0].look)
            if pile is not None and pile.entry is heap[0]:
                return heap[0]
            heappop(heap)
        return None

    def _heap(self, requirement: Requirement) -> list[_Entry]:
        groups = self._fleet.fits.groups(requirement)
        heap = [
            pile.entry for pile in self._piles.values() if pile.entry is not None and pile.entry.look.group in groups
        ]
        heapify(heap)
        return heap

    # ---- kept up

    def _catch_up(self) -> None:
        fleet, stock = self._fleet, self._stock
        stock.catch_up()
        if self._fits is not fleet.fits:
            self._fits, self._moved = fleet.fits, 0
            self._start_again()
        old = self._move()
        if self._at_s != fleet.now_s:
            self._at_s = fleet.now_s
            for look in self._polling:
                self._sort_again(look)
                old[look] = None
        if self._all_forgotten != stock.all_forgotten:
            old = dict.fromkeys(self._piles)
            self._heaps.clear()
        else:
            for family in stock.forgotten.since(self._forgotten):
                old.update(dict.fromkeys(self._looks_with.get(family, ())))
        self._all_forgotten, self._forgotten = stock.all_forgotten, stock.forgotten.end
        for look in old:
            self._look_again(look)

    def _move(self) -> dict[Look, None]:
        """Takes bots that changed from their piles to those where they belong now; which piles these are."""
        fleet, moved = self._fleet, self._fleet.moved
        names = moved.since(self._moved) if self._moved else list(fleet.idle)
        self._moved = moved.end
        piles: dict[Look, None] = {}
        for name in names:
            known, bot = self._where.pop(name, None), fleet.idle.get(name)
            if known is not None:
                self._take_out(*known)
                piles[known[1]] = None
            if bot is not None:
                look = look_of(bot, self._slot, fleet, self._stock)
                order = order_of(bot, look, fleet)
                self._where[name] = bot, look, order
                self._put_in(bot, look, order)
                piles[look] = None
        return piles

    def _take_out(self, bot: Bot, look: Look, order: Order) -> None:
        pile = self._piles[look]
        del pile.orders[bisect_left(pile.orders, order)]
        if not bot.held_poll:
            count_down(self._polling, look)
        if not pile.orders:
            del self._piles[look]
            for held in look.counting:
                self._looks_with[held.family].discard(look)

    def _put_in(self, bot: Bot, look: Look, order: Order) -> None:
        insort(self._piles[look].orders, order)
        if not bot.held_poll:
            self._polling[look] += 1
        for held in look.counting:
            self._looks_with[held.family].add(look)

    def _sort_again(self, look: Look) -> None:
        """Who is late by now comes last."""
        by_id, pile = self._fleet.by_id, self._piles[look]
        for order in pile.orders:
            bot = by_id[order[-1]]
            self._where[bot.id] = bot, look, order_of(bot, look, self._fleet)
        pile.orders = sorted(self._where[order[-1]][2] for order in pile.orders)

    def _look_again(self, look: Look) -> None:
        pile = self._piles.get(look)
        if pile is None:
            return
        entry = _Entry(self._loss(look), pile.orders[0], look)
        if entry == pile.entry:
            return
        pile.entry = entry
        fits = self._fleet.fits
        for requirement, heap in self._heaps.items():
            if look.group in fits.groups(requirement):
                heappush(heap, entry)

    def _loss(self, look: Look) -> Loss:
        wanted, displaced_s, all_s = False, 0.0, 0.0
        for name, family, generation, stale in look.counting:
            state = family, generation
            worth_s = self._stock.worth_s(state, stale=stale)
            all_s += worth_s
            displaced_s += worth_s if name == look.given_up else 0.0
            wanted = wanted or self._stock.is_asked_for(state)
        return look.dirty, wanted, look.is_full, int(displaced_s * QUARTER_S), int(all_s * QUARTER_S)
