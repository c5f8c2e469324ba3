"""Why a task is pending: one answer for the commonest question, with what would change it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from server.policy.at_hand import why_unusable
from server.policy.dimensions import ID, Dimensions, Requirement, matches
from server.policy.model import Bot, PendingTask, PoolView, Purpose
from server.policy.outcome import PoolPlan
from server.policy.queues import turn
from server.policy.words import count, duration, named


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the requirement, and how many bots are left once it and those before it are asked for."""

    key: str
    values: tuple[str, ...]
    bots_left: int


@dataclass(frozen=True, slots=True)
class WhyWaiting:
    """The answer in a sentence or two, what would change it, and the funnel of dimensions behind it."""

    text: str
    would_change: str = ""
    steps: tuple[Step, ...] = ()


def why_waiting(view: PoolView, made: PoolPlan, task_id: str) -> WhyWaiting:
    """Why the task has not started, from the view and the plan made of it.

    Raises:
        KeyError: no pending task of the view has this id.
    """
    task = next((task for task in view.pending if task.id == task_id), None)
    if task is None:
        raise KeyError(task_id)
    steps = funnel(view.bots, task.dimensions)
    fitting = [bot for bot in view.bots if matches(task.dimensions, _with_id(bot))]
    if not fitting:
        return _nobody(view, steps)
    able = [bot for bot in fitting if not why_unusable(bot)]
    if not able:
        return _nobody_able(fitting, steps)
    return _held_back(view, made, task, steps) or _all_busy(view, made, task, able, steps)


def funnel(bots: tuple[Bot, ...], requirement: Requirement) -> tuple[Step, ...]:
    """How many bots are left after each entry of the requirement, in its order."""
    left, steps = list(bots), []
    for entry in requirement:
        left = [bot for bot in left if matches((entry,), _with_id(bot))]
        steps.append(Step(entry[0], entry[1], len(left)))
    return tuple(steps)


def _with_id(bot: Bot) -> Dimensions:
    return bot.dimensions if ID in bot.dimensions else {**bot.dimensions, ID: frozenset((bot.id,))}


def _nobody(view: PoolView, steps: tuple[Step, ...]) -> WhyWaiting:
    missed = next(step for step in steps if step.bots_left == 0)
    asked = " or ".join(f"`{missed.key}:{value}`" for value in missed.values)
    before = steps[: steps.index(missed)]
    text = f"No bot in {view.pool} has {asked}"
    if before and any(matches(((missed.key, missed.values),), _with_id(bot)) for bot in view.bots):
        text += " beside " + " and ".join(f"`{step.key}:{'|'.join(step.values)}`" for step in before)
    return WhyWaiting(text + ".", _nearest(view.bots, before, missed), steps)


def _nearest(bots: tuple[Bot, ...], before: tuple[Step, ...], missed: Step) -> str:
    asked = tuple((step.key, step.values) for step in before)
    values = Counter(
        value for bot in bots if matches(asked, _with_id(bot)) for value in _with_id(bot).get(missed.key, frozenset())
    )
    if not values or missed.key == ID:
        return f"A bot with `{missed.key}:{missed.values[0]}`."
    value, number = min(values.items(), key=lambda item: (-item[1], item[0]))
    have = "has" if number == 1 else "have"
    return f"A bot with `{missed.key}:{missed.values[0]}`; {count(number, 'bot')} {have} `{missed.key}:{value}`."


def _nobody_able(fitting: list[Bot], steps: tuple[Step, ...]) -> WhyWaiting:
    reasons = Counter(_reason(bot) for bot in fitting)
    if len(fitting) == 1:
        text = f"The only bot that fits is out: {why_unusable(fitting[0])}."
    else:
        parts = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
        text = f"All {len(fitting)} bots that fit are out: {parts}."
    return WhyWaiting(text, f"One of them back in service, such as {min(bot.id for bot in fitting)}.", steps)


def _reason(bot: Bot) -> str:
    """Why it can take nothing, in a word."""
    if bot.overdue:
        return "silent"
    return "dead" if not bot.alive else "quarantined" if bot.quarantined else "in maintenance"


