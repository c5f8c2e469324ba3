"""Calls the server's API: pRPC in its binary form, with deadlines and careful repeats."""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import random
import ssl
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2

ResponseT = TypeVar("ResponseT", bound=Message)

BINARY = "application/prpc; encoding=binary"
MAX_RESPONSE_BYTES = 32 * 1024 * 1024 - 32 * 1024
MAX_ERROR_BYTES = 4096
RETRIED_CODES = frozenset({code_pb2.UNKNOWN, code_pb2.DEADLINE_EXCEEDED, code_pb2.INTERNAL, code_pb2.UNAVAILABLE})
CODE_OF_HTTP = {401: code_pb2.UNAUTHENTICATED, 403: code_pb2.PERMISSION_DENIED, 429: code_pb2.UNAVAILABLE}


class PrpcError(Exception):
    """The call did not succeed.

    Attributes:
        code: number of the gRPC status code; names are in google.rpc.code_pb2.
        text: what the server said, or what went wrong on the way.
        details: further messages that came with it.
        transient: whether the same call may succeed a little later.
        retry_after_s: the server's wish for the least pause before that, in seconds, or None.
    """

    def __init__(
        self,
        code: int,
        text: str,
        *,
        details: tuple[any_pb2.Any, ...] = (),
        transient: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.details = details
        self.transient = code in RETRIED_CODES if transient is None else transient
        self.retry_after_s = retry_after_s

    @property
    def name(self) -> str:
        """The code in words, such as NOT_FOUND."""
        return code_pb2.Code.Name(self.code) if self.code in code_pb2.Code.values() else str(self.code)

    @property
    def field(self) -> str:
        """Path of the request's field at fault, or ""."""
        for detail in self.details:
            bad_request = error_details_pb2.BadRequest()
            if detail.Is(bad_request.DESCRIPTOR) and detail.Unpack(bad_request) and bad_request.field_violations:
                return bad_request.field_violations[0].field
        return ""


class ServerUnreachable(PrpcError):
    """No answer: refused, reset, cut short, timed out, or no such host."""

    def __init__(self, url: str, reason: object) -> None:
        super().__init__(code_pb2.UNAVAILABLE, f"no answer from {url}: {reason}")


class NotAPrpcServer(PrpcError):
    """Something answers at this address, and it is not this API."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When to repeat a call that failed for a reason that may pass.

    The n-th pause is `first_s` · 2^n, at most `longest_s`, ± 20 %; no try begins later than `total_s` after the
    first. Example: 0.25, 15, 60 gives about 0.25 0.5 1 2 4 8 15 15 s. `total_s` = 0 means a single try.
    """

    first_s: float = 0.25
    longest_s: float = 15.0
    total_s: float = 60.0

    def pause_s(self, tries: int, rng: random.Random) -> float:
        """Seconds to wait after so many failed tries (1 after the first)."""
        return min(self.longest_s, self.first_s * 2.0 ** min(tries - 1, 30)) * rng.uniform(0.8, 1.2)


@dataclass(slots=True)
class PrpcClient:
    """One server, one identity. Threads may share it: each try has a connection of its own.

    Attributes:
        server_url: scheme, host, port; without a scheme it is http for this machine and https for all others.
        token: for the Authorization header, or None.
        timeout_s: how long one try waits for its answer.
        retry: what to do after trouble that may pass.
        on_retry: told of (error, seconds until the next try), for a line on the screen.
    """

    server_url: str
    token: str | None = None
    timeout_s: float = 90.0
    retry: Retry = Retry()
    on_retry: Callable[[PrpcError, float], None] | None = None
    user_agent: str = "pilotlight"
    sleep: Callable[[float], None] = time.sleep
    monotonic_s: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.server_url = normal_url(self.server_url)

    def call(
        self,
        service: str,
        method: str,
        request: Message,
        response_class: type[ResponseT],
        *,
        timeout_s: float | None = None,
        retry: Retry | None = None,
    ) -> ResponseT:
        """Makes a call, again if need be; so it must be one that does no harm when made twice (NewTask: give it a
        request_uuid).

        Args:
            service: `swarming.v2.Tasks`
            method: `NewTask`
            request: what to send.
            response_class: what comes back.
            timeout_s: for each try, instead of the client's.
            retry: instead of the client's.

        Raises:
            PrpcError: the last try's error.
        """
        retry = retry or self.retry
        start_s = self.monotonic_s()
        tries = 0
        while True:
            try:
                return self._try(f"/prpc/{service}/{method}", request, response_class, timeout_s or self.timeout_s)
            except PrpcError as error:
                tries += 1
                pause_s = max(retry.pause_s(tries, self.rng), error.retry_after_s or 0.0)
                if not error.transient or self.monotonic_s() - start_s + pause_s > retry.total_s:
                    raise
                if self.on_retry:
                    self.on_retry(error, pause_s)
                self.sleep(pause_s)

    def _try(self, path: str, request: Message, response_class: type[ResponseT], timeout_s: float) -> ResponseT:
        try:
            status, headers, body = self._exchange(path, request.SerializeToString(), timeout_s)
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnreachable(self.server_url, error or type(error).__name__) from error
        code = self._code(status, headers)
        if code != code_pb2.OK:
            if "html" in headers.get("Content-Type", ""):  # a page of a proxy, or of another server
                body = f"{self.server_url} answers HTTP {status} with a page".encode()
            raise _error(code, headers, body)
        if len(body) > MAX_RESPONSE_BYTES:
            text = f"the answer is longer than {MAX_RESPONSE_BYTES} bytes"
            raise PrpcError(code_pb2.UNAVAILABLE, text, transient=False)
        try:
            response = response_class()
            response.ParseFromString(body)
        except DecodeError as error:
            text = f"the answer is not a {response_class.DESCRIPTOR.full_name}: {error}"
            raise PrpcError(code_pb2.INTERNAL, text, transient=False) from error
        return response

    def _exchange(self, path: str, body: bytes, timeout_s: float) -> tuple[int, http.client.HTTPMessage, bytes]:
        url = urllib.parse.urlsplit(self.server_url)
        connection: http.client.HTTPConnection
        if url.scheme == "https":
            connection = http.client.HTTPSConnection(
                url.netloc, timeout=timeout_s, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(url.netloc, timeout=timeout_s)
        headers = {
            "Content-Type": BINARY,
            "Accept": BINARY,
            "User-Agent": self.user_agent,
            "X-Prpc-Grpc-Timeout": f"{max(1, round(timeout_s * 1e6))}u",
            "X-Prpc-Max-Response-Size": str(MAX_RESPONSE_BYTES),
            "Connection": "close",
        }
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            length = response.length
            answer = response.read(MAX_RESPONSE_BYTES + 1)
            if length is not None and len(answer) < min(length, MAX_RESPONSE_BYTES + 1):
                raise http.client.IncompleteRead(answer, length - len(answer))
            return response.status, response.headers, answer
        finally:
            connection.close()

    def _code(self, status: int, headers: http.client.HTTPMessage) -> int:
        """The gRPC code of an answer. With the protocol's header the HTTP status has no meaning."""
        header = headers.get("X-Prpc-Grpc-Code")
        if header is not None:
            content_type = headers.get("Content-Type", "").replace(" ", "").lower()
            if not header.isdecimal():
                raise NotAPrpcServer(code_pb2.INTERNAL, f"the answer has X-Prpc-Grpc-Code {header!r}", transient=False)
            if int(header) == code_pb2.OK and content_type not in ("", "application/prpc", BINARY.replace(" ", "")):
                text = f"the answer has Content-Type {content_type!r}"
                raise NotAPrpcServer(code_pb2.INTERNAL, text, transient=False)
            return int(header)
        if status in CODE_OF_HTTP or status >= 500:
            default = code_pb2.UNAVAILABLE if status == 503 else code_pb2.INTERNAL
            return CODE_OF_HTTP.get(status, default)
        text = f"{self.server_url} answers HTTP {status} and is not a Pilotlight or Swarming server"
        raise NotAPrpcServer(code_pb2.INTERNAL, text, transient=False)


def normal_url(server_url: str) -> str:
    """Scheme, host and port of a server's address.

    Raises:
        ValueError: it has no host, or another scheme than http and https.
    """
    text = server_url.strip()
    if "://" not in text:
        host = urllib.parse.urlsplit(f"//{text}").hostname or ""
        text = f"{'http' if _is_this_machine(host) else 'https'}://{text}"
    url = urllib.parse.urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.username is not None:
        raise ValueError(f"{server_url!r} is not the address of a server, such as http://localhost:8080")
    if not _has_valid_port(url):
        raise ValueError(f"{server_url!r} has no valid port")
    return f"{url.scheme}://{url.netloc}"


def _has_valid_port(url: urllib.parse.SplitResult) -> bool:
    try:
        return url.port != 0
    except ValueError:
        return False


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _error(code: int, headers: http.client.HTTPMessage, body: bytes) -> PrpcError:
    text = body.decode("utf-8", errors="replace").removesuffix("\n")
    if len(text) > MAX_ERROR_BYTES:
        text = text[:MAX_ERROR_BYTES] + "..."
    details = _details(headers)
    retry_after = headers.get("Retry-After", "")
    return PrpcError(
        code,
        text or "the server gave no reason",
        details=details,
        transient=code in RETRIED_CODES and not any(_is_final(detail) for detail in details),
        retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
    )


def _is_final(detail: any_pb2.Any) -> bool:
    """An answer that is too long stays so."""
    return detail.type_url.endswith("/luci.prpc.ErrorDetails")


def _details(headers: http.client.HTTPMessage) -> tuple[any_pb2.Any, ...]:
    """Details that can be read; a proxy may have joined several headers into one."""
    result: list[any_pb2.Any] = []
    for header in headers.get_all("X-Prpc-Status-Details-Bin", []):
        for value in header.split(","):
            try:
                result.append(any_pb2.Any.FromString(base64.b64decode(value.strip(), validate=True)))
            except (binascii.Error, DecodeError):
                continue
    return tuple(result)
