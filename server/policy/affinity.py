"""Dispatch: which pending real task goes to which idle bot, and how long it may wait for a warm one.

Tasks are served by priority, then by age. Each takes an idle bot that is warm for it, else the one whose loss costs
least. Within one priority a younger task may take the bot that it is warm for before an older one takes it cold, but
only while the oldest has waited less than 2 × cold cost + 60 s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from server.policy.dimensions import Requirement
from server.policy.fleet import HOLDING, Fleet, serves
from server.policy.model import Bot, Hold, PendingTask, Phase, Wish
from server.policy.outlook import DEFAULT_COLD_S, Outlook
from server.policy.stock import Stock
from server.policy.words import duration, named

OUT_OF_TURN_S = 60.0
POLL_SLACK_S = 1.0
"""A bot may be this late for its poll before nobody waits for it any more."""
COLD_HOLD_S = 2.0
"""Longest wait for the cold bot whose loss costs least."""
MOST_ALTERNATIVES = 3


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task and the idle bot that is to take it. `warm` are its wishes that the bot fulfils."""

    task: PendingTask
    bot: Bot
    warm: tuple[Wish, ...]
    text: str


@dataclass(slots=True)
class Dispatch:
    """The outcome: who takes what, which tasks are held for whom, and the tasks in the order of service."""

    by_bot: dict[str, Assignment] = field(default_factory=dict)
    by_task: dict[str, Assignment] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    order: list[PendingTask] = field(default_factory=list)

    @property
    def unserved(self) -> list[PendingTask]:
        """The tasks for which no idle bot was left."""
        return [task for task in self.order if task.id not in self.by_task]


class _Candidates:
    """The idle bots, by what they are warm for and by what their loss costs; each list is read once, front to back."""

    def __init__(self, fleet: Fleet, stock: Stock, taken: dict[str, Assignment]) -> None:
        self._fleet, self._stock, self._taken = fleet, stock, taken
        self._warm: dict[Wish, list[Bot]] = self._by_wish()
        self._cold: dict[str, list[Bot]] = {}
        self._cursors: dict[tuple[Requirement, Wish | str], Iterator[Bot]] = {}
        self._heads: dict[tuple[Requirement, Wish | str], Bot] = {}

    def _by_wish(self) -> dict[Wish, list[Bot]]:
        """Who is warm for what: fresh copies first, then held polls, then where least else is lost, then soonest."""
        found: dict[Wish, list[tuple[bool, bool, int, tuple[int, float], str]]] = defaultdict(list)
        wanted = {family for family, _ in self._fleet.wished}
        for bot in self._fleet.idle:
            for slot_name, slot in bot.slots.items():
                if slot.family in wanted and slot.phase in HOLDING:
                    rank, poll_s, name = self._fleet.poll_order(bot)
                    others_s = self._stock.bot_worth_s(bot.id) - self._stock.slot_worth_s(bot.id, slot_name)
                    key = (slot.phase is Phase.STALE, rank > 0, round(others_s), (rank, poll_s), name)
                    found[Wish(slot.family, slot.generation)].append(key)
                    if slot.generation:
                        found[Wish(slot.family)].append(key)
        return {wish: [self._fleet.by_id[key[-1]] for key in sorted(keys)] for wish, keys in found.items()}

    def warmest(self, task: PendingTask) -> tuple[Bot, tuple[Wish, ...]] | None:
        """The idle bot that fulfils most of the task's wishes, and which; None when none fulfils any."""
        best: tuple[Bot, tuple[Wish, ...]] | None = None
        for wish in task.wishes:
            bots = self._warm.get(wish)
            bot = self._next(task.dimensions, wish, bots) if bots else None
            if bot is not None:
                met = fulfilled(bot, task.wishes)
                if best is None or len(met) > len(best[1]):
                    best = bot, met
        return best

    def cheapest(self, task: PendingTask) -> Bot | None:
        """The idle bot whose loss costs least: first what the task would displace, then all that the bot holds."""
        slot = self._slot_of(task)
        bots = self._cold.get(slot)
        if bots is None:
            bots = self._cold[slot] = sorted(self._fleet.idle, key=lambda bot: self._loss(bot, slot))
        return self._next(task.dimensions, slot, bots)

    def _slot_of(self, task: PendingTask) -> str:
        specs = (self._fleet.specs.get(wish.family) for wish in task.wishes)
        return next((spec.slot for spec in specs if spec is not None), "")

    def _loss(self, bot: Bot, slot: str) -> tuple[bool, bool, int, int, tuple[int, float, str]]:
        dirty = any(held.phase is Phase.DIRTY for held in bot.slots.values())
        asked_for = bot.id in self._stock.asked_for
        displaced_s, all_s = self._stock.slot_worth_s(bot.id, slot), self._stock.bot_worth_s(bot.id)
        return dirty, asked_for, round(displaced_s), round(all_s), self._fleet.poll_order(bot)

    def _next(self, requirement: Requirement, key: Wish | str, bots: list[Bot]) -> Bot | None:
        head = self._heads.get((requirement, key))
        if head is not None and head.id not in self._taken:
            return head
        cursor = self._cursors.get((requirement, key))
        if cursor is None:
            cursor = self._cursors[requirement, key] = iter(bots)
        fits = self._fleet.fits
        for bot in cursor:
            if bot.id not in self._taken and fits.fits(requirement, bot.id):
                self._heads[requirement, key] = bot
                return bot
        self._heads.pop((requirement, key), None)
        return None


