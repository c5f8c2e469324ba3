"""Why an idle bot gets no background work, and how the pool's gates stand: answers that need no second question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from server.policy import gates
from server.policy.at_hand import why_unusable
from server.policy.background import Background
from server.policy.cleaning import cleaning_spec
from server.policy.minds import Minds
from server.policy.model import Bot, Gate, PendingTask, Spec
from server.policy.outcome import GateCheck, HandOut, Refused, Value
from server.policy.queues import State
from server.policy.words import MOST_SHARE, all_of, count, duration, named, share

MOST_VALUES = 3
_BEFORE_ANY_SPEC = frozenset({Gate.SWITCH, Gate.PENDING})
"""Gates that are the answer even for a bot that no spec fits: for the others there is nothing to let through."""


class Explainer:
    """Refusals for the bots of one plan, after its hand-outs are placed."""

    def __init__(
        self, minds: Minds, background: Background, superseded: dict[State, str], waiting: Sequence[PendingTask]
    ) -> None:
        self._fleet, self._levels, self._waiting = minds.fleet, background.levels, waiting
        self._background, self._superseded = background, superseded
        self._view = minds.fleet.view
        self._able = [*minds.fleet.idle.values(), *(minds.fleet.by_id[name] for name in background.hand_outs)]
        self._bets = [spec for spec in minds.fleet.specs.values() if background.may_bet(spec)]
        self._best: dict[int, list[Spec]] = {}

    def shadowed(self, bot: Bot, hand_out: HandOut) -> Refused:
        """What stands in the record instead of a hand-out while the pool is in shadow mode."""
        text = gates.would_have(hand_out.purpose, hand_out.family, hand_out.generation, bot.id)
        shadow = gates.shadow_gate(self._view.pool)
        values = (hand_out.value,) if hand_out.value is not None else ()
        return Refused(Gate.SWITCH, text, shadow.would_change, (shadow,), values)

    def refusal(self, bot: Bot) -> Refused:
        """The first gate that refused the bot its best spec, else what its value lacks."""
        cleaning = cleaning_spec(self._fleet, bot)
        if cleaning is not None:
            refused = gates.first_refusal(self._levels.checks(bot, cleaning))
            if refused is not None:
                return self._in_full(refused)
        fitting = self._best_specs(bot)
        wanted = [spec for spec in fitting if not self._fleet.has(bot, spec)][:MOST_VALUES]
        spec = wanted[0] if wanted else None
        checks = self._levels.checks(bot, spec)
        values = tuple(self._background.appraiser.value(spec, bot) for spec in wanted)
        refused = gates.first_refusal(checks)
        beyond: Refused | None = None
        if spec is None:
            beyond = self._nothing_to_warm(bot, fitting)
        elif (
            values[0].net >= self._view.thresholds.value_threshold
            and not (check := self._background.ledger_check(values[0].net)).passed
        ):
            beyond = Refused(Gate.LEDGER, check.text, check.would_change)
            checks.append(check)
        elif refused is None or values[0].net < self._view.thresholds.value_threshold:
            beyond = self._too_little(bot, spec, values[0])
        told = beyond if refused is None or (spec is None and refused.gate not in _BEFORE_ANY_SPEC) else refused
        assert told is not None
        return self._in_full(replace(told, checks=tuple(checks), values=values), refused, beyond)

    def _in_full(self, told: Refused, *also: Refused | None) -> Refused:
        """The answer, with all that would have to change for a hand-out."""
        changes = [one.would_change for one in (told, *also) if one is not None]
        if self._view.thresholds.mode == "shadow":
            changes.append(gates.shadow_gate(self._view.pool).would_change)
        return replace(told, would_change=all_of(changes))

    def _best_specs(self, bot: Bot) -> list[Spec]:
        """The specs that fit the bot, the one worth most next first."""
        group = self._fleet.fits.group_of[bot.id]
        found = self._best.get(group)
        if found is None:
            found = [spec for spec in self._bets if group in self._fleet.fits.groups(spec.dimensions)]
            appraiser = self._background.appraiser
            found.sort(key=lambda spec: (-appraiser.net(spec), spec.family))
            self._best[group] = found
        return [spec for spec in found[: MOST_VALUES * 4] if self._fleet.fits.fits(spec.dimensions, bot.id)]

    def _nothing_to_warm(self, bot: Bot, fitting: list[Spec]) -> Refused:
        if fitting:
            held = " and ".join(named(spec.family, spec.generation) for spec in fitting[:MOST_VALUES])
            change = "Demand for a state that it does not hold."
            return Refused(Gate.VALUE, f"{bot.id} already holds {held}.", change)
        for (family, generation), why in sorted(self._superseded.items()):
            spec = self._fleet.specs.get(family)
            if spec is not None and spec.active and self._fleet.fits.fits(spec.dimensions, bot.id):
                text = f"{named(family, generation)} is not warmed any more: {why}."
                return Refused(Gate.NO_SPEC, text, f"A spec for the newer generation of {family}.")
        text, change = f"No active spec fits {bot.id}", f"A spec whose dimensions {bot.id} has"
        if off := self._inactive(bot):
            text, change = f"{text}: {off} is paused or retired", f"Resume {off}, or a{change[1:]}"
        return Refused(Gate.NO_SPEC, text + ".", change + ".")

    def _too_little(self, bot: Bot, spec: Spec, value: Value) -> Refused:
        net, threshold = value.net, self._view.thresholds.value_threshold
        text = (
            f"The value refused: warming {bot.id} for {named(spec.family, spec.generation)} is worth {share(net)} "
            f"of a cold start, the threshold is {share(threshold)}."
        )
        change = f"More demand for {spec.family}"
        change += f", or value_threshold at most {max(0.0, int(net * 100) / 100):g}." if net > 0.01 else "."
        if net < -MOST_SHARE:
            change = f"A cold_cost_s and a run_cost_s of {spec.family} that are about right."
        return Refused(Gate.VALUE, text, change)

    def unusable(self, bot: Bot) -> Refused:
        """For a bot that can take nothing."""
        check = gates.bot_gate(bot, None, self._view.thresholds, self._view.gate, self._fleet.now_s)
        return Refused(Gate.BOT, check.text, check.would_change or why_unusable(bot), (check,))

    def pool_gates(self) -> tuple[GateCheck, ...]:
        """The nine gates for the pool's next hand-out."""
        view, levels = self._view, self._levels
        shadow = gates.shadow_gate(view.pool)
        switch = levels.switch_check()
        return (
            shadow if switch.passed and view.thresholds.mode == "shadow" else switch,
            self._pending_check(),
            levels.utilization_check() if self._fleet.usable else self._no_bot_check(),
            levels.reserve_check(),
            levels.shares_check(),
            self._rested_check(),
            self._breakers_check(),
            levels.view_check(),
            levels.ledger_check(),
        )

    def _no_bot_check(self) -> GateCheck:
        """What stands for gate 3 in a pool whose bots are no number to take a share of."""
        text = f"No bot of {self._view.pool} can take work." if self._fleet.by_id else f"{self._view.pool} has no bots."
        return GateCheck(Gate.UTILIZATION, False, text, would_change="A bot that can take work.")

    def _pending_check(self) -> GateCheck:
        waiting, pool = len(self._waiting), self._view.pool
        change = f"No pending task in {pool} that an idle bot could take." if waiting else ""
        return GateCheck(Gate.PENDING, waiting == 0, f"{count(waiting, 'pending task')} in {pool}.", waiting, 0, change)

    def _rested_check(self) -> GateCheck:
        """What stands for gate 6: how many idle bots have been idle for long enough."""
        idle_s = [max(0.0, self._fleet.now_s - bot.idle_since_s) for bot in self._able]
        if not idle_s:
            return GateCheck(Gate.BOT, False, "No bot is idle.", 0, 1, "An idle bot.")
        least_s = self._view.thresholds.min_idle_s
        rested = sum(1 for one_s in idle_s if one_s >= least_s)
        verb = "has" if 1 in (rested, len(idle_s)) else "have"
        text = f"{rested} of {count(len(idle_s), 'idle bot')} {verb} been idle for {duration(least_s)}."
        change = f"Another {duration(least_s - max(idle_s))} idle, or min_idle_s at most {math.floor(max(idle_s))}."
        return GateCheck(Gate.BOT, rested > 0, text, rested, 1, "" if rested else change)

    def _breakers_check(self) -> GateCheck:
        broken = sorted(self._view.gate.open_breakers)
        if not broken:
            return GateCheck(Gate.BREAKER, True, "All breakers are closed.")
        change = f"Repair {' and '.join(broken)} and resume {'it' if len(broken) == 1 else 'them'}."
        return GateCheck(Gate.BREAKER, False, f"Open breakers: {', '.join(broken)}.", would_change=change)

    def _inactive(self, bot: Bot) -> str:
        """A spec that would fit the bot if it were active, "" if there is none."""
        specs = sorted(self._fleet.specs.items())
        fits = self._fleet.fits.fits
        return next((family for family, spec in specs if not spec.active and fits(spec.dimensions, bot.id)), "")
