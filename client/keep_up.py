"""Starts the server and bots again that died: soon the first time, later the more often it happens in a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from client.local_fleet import Child, FleetError, LocalFleet

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
SERVER_STEADY_AFTER_S = 10.0
MOST_SERVER_DEATHS = 5
"""So many in a row, each within `SERVER_STEADY_AFTER_S` of its start, mean that the next start would end so too."""


@dataclass(slots=True)
class _Deaths:
    """Of one child: how often in a row, when it is started again (None while it runs), and when it was started last."""

    count: int = 0
    again_at_s: float | None = None
    started_s: float = 0.0


@dataclass(slots=True)
class KeepUp:
    """Looks after a fleet.

    A bot that ended with 0 was told to leave, and stays away. Any other is started again after 1, 2, 4 … 30 s; one
    that then ran for a minute begins anew with 1 s. So is the server, for which bots and clients wait meanwhile, but
    not for ever.

    Attributes:
        fleet: whose server and bots.
        tell: gets a line for each that ended.
    """

    fleet: LocalFleet
    tell: Callable[[str], None]
    _deaths: dict[str, _Deaths] = field(default_factory=dict)
    _left: set[str] = field(default_factory=set)

    def look(self, now_s: float) -> None:
        """Once in a while, with the seconds of a clock that only goes on.

        Raises:
            FleetError: the server was told to end, or ended again and again.
        """
        if self.fleet.server is not None and self.fleet.server.has_ended():
            self._look_at_server(self.fleet.server, now_s)
        for bot in [bot for bot in self.fleet.bots if bot.has_ended() and bot.name not in self._left]:
            if bot.process.returncode == 0:
                self._left.add(bot.name)
                self.tell(f"{bot.name} was told to leave and has ended; its output is in {bot.log}")
            elif self._is_due(bot, now_s, STEADY_AFTER_S):
                self.fleet.start_again(bot)

    def _look_at_server(self, server: Child, now_s: float) -> None:
        code = server.process.returncode
        if code == 0:
            raise FleetError("the server was told to stop, and has")
        if self._is_due(server, now_s, SERVER_STEADY_AFTER_S):
            self.fleet.start_server_again(server)
        elif self._deaths[server.name].count >= MOST_SERVER_DEATHS:
            times = f"{MOST_SERVER_DEATHS} times in a row, each within {SERVER_STEADY_AFTER_S:g} s of its start"
            raise FleetError(f"the server ended {times}, the last time with code {code}:\n{server.last_words()}")

    def _is_due(self, child: Child, now_s: float, steady_after_s: float) -> bool:
        """Whether a child that has ended is to be started again now; the first look tells when it will be."""
        deaths = self._deaths.setdefault(child.name, _Deaths())
        if deaths.again_at_s is not None:
            if now_s < deaths.again_at_s:
                return False
            deaths.again_at_s, deaths.started_s = None, now_s
            return True
        if now_s - deaths.started_s >= steady_after_s:
            deaths.count = 0
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(deaths.count, 10))
        deaths.count += 1
        deaths.again_at_s = now_s + pause_s
        code, name = child.process.returncode, "the server" if child is self.fleet.server else child.name
        self.tell(f"{name} ended with code {code} and starts again in {pause_s:g} s; its output is in {child.log}")
        return False
