"""Why an idle bot gets no background work, and how the pool's gates stand: answers that need no second question."""

from __future__ import annotations

from server.policy import gates
from server.policy.background import Background
from server.policy.fleet import Fleet, State, why_unusable
from server.policy.levels import Levels
from server.policy.model import Bot, Gate, GateCheck, HandOut, Refused, Spec, Value
from server.policy.stock import Stock
from server.policy.words import count, named, share

MOST_VALUES = 3
_BEFORE_ANY_SPEC = frozenset({Gate.SWITCH, Gate.PENDING})
"""Gates that are the answer even for a bot that no spec fits: for the others there is nothing to let through."""


class Explainer:
    """Refusals for the bots of one plan, after its hand-outs are placed."""

    def __init__(
        self, fleet: Fleet, stock: Stock, levels: Levels, background: Background, superseded: dict[State, str]
    ) -> None:
        self._fleet, self._stock, self._levels = fleet, stock, levels
        self._background, self._superseded = background, superseded
        self._view = fleet.view
        self._best: dict[int, list[Spec]] = {}

    def shadowed(self, bot: Bot, hand_out: HandOut) -> Refused:
        """What stands in the record instead of a hand-out while the pool is in shadow mode."""
        text = gates.would_have(hand_out.purpose, hand_out.family, hand_out.generation, bot.id)
        change = f"mode live in the configuration of {self._view.pool}."
        values = (hand_out.value,) if hand_out.value is not None else ()
        return Refused(Gate.SWITCH, text, change, (gates.shadow_gate(self._view.pool),), values)

    def refusal(self, bot: Bot) -> Refused:
        """The first gate that refused the bot its best spec, else what its value lacks."""
        cleaning = self._background.cleaning_spec(bot)
        if cleaning is not None:
            refused = gates.first_refusal(self._levels.checks(bot, cleaning), cleaning)
            if refused is not None:
                return refused
        fitting = self._best_specs(bot)
        wanted = [spec for spec in fitting if not self._background.holds(bot, spec)][:MOST_VALUES]
        spec = wanted[0] if wanted else None
        checks = self._levels.checks(bot, spec)
        values = tuple(self._background.appraiser.value(spec, bot) for spec in wanted)
        refused = gates.first_refusal(checks, spec)
        if spec is None and (refused is None or refused.gate not in _BEFORE_ANY_SPEC):
            return self._nothing_to_warm(bot, fitting, checks)
        if refused is not None:
            return Refused(refused.gate, refused.text, refused.would_change, refused.checks, values)
        assert spec is not None
        return self._too_little(bot, spec, values, checks)

    def _best_specs(self, bot: Bot) -> list[Spec]:
        """The specs that fit the bot, the one worth most next first."""
        group = self._fleet.fits.group_of[bot.id]
        found = self._best.get(group)
        if found is None:
            found = [
                spec for spec in self._background.bets.values() if group in self._fleet.fits.groups(spec.dimensions)
            ]
            appraiser = self._background.appraiser
            found.sort(key=lambda spec: (-appraiser.net(spec), spec.family))
            self._best[group] = found
        return [spec for spec in found[: MOST_VALUES * 4] if self._fleet.fits.fits(spec.dimensions, bot.id)]

    def _nothing_to_warm(self, bot: Bot, fitting: list[Spec], checks: list[GateCheck]) -> Refused:
        if fitting:
            held = " and ".join(named(spec.family, spec.generation) for spec in fitting[:MOST_VALUES])
            change = "Demand for a state that it does not hold."
            return Refused(Gate.VALUE, f"{bot.id} already holds {held}.", change, tuple(checks))
        for (family, generation), why in sorted(self._superseded.items()):
            spec = self._fleet.specs.get(family)
            if spec is not None and spec.active and self._fleet.fits.fits(spec.dimensions, bot.id):
                text = f"{named(family, generation)} is not warmed any more: {why}."
                return Refused(Gate.NO_SPEC, text, f"A spec for the newer generation of {family}.", tuple(checks))
        return Refused(
            Gate.NO_SPEC, f"No active spec fits {bot.id}.", f"A spec whose dimensions {bot.id} has.", tuple(checks)
        )

    def _too_little(self, bot: Bot, spec: Spec, values: tuple[Value, ...], checks: list[GateCheck]) -> Refused:
        net, threshold = values[0].net, self._view.thresholds.value_threshold
        text = (
            f"The value refused: warming {bot.id} for {named(spec.family, spec.generation)} is worth {share(net)} "
            f"of a cold start, the threshold is {share(threshold)}."
        )
        change = f"More demand for {spec.family}"
        change += f", or value_threshold at most {max(0.0, int(net * 100) / 100):g}." if net > 0.01 else "."
        return Refused(Gate.VALUE, text, change, tuple(checks), values)

    def unusable(self, bot: Bot) -> Refused:
        """For a bot that can take nothing."""
        check = gates.bot_gate(bot, None, self._view.thresholds, self._view.now_s)
        return Refused(Gate.BOT, check.text, check.would_change or why_unusable(bot), (check,))

    def pool_gates(self) -> tuple[GateCheck, ...]:
        """The nine gates for the pool's next hand-out."""
        view, levels = self._view, self._levels
        switch = levels.switch_check()
        if switch.passed and view.thresholds.mode == "shadow":
            switch = gates.shadow_gate(view.pool)
        rested = sum(1 for bot in self._fleet.idle if view.now_s - bot.idle_since_s >= view.thresholds.min_idle_s)
        waiting = len(view.pending)
        limit = gates.share_limit(len(self._fleet.usable), view.thresholds.background_share)
        broken = ", ".join(sorted(view.gate.open_breakers))
        return (
            switch,
            GateCheck(Gate.PENDING, waiting == 0, f"{count(waiting, 'pending task')} in {view.pool}.", waiting, 0),
            levels.utilization_check(),
            levels.reserve_check(),
            GateCheck(
                Gate.SHARES,
                levels.running_all < limit,
                f"{levels.running_all} of {limit} background runs are on.",
                levels.running_all,
                limit,
            ),
            GateCheck(
                Gate.BOT,
                rested > 0,
                f"{rested} of {count(len(self._fleet.idle), 'idle bot')} have been idle long enough.",
                rested,
                1,
            ),
            GateCheck(Gate.BREAKER, not broken, f"Open breakers: {broken}." if broken else "All breakers are closed."),
            levels.view_check(),
            levels.ledger_check(),
        )
