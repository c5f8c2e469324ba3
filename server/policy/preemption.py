"""Which background run stops for a real task that otherwise fits no idle bot, and which runs nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.policy.at_hand import why_unusable
from server.policy.dimensions import Requirement
from server.policy.dispatch import Dispatch
from server.policy.fleet import Fleet
from server.policy.model import Bot, Held, PendingTask, Purpose, Victim
from server.policy.outcome import Preempt, Useless
from server.policy.outlook import Outlook
from server.policy.promises import maker_of, promised
from server.policy.queues import State
from server.policy.words import duration, named

_RELUCTANCE = {Purpose.FORECAST: 0, Purpose.ANNOUNCED: 1, Purpose.ON_DEMAND: 2, Purpose.CLEAN: 3}
"""A bet goes first, what is owed goes last."""

NEARLY_DONE_S = 30.0
"""A clean-up is not stopped when it ends within about the grace period that stopping it may take."""


def marks(fleet: Fleet) -> dict[str, str]:
    """The tasks whose victim is still being stopped, or was just freed for them, with that bot."""
    return {task.id: mark.bot for task in fleet.queues.marked.values() if (mark := _mark_that_holds(task, fleet))}


def _mark_that_holds(task: PendingTask, fleet: Fleet) -> Victim | None:
    mark = task.victim
    if mark is None or fleet.now_s >= mark.until_s:
        return None
    bot = fleet.by_id.get(mark.bot)
    if bot is None or why_unusable(bot) or bot.silent:
        return None
    return mark if bot.held is None or bot.held.n == mark.n else None


def preemptions(fleet: Fleet, assigned: Dispatch, marked: Mapping[str, str]) -> tuple[Preempt, ...]:
    """For each task without a bot, in order, the background run that loses least; one victim a task, one task a victim.

    A run is never chosen that is being stopped already, or on which a task counts that is as urgent. `marked` are the
    tasks for which a run is being stopped.
    """
    tasks = [task for task in assigned.unserved if task.id not in marked]
    if not tasks:
        return ()
    stopping = set(marked.values())
    victims = sorted(
        (bot for bot in fleet.background.values() if bot.id not in stopping and _may_stop(bot.held, fleet)),
        key=lambda bot: _loss(bot, fleet.now_s),
    )
    if not victims:
        return ()
    spared_by = _most_urgent(fleet, assigned, victims)
    in_vain: set[tuple[int, Requirement]] = set()
    chosen: list[Preempt] = []
    for task in tasks:
        asked = task.priority, task.dimensions
        bot = (
            None if asked in in_vain else next((bot for bot in victims if _may_take(bot, task, fleet, spared_by)), None)
        )
        if bot is None or bot.held is None:
            in_vain.add(asked)
            continue
        victims.remove(bot)
        chosen.append(Preempt(bot.id, bot.held.n, bot.held.task_id, task.id, _text(bot, bot.held, task, fleet)))
    return tuple(chosen)


def _most_urgent(fleet: Fleet, assigned: Dispatch, bots: Iterable[Bot]) -> dict[str, int]:
    """Per bot the priority of the most urgent task that counts on its run; none does on those that are not named."""
    pending = {task.id: task.priority for task in fleet.queues.by_id.values()}
    pending.update((name, made.task.priority) for name, made in assigned.by_task.items())
    found: dict[str, int] = {}
    for bot in bots:
        begun_for = bot.held.for_task if bot.held is not None else ""
        tasks = [name for name in (assigned.counted_on.get(bot.id), begun_for) if name in pending]
        if tasks:
            found[bot.id] = min(pending[name] for name in tasks if name is not None)
    return found


def _may_take(bot: Bot, task: PendingTask, fleet: Fleet, spared_by: Mapping[str, int]) -> bool:
    """Whether the bot's run may end for the task: it fits, and no task that is as urgent waits for the run."""
    spared = spared_by.get(bot.id)
    return (spared is None or spared > task.priority) and fleet.fits.fits(task.dimensions, bot.id)


def _may_stop(held: Held | None, fleet: Fleet) -> bool:
    """Not what is being stopped, nor a clean-up that ends within a grace period, or is a little late."""
    if held is None or held.stop:
        return False
    spec = fleet.spec_of.get((held.family, held.generation))
    if spec is None or held.purpose is not Purpose.CLEAN:
        return True
    return abs(held.since_s + spec.run_s - fleet.now_s) > NEARLY_DONE_S


def _loss(bot: Bot, now_s: float) -> tuple[bool, int, bool, float, str]:
    """What is lost; a bot that may be gone comes last, since it may never answer."""
    held = bot.held
    assert held is not None
    return bot.silent, _RELUCTANCE[held.purpose], not held.resumable, now_s - held.since_s, bot.id


def _text(bot: Bot, held: Held, task: PendingTask, fleet: Fleet) -> str:
    done = duration(max(0.0, fleet.now_s - held.since_s))
    lost = "keeps its part done" if held.resumable else f"loses {done} of work, the least"
    return (
        f"{bot.id} stops warming {named(held.family, held.generation)} for {task.id}: "
        f"no idle bot fits that task, and this run {lost}."
    )


def useless_runs(
    fleet: Fleet, outlook: Outlook, superseded: dict[State, str], switched_off: str
) -> tuple[Useless, ...]:
    """Running background work that nobody needs: prewarming is off, or its state is superseded and nobody waits for it.

    Of the runs that make a superseded state as many go on as tasks ask for it, or are announced by its name and due,
    what was begun first at the front. One that was begun for announced tasks goes on as it would for the newest.

    `superseded` says per state why; `switched_off` is the reason that ends all of it, "" when prewarming is on.
    """
    needless = [
        (_turn(bot.id, held, fleet), held, reason)
        for bot in fleet.background.values()
        if (held := bot.held) is not None
        and not held.stop
        and (reason := switched_off or _why_useless(held, fleet, superseded))
    ]
    runs, wanted = [], dict[State, float](fleet.queues.wished)
    for state, tasks in promised(fleet, superseded, outlook).items() if needless and fleet.view.announcements else ():
        wanted[state] = wanted.get(state, 0) + tasks
    for (is_for_nobody, _, name), held, reason in sorted(needless, key=lambda one: one[0]):
        state = held.family, held.generation
        if not switched_off and (not is_for_nobody or wanted.get(state, 0) > 0):
            wanted[state] = wanted.get(state, 0) - 1  # One run a task.
            continue
        runs.append(
            Useless(name, held.n, held.task_id, f"{name} stops warming {named(*state) or held.task_id}: {reason}.")
        )
    return tuple(runs)


def _turn(bot_id: str, held: Held, fleet: Fleet) -> tuple[bool, float, str]:
    """Whose run goes on first: one that was begun for a task that still waits, then the one that began first."""
    return held.for_task not in fleet.queues.by_id, held.since_s, bot_id


def _why_useless(held: Held, fleet: Fleet, superseded: dict[State, str]) -> str:
    state = held.family, held.generation
    if held.purpose is Purpose.CLEAN:
        return ""
    spec = fleet.specs.get(held.family)
    if spec is None:
        return "" if held.for_task else f"{held.family} has no spec any more"
    if held.purpose is Purpose.ANNOUNCED and maker_of(fleet, superseded, *state) is not None:
        return ""
    if state in superseded:
        return superseded[state]
    if spec.generation != held.generation:
        return f"{named(spec.family, spec.generation)} is the newer generation, and no task waits for this one"
    return "" if spec.active else f"{held.family} is paused or retired"
