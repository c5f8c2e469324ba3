"""What makes idle bots alike to whoever asks which of them loses least."""

from __future__ import annotations

from typing import NamedTuple

from server.policy.at_hand import HOLDING
from server.policy.cleaning import is_dirty
from server.policy.fleet import Fleet
from server.policy.model import Bot
from server.policy.stock import Stock, touched_s


class Held(NamedTuple):
    """A state that counts, in its slot."""

    slot: str
    family: str
    generation: str
    stale: bool


class Look(NamedTuple):
    """Bots with the same look lose the same when something new is put into one slot.

    `group` is that of like bots, `is_full` says that states share the bot's room and all of it is taken, `given_up` is
    the slot that is given up for something new, `counting` what counts of all that the bot holds.
    """

    group: int
    dirty: bool
    is_full: bool
    given_up: str
    counting: tuple[Held, ...]


Order = tuple[int, float, float, str]
"""Who hears first, then whose state was used longest ago; the bot's name at the end."""


def look_of(bot: Bot, slot: str, fleet: Fleet, stock: Stock) -> Look:
    """The bot's look where something new is to go into this slot.

    Where states share the room of a bot only what is given up counts: to spare bots for all that they hold would pile
    up what is rare on the others, whose states then push each other out before their time.
    """
    given_up, shares_room = stock.given_up(bot, slot), bool(bot.most_states and slot)
    counting = tuple(
        [
            Held(name, held.family, held.generation, fleet.is_stale(held))
            for name, held in bot.slots.items()
            if held.phase in HOLDING and (name == given_up or not shares_room)
        ]
    )
    group = fleet.fits.group_of[bot.id]
    return Look(group, is_dirty(bot), shares_room and bool(given_up), given_up, counting)


def order_of(bot: Bot, look: Look, fleet: Fleet) -> Order:
    """Which of the bots with this look is taken first; where none of its states counts, who is idle longest."""
    rank, poll_s, name = fleet.poll_order(bot)
    if look.given_up:
        return rank, poll_s, touched_s(bot.slots[look.given_up]), name
    used_s = [touched_s(bot.slots[one.slot]) for one in look.counting]
    return rank, poll_s, min(used_s, default=bot.idle_since_s), name
