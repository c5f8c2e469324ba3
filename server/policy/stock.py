"""What the pool holds of each warm state, and what each copy of it is worth."""

from __future__ import annotations

from collections import defaultdict

from server.policy.fleet import HOLDING, Fleet, State
from server.policy.model import Bot, Phase, Slot, Spec
from server.policy.outlook import Outlook

_Holder = tuple[bool, float, float, str, str]
"""A copy: (stale, −last use, −since, bot, slot). In this order the copy that is used next comes first."""


class Stock:
    """Copies of each state on idle bots and their worth, in seconds of waiting that each is expected to save.

    The copy used last is the first to be used again, so the one used longest ago is worth least. The counts move while
    a plan is made: `hand_out()` takes one copy away and adds one that warms.
    """

    def __init__(self, fleet: Fleet, outlook: Outlook) -> None:
        self._fleet, self._outlook, self._now_s = fleet, outlook, fleet.view.now_s
        self._idle: dict[State, int] = {}
        self._warming: dict[State, int] = defaultdict(int)
        for bot in fleet.background:
            if bot.held is not None and bot.held.family and not bot.held.stop:
                self._warming[bot.held.family, bot.held.generation] += 1
        self.asked_for: set[str] = set()
        """Bots with the copies that pending tasks ask for: the last ones to lose them."""
        self._worth_s: dict[tuple[str, str], float] = {}
        self._stragglers_s: dict[tuple[str, str], float] = {}
        self._bot_worth_s: dict[str, float] = defaultdict(float)
        self._rank_copies()

    def _rank_copies(self) -> None:
        copies: dict[State, list[_Holder]] = defaultdict(list)
        for bot in self._fleet.idle:
            for name, slot in bot.slots.items():
                if slot.phase in HOLDING:
                    holder = (self.is_stale(slot), -slot.last_used_s, -slot.since_s, bot.id, name)
                    copies[slot.family, slot.generation].append(holder)
        former: dict[str, list[_Holder]] = defaultdict(list)
        for state, holders in copies.items():
            holders.sort()
            self._idle[state] = sum(1 for holder in holders if not holder[0])
            spec = self._fleet.specs.get(state[0])
            if spec is None or spec.generation == state[1]:
                self._value_current(state, holders, spec is not None)
            else:
                self._value_stragglers(state, holders)
                former[state[0]].extend(holders)
        for family, others in former.items():
            self._value_former(family, sorted(others))
        for state, holders in copies.items():
            self._note_asked(state, holders)
        for (bot_id, _), worth_s in self._worth_s.items():
            self._bot_worth_s[bot_id] += worth_s

    def _value_current(self, state: State, holders: list[_Holder], has_spec: bool) -> None:
        """Copies of the generation that is warmed now; one past its freshness is worth nothing."""
        curve, saved_s = self._outlook.curve(state), self._outlook.saved_s(state[0])
        for rank, (stale, _, _, bot_id, name) in enumerate(holders, start=1):
            self._worth_s[bot_id, name] = 0.0 if stale and has_spec else curve.at(rank) * saved_s

    def _value_stragglers(self, state: State, holders: list[_Holder]) -> None:
        """Copies of another generation, for the tasks that ask for just that one."""
        if not state[1]:
            return
        curve, saved_s = self._outlook.curve(state), self._outlook.saved_s(state[0])
        for rank, (_, _, _, bot_id, name) in enumerate(holders, start=1):
            self._stragglers_s[bot_id, name] = curve.at(rank) * saved_s

    def _value_former(self, family: str, others: list[_Holder]) -> None:
        """The same copies for the tasks that take any generation: they serve once the current copies are used up."""
        spec = self._fleet.specs[family]
        curve, saved_s = self._outlook.curve((family, "")), self._outlook.saved_s(family)
        current = self._idle.get((family, spec.generation), 0)
        for rank, (_, _, _, bot_id, name) in enumerate(others, start=current + 1):
            stragglers_s = self._stragglers_s.get((bot_id, name), 0.0)
            self._worth_s[bot_id, name] = max(stragglers_s, curve.at(rank) * saved_s)

    def _note_asked(self, state: State, holders: list[_Holder]) -> None:
        """As many copies as pending tasks ask for are worth a whole cold start each."""
        wished = self._fleet.wished
        asked = wished.get(state, 0) + (wished.get((state[0], ""), 0) if state[1] else 0)
        for _, _, _, bot_id, name in holders[:asked]:
            self._worth_s[bot_id, name] = self._outlook.saved_s(state[0])
            self.asked_for.add(bot_id)

    def is_stale(self, slot: Slot) -> bool:
        """Whether the state is known to be stale, or is past its spec's freshness."""
        if slot.phase is not Phase.WARM:
            return True
        spec = self._fleet.specs.get(slot.family)
        return spec is not None and self._now_s - slot.since_s > spec.fresh_for_s

    def next_copy(self, spec: Spec) -> int:
        """Which copy of the spec's state the next warmed bot would be, from 1."""
        state = (spec.family, spec.generation)
        return self._idle.get(state, 0) + self._warming.get(state, 0) + 1

    def slot_worth_s(self, bot_id: str, slot: str) -> float:
        """What the state in this slot of an idle bot is worth."""
        return self._worth_s.get((bot_id, slot), 0.0)

    def displaced_s(self, bot: Bot, spec: Spec) -> float:
        """What is lost when the bot is warmed for the spec.

        Tasks that take any generation lose nothing when a former one makes place for its successor.
        """
        slot = bot.slots.get(spec.slot)
        worth_s = self._stragglers_s if slot is not None and slot.family == spec.family else self._worth_s
        return worth_s.get((bot.id, spec.slot), 0.0)

    def bot_worth_s(self, bot_id: str) -> float:
        """What all warm states of an idle bot are worth."""
        return self._bot_worth_s.get(bot_id, 0.0)

    def hand_out(self, spec: Spec, bot: Bot) -> None:
        """The bot warms for the spec from now on: one copy more of that state, one less of what its slot held."""
        self._warming[spec.family, spec.generation] += 1
        slot = bot.slots.get(spec.slot)
        if slot is not None and slot.phase in HOLDING and not self.is_stale(slot):
            self._idle[slot.family, slot.generation] -= 1
