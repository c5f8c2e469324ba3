"""Typed errors as HTTP answers: `{"error": {"code", "message", "field"}}`, always as application/json.

A LUCI bot takes a 404 that is not JSON for a passing trouble and asks again, so even unknown paths answer in JSON.
"""

from __future__ import annotations

import math

import orjson
import structlog
from flask import Flask, Response, request
from google.rpc import code_pb2
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from handlers.bodies import too_large
from server.errors import PilotlightError

log = structlog.get_logger(__name__)

API_PREFIXES = (
    "/swarming/api/",
    "/prpc/",
    "/api/",
    "/poll",
    "/bot_code",
    "/internal/",
    "/_ah/",
    "/healthz",
    "/metrics",
)
"""Paths whose callers are programs; errors of all others are pages."""

INTERNAL_TEXT = "the server failed to answer this request; its log says why"
LOUD_CODES = frozenset({code_pb2.UNKNOWN, code_pb2.INTERNAL, code_pb2.DATA_LOSS})
CODES_OF_STATUS = {
    400: code_pb2.INVALID_ARGUMENT,
    401: code_pb2.UNAUTHENTICATED,
    403: code_pb2.PERMISSION_DENIED,
    404: code_pb2.NOT_FOUND,
    405: code_pb2.UNIMPLEMENTED,
    408: code_pb2.DEADLINE_EXCEEDED,
    413: code_pb2.INVALID_ARGUMENT,
    415: code_pb2.INVALID_ARGUMENT,
    429: code_pb2.RESOURCE_EXHAUSTED,
}


def is_api(path: str) -> bool:
    """Whether the callers of `path` are programs, which get errors as JSON."""
    return path.startswith(API_PREFIXES)


def answer(error: Exception) -> Response:
    """The answer that says what went wrong; of an unexpected error it says nothing."""
    if isinstance(error, RequestEntityTooLarge):
        error = too_large(request.path)
    if isinstance(error, PilotlightError):
        return _answer_typed(error)
    if isinstance(error, HTTPException):
        return _answer_http(error)
    log.exception("request_failed", path=request.path[:200], method=request.method)
    return _json(500, code_pb2.INTERNAL, INTERNAL_TEXT)


def init_app(app: Flask) -> None:
    """Answers for every error that a blueprint has no handler of its own for."""

    @app.errorhandler(Exception)
    def on_error(error: Exception) -> Response | tuple[str, int, dict[str, str]]:
        found = answer(error)
        if is_api(request.path):
            return found
        text = orjson.loads(found.get_data())["error"]["message"]
        found.set_data(f"{text}\n")
        found.content_type = "text/plain; charset=utf-8"
        return found


def _answer_typed(error: PilotlightError) -> Response:
    if error.grpc_code in LOUD_CODES:
        log.error("request_failed", path=request.path[:200], method=request.method, exc_info=error)
    response = _json(error.http_status, error.grpc_code, error.text, error.field)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if error.http_status == 401:
        response.headers["WWW-Authenticate"] = "Bearer" if is_api(request.path) else 'Basic realm="Pilotlight"'
    return response


def _answer_http(error: HTTPException) -> Response:
    status = error.code or 500
    if status == 404:
        text = f"there is nothing at {request.path[:200]}"
    elif status == 405:
        text = f"{request.path[:200]} does not serve {request.method}"
    else:
        text = error.description or error.name
    response = _json(status, CODES_OF_STATUS.get(status, code_pb2.UNKNOWN), text)
    for name, value in error.get_headers(request.environ):
        if name in ("Allow", "Retry-After", "Location"):
            response.headers[name] = value
    return response


def _json(status: int, code: int, text: str, field: str = "") -> Response:
    body = {"error": {"code": code_pb2.Code.Name(code), "message": text, "field": field}}
    response = Response(orjson.dumps(body), status=status, content_type="application/json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response
