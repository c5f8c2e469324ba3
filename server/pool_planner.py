"""Plans pools for one process: the policy's view of a pool, its plan, and how often that may be made anew."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from server import ledger
from server.policy import growth, model
from server.policy import plan as policy_plan

if TYPE_CHECKING:
    from server.fleet_view import FleetView
    from server.service import Service

PLAN_CPU_SHARE = 0.1
"""A plan that took t seconds is not made anew for t / share seconds."""


OVERDUE_S = 120.0
"""A bot that is so late for the poll that it promised is not counted on; what other processes saw of it is up to a
minute old. It is declared dead only after `death_timeout_s`."""


def present(bot: model.Bot, now_s: float) -> model.Bot:
    """The bot as the policy may count on it: one that is long overdue counts as gone until it polls."""
    overdue = bot.held is None and 0.0 < bot.next_poll_s < now_s - OVERDUE_S and bot.last_seen_s < now_s - OVERDUE_S
    return replace(bot, alive=False) if overdue else bot


class PoolPlanner:
    """The plans of one process."""

    def __init__(self, service: Service, view: FleetView) -> None:
        self._service = service
        self._view = view
        self._planning = threading.Lock()
        self._plans: dict[str, model.PoolPlan] = {}
        self._planned: dict[str, tuple[float, float]] = {}
        self._sampled_s: dict[str, float] = {}
        self._growth: dict[str, growth.Growing] = {}

    def plan(self, pool: str) -> model.PoolPlan:
        """The pool's plan; made anew when something changed and the last one's cost allows."""
        known = self._plans.get(pool)
        if known is not None and (not self._view.is_dirty(pool) or not self._plan_due(pool)):
            return known
        if not self._planning.acquire(blocking=known is None):
            return known if known is not None else model.PoolPlan(advice={})
        try:
            clock = self._service.clock
            began_s = clock.monotonic_s()
            self._view.take_dirty(pool)
            plan = policy_plan.plan(self.pool_view(pool))
            self._plans[pool] = plan
            self._planned[pool] = (clock.monotonic_s(), clock.monotonic_s() - began_s)
            self._view.keep_hysteresis(pool, plan)
            return plan
        finally:
            self._planning.release()

    def _plan_due(self, pool: str) -> bool:
        at_s, cost_s = self._planned.get(pool, (float("-inf"), 0.0))
        return self._service.clock.monotonic_s() - at_s >= cost_s / PLAN_CPU_SHARE

    def pool_view(self, pool: str) -> model.PoolView:
        """All that the policy needs to know of the pool, now."""
        service, view, now_s = self._service, self._view, self._service.clock.now_s()
        self._sample(pool)
        demand, generation_demand = service.pages.demand(pool, now_s, self._families(pool))
        demand = {family: self._with_costs(family, known) for family, known in demand.items()}
        return model.PoolView(
            pool=pool,
            now_s=now_s,
            view_age_s=view.age_s(),
            bots=tuple(present(entry.policy, now_s) for entry in view.bots(pool)),
            pending=tuple(entry.policy for entry in view.pending(pool)),
            specs=tuple(spec.policy for spec in view.specs().values() if spec.policy_pool == pool),
            demand=demand,
            generation_demand=generation_demand,
            thresholds=service.config.thresholds(pool),
            gate=replace(view.gate(pool), growth_p90=self._growth[pool].p90),
            announcements=service.announced.live(pool, now_s),
            config_revision=service.config.revision,
        )

    def _with_costs(self, family: str, known: model.Demand) -> model.Demand:
        """Pages hold lengths of whole runs; the policy wants what being cold costs."""
        spec = self._view.specs().get(family)
        if spec is None or known.cold_cost_s is None or known.warm_cost_s is None:
            return replace(known, cold_cost_s=None, warm_cost_s=None)
        cold_s, warm_s = ledger.costs(spec.policy.cold_cost_s, spec.policy.warm_cost_s, known)
        return replace(known, cold_cost_s=cold_s, warm_cost_s=warm_s)

    def _sample(self, pool: str) -> None:
        """Counts the tasks in the system at even steps, for the reserve."""
        now_s = self._service.clock.monotonic_s()
        growing = self._growth.setdefault(pool, growth.Growing())
        colds = [spec.policy.cold_cost_s for spec in self._view.specs().values() if spec.policy_pool == pool]
        if now_s - self._sampled_s.get(pool, float("-inf")) < growth.step_s(max(colds, default=0.0)):
            return
        growing.add(self._view.tasks_in_system(pool))
        self._sampled_s[pool] = now_s

    def _families(self, pool: str) -> list[str]:
        return [family for family, spec in self._view.specs().items() if spec.policy_pool == pool]
