"""How long a request's body may be, by route, and JSON out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

import orjson
from flask import Flask, Request, Response, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from server import errors

MIB = 1024 * 1024
DEFAULT_LIMIT_BYTES = MIB
MOST_DRAINED_BYTES = 64 * MIB
"""Of a body that was refused unread so much is still taken in: whoever is sending it would else not hear why."""
LIMITS_BYTES = (("/prpc/", 32 * MIB),)
"""Prefixes of paths with a limit of their own; everything else (bot API, specs, forms) has the default."""


def limit_of(path: str) -> int:
    """The most bytes that a body sent to `path` may have."""
    return next((limit for prefix, limit in LIMITS_BYTES if path.startswith(prefix)), DEFAULT_LIMIT_BYTES)


def too_large(path: str) -> errors.TooLarge:
    """The error that states the limit."""
    return errors.TooLarge(f"the body is longer than {limit_of(path)} bytes, which is the limit for {path[:200]}")


def read(asked: Request) -> bytes:
    """The body.

    Raises:
        TooLarge: it is beyond the route's limit.
        InvalidArgument: it ended before its announced length.
    """
    limit = limit_of(asked.path)
    # One byte more than allowed: a body without announced length is cut there silently.
    asked.max_content_length = limit + 1
    try:
        body = asked.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise too_large(asked.path) from error
    except ClientDisconnected as error:
        raise errors.InvalidArgument("the body ended before its announced length") from error
    if len(body) > limit:
        raise too_large(asked.path)
    return body


def read_json(asked: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        UnsupportedMediaType: the Content-Type is not application/json. (Pages of other sites can send any other type
            without asking first.)
        TooLarge: it is beyond the route's limit.
        InvalidArgument: it is not JSON, or JSON of something else than an object.
    """
    if asked.mimetype != "application/json":
        raise errors.UnsupportedMediaType(f"Content-Type is {asked.mimetype[:100]!r}; send application/json")
    try:
        found = orjson.loads(read(asked))
    except orjson.JSONDecodeError as error:
        raise errors.InvalidArgument(f"the body is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise errors.InvalidArgument(f"the body is a JSON {_json_name(found)}, not an object")
    return found


def init_app(app: Flask, is_known: Callable[[Request], bool]) -> None:
    """Holds every request to the limit of its route; a body announced as longer is refused unread.

    Args:
        app: gets the limits.
        is_known: whether the credentials of a request are good. A stranger's body is not waited for, however slowly it
            comes: it would hold a thread.
    """

    @app.before_request
    def hold_to_limit() -> None:
        limit = limit_of(request.path)
        request.max_content_length = limit
        request.max_form_memory_size = limit
        if (request.content_length or 0) > limit and not request.path.startswith("/prpc/"):
            raise too_large(request.path)  # pRPC says it in its own protocol

    @app.after_request
    def drain(response: Response) -> Response:
        if response.status_code >= 400 and request.content_length and is_known(request):
            _drain(request.environ["wsgi.input"], request.content_length)
        return response


def _drain(body: IO[bytes], announced: int) -> None:
    """Takes in what is left of a body; less than announced is left where some of it was read."""
    left = min(announced, MOST_DRAINED_BYTES)
    try:
        while left > 0 and (piece := body.read(min(left, MIB))):
            left -= len(piece)
    except OSError:
        return  # the caller is gone


def _json_name(value: object) -> str:
    names: dict[type, str] = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
