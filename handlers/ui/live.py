"""Live pages by polling: a page asks what has changed since the parts that it shows, and gets these alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flask
import orjson
from werkzeug.wrappers import Response

from handlers.ui import bot_pages, chrome, fleet_pages, fragments, task_pages
from handlers.ui.visit import Route, Visit
from server import errors
from server.access import Permission

SWITCH_HEADER = "Pilotlight-Switch"
"""`stopped` or `on`: a page that shows the other one loads itself anew."""


@dataclass(frozen=True, slots=True)
class LivePage:
    """A page whose parts are sent anew: by name the template of each, and the model of all."""

    permission: Permission
    model: Callable[[Visit, str], Mapping[str, Any]]
    templates: Mapping[str, str]


PAGES: Mapping[str, LivePage] = {
    "fleet": LivePage(Permission.POOL_LIST_BOTS, fleet_pages.live_model, fleet_pages.FRAGMENTS),
    "task": LivePage(Permission.TASK_GET, task_pages.live_model, task_pages.FRAGMENTS),
    "bot": LivePage(Permission.POOL_LIST_BOTS, bot_pages.live_model, bot_pages.FRAGMENTS),
}


def events(visit: Visit) -> Response:
    """What changed: `since` is the revision of the page or of the answer before; 204 when nothing did."""
    page = PAGES.get(visit.text("page"))
    if page is None:
        raise errors.InvalidArgument(f"page: must be one of {', '.join(PAGES)}", field="page")
    visit.principal.require(page.permission)
    lost = chrome.refresh(visit.service)
    if lost:
        raise errors.StoreUnavailable(lost)
    parts = fragments.rendered(visit, page.templates, page.model(visit, visit.text("id")))
    news = parts.news(visit.text("since"))
    response = flask.Response(status=204)
    del response.headers["Content-Type"]
    if news:
        body = orjson.dumps({"revision": parts.revision, "parts": news})
        response = flask.Response(body, content_type="application/json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers[SWITCH_HEADER] = "stopped" if visit.service.view.switch().stopped else "on"
    return response


ROUTES = (Route("GET", "/events", Permission.SERVER_PEEK, events),)
"""It asks for the page's own permission as well."""