def fulfilled(bot: Bot, wishes: Iterable[Wish]) -> tuple[Wish, ...]:
    """The wishes for which the bot is warm."""
    return tuple(wish for wish in wishes if any(serves(slot, wish) for slot in bot.slots.values()))


def dispatch(fleet: Fleet, outlook: Outlook, stock: Stock) -> Dispatch:
    """Assigns the pending tasks to the idle bots of the view."""
    now_s = fleet.view.now_s
    waiting = [task for task in fleet.view.pending if not 0.0 < task.expires_s <= now_s]
    result = Dispatch(order=sorted(waiting, key=lambda task: (task.priority, task.created_s, task.id)))
    if not fleet.idle or not result.order:
        return result
    candidates = _Candidates(fleet, stock, result.by_bot)
    _give_freed_bots(fleet, result)
    for _, group in groupby(result.order, key=lambda task: task.priority):
        tasks = [task for task in group if task.id not in result.by_task]
        if tasks and now_s - tasks[0].created_s < _patience_s(tasks[0], outlook):
            for task in tasks:
                _assign_warm(task, candidates, outlook, result)
        for task in tasks:
            if len(result.by_bot) == len(fleet.idle):
                return _with_holds(fleet, outlook, stock, result)
            if task.id not in result.by_task and not _assign_warm(task, candidates, outlook, result):
                _assign_cold(task, candidates, result)
    return _with_holds(fleet, outlook, stock, result)


def _patience_s(head: PendingTask, outlook: Outlook) -> float:
    cold_s = max((outlook.cold_s(wish.family) for wish in head.wishes), default=DEFAULT_COLD_S)
    return 2.0 * cold_s + OUT_OF_TURN_S


def _give_freed_bots(fleet: Fleet, result: Dispatch) -> None:
    """A bot that was freed for a task is offered that task before any other."""
    idle = {bot.id: bot for bot in fleet.idle}
    for task in result.order:
        mark = task.victim
        bot = idle.get(mark.bot) if mark is not None and fleet.view.now_s < mark.until_s else None
        if bot is not None and bot.id not in result.by_bot and fleet.fits.fits(task.dimensions, bot.id):
            _assign(task, bot, fulfilled(bot, task.wishes), f"{bot.id} was freed for this task.", result)


