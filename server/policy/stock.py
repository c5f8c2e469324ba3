"""What the pool holds of each warm state, and what one copy of it is worth."""

from __future__ import annotations

from server.policy.at_hand import HOLDING
from server.policy.feed import Feed
from server.policy.fleet import Fleet
from server.policy.model import Bot, Slot, Spec
from server.policy.outlook import Outlook
from server.policy.queues import State


def touched_s(slot: Slot) -> float:
    """When its state was last used, or made."""
    return max(slot.last_used_s, slot.since_s)


class Stock:
    """Copies of each state on idle bots and their worth, in seconds of waiting that each is expected to save.

    Whichever copy goes, the last one is what the pool has less: all copies of a state are worth the same.
    """

    def __init__(self, fleet: Fleet, outlook: Outlook) -> None:
        self._fleet, self._outlook = fleet, outlook
        self._read, self._at_s, self._turns = fleet.changed.end, fleet.now_s, outlook.turns
        self._faded = outlook.faded.end
        self._worths: dict[str, dict[tuple[State, bool], float]] = {}
        """By family, since they hold until something of the family changes, or demand is looked at anew."""
        self.forgotten: Feed[str] = Feed()
        """Families of which copies may be worth something else now."""
        self.all_forgotten = 0
        """How often everything was forgotten at once, which `forgotten` does not tell."""

    def copies(self, state: State) -> int:
        """Fresh copies on idle bots."""
        return len(self._fleet.fresh.get(state, ()))

    def next_copy(self, state: State) -> int:
        """Which copy the next warmed bot would be, from 1."""
        made = len(self._fleet.warming.get(state, ())) + len(self._fleet.cleaning.get(state, ()))
        return self.copies(state) + made + 1

    def is_asked_for(self, state: State) -> bool:
        """Whether pending tasks wish for all the copies that there are: the last ones to be given up."""
        wished = self._fleet.queues.wished
        if not wished:
            return False
        asked = wished.get(state, 0) + (wished.get((state[0], ""), 0) if state[1] else 0)
        return asked >= max(1, self.copies(state))

    def worth_s(self, state: State, *, stale: bool = False) -> float:
        """What one copy of the state is worth as things stand."""
        self.catch_up()
        of_family = self._worths.get(state[0])
        if of_family is None:
            of_family = self._worths[state[0]] = {}
        found = of_family.get((state, stale))
        if found is None:
            found = of_family[state, stale] = self._work_out(state, stale)
        return found

    def catch_up(self) -> None:
        """Forgets what does not hold any more."""
        fleet, outlook = self._fleet, self._outlook
        read, faded, at_s = self._read, self._faded, self._at_s
        is_read = read == fleet.changed.end and faded == outlook.faded.end
        if is_read and at_s == fleet.now_s and self._turns == outlook.turns:
            return
        announced = outlook.announced_families()
        self._read, self._faded, self._at_s = fleet.changed.end, outlook.faded.end, fleet.now_s
        if self._turns != outlook.turns:
            self._turns = outlook.turns
            self._worths.clear()
            self.all_forgotten += 1
            return
        for family in [*fleet.changed.since(read), *outlook.faded.since(faded)]:
            self._forget(family)
        if at_s != fleet.now_s:  # What is announced falls due, or lapses.
            for family in announced:
                self._forget(family)

    def _forget(self, family: str) -> None:
        self._worths.pop(family, None)
        self.forgotten.note(family)

    def _work_out(self, state: State, stale: bool) -> float:
        """What one copy of the state is worth; one that pending tasks ask for, a whole cold start.

        A stale copy of what a spec makes now is worth nothing. A former generation is worth what its stragglers miss,
        or what those lose that take any generation once the current copies are used up.
        """
        family, generation = state
        saved_s = self._outlook.saved_s(family)
        if self.is_asked_for(state):
            return saved_s
        spec = self._fleet.specs.get(family)
        copies = max(1, self.copies(state))
        if spec is None:
            return saved_s * self._outlook.value(state, copies)
        if generation == spec.generation:
            return 0.0 if stale else saved_s * self._outlook.value(state, copies)
        behind = self.copies((family, spec.generation)) + copies
        return max(self.stragglers_s(state), saved_s * self._outlook.value((family, ""), behind))

    def stragglers_s(self, state: State) -> float:
        """What a copy of a former generation is worth to the tasks that ask for just that one."""
        if not state[1]:
            return 0.0
        return self._outlook.saved_s(state[0]) * self._outlook.value(state, max(1, self.copies(state)))

    def given_up(self, bot: Bot, slot: str) -> str:
        """The slot whose state the idle bot gives up when something new is put into `slot`; "" when none."""
        held = bot.slots.get(slot)
        if held is not None and held.phase in HOLDING:
            return slot
        if bot.most_states:
            holding = [(touched_s(one), name) for name, one in bot.slots.items() if one.phase in HOLDING]
            if len(holding) >= bot.most_states:
                return min(holding)[1]
        return ""

    def displaced_s(self, bot: Bot, slot: str, spec: Spec | None = None) -> float:
        """What is lost when something (what the spec makes) is put into that slot of the idle bot.

        Tasks that take any generation lose nothing when a former one makes place for its successor.
        """
        name = self.given_up(bot, slot)
        if not name:
            return 0.0
        held = bot.slots[name]
        state = held.family, held.generation
        if spec is not None and state == (spec.family, spec.generation):
            return 0.0
        if spec is not None and self._succeeds(spec, held):
            return self.stragglers_s(state)
        return self.worth_s(state, stale=self._fleet.is_stale(held))

    def _succeeds(self, spec: Spec, held: Slot) -> bool:
        """Whether what is held is of the spec's own family, which is asked for the spec's generation by now."""
        return held.family == spec.family and self._fleet.is_current(spec)

    def displaced_by(self, bot: Bot, spec: Spec, probability: float) -> float:
        """What is lost when the bot is warmed for the spec: what it gives up, and the use of the rest meanwhile.

        What is given up is lost at least as far as it will be needed soon. What it would have been needed for in all
        the time that it stays is lost only if the warmed copy is not used: the task that misses that copy would have
        put the same state in the same place. `probability` is that of the use.
        """
        soon_s = self.displaced_s(bot, spec.slot, spec)
        return max(soon_s, (1.0 - probability) * self._later_s(bot, spec)) + self._kept_busy_s(bot, spec)

    def _later_s(self, bot: Bot, spec: Spec) -> float:
        """What is given up is worth so much as long as it would stay; where the spec succeeds it, it has no later."""
        name = self.given_up(bot, spec.slot)
        held = bot.slots[name] if name else None
        if held is None or self._succeeds(spec, held) or self._fleet.is_stale(held):
            return 0.0
        state = held.family, held.generation
        return self._outlook.saved_s(held.family) * self._outlook.need_in_all(state, max(1, self.copies(state)))

    def _kept_busy_s(self, bot: Bot, spec: Spec) -> float:
        """What is lost since the bot's other states can serve nobody during the run: worth · run / T of each."""
        if len(bot.slots) == 1 and spec.slot in bot.slots:
            return 0.0
        given_up, lost_s = self.given_up(bot, spec.slot), 0.0
        for name, held in bot.slots.items():
            if held.phase in HOLDING and name != given_up:
                state = held.family, held.generation
                share = min(1.0, spec.run_s / self._outlook.horizon_s(state))
                lost_s += share * self.worth_s(state, stale=self._fleet.is_stale(held))
        return lost_s

    def bot_worth_s(self, bot: Bot) -> float:
        """What all warm states of an idle bot are worth."""
        return sum(
            self.worth_s((held.family, held.generation), stale=self._fleet.is_stale(held))
            for held in bot.slots.values()
            if held.phase in HOLDING
        )
