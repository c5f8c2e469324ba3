"""What bots call: the Swarming bot API, and the plain `POST /poll` for bots of any make, which is the same function.

Payloads first; each handler parses, authorises, calls one function of `server/`, and renders. Answers are never empty
objects where the recorded bot would kill its task for one (`bot-protocol`, general JSON rules).
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import flask
import orjson

from handlers import bodies, metrics
from server import bot_code, bot_management, bot_report, errors, manifest, task_scheduler, task_to_run, task_update
from server.access import Permission, Principal
from server.bot_session import Token
from server.service import Service
from server.task_ids import parse_task_id
from server.task_scheduler import EndReport, SessionGone

Authenticate = Callable[[flask.Request], Principal]

API = "/swarming/api/v1/bot"
EVENTS = ("bot_error", "bot_log", "bot_rebooting", "bot_shutdown")
SERVER_VERSION = "pilotlight-1"
LARGEST_EXIT_CODE = 2**32
LARGEST_STATS = 200_000
"""Bytes of the statistics of a run; what is beyond or nested deeply is left out: it must not keep a run from ending."""
STATS = (
    "bot_overhead",
    "isolated_stats",
    "named_caches_stats",
    "named_caches_before",
    "cache_trim_stats",
    "cleanup_stats",
    "cipd_stats",
    "cipd_pins",
    "cas_output_root",
    "cost_usd",
)


def make_blueprint(service: Service, authenticate: Authenticate) -> flask.Blueprint:
    """The bot routes of one process; every one of them needs `bots.connect`."""
    routes = flask.Blueprint("bot_api", __name__)
    calls = BotCalls(service, authenticate)
    routes.add_url_rule(f"{API}/server_ping", view_func=calls.server_ping, methods=["GET"])
    routes.add_url_rule(f"{API}/handshake", view_func=calls.handshake, methods=["POST"])
    routes.add_url_rule(f"{API}/poll", view_func=calls.poll, methods=["POST"])
    routes.add_url_rule("/poll", endpoint="plain_poll", view_func=calls.plain_poll, methods=["POST"])
    routes.add_url_rule(f"{API}/event", view_func=calls.event, methods=["POST"])
    routes.add_url_rule(f"{API}/task_update", endpoint="update", view_func=calls.task_update, methods=["POST"])
    routes.add_url_rule(f"{API}/task_update/<task_id>", view_func=calls.task_update, methods=["POST"])
    routes.add_url_rule(f"{API}/task_error", endpoint="error", view_func=calls.task_error, methods=["POST"])
    routes.add_url_rule(f"{API}/task_error/<task_id>", view_func=calls.task_error, methods=["POST"])
    routes.add_url_rule(f"{API}/bot_code/<version>", view_func=calls.bot_code, methods=["GET"])
    routes.add_url_rule("/bot_code", endpoint="newest_code", view_func=calls.bot_code, methods=["GET"])
    routes.add_url_rule("/bootstrap", view_func=calls.bootstrap, methods=["GET"])
    return routes


class BotCalls:
    """Handlers bound to one process's service."""

    def __init__(self, service: Service, authenticate: Authenticate) -> None:
        self._service = service
        self._authenticate = authenticate

    # ---- session

    def server_ping(self) -> flask.Response:
        """GET server_ping: no credentials are sent, any 200 will do."""
        return flask.Response("Server up", mimetype="text/plain")

    def handshake(self) -> flask.Response:
        """POST handshake: opens a session."""
        principal, body = self._enter()
        report = self._report(principal, body)
        session = bot_management.check_session_id(body.get("session_id") or uuid.uuid4().hex)
        token = bot_management.handshake(self._service, report, session)
        return _json(
            {
                "session": self._service.sessions.mint(token),
                "server_version": SERVER_VERSION,
                "bot_version": bot_code.version() if report.own else report.version,
                "bot_config": None,
                "bot_config_name": "bot_config.py",
                "bot_config_rev": "none",
                "bot_group_cfg": {"dimensions": {}},
            }
        )

    # ---- poll

    def poll(self) -> flask.Response:
        """POST poll, as Swarming bots call it."""
        return self._poll(opens_session=False)

    def plain_poll(self) -> flask.Response:
        """POST /poll: the first one without a token opens a session, as a handshake does."""
        return self._poll(opens_session=True)

    def _poll(self, opens_session: bool) -> flask.Response:
        reply = self._answer(opens_session)
        metrics.count_poll(reply["cmd"])
        return _json(reply)

    def _answer(self, opens_session: bool) -> dict[str, Any]:
        service = self._service
        principal, body = self._enter()
        report = self._report(principal, body)
        try:
            token = self._token_for_poll(report, body, opens_session)
            entry = bot_management.merge_report(service, token, report)
            answer = task_to_run.answer_poll(service, token, entry, _hold_s(body))
        except SessionGone:
            return self._session_gone(report)
        except (errors.StoreUnavailable, errors.Contention):
            return {"cmd": "sleep", "duration": service.rng.uniform(5.0, 15.0)}
        reply: dict[str, Any] = {"session": service.sessions.mint(answer.token)}
        if answer.delivery is not None:
            keep_alive_s = service.config.pool(report.pool).keep_alive_s
            rendered = manifest.manifest(answer.delivery, report.bot_id, principal.identity, keep_alive_s)
            reply |= {"cmd": "run", "manifest": rendered}
        else:
            reply |= {
                "cmd": "sleep",
                "duration": round(answer.sleep_s, 3),
                "quarantined": bool(entry.policy.quarantined),
            }
            if entry.policy.quarantined:
                reply["quarantined_why"] = entry.policy.quarantined
        return reply

    def _token_for_poll(self, report: bot_report.Report, body: dict[str, Any], opens_session: bool) -> Token:
        text = body.get("session")
        if not text and opens_session:
            return bot_management.handshake(self._service, report, uuid.uuid4().hex)
        if not text or not isinstance(text, str):
            raise SessionGone
        try:
            return self._service.sessions.verify(text)
        except errors.Unauthenticated as error:
            raise SessionGone from error

    def _session_gone(self, report: bot_report.Report) -> dict[str, Any]:
        """The store says that another session owns this id: start anew, unless two machines fight for it."""
        reason = bot_management.is_quarantined_by_server(self._service, report.bot_id)
        if reason:
            return {"cmd": "sleep", "duration": 60.0, "quarantined": True, "quarantined_why": reason}
        return {"cmd": "bot_restart", "message": "the session is not, or no longer, the bot's"}

    # ---- run

    def task_update(self, task_id: str = "") -> flask.Response:
        """POST task_update: start, keep-alive, output or end."""
        _, body = self._enter()
        token = self._token(body)
        wanted = parse_update(body, task_id)
        answer = task_update.update(self._service, token, wanted)
        reply: dict[str, Any] = {
            "ok": answer.ok,
            "must_stop": answer.must_stop,
            "session": self._service.sessions.mint(token),
        }
        if answer.reason:
            reply["stop_reason"] = answer.reason
        if answer.held:
            reply["held"] = True
        return _json(reply)

    def task_error(self, task_id: str = "") -> flask.Response:
        """POST task_error: the bot could not run the task, or has to leave in the middle of it (`handed_back`)."""
        _, body = self._enter()
        token = self._token(body)
        client_error = body.get("client_error")
        given = {}
        if isinstance(client_error, dict):
            given = {key: client_error[key] for key in ("missing_cas", "missing_cipd") if client_error.get(key)}
        missing = _within_limits(given, given)
        message = body.get("message")
        task_scheduler.task_error(
            self._service,
            token,
            _task_id(body, task_id),
            message if isinstance(message, str) else "unknown",
            missing,
            handed_back=body.get("handed_back") is True,
        )
        return _json({"resp": 1})

    def event(self) -> flask.Response:
        """POST event: what happened to the bot."""
        principal, body = self._enter()
        report = self._report(principal, body)
        kind, message = body.get("event"), body.get("message")
        if kind not in EVENTS:
            raise errors.InvalidArgument(f"event: must be one of {', '.join(EVENTS)}", field="event")
        self._service.count(report.pool, f"event.{kind}")
        if kind in ("bot_shutdown", "bot_rebooting") and body.get("session"):
            bot_management.leave(self._service, self._token(body), str(message or ""))
        return _json({})

    # ---- code

    def bot_code(self, version: str = "") -> flask.Response:
        """GET bot_code: the zip that is our bot. Another version than ours is answered with ours."""
        self._authenticate(flask.request).require(Permission.BOT_CONNECT)
        archive = bot_code.archive(_server_url(self._service))
        response = flask.Response(archive, mimetype="application/zip")
        response.headers["X-Pilotlight-Bot-Version"] = bot_code.version()
        return response

    def bootstrap(self) -> flask.Response:
        """GET bootstrap: a script that fetches the bot and starts it."""
        self._authenticate(flask.request).require(Permission.BOT_CONNECT)
        return flask.Response(bot_code.bootstrap_script(_server_url(self._service)), mimetype="text/x-python")

    # ---- parts

    def _enter(self) -> tuple[Principal, dict[str, Any]]:
        principal = self._authenticate(flask.request)
        principal.require(Permission.BOT_CONNECT)
        return principal, json_object(bodies.read(flask.request))

    def _report(self, principal: Principal, body: dict[str, Any]) -> bot_report.Report:
        address = flask.request.remote_addr or ""
        report = bot_report.parse(body, external_ip=address, authenticated_as=principal.identity)
        principal.require(Permission.BOT_CONNECT, report.pool)
        return report

    def _token(self, body: dict[str, Any]) -> Token:
        text = body.get("session")
        if not isinstance(text, str) or not text:
            raise errors.InvalidArgument("session: the token of the run is needed", field="session")
        token = self._service.sessions.verify(text)
        bot_id = body.get("id")
        if bot_id is not None and bot_id != token.bot:
            raise errors.InvalidArgument(f"id: {str(bot_id)[:80]!r} is not the bot of this session", field="id")
        return token


