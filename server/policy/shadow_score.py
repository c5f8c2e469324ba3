"""What a pool in shadow mode would have gained: prewarms that were decided and not made, followed as if they had been.

A decision names bots to warm now. Since nothing comes of it the next decision names them again, so what counts is how
many copies of a state it asks for beyond those that would stand there by now. A copy is ready once its run would be
done. It is used by the first cold start that wants it, on its bot or while its bot is idle; it is lost when a real task
puts another state in its place, when its bot goes, or when it grows stale. Where it would have displaced a state, the
next warm start on that state would have been cold: that is booked against it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from server.policy.decision import decide
from server.policy.fleet import Fleet
from server.policy.minds import Minds
from server.policy.model import Bot, PoolView, Purpose, Spec
from server.policy.order import superseded_states

State = tuple[str, str]
"""(family, generation)"""
Place = tuple[str, str]
"""(bot, slot)"""
NO_STATE = ("", "")


@dataclass(frozen=True, slots=True)
class WouldBe:
    """A prewarm that was decided: where, of what, what it would displace there, and what it is good for."""

    bot: str
    slot: str
    family: str
    generation: str
    run_s: float
    fresh_for_s: float
    saved_s: float
    displaces: State = NO_STATE

    @property
    def state(self) -> State:
        """What it would make."""
        return self.family, self.generation


@dataclass(frozen=True, slots=True)
class Use:
    """One slot that a real task took at its start: the state that it wanted there, and whether the slot had it.

    `generation` is "" when any served. Without a wish `family` is "".
    """

    slot: str
    family: str = ""
    generation: str = ""
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """A real task began on a bot."""

    at_s: float
    bot: str
    uses: tuple[Use, ...]


@dataclass(slots=True)
class Score:
    """Of one family: prewarms that would have been made and used, and seconds spent, saved, and lost by displacing."""

    prewarms: int = 0
    used: int = 0
    spent_s: float = 0.0
    saved_s: float = 0.0
    lost_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy that would stand there."""

    made: WouldBe
    ready_s: float
    stale_s: float

    def serves(self, use: Use, now_s: float) -> bool:
        fits = use.family == self.made.family and use.generation in ("", self.made.generation)
        return fits and self.ready_s <= now_s < self.stale_s


def decided(view: PoolView, saved_s: Mapping[str, float]) -> list[WouldBe]:
    """The bets that would be made now. `saved_s` is per family what a warm start saves; others are left out."""
    fleet = Fleet(view)
    made = decide(Minds.about(fleet), superseded_states(fleet))
    bots = {bot.id: bot for bot in view.bots}
    found = []
    for bot_id, out in made.hand_outs.items():
        spec = fleet.spec_of.get((out.family, out.generation))
        if spec is not None and out.purpose in (Purpose.FORECAST, Purpose.ANNOUNCED) and out.family in saved_s:
            displaces = _displaced(bots[bot_id], spec, fleet)
            worth_s = saved_s[out.family]
            found.append(
                WouldBe(bot_id, spec.slot, out.family, out.generation, spec.run_s, spec.fresh_for_s, worth_s, displaces)
            )
    return found


def _displaced(bot: Bot, spec: Spec, fleet: Fleet) -> State:
    """What the bot loses by it; a state that the spec's own succeeds, or is, is no loss."""
    held = bot.slots.get(spec.slot)
    if held is None or not held.family:
        return NO_STATE
    state = held.family, held.generation
    if held.family == spec.family and (fleet.is_current(spec) or held.generation == spec.generation):
        return NO_STATE
    return state


@dataclass(slots=True)
class ShadowBook:
    """The copies of one pool that would stand there, and the scores by family since the last `take()`."""

    copies: dict[Place, _Copy] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))

    def decide(self, wanted: Iterable[WouldBe], now_s: float) -> None:
        """All bets of one decision, made from the pool as it really is."""
        self.expire(now_s)
        by_state: dict[State, list[WouldBe]] = defaultdict(list)
        for one in wanted:
            by_state[one.state].append(one)
        for state, asked in by_state.items():
            standing = sum(1 for copy in self.copies.values() if copy.made.state == state)
            fresh = [one for one in asked if self._state_at(one) != state]
            for one in fresh[: max(0, len(asked) - standing)]:
                self._make(one, now_s)

    def _state_at(self, one: WouldBe) -> State:
        copy = self.copies.get((one.bot, one.slot))
        return copy.made.state if copy is not None else NO_STATE

    def _make(self, one: WouldBe, now_s: float) -> None:
        self._drop((one.bot, one.slot), now_s)
        ready_s = now_s + one.run_s
        self.copies[one.bot, one.slot] = _Copy(one, ready_s, ready_s + one.fresh_for_s)
        score = self.scores[one.family]
        score.prewarms += 1
        score.spent_s += one.run_s

    def start(self, start: Start, is_idle: Callable[[str], bool], cost_s: Callable[[str], float]) -> None:
        """A real task began.

        Args:
            start: what it wanted and found.
            is_idle: whether a bot of this name holds no run; others cannot have taken the task.
            cost_s: what a cold start of a family costs more than a warm one.
        """
        for use in start.uses:
            place, now_s = (start.bot, use.slot), start.at_s
            here = self.copies.get(place)
            if use.family and not use.warm:
                self._use(use, place, is_idle, now_s)
            elif here is not None and use.warm and here.made.displaces[0] == use.family:
                self.scores[here.made.family].lost_s += cost_s(use.family)
            self._drop(place, now_s)

    def _use(self, use: Use, place: Place, is_idle: Callable[[str], bool], now_s: float) -> None:
        """The copy of its own bot, else the one that is ready longest on a bot that is idle."""
        fitting = [at for at, copy in self.copies.items() if copy.serves(use, now_s)]
        able = [at for at in fitting if at == place or is_idle(at[0])]
        if not able:
            return
        best = min(able, key=lambda at: (at != place, self.copies[at].ready_s, at))
        made = self.copies.pop(best).made
        score = self.scores[made.family]
        score.used += 1
        score.saved_s += made.saved_s

    def _drop(self, place: Place, now_s: float) -> None:
        """A copy goes; a run that would have been under way ends early."""
        copy = self.copies.pop(place, None)
        if copy is not None and copy.ready_s > now_s:
            self.scores[copy.made.family].spent_s -= copy.ready_s - now_s

    def keep_bots(self, bots: Iterable[str], now_s: float) -> None:
        """Copies on other bots are gone with them."""
        known = set(bots)
        for place in [place for place in self.copies if place[0] not in known]:
            self._drop(place, now_s)

    def expire(self, now_s: float) -> None:
        """Copies that have grown stale go."""
        for place in [place for place, copy in self.copies.items() if copy.stale_s <= now_s]:
            del self.copies[place]

    def take(self) -> dict[str, Score]:
        """The scores since the last call."""
        taken, self.scores = dict(self.scores), defaultdict(Score)
        return taken
