"""The stop switch, the appearance, and finding things by name: what the top bar does."""

from __future__ import annotations

import contextlib

import flask
from werkzeug.wrappers import Response

from handlers.ui import chrome, security
from handlers.ui.visit import Route, Visit, local_path
from server import errors, fleet_report
from server.access import ALL_POOLS, Permission
from server.switch import set_switch
from server.task_ids import parse_task_id

MOST_FOUND = 20


def switch(visit: Visit) -> Response:
    """The question that the dialog asks, as a page of its own for browsers without scripts."""
    return visit.render("switch.html", running=_running(visit))


def flip(visit: Visit) -> Response:
    """Stops prewarming everywhere, or lets it begin again."""
    wanted = visit.text("stopped")
    if wanted not in ("true", "false"):
        raise errors.InvalidArgument("stopped: must be true or false; nothing was changed", field="stopped")
    head = set_switch(visit.service, visit.principal, wanted == "true", visit.text("why").strip())
    chrome.refresh(visit.service)
    if head.stopped:
        return visit.back("/", "Prewarming is stopped. Background work that ran is being stopped; real tasks go on.")
    return visit.back("/", "Prewarming goes on.")


def theme(visit: Visit) -> Response:
    """Light, dark, or as the system has it; kept in a cookie, so that the first paint is right."""
    wanted = visit.text("theme")
    answer = flask.redirect(local_path(visit.text("next")) or "/", 303)
    if wanted in chrome.THEMES:
        secure = security.is_secure(visit.service)
        answer.set_cookie(
            chrome.THEME_COOKIE, wanted, max_age=400 * 24 * 3600, httponly=True, samesite="Lax", secure=secure
        )
    return answer


def find(visit: Visit) -> Response:
    """A bot, task, spec or pool by its name or a part of it; straight to the page when only one fits."""
    asked = visit.text("q").strip()
    found = _found(visit, asked) if asked else []
    if len(found) == 1 or (found and found[0][1] == asked):
        return flask.redirect(found[0][2])
    return visit.render("find.html", asked=asked, found=found[:MOST_FOUND], more=max(0, len(found) - MOST_FOUND))


def _found(visit: Visit, asked: str) -> list[tuple[str, str, str]]:
    """Kind, name and address; what is called exactly so comes first."""
    chrome.refresh(visit.service)
    may, found = visit.principal.may, []
    with contextlib.suppress(errors.InvalidArgument):
        found.append(("Task", asked, f"/tasks/{parse_task_id(asked)}"))
    for entry in visit.service.view.bots():
        if asked.lower() in entry.policy.id.lower() and may(Permission.POOL_LIST_BOTS, entry.pool):
            found.append(("Bot", entry.policy.id, f"/bots/{entry.policy.id}"))
    for family, spec in visit.service.view.specs().items():
        if asked.lower() in family and may(Permission.SPEC_VIEW, spec.pool):
            found.append(("Spec", family, f"/specs/{family}"))
    for pool in visit.service.view.pools():
        if asked.lower() in pool.lower() and may(Permission.CONFIG_VIEW, pool):
            found.append(("Pool", pool, f"/config/pools/{pool}"))
    return sorted(found, key=lambda one: (one[1] != asked, one[0], one[1]))


def _running(visit: Visit) -> int:
    pools = fleet_report.fleet(visit.service, visit.principal)["pools"]
    return sum(pool["background"] for pool in pools)


ROUTES = (
    Route("GET", "/switch", Permission.SPEC_VIEW, switch),
    Route("POST", "/switch", Permission.SWITCH, flip, ALL_POOLS),
    Route("POST", "/theme", Permission.SERVER_PEEK, theme),
    Route("GET", "/find", Permission.SERVER_PEEK, find),
)
