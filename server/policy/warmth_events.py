"""What can happen to one slot of a bot, and what follows from it: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from server.policy.model import Wish


@dataclass(frozen=True, slots=True)
class BackgroundStarted:
    """A background run that makes `family@generation` in this slot was started. `spec` is the family of its spec."""

    at_s: float
    task_id: str
    family: str
    generation: str = ""
    spec: str = ""


@dataclass(frozen=True, slots=True)
class BackgroundFinished:
    """It ended well."""

    at_s: float
    task_id: str


@dataclass(frozen=True, slots=True)
class BackgroundFailed:
    """It ended badly: exit code, timeout, a bot that died."""

    at_s: float
    task_id: str


@dataclass(frozen=True, slots=True)
class BackgroundPreempted:
    """It was stopped, for a real task or because nobody needed it any more."""

    at_s: float
    task_id: str


@dataclass(frozen=True, slots=True)
class RealTaskStarted:
    """A real task was started that uses this slot; `wish` is the state that it wants in it, None when it says none."""

    at_s: float
    task_id: str
    wish: Wish | None = None


@dataclass(frozen=True, slots=True)
class RealTaskFinished:
    """That task ended. `used` is the state that it left in the slot, None when it left the slot as it was.

    `dirty`: nobody may count on anything in the slot before it is cleaned.
    """

    at_s: float
    task_id: str
    dirty: bool = False
    used: Wish | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """What the bot itself says about the slot: the named cache is (not) there, the dimension has this value.

    `generation` is "" where the evidence does not tell it (a cache has a name and no version).
    """

    at_s: float
    present: bool
    family: str = ""
    generation: str = ""
    last_used_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer generation took the place of this one."""

    at_s: float
    family: str
    generation: str


@dataclass(frozen=True, slots=True)
class Reinstated:
    """An operator rolled back to this generation."""

    at_s: float
    family: str
    generation: str


@dataclass(frozen=True, slots=True)
class TooOld:
    """The state has outlived its spec's freshness."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Rebooted:
    """The machine was restarted; `survives` says whether the spec's state outlives that."""

    at_s: float
    survives: bool = True


@dataclass(frozen=True, slots=True)
class Lost:
    """The bot is dead, quarantined, or was set up anew (`wiped`): nothing is known of it until it reports."""

    at_s: float
    why: str = ""
    wiped: bool = False


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The slot was emptied; `family` names the state of a clean slot where a spec has one."""

    at_s: float
    family: str = ""
    generation: str = ""


Event = (
    BackgroundStarted
    | BackgroundFinished
    | BackgroundFailed
    | BackgroundPreempted
    | RealTaskStarted
    | RealTaskFinished
    | Reported
    | Superseded
    | Reinstated
    | TooOld
    | Rebooted
    | Lost
    | Cleaned
)


class Loss(StrEnum):
    """How a warm state went."""

    DISPLACED = "displaced"
    EVICTED = "evicted"
    REBOOT = "reboot"
    LOST = "lost"
    DIRTIED = "dirtied"
    CLEANED = "cleaned"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class StateMade:
    """The slot holds the state from now on; `by_spec` is "" where a real task made it or the bot just has it."""

    family: str
    generation: str
    by_spec: str = ""
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class StateLost:
    """The slot no longer holds it. With `by_spec` and without `used` its prewarm was for nothing."""

    family: str
    generation: str
    why: Loss
    by_spec: str = ""
    used: bool = False


@dataclass(frozen=True, slots=True)
class PrewarmUsed:
    """A real task started on the state that a background run had made, as its first user."""

    family: str
    generation: str
    by_spec: str
    task_id: str


@dataclass(frozen=True, slots=True)
class CleanUpOwed:
    """The slot is dirty: a clean-up is due at once."""


@dataclass(frozen=True, slots=True)
class RunUseless:
    """What this run is making is superseded: stop it unless a task waits for it."""

    task_id: str


Effect = StateMade | StateLost | PrewarmUsed | CleanUpOwed | RunUseless
