"""A pool's decisions: why nothing is warming, what was decided so far, and some decisions whole."""

from __future__ import annotations

from werkzeug.wrappers import Response

from handlers.ui.chrome import refresh
from handlers.ui.visit import Route, Visit
from server import pool_watch, pool_why
from server.access import Permission


def pool(visit: Visit, name: str) -> Response:
    """One pool."""
    visit.principal.require(Permission.POOL_LIST_BOTS, name)
    refresh(visit.service)
    may_start = visit.principal.may(Permission.SPEC_EDIT, name)
    return visit.render("pool.html", why=pool_why.why_pool(visit.service, name), may_start=may_start)


def start(visit: Visit, name: str) -> Response:
    """Lets a pool that went to shadow mode by itself hand out again."""
    started = pool_watch.start_again(visit.service, visit.principal, name, visit.text("why"))
    said = f"{name} hands out again; what it lost is forgiven." if started else f"{name} was not in shadow mode."
    return visit.back(f"/pools/{name}", said)


ROUTES = (
    Route("GET", "/pools/<name>", Permission.POOL_LIST_BOTS, pool),
    Route("POST", "/pools/<name>/start", Permission.SPEC_EDIT, start),
)
