"""What the policy sees, as plain values; what it answers is `outcome`.

The server's fleet view and the simulator build the same values, so both run the same policy. Times are seconds since
the epoch (`_s`), durations are seconds (`_s`), shares are 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.policy.bet_ledger import BetLedger


class Purpose(StrEnum):
    """Why a run exists. The first three of the background ones exist for somebody; a forecast is a bet."""

    REAL = ""
    CLEAN = "clean"
    ON_DEMAND = "on_demand"
    ANNOUNCED = "announced"
    FORECAST = "forecast"


class Gate(StrEnum):
    """The gates before value, in the model's order, and the two answers beyond them."""

    SWITCH = "switch"
    PENDING = "pending"
    UTILIZATION = "utilization"
    RESERVE = "reserve"
    SHARES = "shares"
    BOT = "bot"
    BREAKER = "breaker"
    FRESH_VIEW = "fresh_view"
    LEDGER = "ledger"
    NO_SPEC = "no_spec"
    VALUE = "value"


class Order(StrEnum):
    """Whose word it is that one generation is newer than another.

    REGISTERED: the operator's sequence numbers alone (a mistyped version in a task supersedes nothing). FIRST_SEEN:
    whichever was first asked for, or first reported, later (revisions that nobody registers).
    """

    REGISTERED = "registered"
    FIRST_SEEN = "first_seen"


class Phase(StrEnum):
    """Phase of one slot of one bot (the warmth state machine)."""

    UNKNOWN = "unknown"
    COLD = "cold"
    WARMING = "warming"
    WARM = "warm"
    IN_USE = "in_use"
    DIRTY = "dirty"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Slot:
    """What one slot of a bot holds.

    `family`/`generation` name the state held (WARM, IN_USE, STALE) or aimed at (WARMING), else "". `task_id` is the run
    that warms or uses it. `by_spec` is the spec whose background run made the state ("" when a real task did).
    """

    phase: Phase = Phase.UNKNOWN
    family: str = ""
    generation: str = ""
    since_s: float = 0.0
    last_used_s: float = 0.0
    task_id: str = ""
    by_spec: str = ""
    part: str = ""
    """`family@generation` of which a run that did not finish left a part here; presence alone is then no warmth."""
    owes_clean_up: bool = False
    """WARMING or IN_USE began on a dirty slot: unless the run cleans it, it is dirty again afterwards."""


@dataclass(frozen=True, slots=True)
class Held:
    """The run that a bot holds: claim number `n`, and for background runs what it makes and for whom."""

    task_id: str
    n: int
    purpose: Purpose = Purpose.REAL
    family: str = ""
    generation: str = ""
    slot: str = ""
    for_task: str = ""
    since_s: float = 0.0
    stop: str = ""
    resumable: bool = False
    net: float = 0.0
    """Of a bet: the net value that it was made at."""


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot as the policy sees it.

    `next_poll_s`: when it is due to poll, 0 when unknown; `held_poll`: one waits; `polls_elsewhere`: its last poll, as
    far as is known, was answered by another process than the one that plans.
    """

    id: str
    dimensions: Mapping[str, frozenset[str]]
    alive: bool = True
    quarantined: str = ""
    maintenance: str = ""
    idle_since_s: float = 0.0
    quiet_until_s: float = 0.0
    slots: Mapping[str, Slot] = field(default_factory=dict)
    held: Held | None = None
    last_seen_s: float = 0.0
    next_poll_s: float = 0.0
    held_poll: bool = False
    polls_elsewhere: bool = False
    silent: bool = False
    """It holds a run of which nothing was heard for longer than is usual: it may be gone."""
    failed_s: Mapping[str, float] = field(default_factory=dict)
    """Per family: when a background run of it last failed here, until one succeeds."""
    most_states: int = 0
    """Warm states that fit side by side; one more displaces the least recently used. 0: each slot holds its own."""
    out_of_turn: int = 0
    """Real tasks that it started before an older one that had waited too long, since its last cold start."""
    overdue: bool = False
    """It holds no run and its poll is long overdue: not `alive` to whoever plans, and not declared dead either."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A warm state that a task wants. `generation` is "" when any generation of the family serves."""

    family: str
    generation: str = ""


@dataclass(frozen=True, slots=True)
class Victim:
    """The background run that was stopped for a task: valid only while `bot` holds claim `n`, and until `until_s`."""

    bot: str
    n: int
    until_s: float