def _assign_warm(task: PendingTask, candidates: _Candidates, outlook: Outlook, result: Dispatch) -> bool:
    found = candidates.warmest(task) if task.wishes else None
    if found is None:
        return False
    bot, met = found
    states = " and ".join(named(wish.family, wish.generation) for wish in met)
    longer_s = sum(outlook.saved_s(wish.family) for wish in met)
    text = f"{bot.id} is warm for {states}; a cold bot would take {duration(longer_s)} longer."
    _assign(task, bot, met, text, result)
    return True


def _assign_cold(task: PendingTask, candidates: _Candidates, result: Dispatch) -> None:
    bot = candidates.cheapest(task)
    if bot is None:
        return
    if task.wishes:
        states = " or ".join(named(wish.family, wish.generation) for wish in task.wishes)
        text = f"No idle bot that fits is warm for {states}; what {bot.id} holds is worth least."
    else:
        text = f"The task asks for no warm state; what {bot.id} holds is worth least."
    _assign(task, bot, (), text, result)


def _assign(task: PendingTask, bot: Bot, warm: tuple[Wish, ...], text: str, result: Dispatch) -> None:
    result.by_bot[bot.id] = result.by_task[task.id] = Assignment(task, bot, warm, text)


def _with_holds(fleet: Fleet, outlook: Outlook, stock: Stock, result: Dispatch) -> Dispatch:
    dearest_s = max((stock.bot_worth_s(bot.id) for bot in fleet.idle), default=0.0)
    for assignment in result.by_task.values():
        hold = _hold(assignment, fleet, outlook, stock, dearest_s)
        if hold is not None:
            result.holds[hold.task_id] = hold
    return result


def _hold(assignment: Assignment, fleet: Fleet, outlook: Outlook, stock: Stock, dearest_s: float) -> Hold | None:
    """How long the others pass this task over: until its bot polls, within what waiting for it can gain.

    The bound counts from the task's creation, so that planning anew never extends it.
    """
    task, bot, now_s = assignment.task, assignment.bot, fleet.view.now_s
    if assignment.warm:
        gain_s = sum(outlook.saved_s(wish.family) for wish in assignment.warm)
    else:
        gain_s = min(COLD_HOLD_S, dearest_s - stock.bot_worth_s(bot.id))
    due_s = now_s if bot.held_poll else bot.next_poll_s
    if due_s <= 0.0 or due_s + POLL_SLACK_S <= now_s:
        return None
    until_s = min(task.created_s + min(fleet.view.thresholds.affinity_hold_s, gain_s), due_s + POLL_SLACK_S)
    if task.expires_s > 0.0:
        until_s = min(until_s, task.expires_s)
    if until_s <= now_s:
        return None
    wait = f"It waits at most {duration(until_s - now_s)} for {bot.id}, which "
    if assignment.warm:
        text = wait + f"is warm and due to poll; a cold bot would take {duration(gain_s)} longer."
    else:
        text = wait + "is due to poll and holds what is worth least."
    return Hold(task.id, bot.id, until_s, text)


def alternatives(fleet: Fleet, result: Dispatch) -> dict[int, list[PendingTask]]:
    """Per group of like bots the tasks that they could take, whoever they are assigned to.

    In the order of service, but those that are held for one bot come last: so that a bot which must leave them finds
    what else it could take.
    """
    first: dict[tuple[Requirement, bool], list[PendingTask]] = defaultdict(list)
    for task in result.order:
        tasks = first[task.dimensions, task.id in result.holds]
        if len(tasks) <= MOST_ALTERNATIVES:
            tasks.append(task)
    rank = {task.id: (task.id in result.holds, number) for number, task in enumerate(result.order)}
    groups: dict[int, list[PendingTask]] = defaultdict(list)
    for (requirement, _), tasks in first.items():
        for group in fleet.fits.groups(requirement):
            groups[group].extend(tasks)
    for tasks in groups.values():
        tasks.sort(key=lambda task: rank[task.id])
    return groups
