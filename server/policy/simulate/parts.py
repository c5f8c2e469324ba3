"""The parts of the virtual fleet: tasks, what occupies a bot, the bot, the books, and who decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from server.policy.simulate.trace import Arrival

if TYPE_CHECKING:
    from server.policy.simulate.world import World

FORECAST, ANNOUNCED, ON_DEMAND, CLEAN = "forecast", "announced", "on_demand", "clean"
NEVER_S = float("-inf")


class Task:
    """A real task while it waits and runs. `covered_s`: since when a warm-up runs that it counts on.

    `turn` is its place in the queue: by priority, then by age.
    """

    __slots__ = ("arrival", "covered_s", "key", "number", "since_s", "submit_s", "turn")

    def __init__(self, number: int, arrival: Arrival) -> None:
        self.number, self.arrival, self.turn = number, arrival, (arrival.priority, number)
        self.key, self.submit_s, self.since_s = arrival.key, arrival.submit_s, arrival.submit_s
        self.covered_s: float | None = None


def put_in_turn(queue: dict[int, Task], task: Task) -> None:
    """Most come last; one that is more urgent, or older since its bot died, goes before others."""
    is_last = not queue or queue[next(reversed(queue))].turn < task.turn
    queue[task.number] = task
    if not is_last:
        in_turn = sorted(queue.values(), key=lambda one: one.turn)
        queue.clear()
        queue.update((one.number, one) for one in in_turn)


class Run:
    """What occupies a bot: a real task, or background work when `task` is None: a warm-up, or a clean-up (of no key).

    `stopped`: it ends before it is done. `wanted`: somebody preempts it, or waits for its near end. `is_cold`: the task
    makes its state first.
    """

    __slots__ = ("began_s", "end_s", "is_cold", "key", "purpose", "serial", "stopped", "task", "wanted")

    def __init__(self, key: str, began_s: float, end_s: float, task: Task | None, purpose: str, serial: int) -> None:
        self.key, self.began_s, self.end_s, self.task = key, began_s, end_s, task
        self.purpose, self.serial, self.stopped, self.wanted, self.is_cold = purpose, serial, False, False, False


class Bot:
    """A virtual bot: its states by key with their last use (the least recently used first), and its run."""

    __slots__ = (
        "alive",
        "cleaned_s",
        "dirty",
        "free_since_s",
        "next_poll_s",
        "number",
        "out_of_turn",
        "run",
        "states",
        "unused",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.states: dict[str, float] = {}
        self.unused: dict[str, str] = {}
        """States here that a warm-up made and no task used yet, with its purpose."""
        self.run: Run | None = None
        self.alive = True
        self.free_since_s = 0.0
        self.next_poll_s = 0.0
        self.out_of_turn = 0
        """Out-of-turn starts since its last cold start."""
        self.dirty = False
        """A real task ran here since the last clean-up: the next one pays for it, unless the background does."""
        self.cleaned_s = (NEVER_S, NEVER_S)
        """Begin and end of its last clean-up in the background."""


class Started:
    """One start of a real task, for the books: waits and kinds, in seconds."""

    __slots__ = ("at_s", "overhead_s", "queue_s", "task", "warm")

    def __init__(self, task: Task, at_s: float, overhead_s: float, queue_s: float, warm: bool) -> None:
        self.task, self.at_s, self.overhead_s, self.queue_s, self.warm = task, at_s, overhead_s, queue_s, warm


class Books:
    """What happened, in counts and seconds."""

    def __init__(self) -> None:
        self.started: list[Started] = []
        self.occupied: list[tuple[float, float]] = []
        self.background_s = 0.0
        self.on_demand_s = 0.0
        self.clean_s = 0.0
        """Seconds that bots spent on clean-ups in the background, stopped ones too."""
        self.owed_s = self.paid_s = 0.0
        """Clean-up seconds that fell due and were served, and what of them tasks waited for."""
        self.prewarms = self.used = self.stale = self.preempted = self.failed = self.deaths = self.on_demand = 0


class Policy(Protocol):
    """Who decides. All but `act` are news, told before it is asked to act.

    A policy that also has a method `announced(world, announcement)` is told what somebody says will come.
    """

    tick_s: float
    """It is also asked at least this often; 0 for never."""

    def submitted(self, world: World, task: Task) -> None:
        """A task came."""

    def ended(self, world: World, bot: Bot, run: Run) -> None:
        """A run ended, well or stopped."""

    def act(self, world: World) -> None:
        """Start tasks, warm, preempt."""
