"""How fast warm states take each other's place in a pool: it tells how long a state stays on a bot."""

from __future__ import annotations

from collections.abc import Iterable

from server.policy.model import Bot, Phase

WINDOW_S = 1800.0
KEPT = 0.7
"""Weight of the past beside each window."""
_NAMED = frozenset({Phase.WARM, Phase.IN_USE, Phase.WARMING})


class Turnover:
    """States put on bots per second, in windows of half an hour, faded."""

    def __init__(self) -> None:
        self.per_s = 0.0
        """0 until the first window has passed."""
        self._known: dict[str, tuple[object, frozenset[tuple[str, str, str]]]] = {}
        self._since_s: float | None = None
        self._puts = 0

    def see(self, bots: Iterable[Bot]) -> None:
        """Counts the states that bots have which they had not when they were last seen."""
        for bot in bots:
            known = self._known.get(bot.id)
            if known is not None and known[0] is bot.slots:
                continue
            held = frozenset(
                (name, slot.family, slot.generation)
                for name, slot in bot.slots.items()
                if slot.family and slot.phase in _NAMED
            )
            if known is not None:
                self._puts += len(held - known[1])
            self._known[bot.id] = bot.slots, held

    def pass_on(self, now_s: float) -> bool:
        """Ends the window when it is over; whether it did."""
        if self._since_s is None or now_s < self._since_s:
            self._since_s = now_s
        if now_s - self._since_s < WINDOW_S:
            return False
        rate = self._puts / (now_s - self._since_s)
        self.per_s = KEPT * self.per_s + (1.0 - KEPT) * rate if self.per_s else rate
        self._puts, self._since_s = 0, now_s
        return True
