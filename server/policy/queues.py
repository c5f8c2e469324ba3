"""The pending tasks of a pool by kind: what fits them and what they wish for, each kind in the order of service."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge

from server.policy.dimensions import Requirement
from server.policy.model import PendingTask, Wish

State = tuple[str, str]
"""(family, generation)"""
Turn = tuple[int, float, str]


def turn(task: PendingTask) -> Turn:
    """The order of service: priority, then age."""
    return task.priority, task.created_s, task.id


@dataclass(slots=True)
class Kind:
    """Like tasks, the one that is served first at the front."""

    priority: int
    requirement: Requirement
    wishes: tuple[Wish, ...]
    tasks: list[PendingTask] = field(default_factory=list)


class Queues:
    """Pending tasks. `wished` counts them by the state that they wish for, `asked` by what must fit them."""

    def __init__(self) -> None:
        self.by_id: dict[str, PendingTask] = {}
        self.kinds: dict[tuple[int, Requirement, tuple[Wish, ...]], Kind] = {}
        self.wished: dict[State, int] = {}
        self.asked: dict[Requirement, int] = {}
        self.marked: dict[str, PendingTask] = {}
        """Tasks for which a background run was stopped."""

    def put(self, task: PendingTask) -> None:
        """Adds the task, or replaces what was known of it."""
        if task.id in self.by_id:
            self.drop(task.id)
        key = task.priority, task.dimensions, task.wishes
        kind = self.kinds.get(key)
        if kind is None:
            kind = self.kinds[key] = Kind(*key)
        insort(kind.tasks, task, key=turn)
        self.by_id[task.id] = task
        self._count(task, 1)
        if task.victim is not None:
            self.marked[task.id] = task

    def drop(self, task_id: str) -> None:
        """Takes the task out; nothing happens when it is not there."""
        task = self.by_id.pop(task_id, None)
        if task is None:
            return
        key = task.priority, task.dimensions, task.wishes
        tasks = self.kinds[key].tasks
        del tasks[bisect_left(tasks, turn(task), key=turn)]
        if not tasks:
            del self.kinds[key]
        self.marked.pop(task_id, None)
        self._count(task, -1)

    def _count(self, task: PendingTask, step: int) -> None:
        for wish in task.wishes:
            state = wish.family, wish.generation
            self.wished[state] = self.wished.get(state, 0) + step
            if not self.wished[state]:
                del self.wished[state]
        self.asked[task.dimensions] = self.asked.get(task.dimensions, 0) + step
        if not self.asked[task.dimensions]:
            del self.asked[task.dimensions]

    def priorities(self) -> list[int]:
        """The priorities of the tasks that wait, the most urgent one first."""
        return sorted({kind.priority for kind in self.kinds.values()})

    def of(self, priority: int) -> list[Kind]:
        """The kinds of this priority."""
        return [kind for kind in self.kinds.values() if kind.priority == priority]

    def in_order(self, priority: int | None = None) -> Iterator[PendingTask]:
        """The tasks (of one priority, or all) in the order of service; nothing may change meanwhile."""
        kinds = self.kinds.values() if priority is None else self.of(priority)
        lists = [kind.tasks for kind in kinds]
        return iter(lists[0]) if len(lists) == 1 else merge(*lists, key=turn)
