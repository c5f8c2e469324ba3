"""What the policy answers, as plain values: the plan of a pool, and what stands in it for bots, tasks and people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from server.policy.model import Gate, Purpose


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One gate, computed: whether it lets background work through, and the two numbers that met, for people.

    `would_change` is what would have let it through, "" when it passed or nothing that a person can do would.
    """

    gate: Gate
    passed: bool
    text: str
    value: float | None = None
    limit: float | None = None
    would_change: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """Value of warming one bot for one spec, in seconds of waiting, with its terms."""

    family: str
    generation: str
    probability: float
    saved_s: float
    displaced_s: float
    preemption_s: float
    run_cost_s: float
    net: float
    """What is compared with the threshold: probability-weighted, as a share of the cold cost."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class HandOut:
    """A background task for a bot now: the spec's revision, why, and for which pending task (on demand)."""

    family: str
    generation: str
    revision: int
    purpose: Purpose
    value: Value | None = None
    for_task: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """No background task for this bot now, and what would have changed it."""

    gate: Gate
    text: str
    would_change: str = ""
    checks: tuple[GateCheck, ...] = ()
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """What a bot should get when it polls.

    `tasks`: real tasks to claim, best first (three at most are tried). A task with a Hold for another bot stands here
    too: `plan.claimable()` leaves it out until the hold ends, so that a plan stays right while it ages. `background`:
    when no task fits. `sleep_s`: when there is neither, before jitter (`cadence.jittered()`). `why_task`: for people,
    why this bot gets the first task, "" without one. `out_of_turn`: that task goes before an older one that had waited
    for too long; the bot must count it.
    """

    tasks: tuple[str, ...] = ()
    background: HandOut | None = None
    refused: Refused | None = None
    sleep_s: float = 10.0
    why_task: str = ""
    out_of_turn: bool = False


@dataclass(frozen=True, slots=True)
class Preempt:
    """Stop claim `n` of `bot` (background run `task_id`) for the pending real task `for_task`."""

    bot: str
    n: int
    task_id: str
    for_task: str
    text: str


@dataclass(frozen=True, slots=True)
class Useless:
    """A running background task that nobody needs any more (superseded, switched off): stop it."""

    bot: str
    n: int
    task_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A pending task is held back for a warm bot until `until_s`; polls of colder bots pass it over.

    `bot` is "" where it waits for whichever bot is warm first: one that is being warmed, or a busy one that ends.
    `warming` is the bot whose warm-up it counts on, if any.
    """

    task_id: str
    bot: str
    until_s: float
    text: str
    warming: str = ""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The plan of one pool: advice per idle bot, runs to stop, holds, and the pool's gates as they stand."""

    advice: Mapping[str, Advice]
    preempt: tuple[Preempt, ...] = ()
    useless: tuple[Useless, ...] = ()
    holds: Mapping[str, Hold] = field(default_factory=dict)
    gates: tuple[GateCheck, ...] = ()
    utilization: float = 0.0
    reserve: int = 0
    below_since_s: float = 0.0
    gate_open: bool = False
