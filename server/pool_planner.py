"""Plans pools for one process: the policy's view of a pool, its plan, and how often that may be made anew."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from server import ledger
from server.page_exchange import NEWS_AFTER_S
from server.plan_recorder import PlanRecorder
from server.policy import growth, model, outcome
from server.policy.at_hand import why_unusable
from server.policy.fleet import Fleet
from server.policy.minds import Minds
from server.policy.plan import plan_of
from server.pool_habits import PoolHabits
from server.seen_polls import silence_s, with_presence
from server.view_entries import Standing

if TYPE_CHECKING:
    from server.fleet_view import FleetView
    from server.service import Service

PLAN_CPU_SHARE = 0.1
"""A plan that took t seconds is not made anew for t / share seconds."""


class PoolPlanner:
    """The plans of one process."""

    def __init__(self, service: Service, view: FleetView) -> None:
        self._service = service
        self._view = view
        self._planning = threading.Lock()
        self._plans: dict[str, outcome.PoolPlan] = {}
        self._planned: dict[str, tuple[float, float]] = {}
        self._sampled_s: dict[str, float] = {}
        self._growth: dict[str, growth.Growing] = {}
        self._habits: dict[str, PoolHabits] = {}
        self._began_s = service.clock.now_s()
        self._recorder = PlanRecorder(service.settings.record_plans, service.process_id)

    def plan(self, pool: str, *, wait: bool = False) -> outcome.PoolPlan:
        """The pool's plan; made anew when something changed and the last one's cost allows.

        While another thread plans, the last plan is given, unless the caller would rather `wait`.
        """
        known = self._plans.get(pool)
        if known is not None and not self._is_wanted(pool):
            return known
        if not self._planning.acquire(blocking=wait or known is None):
            return known if known is not None else outcome.PoolPlan(advice={})
        try:
            made = self._plans.get(pool)
            if made is not None and made is not known and not self._is_wanted(pool):
                return made
            clock = self._service.clock
            began_s = clock.monotonic_s()
            self._view.take_dirty(pool)
            minds = Minds.about(Fleet(self.pool_view(pool)))
            pages, habits = self._service.pages, self._habits.get(pool)
            if habits is None:
                habits = self._habits[pool] = PoolHabits(pages.bets(pool))
            habits.learn(minds)
            pages.keep_bets(pool, habits.bets)
            seen = minds.fleet.view
            plan = plan_of(minds)
            self._plans[pool] = plan
            self._planned[pool] = (clock.monotonic_s(), clock.monotonic_s() - began_s)
            self._view.keep_hysteresis(pool, plan)
            self._recorder.keep(seen, plan)
            return plan
        finally:
            self._planning.release()

    def _is_wanted(self, pool: str) -> bool:
        """Whether the pool changed since the last plan, and its cost allows another one."""
        at_s, cost_s = self._planned.get(pool, (float("-inf"), 0.0))
        return self._view.is_dirty(pool) and self._service.clock.monotonic_s() - at_s >= cost_s / PLAN_CPU_SHARE

    def standing(self, pool: str) -> Standing:
        """The pool as the view knows it now."""
        view, now_s = self._view, self._service.clock.now_s()
        seen_at_s, epoch = now_s - view.age_s(), view.gate(pool).epoch
        usable, idle = [], []
        for bot in view.recorded_bots(pool):
            known = view.presence(bot)
            if why_unusable(bot) or (bot.held is None and known.is_overdue(now_s)):
                continue
            usable.append(bot)
            if bot.held is None and bot.quiet_until_s <= now_s and not known.is_late(now_s):
                idle.append(bot)
        pending = tuple(entry.policy for entry in view.pending(pool))
        return Standing(seen_at_s, epoch, tuple(usable), tuple(idle), pending, self._sampled(pool).p90)

    def pool_view(self, pool: str) -> model.PoolView:
        """All that the policy needs to know of the pool, now."""
        service, view, now_s = self._service, self._view, self._service.clock.now_s()
        demand, generation_demand = service.pages.demand(pool, now_s, self._families(pool))
        demand = {family: self._with_costs(family, known) for family, known in demand.items()}
        silent_since_s = self._silent_since_s(pool, now_s)
        return model.PoolView(
            pool=pool,
            now_s=now_s,
            view_age_s=view.age_s(),
            bots=tuple(
                with_presence(bot, view.presence(bot), now_s, silent_since_s) for bot in view.recorded_bots(pool)
            ),
            pending=tuple(entry.policy for entry in view.pending(pool)),
            specs=tuple(self._specs(pool)),
            demand=demand,
            generation_demand=generation_demand,
            thresholds=service.config.thresholds(pool),
            gate=replace(view.gate(pool), growth_p90=self._sampled(pool).p90),
            announcements=service.announced.live(pool, now_s),
            config_revision=service.config.revision,
        )

    def _silent_since_s(self, pool: str, now_s: float) -> float:
        """Bots with a run that were not heard of since then may be gone; 0 as long as this process has not listened."""
        news_after_s = 0.0 if self._service.settings.serves_alone else NEWS_AFTER_S
        since_s = now_s - silence_s(self._service.config.pool(pool).keep_alive_s, news_after_s)
        return since_s if since_s > self._began_s else 0.0

    def _with_costs(self, family: str, known: model.Demand) -> model.Demand:
        """Pages hold lengths of whole runs; the policy wants what being cold costs."""
        spec = self._view.specs().get(family)
        if spec is None or known.cold_cost_s is None or known.warm_cost_s is None:
            return replace(known, cold_cost_s=None, warm_cost_s=None)
        cold_s, warm_s = ledger.costs(spec.policy.cold_cost_s, spec.policy.warm_cost_s, known)
        return replace(known, cold_cost_s=cold_s, warm_cost_s=warm_s)

    def _sampled(self, pool: str) -> growth.Growing:
        """The growth of the tasks in the system, counted at even steps, for the reserve."""
        now_s = self._service.clock.monotonic_s()
        growing = self._growth.setdefault(pool, growth.Growing())
        colds = [spec.policy.cold_cost_s for spec in self._view.specs().values() if spec.policy_pool == pool]
        if now_s - self._sampled_s.get(pool, float("-inf")) >= growth.step_s(max(colds, default=0.0)):
            growing.add(self._view.tasks_in_system(pool))
            self._sampled_s[pool] = now_s
        return growing

    def _specs(self, pool: str) -> Iterator[model.Spec]:
        """The pool's specs, and of each the generation before: for tasks that wait or are announced, never as a bet."""
        for spec in self._view.specs().values():
            if spec.policy_pool == pool:
                yield from (one.policy for one in spec.made)

    def _families(self, pool: str) -> list[str]:
        return [family for family, spec in self._view.specs().items() if spec.policy_pool == pool]