@dataclass(frozen=True, slots=True)
class PendingTask:
    """A real task that waits. `dimensions`: per required key a tuple of alternatives (OR); a key may repeat (AND)."""

    id: str
    priority: int
    created_s: float
    dimensions: tuple[tuple[str, tuple[str, ...]], ...]
    wishes: tuple[Wish, ...] = ()
    expires_s: float = 0.0
    victim: Victim | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """The current revision of a prewarm spec, reduced to what decides. `sequence` orders a family's generations."""

    family: str
    generation: str
    revision: int
    slot: str
    dimensions: tuple[tuple[str, tuple[str, ...]], ...]
    sequence: int = 0
    active: bool = True
    """False when paused, retired, or superseded by demand for a newer generation."""
    purpose: Purpose = Purpose.FORECAST
    """CLEAN for a spec that cleans, FORECAST for one that makes a state (it may also serve on demand and announced)."""
    cold_cost_s: float = 60.0
    warm_cost_s: float = 2.0
    run_s: float = 60.0
    """Expected length of the background task."""
    fresh_for_s: float = 86_400.0
    expected_per_h: float = 0.0
    """The operator's prior for arrivals of real tasks that want this family."""
    resumable: bool = False
    max_running: int = 0
    """Most runs of this spec at once; 0 leaves it to the pool's share."""
    run_cost_s: float = 0.0
    """What a run costs beyond bot time (wear, power), in seconds of a user's waiting."""
    may_serve_on_demand: bool = True
    order: Order = Order.REGISTERED
    """What says which generation is newer: see `Order`."""
    registered_s: float = 0.0
    """When the operator made this generation the current one; the time by which FIRST_SEEN compares it."""
    resumed_s: float = 0.0
    """When the operator last resumed it, 0 for never: it is tried again where it failed before that."""
    known_generations: Mapping[str, int] = field(default_factory=dict)
    """Generation → sequence of every registered generation of the family, for order REGISTERED."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Arrivals of real tasks that wanted a family (and generation), as decayed rates and learned costs.

    `rates_per_s` maps a half-life in seconds to the decayed arrival rate. `cold_cost_s`, `warm_cost_s`, `duration_s`
    and `first_hour_s` are learned, None until measured.
    """

    rates_per_s: Mapping[int, float] = field(default_factory=dict)
    last_arrival_s: float = 0.0
    arrivals: float = 0.0
    cold_cost_s: float | None = None
    warm_cost_s: float | None = None
    duration_s: float | None = None
    first_hour_s: float | None = None
    """What of a task's length lies in its first hour, on average: E[min(D, 1 h)]."""
    first_arrival_s: float = 0.0
    """When a real task first wanted it, ever: the order FIRST_SEEN rests on it, so it must outlive the rates."""
    observed_s: float = 0.0
    """For how long arrivals have been watched; the spec's own guess fades as it grows."""
    late_per_s: Mapping[int, float] = field(default_factory=dict)
    """Those arrivals among them that wanted a generation which had a successor already; empty: none did."""
    at_s: float = 0.0
    """When the rates were computed: they have decayed since. 0: they are of now."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """Demand that somebody said would come."""

    family: str
    generation: str
    count: float
    from_s: float
    until_s: float
    confidence: float
    source: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The pool's settings that the policy reads; `server/config.py` has their meaning, limits and defaults."""

    mode: str = "shadow"
    utilization_stop: float = 0.8
    utilization_start: float = 0.72
    utilization_for_s: float = 30.0
    reserve_share: float = 0.1
    reserve_min: int = 1
    background_share: float = 0.5
    spec_share: float = 0.5
    min_idle_s: float = 10.0
    view_max_age_s: float = 15.0
    value_threshold: float = 0.15
    affinity_hold_s: float = 20.0
    polls_per_s: float = 20.0
    sleep_min_s: float = 1.0
    sleep_max_s: float = 60.0
    preempt_valid_s: float = 60.0
    hand_outs_per_min: int = 60
    bot_backoff_s: float = 600.0
    ledger_max_cost: float = 5.0


@dataclass(frozen=True, slots=True)
class GateState:
    """What the pool remembers between decisions (a copy of its PoolGate record, or of the simulator's)."""

    stopped: bool = False
    epoch: int = 0
    open: bool = False
    """State of the utilization hysteresis; `since_s` is when it last changed its mind about the level."""
    below_since_s: float = 0.0
    """Since when utilization has been below the start threshold, 0 while it is not."""
    preempted_s: float = 0.0
    recent_hand_outs_s: tuple[float, ...] = ()
    open_breakers: Mapping[str, str] = field(default_factory=dict)
    """Family → why its circuit breaker is open."""
    ledger_losing: str = ""
    """Why the pool's ledger holds prewarming back, "" when it does not."""
    growth_p90: float = 0.0
    """90th percentile of the growth of tasks in the system within one cold time, in tasks."""


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool at one moment: all that `plan()` needs."""

    pool: str
    now_s: float
    view_age_s: float
    bots: tuple[Bot, ...]
    pending: tuple[PendingTask, ...]
    specs: tuple[Spec, ...]
    demand: Mapping[str, Demand]
    """Per family (all generations together)."""
    thresholds: Thresholds
    gate: GateState
    generation_demand: Mapping[tuple[str, str], Demand] = field(default_factory=dict)
    """Per (family, generation); (family, "") are the tasks that take any, which may be left out."""
    announcements: tuple[Announcement, ...] = ()
    config_revision: int = 0
    states_put_per_s: float = 0.0
    """Warm states that took another's place per second, lately; 0 while unknown. Tells how long a state stays."""
    bets: BetLedger | None = None
    """What forecast prewarms have brought, by their value; None: nothing is known of it."""
    memory_weights: Mapping[int, float] = field(default_factory=dict)
    """How much each memory of the rates counts, by half-life; empty: all the same."""
