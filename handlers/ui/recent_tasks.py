"""Tasks as rows: the newest, real ones and background ones each with room of their own."""

from __future__ import annotations

from typing import Any

from handlers.ui.visit import Visit
from server import errors
from server.access import Permission
from server.records.task import LIVE, TaskResult
from server.task_results import ListQuery, list_tasks

BACKGROUND = ("clean", "on_demand", "announced", "forecast")
"""Purposes; every background task has one, also as a tag."""
PAGE, MOST_PAGES = 50, 4
"""How far back real tasks are looked for among background ones."""


def newest(visit: Visit, most: int) -> list[dict[str, Any]] | None:
    """The newest real and background tasks, at most `most` of each, newest first; None while the store is silent."""
    if not visit.principal.may(Permission.POOL_LIST_TASKS):
        return []
    try:
        return _newest(visit, most)
    except errors.StoreUnavailable:
        return None


def _newest(visit: Visit, most: int) -> list[dict[str, Any]]:
    queries = [ListQuery(limit=most, tags=(f"purpose:{purpose}",)) for purpose in BACKGROUND]
    background = [result for query in queries for result in list_tasks(visit.service, visit.principal, query).items]
    found = [*_newest_first(background)[:most], *_real(visit, most)]
    return [row(result) for result in _newest_first(found)]


def _newest_first(results: list[TaskResult]) -> list[TaskResult]:
    return sorted(results, key=lambda result: -result.created_s)


def _real(visit: Visit, most: int) -> list[TaskResult]:
    found: list[TaskResult] = []
    cursor = ""
    for _ in range(MOST_PAGES):
        page = list_tasks(visit.service, visit.principal, ListQuery(limit=PAGE, cursor=cursor))
        found += [result for result in page.items if not result.purpose]
        cursor = page.cursor
        if len(found) >= most or not cursor:
            break
    return found[:most]


def row(result: TaskResult) -> dict[str, Any]:
    """A task as tables show it. Times are seconds, 0 for not yet."""
    warm = [family for family, was in result.warm_at_start.items() if was["warm"]]
    cold = [family for family, was in result.warm_at_start.items() if not was["warm"]]
    ran_s = result.duration_s
    if ran_s is None and result.started_s and result.state not in LIVE:
        ran_s = max(0.0, (result.completed_s or result.abandoned_s or result.modified_s) - result.started_s)
    return {
        "id": str(result.key.id()),
        "name": result.name or "unnamed",
        "result": result,
        "bot": result.bot_id,
        "pool": result.pool,
        "purpose": result.purpose,
        "created_s": result.created_s,
        "started_s": result.started_s,
        "waited_s": result.started_s - result.created_s if result.started_s else None,
        "ran_s": ran_s,
        "warm": warm,
        "cold": cold,
    }