def parse_update(body: dict[str, Any], path_task_id: str) -> task_update.Update:
    """Reads an update's body.

    Raises:
        InvalidArgument: names the field and the rule.
    """
    task_id = _task_id(body, path_task_id)
    output = body.get("output")
    data = b""
    if output is not None:
        if not isinstance(output, str):
            raise errors.InvalidArgument("output: must be base64 text", field="output")
        try:
            data = base64.b64decode(output, validate=True)
        except (binascii.Error, ValueError) as error:
            raise errors.InvalidArgument("output: is not valid base64", field="output") from error
    offset = body.get("output_chunk_start", 0)
    if not isinstance(offset, int) or isinstance(offset, bool):
        raise errors.InvalidArgument("output_chunk_start: must be a whole number of bytes", field="output_chunk_start")
    exit_code, duration = body.get("exit_code"), body.get("duration")
    hard, io, canceled = (_flag(body, name) for name in ("hard_timeout", "io_timeout", "canceled"))
    if exit_code is not None and not (type(exit_code) is int and abs(exit_code) <= LARGEST_EXIT_CODE):
        raise errors.InvalidArgument("exit_code: must be a whole number of 32 bits", field="exit_code")
    if duration is not None and (isinstance(duration, bool) or not isinstance(duration, int | float) or duration < 0):
        raise errors.InvalidArgument("duration: must be a number of seconds, at least 0", field="duration")
    if (exit_code is None) != (duration is None):
        raise errors.InvalidArgument("duration and exit_code come together", field="duration")
    end = None
    if exit_code is not None or hard or io or canceled:
        stats = _within_limits(body, STATS)
        end = EndReport(exit_code, float(duration) if duration is not None else None, hard, io, canceled, stats)
    failure = end is None and ("hard_timeout" in body or "io_timeout" in body)
    return task_update.Update(task_id, data, offset, end, internal_failure=failure, hold_s=_hold_s(body))


