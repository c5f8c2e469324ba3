"""How long a task that was assigned to a bot which is yet to poll is kept from the others."""

from __future__ import annotations

from server.policy.dispatch import Assignment, Dispatch
from server.policy.fleet import Fleet
from server.policy.outcome import Hold
from server.policy.outlook import Outlook
from server.policy.stock import Stock
from server.policy.words import duration

POLL_SLACK_S = 1.0
"""A bot may be this late for its poll before nobody waits for it any more."""
COLD_HOLD_S = 2.0
"""Longest wait for the cold bot whose loss costs least."""


def holds(fleet: Fleet, outlook: Outlook, stock: Stock, assigned: Dispatch) -> dict[str, Hold]:
    """The holds of a dispatch, and those for the bots that it assigned tasks to."""
    found = dict(assigned.holds)
    if not assigned.by_task:
        return found
    able = [*fleet.idle.values(), *(made.bot for made in assigned.by_task.values())]
    dearest_s = max(stock.bot_worth_s(bot) for bot in able)
    for made in assigned.by_task.values():
        hold = _hold(made, fleet, outlook, stock, dearest_s)
        if hold is not None:
            found[hold.task_id] = hold
    return found


def _hold(made: Assignment, fleet: Fleet, outlook: Outlook, stock: Stock, dearest_s: float) -> Hold | None:
    """How long the others pass this task over: until its bot polls, within what waiting for it can gain.

    The bound counts from the task's creation, or from when the bot became free if that was later: planning anew never
    extends it, and the bot that was warmed for a task is not outrun by those that sit idle.
    """
    task, bot, now_s = made.task, made.bot, fleet.now_s
    if made.warm:
        gain_s = sum(outlook.saved_s(wish.family) for wish in made.warm)
    else:
        gain_s = min(COLD_HOLD_S, dearest_s - stock.bot_worth_s(bot))
    due_s = now_s if bot.held_poll else bot.next_poll_s
    if due_s <= 0.0 or due_s + POLL_SLACK_S <= now_s:
        return None
    since_s = max(task.created_s, bot.idle_since_s) if made.warm else task.created_s
    until_s = min(since_s + min(fleet.view.thresholds.affinity_hold_s, gain_s), due_s + POLL_SLACK_S)
    if task.expires_s > 0.0:
        until_s = min(until_s, task.expires_s)
    if until_s <= now_s:
        return None
    wait = f"It waits at most {duration(until_s - now_s)} for {bot.id}, which "
    if made.warm:
        text = wait + f"is warm and due to poll; a cold bot would take {duration(gain_s)} longer."
    else:
        text = wait + "is due to poll and holds what is worth least."
    return Hold(task.id, bot.id, until_s, text)
