"""pRPC over HTTP: `POST /prpc/<package.Service>/<Method>`; headers, limits, codes. What a method does is elsewhere."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from flask import Blueprint, Request, Response, request
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from handlers.prpc import encoding as wire
from handlers.prpc.status import Failure, ResponseTooBig, failure_of, packed
from server.access import Permission, Principal
from server.errors import InvalidArgument, TooLarge, Unimplemented, UnsupportedMediaType
from server.proto import prpc_error_pb2

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 32 * 1024 * 1024
CODE_HEADER = "X-Prpc-Grpc-Code"
DETAILS_HEADER = "X-Prpc-Status-Details-Bin"
TIMEOUT_HEADER = "X-Prpc-Grpc-Timeout"
MAX_RESPONSE_HEADER = "X-Prpc-Max-Response-Size"
LOUD_CODES = frozenset({code_pb2.UNKNOWN, code_pb2.INTERNAL, code_pb2.DATA_LOSS})
TIMEOUT_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


@dataclass(frozen=True, slots=True)
class Call:
    """Around one request: who asks, and how long they will wait.

    Attributes:
        principal: the caller.
        timeout_s: seconds until the caller gives up, or None if it did not say.
    """

    principal: Principal
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Method:
    """One call of the API.

    Attributes:
        request: class of the message that comes in.
        response: class of the message that goes out.
        function: does the work; raises errors of server/errors.py.
        permission: what the caller must be allowed to do in some pool at least; None if everybody may call this. The
            function checks it again for the pool of the thing asked for.
    """

    request: type[Message]
    response: type[Message]
    function: Callable[[Call, Any], Message]
    permission: Permission | None


Methods = Mapping[tuple[str, str], Method]
Authenticate = Callable[[Request], Principal]


class MethodNotAllowed(InvalidArgument):
    """Not a POST."""

    http_status = 405


def blueprint(
    methods: Methods,
    services: Iterable[ServiceDescriptor],
    *,
    authenticate: Authenticate,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> Blueprint:
    """The routes below /prpc/ as a Flask blueprint; exempt it from protection against forged forms.

    Args:
        methods: {(full name of the service, name of the method): Method}; the rest answers UNIMPLEMENTED.
        services: everything that the API names.
        authenticate: request → principal; raises Unauthenticated.
        max_body_bytes: limit of a request's body, before and after decompression.

    Raises:
        ValueError: the table does not fit the services.
    """
    known = {(service.full_name, method.name): method for service in services for method in service.methods}
    _verify(methods, known)
    result = Blueprint("prpc", __name__)

    @result.route("/prpc/<path:path>", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def call(path: str) -> Response:
        form = wire.response_encoding(request.accept_mimetypes)
        limit = _max_response_bytes()
        answer = _answer(_find(path, methods, known), authenticate, max_body_bytes)
        return _success(wire.encode(answer, form), limit, form)

    @result.errorhandler(Exception)
    def on_error(error: Exception) -> Response:
        failure = failure_of(error)
        if failure.code in LOUD_CODES:
            log.error("prpc_call_failed", path=request.path[:200], exc_info=error)
        try:
            form = wire.response_encoding(request.accept_mimetypes)
        except wire.NotAcceptable:
            form = wire.Encoding.BINARY
        return _failure(failure, form)

    return result


def _verify(methods: Methods, known: Mapping[tuple[str, str], MethodDescriptor]) -> None:
    for key, method in methods.items():
        described = known.get(key)
        if described is None:
            raise ValueError(f"no service of the API has the method {'/'.join(key)}")
        if (described.input_type, described.output_type) != (method.request.DESCRIPTOR, method.response.DESCRIPTOR):
            raise ValueError(f"{'/'.join(key)} takes or gives other messages")


def _find(path: str, methods: Methods, known: Mapping[tuple[str, str], MethodDescriptor]) -> Method:
    if request.method != "POST":
        raise MethodNotAllowed(f"pRPC calls are made with POST, this was {request.method}")
    service, _, name = path.partition("/")
    method = methods.get((service, name))
    if method is not None:
        return method
    if (service, name) in known:
        raise Unimplemented(f"Pilotlight does not serve {service}.{name} yet")
    if any(service == other for other, _ in known):
        raise Unimplemented(f"service {service} has no method {name[:200]!r}")
    raise Unimplemented(f"there is no service {service[:200]!r}")


def _answer(method: Method, authenticate: Authenticate, max_body_bytes: int) -> Message:
    principal = authenticate(request)
    if method.permission is not None:
        principal.require(method.permission)
    timeout_s = parse_timeout_s(request.headers.get(TIMEOUT_HEADER, ""))
    form = wire.request_encoding(request.headers.get("Content-Type", ""))
    asked = wire.decode(_read_body(max_body_bytes), form, method.request)
    answer = method.function(Call(principal, timeout_s), asked)
    if not isinstance(answer, method.response):
        raise TypeError(f"the method returned a {type(answer).__name__}, not a {method.response.__name__}")
    return answer


def _read_body(max_body_bytes: int) -> bytes:
    """The request's body, decompressed."""
    too_large = TooLarge(f"the body is longer than {max_body_bytes} bytes, which is the limit")
    # One byte more than allowed: a body without announced length is cut there silently.
    request.max_content_length = max_body_bytes + 1
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise too_large from error
    except ClientDisconnected as error:
        raise InvalidArgument("the body ended before its announced length") from error
    if len(body) > max_body_bytes:
        raise too_large
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding == "gzip":
        return wire.inflate(body, max_body_bytes)
    if coding not in ("", "identity"):
        raise UnsupportedMediaType(f"Content-Encoding {coding[:100]!r} is not understood; gzip is")
    return body