def _flag(body: dict[str, Any], name: str) -> bool:
    """A field that ends the run when it is true; absent or null is false. Text such as "false" must not end one."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise errors.InvalidArgument(f"{name}: must be true or false", field=name)
    return bool(value)


def _within_limits(body: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Those of the fields that can be kept, together at most LARGEST_STATS bytes; a field that cannot is left out."""
    found: dict[str, Any] = {}
    left = LARGEST_STATS
    for key in keys:
        if key not in body or bot_report.is_deep(body[key]):
            continue
        size = len(orjson.dumps(body[key]))
        if size <= left:
            left -= size
            found[key] = body[key]
    return found


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        InvalidArgument: it is not one.
    """
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise errors.InvalidArgument(f"body: not valid JSON ({error})", field="body") from error
    if not isinstance(body, dict):
        raise errors.InvalidArgument("body: must be a JSON object", field="body")
    return body


def _task_id(body: dict[str, Any], path_task_id: str) -> str:
    named = body.get("task_id") or path_task_id
    task_id = parse_task_id(named)
    if path_task_id and parse_task_id(path_task_id) != task_id:
        raise errors.InvalidArgument("task_id: the path and the body name different tasks", field="task_id")
    return task_id


def _hold_s(body: dict[str, Any]) -> float:
    hold_s = body.get("hold_s", 0)
    if isinstance(hold_s, bool) or not isinstance(hold_s, int | float) or hold_s < 0:
        raise errors.InvalidArgument("hold_s: must be a number of seconds, at least 0", field="hold_s")
    return float(hold_s)


def _server_url(service: Service) -> str:
    return service.settings.public_url or flask.request.url_root.rstrip("/")


def _json(value: dict[str, Any]) -> flask.Response:
    return flask.Response(orjson.dumps(value), mimetype="application/json")
