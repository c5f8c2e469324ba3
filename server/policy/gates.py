"""The nine gates before value. Each is a function of values that says whether it passes, with its numbers, in words.

Gates 3 to 6 and 9 hold back bets (`forecast`, `announced`). Clean-ups and warm-ups on demand are owed to somebody: they
pass those, and are counted. PoolGate calls `recheck()` within the claim's transaction, with its own counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from server.policy.at_hand import why_unusable
from server.policy.model import Bot, Gate, GateState, Phase, Purpose, Spec, Thresholds
from server.policy.outcome import GateCheck, Refused
from server.policy.words import all_of, count, duration, named, share

BETS = frozenset({Purpose.FORECAST, Purpose.ANNOUNCED})
"""Purposes that the reserve, the shares and the other gates of chance hold back."""
BLOCKED = frozenset({Phase.DIRTY, Phase.IN_USE, Phase.WARMING})
"""Phases of a slot of an idle bot that keep the bot from all bets."""
MODES = ("off", "shadow", "live")
WINDOW_S = 60.0
"""`hand_outs_per_min` counts over this."""


def switch_gate(pool: str, spec: Spec | None, thresholds: Thresholds, gate: GateState) -> GateCheck:
    """Gate 1: prewarming is on, globally, in the pool, and for the spec. (Shadow mode is `shadow_gate`.)"""
    closed: list[tuple[str, str]] = []
    if gate.stopped:
        closed.append(("The stop switch refused: prewarming is stopped.", "Start prewarming again."))
    if thresholds.mode not in ("live", "shadow"):
        closed.append((f"The switch refused: prewarming is off in {pool}.", _live(pool)))
    if spec is not None and not spec.active:
        closed.append((f"The switch refused: {spec.family} is paused or retired.", f"Resume {spec.family}."))
    if closed:
        return _refused(Gate.SWITCH, closed[0][0], all_of(change for _, change in closed))
    if thresholds.mode == "shadow":
        return GateCheck(Gate.SWITCH, True, f"{pool} is in shadow mode: hand-outs are recorded, not made.")
    which = f" and for {spec.family}" if spec is not None else ""
    return GateCheck(Gate.SWITCH, True, f"Prewarming is on in {pool}{which}.")


def shadow_gate(pool: str) -> GateCheck:
    """What stands for gate 1 where everything else passed and the pool is in shadow mode."""
    return _refused(
        Gate.SWITCH,
        f"The switch refused: {pool} is in shadow mode, so hand-outs are recorded and not made.",
        _live(pool),
    )


def _live(pool: str) -> str:
    return f"mode live in the configuration of {pool}."


def pending_gate(bot_id: str, fitting: int) -> GateCheck:
    """Gate 2: no pending real task fits this bot."""
    if fitting:
        fits = "fits" if fitting == 1 else "fit"
        return _refused(
            Gate.PENDING,
            f"Pending work refused: {count(fitting, 'pending task')} {fits} {bot_id}.",
            "No pending task that this bot could take.",
            fitting,
            0,
        )
    return GateCheck(Gate.PENDING, True, f"No pending task fits {bot_id}.", 0, 0)


def utilization_gate(
    level: float, is_open: bool, below_since_s: float, thresholds: Thresholds, now_s: float, who: str = ""
) -> GateCheck:
    """Gate 3: real work occupies less than the threshold, and has for a while.

    Bots that waiting tasks could occupy count as occupied, so `level` may be high where few bots run tasks. `who`
    narrows it, for people, to the bots that fit one spec: " that fit chromium-src".
    """
    stop, start = thresholds.utilization_stop, thresholds.utilization_start
    busy = f"{share(level)} of the usable bots{who} are busy or asked for by waiting tasks"
    if level >= stop:
        change, settings = f"Fewer busy bots{who or ' or waiting tasks'}", "utilization_stop"
        if not is_open:
            change = f"A level below {share(start)} for {duration(thresholds.utilization_for_s)}"
            settings = "utilization_start and utilization_stop"
        change += f", or {settings} above {share(level)}." if level < 1 else "."
        text = f"Utilization refused: {busy}, the limit is {share(stop)}."
        return _refused(Gate.UTILIZATION, text, change, level, stop)
    if not is_open:
        text = f"Utilization refused: {busy}; it must be below {share(start)} for "
        text += duration(thresholds.utilization_for_s)
        change = f"A level below {share(start)} for {duration(thresholds.utilization_for_s)}."
        if below_since_s:
            lasted_s = max(0.0, now_s - below_since_s)
            text += f" and has been for {duration(lasted_s)}"
            change = f"Another {duration(max(0.0, thresholds.utilization_for_s - lasted_s))} below {share(start)}."
        return _refused(Gate.UTILIZATION, text + ".", change, level, start)
    return GateCheck(Gate.UTILIZATION, True, f"{busy}, the limit is {share(stop)}.", level, stop)


def reserve_size(usable: int, thresholds: Thresholds, growth_p90: float = 0.0) -> int:
    """How many idle, untouched bots stay back: the largest of the share, the least number and the recent growth.

    All usable bots at most, of which none is handed out then. An example: 40 bots, reserve_share 10 %, reserve_min 1,
    growth 3.2 tasks: 4.
    """
    return min(usable, _wanted_reserve(usable, thresholds, growth_p90))


def _wanted_reserve(usable: int, thresholds: Thresholds, growth_p90: float) -> int:
    by_share = math.ceil(round(thresholds.reserve_share * usable, 6))
    return max(by_share, thresholds.reserve_min, math.ceil(growth_p90))


def reserve_gate(idle: int, usable: int, thresholds: Thresholds, growth_p90: float = 0.0, who: str = "") -> GateCheck:
    """Gate 4: after this hand-out enough idle, untouched bots remain. `idle` counts the bot of this hand-out.

    `who` narrows it, for people, to the bots that fit one spec: " that fit chromium-src".
    """
    left, reserve = idle - 1, reserve_size(usable, thresholds, growth_p90)
    text = f"after this hand-out {count(left, 'idle bot')}{who} would remain, the reserve is {reserve}."
    if left < 0:
        text = f"no bot{who.replace(' fit ', ' fits ')} is idle, the reserve is {reserve}."
    if left >= reserve:
        return GateCheck(Gate.RESERVE, True, text[0].upper() + text[1:], left, reserve)
    return _refused(
        Gate.RESERVE,
        "The reserve refused: " + text,
        _less_reserve(left, usable, thresholds, growth_p90),
        left,
        reserve,
    )


def _less_reserve(left: int, usable: int, thresholds: Thresholds, growth_p90: float) -> str:
    missing = _wanted_reserve(usable, thresholds, growth_p90) - left
    more = "One more idle bot" if missing == 1 else count(missing, "more idle bot")
    if left < 0:
        return f"{more}."
    settings = []
    if math.ceil(growth_p90) > left:
        settings.append(f"less growth of tasks than the {growth_p90:.1f} seen lately")
    if math.ceil(round(thresholds.reserve_share * usable, 6)) > left:
        settings.append(f"reserve_share at most {share(math.floor(1000 * left / usable) / 1000)}")
    if thresholds.reserve_min > left:
        settings.append(f"reserve_min at most {left}")
    return f"{more}, or {' and '.join(settings)}."


def share_limit(usable: int, of_pool: float) -> int:
    """How many background runs a share allows: rounded down, one at least unless the share is nothing."""
    return max(1, math.floor(round(of_pool * usable, 6))) if of_pool > 0 and usable > 0 else 0


def spec_limit(spec: Spec, usable: int, thresholds: Thresholds) -> int:
    """The same for one spec, with its own `max_running`."""
    limit = share_limit(usable, thresholds.spec_share)
    return min(limit, spec.max_running) if spec.max_running > 0 else limit


def shares_gate(
    spec: Spec | None, running_all: int, running_spec: int, usable: int, thresholds: Thresholds, recent_hand_outs: int
) -> GateCheck:
    """Gate 5: background runs stay below the pool's share in all, per spec (where one is named), and per minute."""
    if usable <= 0:
        return _refused(Gate.SHARES, "The share refused: no bot can take work.", "A bot that can.")
    limit, runs = share_limit(usable, thresholds.background_share), f"of {spec.family}" if spec is not None else ""
    own_limit = spec_limit(spec, usable, thresholds) if spec is not None else math.inf
    closed: list[tuple[str, int, float]] = []
    changes, settings = [], []
    if running_all >= limit:
        closed.append((f"{running_all} of {limit} background runs are on or planned", running_all, limit))
        settings.append(f"background_share at least {_share_for(running_all + 1, usable)}")
    if spec is not None and running_spec >= own_limit:
        closed.append((f"{running_spec} of {own_limit} runs {runs} are on or planned", running_spec, own_limit))
        settings += _own_settings(spec, running_spec, usable, thresholds)
    if settings:
        run = f"A run {runs} that ends, or " if running_spec >= own_limit else "A background run that ends, or "
        changes.append(f"{run if running_all else ''}{' and '.join(settings)}.")
    if recent_hand_outs >= (most := thresholds.hand_outs_per_min):
        text = f"{count(recent_hand_outs, 'hand-out')} of the last minute or planned, the limit is {most}"
        closed.append((text, recent_hand_outs, most))
        changes.append(f"A minute's wait, or hand_outs_per_min at least {recent_hand_outs + 1}.")
    if closed:
        text, runs_on, allowed = closed[0]
        return _refused(Gate.SHARES, f"The share refused: {text}.", all_of(changes), runs_on, allowed)
    text = f"{running_all} of {limit} background runs are on or planned"
    text += f", {running_spec} of {own_limit} {runs}." if spec is not None else "."
    return GateCheck(Gate.SHARES, True, text, running_all, limit)


