"""All that thinks about one fleet, together; it outlives a decision where the fleet is kept up."""

from __future__ import annotations

from dataclasses import dataclass

from server.policy.appraise import Appraiser
from server.policy.fleet import Fleet
from server.policy.outlook import Outlook
from server.policy.stock import Stock
from server.policy.victims import Victims


@dataclass(frozen=True, slots=True)
class Minds:
    """The fleet, what is expected to be asked of it, what it holds, and what more would be worth."""

    fleet: Fleet
    outlook: Outlook
    stock: Stock
    appraiser: Appraiser
    victims: Victims

    @classmethod
    def about(cls, fleet: Fleet) -> Minds:
        """Nothing is known yet but the fleet."""
        outlook = Outlook(fleet)
        stock = Stock(fleet, outlook)
        return cls(fleet, outlook, stock, Appraiser(fleet, outlook, stock), Victims(fleet, stock))
