"""Which real tasks can be expected to end: what is left of their start-up, without those that run on and on."""

from __future__ import annotations

from server.policy.fleet import Fleet
from server.policy.model import Wish
from server.policy.outlook import Outlook


def start_ups_left_s(fleet: Fleet, outlook: Outlook, wish: Wish) -> list[float]:
    """Per task that uses a state which is warm for the wish: seconds that are left of its cold start, 0 once it works.

    One that has worked for longer than they do on average, d + w, is left out: where lengths vary much, those that run
    on are mostly the long ones.
    """
    costs, left_s = outlook.costs(wish.family), []
    for use in fleet.uses(wish):
        works_from_s = outlook.works_from_s(use)
        if fleet.now_s - works_from_s <= costs.occupied_s:
            left_s.append(max(0.0, works_from_s - fleet.now_s))
    return left_s