def _own_settings(spec: Spec, running: int, usable: int, thresholds: Thresholds) -> list[str]:
    """Which settings keep the spec from one more run."""
    found = []
    if 0 < spec.max_running <= running:
        found.append(f"max_running at least {running + 1}")
    if running >= share_limit(usable, thresholds.spec_share):
        found.append(f"spec_share at least {_share_for(running + 1, usable)}")
    return found


def _share_for(runs: int, usable: int) -> str:
    return share(math.ceil(1000 * runs / usable) / 1000)


def bot_gate(bot: Bot, spec: Spec | None, thresholds: Thresholds, gate: GateState, now_s: float) -> GateCheck:
    """Gate 6: the bot is healthy, has been idle long enough, and did not fail at this spec lately.

    A spec that cleans asks for neither idle time nor clean slots. While a spec's breaker is open its failures are told
    there: who closes it ends them all.
    """
    if trouble := why_unusable(bot):
        change = f"A poll of {bot.id}." if bot.overdue else f"A healthy {bot.id}."
        return _refused(Gate.BOT, f"The bot refused: {trouble}.", change)
    owed = spec is not None and spec.purpose is Purpose.CLEAN
    least_s = 0.0 if owed else thresholds.min_idle_s
    idle_s = max(0.0, now_s - bot.idle_since_s)
    closed: list[tuple[str, str]] = []
    if bot.quiet_until_s > now_s:
        left = duration(bot.quiet_until_s - now_s)
        closed.append((f"{bot.id} may still end an old run, it is kept quiet for another {left}", f"Another {left}."))
    if idle_s < least_s:
        text = f"{bot.id} has been idle for {duration(idle_s)}, it must be for {duration(least_s)}"
        change = f"Another {duration(least_s - idle_s)} idle, or min_idle_s at most {math.floor(idle_s)}."
        closed.append((text, change))
    closed += [] if owed else _blocked_slots(bot)
    if spec is not None and spec.family not in gate.open_breakers:
        left_s = backoff_until_s(bot, spec, thresholds) - now_s
        if left_s > 0:
            text = f"{spec.family} failed on {bot.id}, it is not tried there for another {duration(left_s)}"
            closed.append((text, f"The end of that time, or resuming {spec.family}."))
    if closed:
        text, change = f"The bot refused: {closed[0][0]}.", all_of(change for _, change in closed)
        return _refused(Gate.BOT, text, change, idle_s, least_s)
    return GateCheck(Gate.BOT, True, f"{bot.id} is healthy and has been idle for {duration(idle_s)}.", idle_s, least_s)


