"""What the server would do without background work, and the bound for hidden clean-ups."""

from __future__ import annotations

from dataclasses import replace

from server.policy.model import Thresholds
from server.policy.simulate.options import Options
from server.policy.simulate.pilotlight import Pilotlight, without_bets
from server.policy.simulate.world import World


class Off(Pilotlight):
    """The server's dispatch, warm-ups on demand included. It cleans nothing and bets on nothing."""

    def __init__(self, options: Options, thresholds: Thresholds) -> None:
        super().__init__(replace(options, clean_s=0.0), without_bets(thresholds), learns=False)


class CleanAtOnce(Pilotlight):
    """`off`, and every dirty bot is cleaned at once when no task takes it: no clairvoyant starts earlier."""

    def __init__(self, options: Options, thresholds: Thresholds) -> None:
        super().__init__(options, without_bets(thresholds), learns=False)

    def act(self, world: World) -> None:
        super().act(world)
        for bot in list(world.asking.values()):
            if bot.dirty:
                world.clean(bot)
