"""Announced demand: what is expected, who said so, and how it turned out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from werkzeug.wrappers import Response

from handlers.ui.chrome import refresh
from handlers.ui.visit import Route, Visit
from server import announcement_report, announcements
from server.access import Permission
from server.announced import CALL, LEARNED, SCHEDULE, TAG

ORIGINS = {CALL: "Announced", TAG: "By a task's tag", SCHEDULE: "By schedule", LEARNED: "Learned"}
MOST_OUTCOMES = 50
SOON_S = 3600.0


def announced(visit: Visit) -> Response:
    """All pools that the visitor may see."""
    refresh(visit.service)
    pools = announcement_report.report(visit.service, visit.principal)["pools"]
    rows = {
        name: [{**row, "pool": pool["pool"]} for pool in pools for row in pool[name]]
        for name in ("live", "schedules", "sources", "outcomes", "refused_tags", "learned")
    }
    rows["live"].sort(key=lambda row: (row["from_s"], row["id"]))
    rows["outcomes"].sort(key=lambda row: -row["until_s"])
    return visit.render(
        "announced.html",
        **{**rows, "outcomes": rows["outcomes"][:MOST_OUTCOMES]},
        swatches=visit.service.view.specs(),
        soon=_tasks_within(rows["live"], visit.now_s + SOON_S),
        believed=sum(row["came"] for row in rows["outcomes"]),
        promised=sum(row["count"] for row in rows["outcomes"]),
        used=[row for row in rows["learned"] if not row["refused"]],
        origins=ORIGINS,
    )


def retract(visit: Visit, entry_id: str) -> Response:
    """Withdraws what is left of an entry."""
    refresh(visit.service)
    said = announcements.retract(visit.service, visit.principal, visit.text("pool"), entry_id)
    return visit.back("/announced", f"Withdrawn: what {said.entry.source} expected of {said.entry.family}.")


def remove_schedule(visit: Visit, name: str) -> Response:
    """Ends a schedule."""
    announcements.remove_schedule(visit.service, visit.principal, visit.text("pool"), name)
    return visit.back("/announced", f"The schedule {name} has ended.")


def _tasks_within(live: Iterable[Mapping[str, Any]], until_s: float) -> int:
    return sum(row["left"] for row in live if row["from_s"] <= until_s)


ROUTES = (
    Route("GET", "/announced", Permission.SPEC_VIEW, announced),
    Route("POST", "/announced/<entry_id>/retract", Permission.POOL_CREATE_TASK, retract),
    Route("POST", "/announced/schedules/<name>/remove", Permission.SPEC_EDIT, remove_schedule),
)
"""The use cases ask again with the pool."""
