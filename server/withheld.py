"""Plans as they are acted on: without the bets of specs that are held out, and of a pool that went to shadow mode.

One process's, shared by its threads. The plan itself knows of neither: so it says what would have been done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.policy import gates, hold_out, outcome, self_disabling
from server.policy.self_disabling import Watch
from server.policy.withhold import Doubt, with_ledger, withhold

if TYPE_CHECKING:
    from server.loaded_spec import LoadedSpec
    from server.service import Service

Specs = Mapping[str, "LoadedSpec"]


@dataclass(frozen=True, slots=True)
class _Known:
    """Which families of a pool are held out until when, by which specs and config."""

    specs: Specs
    revision: int
    families: frozenset[str]
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class _Made:
    """A plan, what was held out of it, and what was left."""

    plan: outcome.PoolPlan
    families: frozenset[str]
    watch: Watch
    left: outcome.PoolPlan


class Withheld:
    """Remembers per pool what it made of the last plan: a plan is asked for many times, and must stay one object."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, _Known] = {}
        self._made: dict[str, _Made] = {}

    def held_out(self, pool: str, specs: Specs) -> frozenset[str]:
        """Families of the pool for which nothing is prewarmed now, so that it can be measured what it saves."""
        config, now_s = self._service.config, self._service.clock.now_s()
        known = self._known.get(pool)
        same = known is not None and known.specs is specs and known.revision == config.revision
        if known is None or not same or not known.from_s <= now_s < known.until_s:
            here = [spec.policy for spec in specs.values() if spec.policy_pool == pool]
            families, until_s = hold_out.held_out(here, config.pool(pool).holdout_share, now_s)
            known = self._known[pool] = _Known(specs, config.revision, families, now_s, until_s)
        return known.families

    def left_s(self, pool: str, spec: LoadedSpec, specs: Specs) -> float:
        """For how long the spec is held out from now on, 0 when it is not."""
        if spec.family not in self.held_out(pool, specs):
            return 0.0
        now_s = self._service.clock.now_s()
        ends_s = hold_out.window(spec.policy, self._service.config.pool(pool).holdout_share, now_s).ends_s
        return ends_s - now_s

    def left_of(self, pool: str, plan: outcome.PoolPlan, specs: Specs, watch: Watch) -> outcome.PoolPlan:
        """The plan without the bets that are withheld."""
        families = self.held_out(pool, specs)
        if not families and not watch.is_shadow:
            return plan
        made = self._made.get(pool)
        if made is None or made.plan is not plan or (made.families, made.watch) != (families, watch):
            made = self._made[pool] = _Made(plan, families, watch, self._less(pool, plan, specs, watch))
        return made.left

    def _less(self, pool: str, plan: outcome.PoolPlan, specs: Specs, watch: Watch) -> outcome.PoolPlan:
        now_s = self._service.clock.now_s()
        if watch.is_shadow:
            check = self_disabling.check(watch, pool, now_s)
            return withhold(with_ledger(plan, check), _in_shadow(check))
        share = self._service.config.pool(pool).holdout_share
        return withhold(plan, lambda _bot, bet: hold_out.check(specs[bet.family].policy, share, pool, now_s))


def _in_shadow(check: outcome.GateCheck) -> Doubt:
    """What stands for each bet of a pool in shadow mode: what would have been done, and why it is not."""

    def doubt(bot_id: str, bet: outcome.HandOut) -> outcome.GateCheck:
        would_have = gates.would_have(bet.purpose, bet.family, bet.generation, bot_id)
        return replace(check, text=f"{would_have} {check.text}")

    return doubt
