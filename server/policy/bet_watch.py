"""What became of bets, forecast or announced, read off the bots: what keeps the ledger of bets.

It looks at bots before and after each change, so it needs no word from those that act: a replay and every process of a
server keep the same book of the same fleet. A bet is won when a task uses its state while no copy is idle that was not
bet on, for then the task would have missed it; while there is one, that copy stands for the bet from then on. It has
lost when a task misses the state that it displaced while its own sits there unused, or would have missed it but for
another bet that made it again (decision 34). Either counts for a cold start of the state that was missed. What busy
copies would have saved of it is in the values; to take it off here, too, closes bets that pay (decision 23).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from server.policy.at_hand import held_states
from server.policy.bet_ledger import BetLedger
from server.policy.fleet import Fleet
from server.policy.gates import BETS
from server.policy.model import Bot, Phase, Purpose
from server.policy.outlook import Outlook
from server.policy.queues import State

_WAITS = frozenset({Phase.WARMING, Phase.WARM, Phase.STALE})


@dataclass(slots=True)
class _Bet:
    """A bet that nobody has used yet. `displaced` is what it took the place of, until a task missed it."""

    state: State
    net: float
    displaced: State | None


class BetWatch:
    """The bets of one pool that are open, and the ledger of all."""

    def __init__(self) -> None:
        self.ledger = BetLedger()
        self._known: dict[str, Bot] = {}
        self._open: dict[tuple[str, str], _Bet] = {}

    def see(self, bots: Iterable[Bot], fleet: Fleet, outlook: Outlook) -> None:
        """Books what changed. `fleet` has the bots as they are now."""
        changed = []
        for bot in bots:
            before = self._known.get(bot.id)
            self._known[bot.id] = bot
            if before is not None and before is not bot and (before.slots != bot.slots or before.held != bot.held):
                changed.append((before, bot))
        for before, bot in changed:
            self._place(before, bot, fleet, outlook)
            self._settle(bot, fleet, outlook)
        for before, bot in changed:
            for state in _missed(before, bot):
                self._lose(state, fleet, outlook)

    def _place(self, before: Bot, bot: Bot, fleet: Fleet, outlook: Outlook) -> None:
        held = bot.held
        began = held is not None and (before.held is None or before.held.task_id != held.task_id)
        if held is None or not began or held.purpose not in BETS:
            return
        gone = set(held_states(before)) - set(held_states(bot))
        state = held.family, held.generation
        self._open[bot.id, held.slot] = _Bet(state, held.net, next(iter(sorted(gone)), None))
        self.ledger = self.ledger.bet(held.net, fleet.now_s)

    def _settle(self, bot: Bot, fleet: Fleet, outlook: Outlook) -> None:
        """Bets on this bot that were used, or whose state is gone."""
        for key in [key for key in self._open if key[0] == bot.id]:
            bet, slot = self._open[key], bot.slots.get(key[1])
            if slot is not None and (slot.family, slot.generation) == bet.state:
                if slot.phase in _WAITS:
                    continue
                heir = self._copy_without_bet(bet.state, fleet)
                if heir is not None:
                    self._open[heir] = bet
                else:
                    self.ledger = self.ledger.won(bet.net, _in_cold_starts(bet.state, bet, outlook), fleet.now_s)
                    self._lose(bet.state, fleet, outlook)
            del self._open[key]

    def _copy_without_bet(self, state: State, fleet: Fleet) -> tuple[str, str] | None:
        """A copy that the pool would have had anyway: without the bet the task would have used that one.

        It is idle, or is being cleaned: dispatch waits for that rather than start cold.
        """
        cleaned = [(bot.id, name) for bot in fleet.cleaning.get(state, {}).values() for name in _slots_of(bot, state)]
        return next((key for key in [*fleet.fresh.get(state, {}).items(), *cleaned] if key not in self._open), None)

    def _lose(self, state: State, fleet: Fleet, outlook: Outlook) -> None:
        """A task missed the state, or had it of another bet: one that took its place and brought nothing pays."""
        for (bot_id, slot), bet in self._open.items():
            held = self._known[bot_id].slots.get(slot)
            if bet.displaced == state and held is not None and held.phase is Phase.WARM:
                bet.displaced = None
                self.ledger = self.ledger.lost(bet.net, _in_cold_starts(state, bet, outlook), fleet.now_s)
                return


def _in_cold_starts(missed: State, bet: _Bet, outlook: Outlook) -> float:
    """What a cold start of that state costs more than a warm one, in cold starts of the state that was bet on."""
    return outlook.saved_s(missed[0]) / max(1.0, outlook.cold_s(bet.state[0]))


def _slots_of(bot: Bot, state: State) -> list[str]:
    return [
        name for name, slot in bot.slots.items() if slot.phase is Phase.WARM and state == (slot.family, slot.generation)
    ]


def _missed(before: Bot, bot: Bot) -> list[State]:
    """States that a task began to use on this bot, or has it warmed for, which the bot did not hold."""
    held = bot.held
    if held is None or (before.held is not None and before.held.task_id == held.task_id):
        return []
    had = held_states(before)
    if held.purpose is Purpose.ON_DEMAND:
        return [(held.family, held.generation)]
    if held.purpose is not Purpose.REAL:
        return []
    used = [(slot.family, slot.generation) for slot in bot.slots.values() if slot.phase is Phase.IN_USE and slot.family]
    return [state for state in used if state not in had]
