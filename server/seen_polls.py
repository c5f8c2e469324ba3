"""What a process knows of the polls of bots: of its own at once, of those of other processes late. Who is there?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from server.policy import model
from server.policy.fleet import LATE_S

UNKNOWN_PACE_S = 20.0
"""How soon a bot polls of which no poll is known: the longest for which a poll is held."""
PLAN_LASTS_S = 3.0
"""A guess must hold until the plan that is made with it is made anew."""
OVERDUE_S = 120.0
"""A bot that is so late for the poll that it promised is not planned for; what other processes saw of it is up to a
minute old. It is declared dead only after `death_timeout_s`."""

FOREIGN_KEEP_ALIVE_S = 10.0
"""Longest silence within a run of a bot that does not take it from the config."""
KEEP_ALIVE_LATE_S = 5.0
"""What a keep-alive may take on its way."""


@dataclass(frozen=True, slots=True)
class SeenPoll:
    """The last poll of a bot that was answered here, or elsewhere."""

    at_s: float
    next_s: float
    held: bool


NEVER = SeenPoll(0.0, 0.0, False)


class Presence(NamedTuple):
    """What polls tell of a bot; the fields are those of `model.Bot`."""

    last_seen_s: float
    next_poll_s: float
    held_poll: bool
    polls_elsewhere: bool

    def is_late(self, now_s: float) -> bool:
        """Whether the bot may be gone, since its poll is due for some time: nobody to count on for a reserve."""
        return not self.held_poll and self.next_poll_s < now_s - LATE_S

    def is_overdue(self, now_s: float) -> bool:
        """Whether it is due for so long that a bot without a run is taken as gone until it polls."""
        return 0.0 < self.next_poll_s < now_s - OVERDUE_S and self.last_seen_s < now_s - OVERDUE_S


def presence(bot: model.Bot, here: SeenPoll, elsewhere: SeenPoll, now_s: float, news_after_s: float) -> Presence:
    """What is known of a bot's polls.

    One that may poll other processes too, which tell of it late, is taken to go on polling as it did until they would
    have told: else nobody would wait for a warm bot that another process saw last.

    Args:
        bot: as its record says.
        here: its last poll at this process.
        elsewhere: its last poll at any other, as far as is known.
        now_s: the present.
        news_after_s: how late other processes tell.
    """
    last = here if here.at_s >= elsewhere.at_s else elsewhere
    last_seen_s = max(bot.last_seen_s, last.at_s)
    due_s = max(last.next_s, bot.idle_since_s)  # who ended a run polls at once, whatever it was told before
    pace_s = max(0.0, last.next_s - last.at_s) if last != NEVER else UNKNOWN_PACE_S
    recent_s = now_s - pace_s - news_after_s
    if due_s < now_s and last_seen_s >= recent_s and (here == NEVER or elsewhere.at_s >= recent_s):
        due_s = now_s + max(pace_s, PLAN_LASTS_S)
    return Presence(last_seen_s, due_s, last.held, here == NEVER or last is elsewhere)


def silence_s(keep_alive_s: float, news_after_s: float) -> float:
    """After how long without a word a bot with a run may be gone: a keep-alive and a half, and what is told late."""
    return 1.5 * max(FOREIGN_KEEP_ALIVE_S, keep_alive_s) + KEEP_ALIVE_LATE_S + news_after_s


def with_presence(bot: model.Bot, known: Presence, now_s: float, silent_since_s: float = 0.0) -> model.Bot:
    """The bot as the policy may count on it.

    One with a run of which nothing was heard since `silent_since_s` may be gone; 0: it is not known what was heard.
    """
    held = bot.held
    gone = held is None and known.is_overdue(now_s)
    silent = held is not None and max(known.last_seen_s, held.since_s) < silent_since_s
    overdue = bot.alive and gone
    return replace(bot, alive=bot.alive and not gone, overdue=overdue, silent=silent, **known._asdict())