def _held_back(view: PoolView, made: PoolPlan, task: PendingTask, steps: tuple[Step, ...]) -> WhyWaiting | None:
    hold = made.holds.get(task.id)
    if hold is not None and hold.until_s > view.now_s:
        change = f"A poll of {hold.bot}." if hold.bot else "The end of a run with that state, or that time."
        return WhyWaiting(hold.text, change, steps)
    own = min((bot for bot, advice in made.advice.items() if advice.tasks[:1] == (task.id,)), default="")
    if own:
        return WhyWaiting(f"{own} takes it at its next poll.", "", steps)
    takers = sorted(bot for bot, advice in made.advice.items() if task.id in advice.tasks)
    if takers:
        return WhyWaiting(f"The next of {count(len(takers), 'idle bot')} that polls takes it.", "", steps)
    return None


def _all_busy(
    view: PoolView, made: PoolPlan, task: PendingTask, able: list[Bot], steps: tuple[Step, ...]
) -> WhyWaiting:
    mark = task.victim
    stopped = {wanted.for_task: wanted for wanted in made.preempt}.get(task.id)
    if stopped is not None:
        return WhyWaiting(stopped.text, f"The end of that run on {stopped.bot}.", steps)
    if mark is not None and view.now_s < mark.until_s and any(bot.id == mark.bot for bot in able):
        return WhyWaiting(f"{mark.bot} ends a background run for it.", f"The end of that run on {mark.bot}.", steps)
    busy = [bot for bot in able if bot.held is not None]
    working = sum(1 for bot in busy if bot.held is not None and bot.held.purpose is Purpose.REAL)
    before = {other.id for other in view.pending if turn(other) < turn(task)}
    ahead, owed = len(before), _owed(busy, view, made, task)
    text = f"{count(len(able), 'bot')} {'fits' if len(able) == 1 else 'fit'}: {working} busy with other tasks"
    if len(busy) > working + len(owed):
        text += f", {len(busy) - working - len(owed)} with background work"
    if owed:
        text += f", {len(owed)} being made ready{_how_long(owed, view, made)} for {_whom(owed.values(), before)}"
    if len(able) > len(busy):
        text += f", {len(able) - len(busy)} about to take other tasks"
    text += f". {count(ahead, 'task')} {'is' if ahead == 1 else 'are'} served before it." if ahead else "."
    wants = " or ".join(named(wish.family, wish.generation) for wish in task.wishes)
    change = "A bot that ends its task" + (f", best one that is warm for {wants}." if wants else ".")
    if len(owed) == len(able):
        change = "Another bot that fits, or the end of those tasks."
    waited_s = view.now_s - task.created_s
    return WhyWaiting(f"{text} It has waited {duration(max(0.0, waited_s))}.", change, steps)


def _owed(busy: list[Bot], view: PoolView, made: PoolPlan, task: PendingTask) -> dict[str, str]:
    """The bots that are warmed, or cleaned, for another task that is as urgent, with that task: those runs go on."""
    urgent = {other.id for other in view.pending if other.priority <= task.priority and other.id != task.id}
    counted_on = {hold.warming: hold.task_id for hold in made.holds.values() if hold.warming}
    asked = {bot.id: counted_on.get(bot.id) or bot.held.for_task for bot in busy if bot.held is not None}
    return {bot: other for bot, other in asked.items() if other in urgent}


def _whom(tasks: Iterable[str], before: set[str]) -> str:
    return "tasks that are served before it" if before.issuperset(tasks) else "other tasks that wait"


def _how_long(owed: Mapping[str, str], view: PoolView, made: PoolPlan) -> str:
    """For how long at most, where that is known of all."""
    holds = [made.holds.get(task) for task in owed.values()]
    until_s = [hold.until_s for hold in holds if hold is not None and hold.warming]
    return f" (another {duration(max(until_s) - view.now_s)} at most)" if len(until_s) == len(owed) else ""