def is_blocked(bot: Bot) -> bool:
    """Whether a slot of the idle bot is dirty or in doubt, which keeps it from everything but a clean-up."""
    return any(slot.phase in BLOCKED for slot in bot.slots.values())


def _blocked_slots(bot: Bot) -> list[tuple[str, str]]:
    """Slots in which nothing may be made, since they are dirty or what they hold is in doubt; with what ends that."""
    found = []
    for name, slot in bot.slots.items():
        if slot.phase in BLOCKED:
            change = f"A clean-up of slot {name}." if slot.phase is Phase.DIRTY else "A report of the bot."
            found.append((f"slot {name} of {bot.id} is {slot.phase.value.replace('_', ' ')}", change))
    return found


def backoff_until_s(bot: Bot, spec: Spec, thresholds: Thresholds) -> float:
    """Until when the spec is not tried on the bot, since it failed there; 0 when it did not, since it was resumed."""
    failed_s = bot.failed_s.get(spec.family, 0.0)
    return failed_s + thresholds.bot_backoff_s if failed_s > spec.resumed_s else 0.0


def is_backing_off(bot: Bot, spec: Spec, thresholds: Thresholds, now_s: float) -> bool:
    """Whether the spec is not tried on the bot now, since it failed there lately."""
    return backoff_until_s(bot, spec, thresholds) > now_s


def breaker_gate(spec: Spec, gate: GateState) -> GateCheck:
    """Gate 7: the spec's circuit breaker is closed."""
    why = gate.open_breakers.get(spec.family)
    if why is not None:
        text = f"The circuit breaker of {spec.family} refused: {why or 'its runs failed in a row'}."
        return _refused(Gate.BREAKER, text, f"Repair {spec.family} and resume it.")
    return GateCheck(Gate.BREAKER, True, f"The breaker of {spec.family} is closed.")


