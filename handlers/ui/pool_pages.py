"""A pool's decisions: why nothing is warming, what was decided so far, and some decisions whole."""

from __future__ import annotations

from werkzeug.wrappers import Response

from handlers.ui.chrome import refresh
from handlers.ui.visit import Route, Visit
from server import pool_why
from server.access import Permission


def pool(visit: Visit, name: str) -> Response:
    """One pool."""
    visit.principal.require(Permission.POOL_LIST_BOTS, name)
    refresh(visit.service)
    return visit.render("pool.html", why=pool_why.why_pool(visit.service, name))


ROUTES = (Route("GET", "/pools/<name>", Permission.POOL_LIST_BOTS, pool),)
