"""The switches of a replay: the fleet, the costs, and which of the world's frictions are modelled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """One configuration of a replay. Times are seconds.

    The ideal world acts on every event at once. The real one hears later, fails, and polls.
    """

    bots: int
    cold_s: float = 60.0
    """From the start on a cold bot to useful work."""
    warm_s: float = 2.0
    """The same on a warm one."""
    slots: int = 1
    """States that a bot keeps side by side; the least recently used one makes place."""
    grace_s: float = 30.0
    """How long a stopped warm-up still occupies its bot."""
    hear_s: float = 0.0
    """Idle bots whose poll is held hear of new work after up to this long, and busy ones of a stop."""
    sleeping_polls: bool = False
    """Bots sleep between polls, as bots that are not ours do, and take work only when they ask."""
    sleep_s: float = 10.0
    """How long such a bot sleeps where the policy does not say."""
    prewarm_failures: float = 0.0
    """Share of warm-ups that fail at their end."""
    bot_lives_s: float = 0.0
    """Mean time between deaths of a bot; 0: they live for ever. A death takes its states and gives its task back."""
    repair_s: float = 600.0
    """How long a dead bot is away."""
    clean_s: float = 0.0
    """A real task leaves its bot dirty; the next pays for this clean-up first, unless the background did. 0: none."""
    skip_share: float = 0.1
    """First share of the tasks that is replayed and not counted."""

    @property
    def ideal(self) -> bool:
        """Whether nothing is modelled but the costs themselves."""
        return not (self.hear_s or self.sleeping_polls or self.prewarm_failures or self.bot_lives_s)


REAL_HEAR_S = 1.0
REAL_GRACE_S = 30.0
REAL_FAILURES = 0.01
REAL_LIVES_S = 14 * 86_400.0
"""The frictions of the realistic mode where nothing else is said: a second to hear, 1 % of warm-ups fail, a bot dies
every two weeks."""
