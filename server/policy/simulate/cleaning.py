"""The bound for hidden clean-ups: `off`, and every dirty bot is cleaned at once when no task takes it. No clairvoyant
starts earlier."""

from __future__ import annotations

from server.policy.simulate.late import LateBinding
from server.policy.simulate.world import World


class CleanAtOnce(LateBinding):
    """A bot that is being cleaned counts as a warm-up of the states that it holds: tasks wait for it."""

    def coming(self, world: World, key: str) -> int:
        return world.warming[key] + world.cleaning[key]

    def act(self, world: World) -> None:
        super().act(world)
        for bot in list(world.asking.values()):
            if bot.dirty:
                world.clean(bot)
