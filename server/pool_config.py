"""The settings of a pool: what each means, its limits, and which of them depend on each other."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ValidationInfo, field_validator

from server.documents import Document, Flag, Number, Whole, setting
from server.policy.model import Thresholds

PAGE_FLUSH_S = 30.0
"""How often a process writes its last-seen times (docs/decisions, process pages)."""
RESTART_GAP_S = 60.0
"""How long the service may be away without counting as the bots' silence."""


class PoolConfig(Document):
    """All settings of one pool. Shares are 0 to 1, times are seconds."""

    mode: Literal["off", "shadow", "live"] = setting(
        "shadow",
        "whether idle bots are prewarmed: `off` decides nothing, `shadow` decides and records but hands nothing out, "
        "`live` hands out",
    )
    drained: Flag = setting(
        False, "real tasks wait: none is handed out in this pool until this is false again; running ones finish"
    )
    utilization_stop: Number = setting(
        0.8,
        "no background work is handed out while at least this share of the bots is busy",
        low=0.05,
        high=1,
        too_low="idle bots stay cold in a half empty pool",
        too_high="prewarms delay real tasks at busy hours",
    )
    utilization_start: Number = setting(
        0.72,
        "hand-outs begin again once utilization was below this for `utilization_for_s`",
        low=0,
        high=1,
        rule="below utilization_stop",
        too_low="prewarming stays off long after a busy hour",
        too_high="hand-outs flicker on and off",
    )
    utilization_for_s: Number = setting(
        30,
        "how long utilization must be below `utilization_start` first",
        low=0,
        high=3600,
        unit="s",
        too_low="a short lull counts as idle",
        too_high="idle gaps pass unused",
    )
    reserve_share: Number = setting(
        0.1,
        "share of the bots that stays idle and untouched after each hand-out",
        low=0,
        high=1,
        too_low="bursts meet only bots that are being prewarmed",
        too_high="nothing is prewarmed in a small pool",
    )
    reserve_min: Whole = setting(
        1,
        "least number of bots that stay idle and untouched",
        low=0,
        high=10_000,
        unit="bots",
        too_low="the last idle bot may be prewarmed",
        too_high="nothing is prewarmed in a small pool",
    )
    background_share: Number = setting(
        0.5,
        "largest share of the bots that runs background work at once",
        low=0,
        high=1,
        too_low="warming the fleet takes long",
        too_high="many runs must be stopped when a burst comes",
    )
    spec_share: Number = setting(
        0.5,
        "the same for one spec; its own `max_running` may be lower",
        low=0,
        high=1,
        too_low="a popular family is never warm on enough bots",
        too_high="one spec takes the place of all others",
    )
    min_idle_s: Number = setting(
        10,
        "a bot is left alone until it was idle for this long",
        low=0,
        high=86_400,
        unit="s",
        too_low="a bot between two tasks is taken away",
        too_high="idle gaps pass unused",
    )
    hand_outs_per_min: Whole = setting(
        60,
        "most background runs that a pool hands out in a minute",
        low=1,
        high=10_000,
        unit="runs",
        too_low="a new generation spreads slowly",
        too_high="all bots fetch the same things at once",
    )
    value_threshold: Number = setting(
        0.15,
        "least value of a prewarm, as the probability that it saves a cold start, beyond what it displaces",
        low=0,
        high=1,
        too_low="much background work for little",
        too_high="only the surest prewarms are made",
    )
    ledger_max_cost: Number = setting(
        5,
        "background seconds that a saved second may cost before the pool falls back to shadow mode",
        low=0.1,
        high=1000,
        unit="s per s",
        too_low="a new pool gives up before it has learned",
        too_high="waste goes on unseen",
    )
    holdout_share: Number = setting(
        0.05,
        "share of the time, in windows of half an hour or more chosen by chance for each spec, in which nothing is "
        "prewarmed for it, so that what prewarming saves can be measured; 0 measures nothing",
        low=0,
        high=0.5,
        too_low="savings stay a model for months",
        too_high="many tasks start cold for the sake of figures",
    )
    view_max_age_s: Number = setting(
        15,
        "no background work is handed out on a view of the fleet older than this",
        low=1,
        high=300,
        unit="s",
        too_low="a slow store stops prewarming",
        too_high="decisions rest on what is no longer so",
    )
    affinity_hold_s: Number = setting(
        20,
        "longest time that a task is kept for a warm bot that is due to poll",
        low=0,
        high=3600,
        unit="s",
        too_low="tasks start cold beside a warm bot",
        too_high="tasks wait for a bot that does not come",
    )
    max_background_grace_s: Number = setting(
        30,
        "longest grace period that a spec's task may ask for",
        low=0,
        high=300,
        unit="s",
        too_low="runs are killed before they can leave a usable state",
        too_high="a real task waits that long for the bot it takes back",
    )
    max_background_run_s: Number = setting(
        3600,
        "longest execution timeout that a spec's task may ask for",
        low=30,
        high=86_400,
        unit="s",
        too_low="large states cannot be made",
        too_high="a run that hangs holds its bot for long",
    )
    preempt_valid_s: Number = setting(
        60,
        "how long a bot that is taken back stays reserved for the task that asked for it",
        low=10,
        high=3600,
        unit="s",
        rule="above max_background_grace_s + 5",
        too_low="the bot goes to another task and a second run is stopped",
        too_high="a bot that hangs keeps the task from asking for another one",
    )
    bot_backoff_s: Number = setting(
        600,
        "a bot on which a spec failed is not prewarmed for it for this long, unless the spec is resumed",
        low=0,
        high=86_400,
        unit="s",
        too_low="a bot that cannot do it tries again and again",
        too_high="a passing fault leaves bots cold",
    )
    breaker_failures: Whole = setting(
        3,
        "failures in a row that open a spec's circuit breaker: it stops until an operator resumes it",
        low=1,
        high=100,
        unit="failures",
        too_low="one bad bot can stop a good spec",
        too_high="a broken spec burns bot time",
    )
    breaker_bots: Whole = setting(
        2,
        "different bots that those failures must come from",
        low=1,
        high=100,
        unit="bots",
        rule="at most breaker_failures",
        too_low="one bad bot can stop a good spec",
        too_high="a broken spec burns bot time",
    )
    polls_per_s: Number = setting(
        20,
        "polls a second that the pool's idle bots share; sleep times follow from it",
        low=0.1,
        high=10_000,
        unit="polls/s",
        too_low="tasks wait for the next poll",
        too_high="idle bots keep the server busy",
    )
    sleep_min_s: Number = setting(
        1,
        "shortest sleep of an idle bot",
        low=0.1,
        high=60,
        unit="s",
        too_low="a small pool polls without need",
        too_high="a lone bot takes up tasks late",
    )
    sleep_max_s: Number = setting(
        60,
        "longest sleep of an idle bot",
        low=1,
        high=600,
        unit="s",
        rule="at least sleep_min_s",
        too_low="a large pool polls more than its share",
        too_high="bots learn late of changes",
    )
    held_poll_s: Number = setting(
        20,
        "longest time for which a poll of our own bot is held open",
        low=0,
        high=50,
        unit="s",
        too_low="tasks wait for the next poll",
        too_high="proxies cut the connection",
    )
    keep_alive_s: Number = setting(
        10,
        "longest silence of a bot within a run, before it says that it is still there",
        low=1,
        high=60,
        unit="s",
        too_low="busy bots keep the server busy",
        too_high="a stop reaches a silent task late",
    )
    claim_timeout_s: Number = setting(
        30,
        "a task given to a bot that does not start it within this time is pending again",
        low=5,
        high=600,
        unit="s",
        too_low="a slow bot loses tasks that it was about to start",
        too_high="a task given to a bot that died waits long",
    )
    foreign_claim_timeout_s: Number = setting(
        60,
        "the same for bots that are not Pilotlight's own",
        low=5,
        high=600,
        unit="s",
        rule="at least claim_timeout_s",
        too_low="a slow bot loses tasks that it was about to start",
        too_high="a task given to a bot that died waits long",
    )
    claims_without_start: Whole = setting(
        3,
        "claims that may lapse in a row before the task ends as BOT_DIED",
        low=1,
        high=20,
        unit="claims",
        too_low="one dead bot fails a task",
        too_high="a task that kills bots goes from one to the next",
    )
    death_timeout_s: Number = setting(
        600,
        "a bot that is silent for this long counts as dead and its task ends as BOT_DIED",
        high=86_400,
        unit="s",
        rule=f"at least 2 × {PAGE_FLUSH_S:g} + sleep_max_s + {RESTART_GAP_S:g}",
        too_low="sleeping bots are declared dead",
        too_high="the task of a dead bot is missed late",
    )
    death_alarm_share: Number = setting(
        0.5,
        "a sweep that would declare more than this share of the pool dead stops and raises an alert",
        low=0.01,
        high=1,
        too_low="the loss of a rack needs a person",
        too_high="a fault of the network or server ends running tasks",
    )
    black_hole_failures: Whole = setting(
        5,
        "real tasks in a row that a bot must fail quickly to be quarantined as a black hole",
        low=2,
        high=100,
        unit="tasks",
        too_low="a batch of broken tasks quarantines good bots",
        too_high="a broken bot eats the queue",
    )
    black_hole_within_s: Number = setting(
        10,
        "how soon after its start a failure counts as quick",
        low=0.1,
        high=300,
        unit="s",
        too_low="a broken bot that fails slowly goes unseen",
        too_high="honest failures count",
    )
    max_pending: Whole = setting(
        100_000,
        "most real tasks that may wait in the pool; more are refused",
        low=1,
        high=1_000_000,
        unit="tasks",
        too_low="bursts are refused",
        too_high="a runaway client fills the store",
    )

    # A field that failed its own check is not in `info.data`; what depends on it then holds.

    @field_validator("utilization_start")
    @classmethod
    def _below_stop(cls, value: float, info: ValidationInfo) -> float:
        stop = info.data.get("utilization_stop", math.inf)
        return _hold(value, value < stop, f"must be below utilization_stop ({stop:g})")

    @field_validator("preempt_valid_s")
    @classmethod
    def _longer_than_grace(cls, value: float, info: ValidationInfo) -> float:
        grace = info.data.get("max_background_grace_s", -math.inf)
        return _hold(value, value > grace + 5, f"must be more than max_background_grace_s ({grace:g}) + 5 s")

    @field_validator("breaker_bots")
    @classmethod
    def _no_more_than_failures(cls, value: int, info: ValidationInfo) -> int:
        most = info.data.get("breaker_failures", math.inf)
        return _hold(value, value <= most, f"must be at most breaker_failures ({most:g})")

    @field_validator("sleep_max_s")
    @classmethod
    def _no_shorter_than_least(cls, value: float, info: ValidationInfo) -> float:
        least = info.data.get("sleep_min_s", -math.inf)
        return _hold(value, value >= least, f"must be at least sleep_min_s ({least:g} s)")

    @field_validator("foreign_claim_timeout_s")
    @classmethod
    def _no_shorter_than_own(cls, value: float, info: ValidationInfo) -> float:
        own = info.data.get("claim_timeout_s", -math.inf)
        return _hold(value, value >= own, f"must be at least claim_timeout_s ({own:g} s)")

    @field_validator("death_timeout_s")
    @classmethod
    def _longer_than_silence(cls, value: float, info: ValidationInfo) -> float:
        sleep = info.data.get("sleep_max_s", 0.0)
        least = 2 * PAGE_FLUSH_S + sleep + RESTART_GAP_S
        parts = f"2 × {PAGE_FLUSH_S:g} s between pages + sleep_max_s {sleep:g} + {RESTART_GAP_S:g} s for a restart"
        return _hold(value, value >= least, f"must be at least {least:g} s ({parts})")

    def thresholds(self) -> Thresholds:
        """The part that the policy reads."""
        return Thresholds(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Thresholds)})


def _hold(value: Any, holds: bool, rule: str) -> Any:
    if not holds:
        raise ValueError(f"{rule}; {value:g} given")
    return value


_POOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def pool_name(value: str) -> str:
    """The value if it can name a pool; ValueError says the rule."""
    if not _POOL_NAME.fullmatch(value):
        raise ValueError("must have letters, digits, '.', '_' or '-', at most 128, and begin with a letter or digit")
    return value


PoolName = Annotated[str, AfterValidator(pool_name)]
