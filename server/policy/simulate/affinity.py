"""Today's practice as baselines: first come first served, with and without affinity for warm bots."""

from __future__ import annotations

from server.policy.simulate.world import CLEAN, ON_DEMAND, Bot, Run, Task, World

OWED = (ON_DEMAND, CLEAN)
"""A task counts on the one, and would have to do the other itself."""


class Baseline:
    """First come, first served. What a subclass prefers is in `choose` and `victim`; news are ignored."""

    tick_s = 0.0

    def submitted(self, world: World, task: Task) -> None:
        """Nothing is learned."""

    def ended(self, world: World, bot: Bot, run: Run) -> None:
        """Nothing is learned."""

    def act(self, world: World) -> None:
        """The task that waits longest takes a bot, as long as there are both; then what is done in quiet times."""
        while world.pending and world.asking:
            task = next(iter(world.pending.values()))
            world.start(task, self.choose(world, task))
        if world.pending:
            self.preempt(world)
        else:
            self.prewarm(world)

    def choose(self, world: World, task: Task) -> Bot:
        """The bot for a task, of those that ask."""
        raise NotImplementedError

    def prewarm(self, world: World) -> None:
        """Background work, when nothing is pending."""

    def preempt(self, world: World) -> None:
        """Stops as many warm-ups as there are tasks for which no other bot is being freed, the least lost first."""
        running = [bot for bot in world.background.values() if bot.run is not None and bot.run.purpose not in OWED]
        freeing = sum(1 for bot in running if bot.run is not None and bot.run.wanted)
        if len(world.pending) <= freeing or freeing == len(running):
            return
        for bot in sorted(running, key=lambda bot: least_lost(bot, world)):
            if freeing >= len(world.pending):
                return
            if bot.run is not None and not bot.run.wanted:
                world.preempt(bot)
                freeing += 1


def least_lost(bot: Bot, world: World) -> tuple[bool, float]:
    """Order of preemption: first what ends within the grace anyway, then what is least done."""
    assert bot.run is not None
    left_s = bot.run.end_s - world.now_s
    return left_s > world.options.grace_s, -left_s


class NoAffinity(Baseline):
    """Any bot will do: the one that is idle longest."""

    def choose(self, world: World, task: Task) -> Bot:
        return next(iter(world.asking.values()))


class Affinity(Baseline):
    """A: a bot that is warm for the task, else the one whose least recently used state is the oldest (LRU)."""

    def choose(self, world: World, task: Task) -> Bot:
        found = warm_bot(world, task.key)
        return found if found is not None else self.victim(world)

    def victim(self, world: World) -> Bot:
        """The bot that is to lose a state: one with an empty slot, else by last use."""
        return least_recently_used(world)


def warm_bot(world: World, key: str) -> Bot | None:
    """The asking bot that holds the state and has been idle longest."""
    holders = world.copies.get(key)
    if not holders:
        return None
    if world.asking is world.idle:
        return next(iter(holders.values()))
    return next((bot for bot in world.asking.values() if bot.number in holders), None)


def least_recently_used(world: World) -> Bot:
    """The asking bot with an empty slot, else the one whose oldest state was used longest ago."""
    slots = world.options.slots
    if slots == 1:
        return min(world.asking.values(), key=lambda bot: next(iter(bot.states.values()), -1.0))
    return min(
        world.asking.values(),
        key=lambda bot: next(iter(bot.states.values())) if len(bot.states) >= slots else -1.0,
    )
