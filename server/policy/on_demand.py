"""Whether a bot may be warmed on behalf of a task that waits: owed, so without the gates that hold back bets."""

from __future__ import annotations

from functools import cached_property

from server.policy import gates
from server.policy.fleet import Fleet
from server.policy.model import Bot, PendingTask, Purpose, Spec
from server.policy.outlook import Outlook

SOON_S = 2.0
"""A bot that does not poll within this is not warmed on demand: the task would wait for its poll first."""


class OnDemand:
    """Late binding of one moment. It wants a live pool, a fresh view, and a spec whose task makes the state alone."""

    def __init__(self, fleet: Fleet, outlook: Outlook) -> None:
        self._fleet, self._outlook = fleet, outlook

    @cached_property
    def _allowed(self) -> bool:
        view = self._fleet.view
        live = view.thresholds.mode == "live" and not view.gate.stopped
        return live and gates.fresh_view_gate(view.view_age_s, view.thresholds).passed

    def spec(self, task: PendingTask, bot: Bot) -> Spec | None:
        """The spec whose run on this bot makes what the task aims at; None where late binding is not to be had."""
        fleet = self._fleet
        aim = fleet.aim(task.wishes) if self._allowed else None
        found = fleet.spec_for(aim) if aim is not None else None
        if found is None or not found.active or found.purpose is Purpose.CLEAN or not found.may_serve_on_demand:
            return None
        if found.family in fleet.view.gate.open_breakers or not fleet.fits.fits(found.dimensions, bot.id):
            return None
        if found.run_s > self._outlook.cold_s(found.family):
            return None  # The task itself would be done with it sooner.
        if any(fleet.is_overdue(other) for other in fleet.warming.get((found.family, found.generation), {}).values()):
            return None  # Its runs may hang: one is enough.
        if gates.is_backing_off(bot, found, fleet.view.thresholds, fleet.now_s):
            return None
        return found if self._hears(bot) and not gates.is_blocked(bot) else None

    def _hears(self, bot: Bot) -> bool:
        return bot.held_poll or self._fleet.poll_order(bot)[:2] <= (1, self._fleet.now_s + SOON_S)
