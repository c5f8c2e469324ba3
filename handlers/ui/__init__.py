"""The pages for people: server-rendered, one route table for each subject, a permission in every row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

import flask
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from handlers import errors as error_answers
from handlers.ui import (
    announced_pages,
    assets,
    bot_pages,
    config_pages,
    fleet_pages,
    live,
    pool_pages,
    security,
    spec_pages,
    switch_pages,
    task_pages,
    words,
)
from handlers.ui.visit import Route, Visit
from server.errors import EditConflict, PilotlightError

if TYPE_CHECKING:
    from server.access import Principal
    from server.service import Service

Authenticate = Callable[[flask.Request], "Principal"]

ROUTES: tuple[Route, ...] = (
    *fleet_pages.ROUTES,
    *live.ROUTES,
    *task_pages.ROUTES,
    *bot_pages.ROUTES,
    *spec_pages.ROUTES,
    *announced_pages.ROUTES,
    *pool_pages.ROUTES,
    *config_pages.ROUTES,
    *switch_pages.ROUTES,
)


def make_blueprint(service: Service, authenticate: Authenticate) -> flask.Blueprint:
    """All pages of one process; `authenticate` says who asks."""
    pages = flask.Blueprint("ui", __name__)
    for route in ROUTES:
        view = partial(_serve, service, authenticate, route)
        endpoint = f"{route.view.__module__.rpartition('.')[2]}_{route.view.__name__}_{route.method.lower()}"
        pages.add_url_rule(route.path, endpoint=endpoint, view_func=view, methods=[route.method])
    pages.add_url_rule("/assets/<digest>/<path:name>", endpoint="asset", view_func=assets.serve)
    pages.record_once(lambda state: _prepare(cast("flask.Flask", state.app), service))
    on_error = partial(_error_page, service, authenticate)
    pages.register_error_handler(Exception, on_error)
    pages.app_errorhandler(404)(on_error)
    pages.app_errorhandler(405)(on_error)
    pages.after_app_request(security.strict_headers)
    return pages


def _prepare(app: flask.Flask, service: Service) -> None:
    security.init_app(app, service)
    assets.init_app(app)
    app.jinja_env.filters.update(words.FILTERS)
    app.jinja_env.globals.update(words.GLOBALS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def _serve(service: Service, authenticate: Authenticate, route: Route, **parts: str) -> Response:
    principal = authenticate(flask.request)
    principal.require(route.permission, route.scope)
    if route.method == "POST":
        security.check_form(flask.request)
    return route.view(Visit(service, principal, flask.request), **parts)


def _error_page(service: Service, authenticate: Authenticate, error: Exception) -> Response:
    """An error as a page: what happened, that nothing changed, what to do. Programs get theirs as ever."""
    answer = error_answers.answer(error)
    if error_answers.is_api(flask.request.path) or (isinstance(error, HTTPException) and error.response is not None):
        return answer
    status = 409 if isinstance(error, EditConflict) else answer.status_code
    told = flask.json.loads(answer.get_data())["error"]
    try:
        principal = authenticate(flask.request)
        page = Visit(service, principal, flask.request).render("error.html", status, status=status, error=told)
    except PilotlightError:
        page = flask.Response(f"{told['message']}\n", status, content_type="text/plain; charset=utf-8")
    for name in ("Retry-After", "WWW-Authenticate", "Allow"):
        if name in answer.headers:
            page.headers[name] = answer.headers[name]
    return page
