"""Starts bots again that died: soon the first time, later the more often it happens in a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from client.local_fleet import Child, LocalFleet

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0


@dataclass(slots=True)
class _Deaths:
    """Of one bot: how often in a row, when it is started again (None while it runs), and when it was started last."""

    count: int = 0
    again_at_s: float | None = None
    started_s: float = 0.0


@dataclass(slots=True)
class KeepUp:
    """Looks after the bots of a fleet.

    A bot that ended with 0 was told to leave, and stays away. Any other is started again after 1, 2, 4 … 30 s; one
    that then ran for a minute begins anew with 1 s.

    Attributes:
        fleet: whose bots.
        tell: gets a line for each bot that ended.
    """

    fleet: LocalFleet
    tell: Callable[[str], None]
    _deaths: dict[str, _Deaths] = field(default_factory=dict)
    _left: set[str] = field(default_factory=set)

    def look(self, now_s: float) -> None:
        """Once in a while, with the seconds of a clock that only goes on."""
        for bot in [bot for bot in self.fleet.bots if bot.has_ended() and bot.name not in self._left]:
            deaths = self._deaths.setdefault(bot.name, _Deaths())
            if bot.process.returncode == 0:
                self._left.add(bot.name)
                self.tell(f"{bot.name} was told to leave and has ended; its output is in {bot.log}")
            elif deaths.again_at_s is None:
                self._note_death(bot, deaths, now_s)
            elif now_s >= deaths.again_at_s:
                deaths.again_at_s, deaths.started_s = None, now_s
                self.fleet.start_again(bot)

    def _note_death(self, bot: Child, deaths: _Deaths, now_s: float) -> None:
        if now_s - deaths.started_s >= STEADY_AFTER_S:
            deaths.count = 0
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(deaths.count, 10))
        deaths.count += 1
        deaths.again_at_s = now_s + pause_s
        code = bot.process.returncode
        self.tell(f"{bot.name} ended with code {code} and starts again in {pause_s:g} s; its output is in {bot.log}")