def fresh_view_gate(view_age_s: float, thresholds: Thresholds) -> GateCheck:
    """Gate 8: the server saw the fleet a moment ago. A negative age is a clock that jumped: refused too."""
    limit_s = thresholds.view_max_age_s
    if view_age_s < -1.0 or math.isnan(view_age_s):
        return _refused(
            Gate.FRESH_VIEW, "The view refused: it is from the future, a clock jumped.", "A new view of the fleet."
        )
    if math.isinf(view_age_s):
        return _refused(
            Gate.FRESH_VIEW, "The view refused: the server has not seen the fleet yet.", "A first view of the fleet."
        )
    age_s = max(0.0, view_age_s)
    if age_s > limit_s:
        return _refused(
            Gate.FRESH_VIEW,
            f"The view refused: the server saw the fleet {duration(age_s)} ago, {duration(limit_s)} is the limit.",
            f"A store that answers, or view_max_age_s at least {math.ceil(age_s)}.",
            age_s,
            limit_s,
        )
    return GateCheck(Gate.FRESH_VIEW, True, f"The server saw the fleet {duration(age_s)} ago.", age_s, limit_s)


def ledger_gate(gate: GateState, thresholds: Thresholds) -> GateCheck:
    """Gate 9: the pool's ledger is not losing."""
    if gate.ledger_losing:
        return _refused(
            Gate.LEDGER,
            f"The ledger refused: {gate.ledger_losing}.",
            f"At most {thresholds.ledger_max_cost:g} background seconds per saved second, or a larger ledger_max_cost.",
        )
    return GateCheck(Gate.LEDGER, True, "The ledger is not losing.")


def _refused(
    gate: Gate, text: str, would_change: str = "", value: float | None = None, limit: float | None = None
) -> GateCheck:
    return GateCheck(gate, False, text, value, limit, would_change)


@dataclass(frozen=True, slots=True)
class Counts:
    """What PoolGate knows for sure within its transaction.

    `running_all` and `running_spec` count its entries. `idle` are the idle usable bots, the asking one included, less
    those for which the record already has an entry that the view does not show yet.
    """

    usable: int
    idle: int
    running_all: int
    running_spec: int
    utilization: float
    gate_open: bool
    below_since_s: float = 0.0


def recheck(
    purpose: Purpose,
    spec: Spec,
    pool: str,
    thresholds: Thresholds,
    gate: GateState,
    counts: Counts,
    planned_epoch: int,
    view_at_s: float,
    now_s: float,
) -> Refused | None:
    """Gates 1, 3, 4 and 5 again, with the counts of PoolGate's own record: the first that refuses, or None.

    `planned_epoch` is the epoch of the stop switch that the plan saw, `view_at_s` the time of the view: a view from
    before the pool's last preemption could give the freed bot background work again.
    """
    checks = [switch_gate(pool, spec, thresholds, gate)]
    if checks[0].passed and thresholds.mode != "live":
        checks = [shadow_gate(pool)]
    if planned_epoch != gate.epoch:
        checks.append(
            _refused(Gate.SWITCH, "The switch refused: it was thrown after this plan was made.", "A new plan.")
        )
    if purpose is not Purpose.CLEAN and view_at_s < gate.preempted_s:
        checks.append(
            _refused(Gate.FRESH_VIEW, "The view refused: it is older than the pool's last preemption.", "A new view.")
        )
    if purpose in BETS:
        recent = recent_hand_outs(gate, now_s)
        checks.append(utilization_gate(counts.utilization, counts.gate_open, counts.below_since_s, thresholds, now_s))
        checks.append(reserve_gate(counts.idle, counts.usable, thresholds, gate.growth_p90))
        checks.append(shares_gate(spec, counts.running_all, counts.running_spec, counts.usable, thresholds, recent))
    return first_refusal(checks)


def recent_hand_outs(gate: GateState, now_s: float) -> int:
    """Hand-outs of the last minute."""
    return sum(1 for at_s in gate.recent_hand_outs_s if now_s - WINDOW_S < at_s <= now_s + 1.0)


def first_refusal(checks: list[GateCheck]) -> Refused | None:
    """The first gate that does not pass, as an answer, with what opens all that are closed.

    The others stay beside it as computed.
    """
    closed = [check for check in checks if not check.passed]
    if not closed:
        return None
    change = all_of(check.would_change for check in closed)
    return Refused(closed[0].gate, closed[0].text, change, tuple(checks))


def would_have(purpose: Purpose, family: str, generation: str, bot_id: str) -> str:
    """What shadow mode records."""
    if purpose is Purpose.CLEAN:
        return f"shadow: would have cleaned {bot_id} with {named(family, generation)}."
    return f"shadow: would have warmed {bot_id} for {named(family, generation)}."