def parse_timeout_s(header: str) -> float | None:
    """Seconds that the caller waits, from digits and a unit (`90000000u`); None if the header is absent.

    Raises:
        InvalidArgument: it is something else.
    """
    if not header:
        return None
    match = re.fullmatch(r"([0-9]{1,18})([HMSmun])", header)
    if match is None:
        raise InvalidArgument(f"{TIMEOUT_HEADER} is {header[:100]!r}, not digits and one of H M S m u n")
    return int(match[1]) * TIMEOUT_UNITS_S[match[2]]


def _max_response_bytes() -> int | None:
    header = request.headers.get(MAX_RESPONSE_HEADER, "")
    if not header:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", header) or int(header) == 0:
        raise InvalidArgument(f"{MAX_RESPONSE_HEADER} is {header[:100]!r}, not a number of bytes above 0")
    return int(header)


def _success(body: bytes, limit: int | None, form: wire.Encoding) -> Response:
    if limit is not None and len(body) > limit:
        detail = prpc_error_pb2.ResponseTooBig(response_size=len(body), response_limit=limit)
        raise ResponseTooBig(
            f"the answer has {len(body)} bytes, the caller allows {limit}",
            prpc_error_pb2.ErrorDetails(response_too_big=detail),
        )
    return _response(body, 200, 0, form.value)


def _failure(failure: Failure, form: wire.Encoding) -> Response:
    body = failure.text.encode("utf-8", errors="replace") + b"\n"
    response = _response(body, failure.http_status, failure.code, "text/plain; charset=utf-8")
    for detail in failure.details:
        value = base64.b64encode(wire.encode_detail(packed(detail), form))
        response.headers.add(DETAILS_HEADER, value.decode("ascii"))
    if failure.retry_after_s is not None:
        response.headers["Retry-After"] = str(math.ceil(failure.retry_after_s))
    if failure.http_status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if failure.http_status == 405:
        response.headers["Allow"] = "POST"
    return response


def _response(body: bytes, http_status: int, code: int, content_type: str) -> Response:
    response = Response(body, status=http_status, content_type=content_type)
    response.headers[CODE_HEADER] = str(code)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response
