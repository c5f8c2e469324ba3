"""The fleet as JSON: what pages and the command line show, for anybody who wants to build on it.

It is the fleet as the process that answers sees it: what an operator changed by that process at once, what others did
within about two seconds. `view_age_s` says how old the view is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
import orjson

from server import bot_management, fleet_report, pool_why
from server.access import Permission, Principal
from server.fleet_view import refresh_quietly
from server.service import Service

Authenticate = Callable[[flask.Request], Principal]


def make_blueprint(service: Service, authenticate: Authenticate) -> flask.Blueprint:
    """Routes below /api/v1; each names its permission."""
    routes = flask.Blueprint("fleet_api", __name__, url_prefix="/api/v1")

    def enter(permission: Permission) -> Principal:
        principal = authenticate(flask.request)
        principal.require(permission)
        refresh_quietly(service.view, eager=True)
        return principal

    @routes.get("/fleet")
    def fleet() -> flask.Response:
        principal = enter(Permission.POOL_LIST_BOTS)
        return _json(fleet_report.fleet(service, principal, flask.request.args.get("pool")))

    @routes.get("/ledger")
    def ledger() -> flask.Response:
        return _json(fleet_report.ledger(service, enter(Permission.SPEC_VIEW)))

    @routes.get("/why/bots/<path:bot_id>")
    def why_bot(bot_id: str) -> flask.Response:
        return _json(fleet_report.why_bot(service, enter(Permission.POOL_LIST_BOTS), bot_id))

    @routes.get("/why/pools/<pool>")
    def why_pool(pool: str) -> flask.Response:
        enter(Permission.POOL_LIST_BOTS).require(Permission.POOL_LIST_BOTS, pool)
        return _json(pool_why.why_pool(service, pool))

    @routes.get("/why/tasks")
    def why_tasks() -> flask.Response:
        ids = [one for one in flask.request.args.get("ids", "").split(",") if one]
        return _json({"tasks": fleet_report.why_tasks(service, enter(Permission.TASK_GET), ids)})

    @routes.get("/why/tasks/<task_id>")
    def why_task(task_id: str) -> flask.Response:
        return _json(fleet_report.why_task(service, enter(Permission.TASK_GET), task_id))

    @routes.post("/bots/<path:bot_id>/release")
    def release(bot_id: str) -> flask.Response:
        bot_management.release(service, enter(Permission.SPEC_EDIT), bot_id)
        return _json({"bot": bot_id, "released": True})

    return routes


def _json(value: dict[str, Any]) -> flask.Response:
    return flask.Response(orjson.dumps(value), mimetype="application/json")
