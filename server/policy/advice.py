"""What each bot gets when it polls, put into words when somebody asks: most bots of a plan are never asked about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from server.policy import cadence
from server.policy.decision import Decision
from server.policy.dimensions import Requirement
from server.policy.explain import Explainer
from server.policy.minds import Minds
from server.policy.model import Bot, PendingTask
from server.policy.outcome import Advice, Hold

MOST_ALTERNATIVES = 3


class Advices(Mapping[str, Advice]):
    """The advice of one plan by bot, for every bot that holds no run; each is made once, when first asked for."""

    def __init__(
        self,
        minds: Minds,
        made: Decision,
        explainer: Explainer,
        holds: Mapping[str, Hold],
        waiting: Sequence[PendingTask],
        able: Mapping[str, Bot],
    ) -> None:
        self._minds, self._fleet, self._made, self._explainer = minds, minds.fleet, made, explainer
        self._holds, self._waiting, self._able = holds, waiting, able
        self._resting = {bot.id: bot for bot in self._fleet.by_id.values() if bot.held is None}
        self._told: dict[str, Advice] = {}

    def __getitem__(self, bot_id: str) -> Advice:
        found = self._told.get(bot_id)
        if found is None:
            found = self._told[bot_id] = self._advise(self._resting[bot_id])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._resting)

    def __len__(self) -> int:
        return len(self._resting)

    def _advise(self, bot: Bot) -> Advice:
        thresholds = self._fleet.view.thresholds
        if bot.id not in self._able:
            return Advice(refused=self._explainer.unusable(bot), sleep_s=thresholds.sleep_max_s)
        own = self._made.assigned.by_bot.get(bot.id)
        tasks = self._tasks(bot.id, own.task if own else None)
        hand_out, refused = self._made.hand_outs.get(bot.id), None
        if hand_out is not None and thresholds.mode != "live":
            refused, hand_out = self._explainer.shadowed(bot, hand_out), None
        elif hand_out is None:
            refused = self._explainer.refusal(bot)
        why = own.why(self._minds.outlook) if own else ""
        return Advice(tasks, hand_out, refused, self._sleeps[bot.id], why, own is not None and own.out_of_turn)

    def _tasks(self, bot_id: str, own: PendingTask | None) -> tuple[str, ...]:
        """The bot's own task first, then what else it could take: a few at once, a few when their holds end."""
        tasks = [own.id] if own is not None else []
        left = {False: MOST_ALTERNATIVES - len(tasks), True: MOST_ALTERNATIVES}
        for task in self._alternatives.get(self._fleet.fits.group_of[bot_id], ()):
            is_held = task.id in self._holds
            if left[is_held] > 0 and task is not own and self._fleet.fits.fits(task.dimensions, bot_id):
                tasks.append(task.id)
                left[is_held] -= 1
        return tuple(tasks)

    @cached_property
    def _sleeps(self) -> dict[str, float]:
        stock = self._minds.stock
        worth_s = {bot.id: stock.bot_worth_s(bot) for bot in self._able.values()}
        return cadence.sleeps(worth_s, self._fleet.view.thresholds)

    @cached_property
    def _alternatives(self) -> dict[int, list[PendingTask]]:
        """Per group of like bots the tasks that they could take, whoever they are assigned to.

        In the order of service, but those that are held come last: so that a bot which must leave them finds what else
        it could take.
        """
        first: dict[tuple[Requirement, bool], list[PendingTask]] = defaultdict(list)
        for task in self._waiting:
            tasks = first[task.dimensions, task.id in self._holds]
            if len(tasks) <= MOST_ALTERNATIVES:
                tasks.append(task)
        rank = {task.id: (task.id in self._holds, number) for number, task in enumerate(self._waiting)}
        groups: dict[int, list[PendingTask]] = defaultdict(list)
        for (requirement, _), tasks in first.items():
            for group in self._fleet.fits.groups(requirement):
                groups[group].extend(tasks)
        for tasks in groups.values():
            tasks.sort(key=lambda task: rank[task.id])
        return groups
