"""The ledger: what background work cost, what it saved, what was never used; and what real runs teach about costs.

Called after a transition has committed, so that a retried transaction counts once. A process that dies in between loses
one entry of the ledger, never a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from server.policy import hold_out
from server.policy.hold_out import Arm
from server.policy.self_disabling import YOUNG_S
from server.records import task
from server.records.task import TaskResult

if TYPE_CHECKING:
    from server.loaded_spec import LoadedSpec
    from server.policy.model import Demand, Spec
    from server.service import Service
    from server.task_transition import Touched

LEAST_WORK_S = 1.0
"""A task that took no longer than a start of its kind worked for so long."""


def book(service: Service, touched: Touched) -> None:
    """Books what a committed transition means."""
    result = touched.result
    if result is None or not touched.changed:
        return
    if touched.started_from_offer and not result.purpose:
        _started(service, result)
    elif touched.outcome and result.started_s:
        (_background_ended if result.purpose else _real_ended)(service, result, touched.outcome)


def _started(service: Service, result: TaskResult) -> None:
    """A real task began: on a bot that a spec had warmed, that spec has saved the difference of cold and warm."""
    now_s, pages = service.clock.now_s(), service.pages
    for family, was in result.warm_at_start.items():
        known = pages.demand_of(result.pool, now_s, family)
        service.count(result.pool, f"{family}/{'warm' if was['warm'] else 'cold'}_starts")
        spec = service.view.specs().get(family)
        if spec is not None and spec.policy_pool == result.pool:
            _compare(service, result, spec, was, known)
            wanted = was["wanted"]
            of_wanted = pages.demand_of(result.pool, now_s, family, wanted) if wanted else None
            _watch(service, result, spec.policy, was, of_wanted)
        if not (was["warm"] and was["by_spec"] and was["first_use"]):
            continue  # From the second use on the bot would be warm anyhow: the first user would have made it so.
        service.count(result.pool, f"{family}/used")
        if spec is not None:
            cold_s, warm_s = costs(spec.policy.cold_cost_s, spec.policy.warm_cost_s, known)
            pages.saved(result.pool, family, max(0.0, cold_s - warm_s), now_s)
            service.count(result.pool, f"{family}/saved_s", max(0.0, cold_s - warm_s))


def _compare(
    service: Service, result: TaskResult, loaded: LoadedSpec, was: Mapping[str, Any], known: Demand | None
) -> None:
    """The task counts for one of the groups that tell what prewarming saves, by when it came.

    It is compared how long after that it got to work: the time until it started, and what the start costs on a bot as
    warm or cold as this one was. Only tasks that the spec's bets can serve, announced ones of the generation before
    among them, and only while they are made at all.
    """
    spec, made = loaded.policy, [one.generation for one in loaded.made]
    config, view = service.config.pool(result.pool), service.view
    is_on = config.mode == "live" and spec.active and not view.gate(result.pool).stopped
    is_on = is_on and not view.watch(result.pool).is_shadow
    if not is_on or config.holdout_share <= 0.0 or was["wanted"] not in ("", *made):
        return
    arm = hold_out.arm(spec, config.holdout_share, result.created_s)
    if arm is not Arm.NEITHER:
        cold_s, warm_s = costs(spec.cold_cost_s, spec.warm_cost_s, known)
        waited_s = max(0.0, result.started_s - result.created_s) + (warm_s if was["warm"] else cold_s)
        number = hold_out.window(spec, config.holdout_share, result.created_s).number
        service.pages.compared(result.pool, spec.family, arm, number, waited_s, service.clock.now_s())


def _watch(service: Service, result: TaskResult, spec: Spec, was: Mapping[str, Any], known: Demand | None) -> None:
    """The start counts for the share of cold ones, by which a pool that collapses is found out.

    Not where cold starts have another reason: a generation that is new, or one that the spec does not make, and tasks
    that came while the spec was held out.
    """
    now_s, hold_out_share = service.clock.now_s(), service.config.pool(result.pool).holdout_share
    since_s = max(spec.registered_s, known.first_arrival_s if known is not None else 0.0)
    if was["wanted"] not in ("", spec.generation) or now_s - since_s < YOUNG_S:
        return
    if hold_out.arm(spec, hold_out_share, result.created_s) is Arm.TREATED:
        service.pages.started(result.pool, not was["warm"], now_s)


def costs(prior_cold_s: float, prior_warm_s: float, known: object) -> tuple[float, float]:
    """Cold and warm cost of a family: measured once both kinds of run were seen, the spec's word until then.

    Only lengths of whole runs are measured; their difference is what being cold costs.
    """
    cold_s, warm_s = getattr(known, "cold_cost_s", None), getattr(known, "warm_cost_s", None)
    if cold_s is None or warm_s is None:
        return prior_cold_s, prior_warm_s
    return max(0.0, cold_s - warm_s) + prior_warm_s, prior_warm_s


def _background_ended(service: Service, result: TaskResult, outcome: str) -> None:
    now_s = service.clock.now_s()
    ran_s = max(0.0, now_s - result.started_s)
    family = result.spec_family
    service.pages.spent(result.pool, family, ran_s, now_s)
    service.count(result.pool, f"{family}/background_s", ran_s)
    done = outcome == task.COMPLETED and not result.failure
    kind = "prewarms" if done else ("preempted" if outcome in (task.KILLED, task.CANCELED) else "failed")
    service.count(result.pool, f"{family}/{kind}")


def _real_ended(service: Service, result: TaskResult, outcome: str) -> None:
    if outcome != task.COMPLETED or result.failure or result.duration_s is None:
        return
    now_s = service.clock.now_s()
    worked_s = max(LEAST_WORK_S, result.duration_s - _started_up_s(service, result, now_s))
    for family, was in result.warm_at_start.items():
        warm = was["warm"]
        service.pages.observed(
            result.pool,
            family,
            now_s,
            warm_cost_s=result.duration_s if warm else None,
            cold_cost_s=None if warm else result.duration_s,
            duration_s=worked_s,
        )


def _started_up_s(service: Service, result: TaskResult, now_s: float) -> float:
    """How much of a run was its start-up, by what is known of its families: the longest, where it wanted several."""
    specs, started_up_s = service.view.specs(), 0.0
    for family, was in result.warm_at_start.items():
        if family in specs:
            spec, known = specs[family].policy, service.pages.demand_of(result.pool, now_s, family)
            cold_s, warm_s = costs(spec.cold_cost_s, spec.warm_cost_s, known)
            started_up_s = max(started_up_s, warm_s if was["warm"] else cold_s)
    return started_up_s
