"""One HTTP exchange with the server, over a connection that each thread keeps open."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONNECT_TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_STALE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


class Unreachable(Exception):
    """No whole answer came: no connection, a broken one, or silence beyond the time limit."""


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]  # keys in lower case
    body: bytes

    def json(self) -> Any:
        """The body as JSON, or None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Transport:
    """Sends requests to one server; never retries a request that may have been answered in part."""

    def __init__(self, server_url: str, headers: Mapping[str, str]) -> None:
        """Args:
        server_url: scheme, host, port, and a path prefix if there is one.
        headers: sent with every request that asks for them.
        """
        parts = urllib.parse.urlsplit(server_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {server_url!r}")
        self._scheme, self._host, self._port = parts.scheme, parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._headers = dict(headers)
        self._local = threading.local()
        self._open: set[http.client.HTTPConnection] = set()  # of all threads
        self._cuts = 0

    def request(self, method: str, path: str, body: bytes | None, *, timeout_s: float, bare: bool = False) -> Answer:
        """One exchange; `bare` leaves out the identifying headers.

        Raises:
            Unreachable: no whole answer came.
        """
        headers = {} if bare else dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json; charset=UTF-8"
        reused = getattr(self._local, "connection", None) is not None
        cuts = self._cuts
        try:
            return self._exchange(method, path, body, headers, timeout_s)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            if not (reused and isinstance(error, _STALE) and cuts == self._cuts):
                raise Unreachable(f"{type(error).__name__}: {error}") from error
        # The server had closed the idle connection: that says nothing about the server, so try a fresh one at once.
        try:
            return self._exchange(method, path, body, headers, timeout_s)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise Unreachable(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Closes the calling thread's connection."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            self._open.discard(connection)
            connection.close()

    def cut(self) -> None:
        """Breaks off the exchanges that other threads wait for: they raise `Unreachable`."""
        self._cuts += 1
        for connection in self._open.copy():
            sock = connection.sock
            if sock is not None:
                with contextlib.suppress(OSError):  # it is not, or no longer, connected
                    sock.shutdown(socket.SHUT_RDWR)

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._scheme == "https" else http.client.HTTPConnection
            connection = self._local.connection = kind(self._host, self._port)
            self._open.add(connection)
        if connection.sock is None:
            connection.timeout = min(timeout_s, CONNECT_TIMEOUT_S)
            connection.connect()
        connection.sock.settimeout(timeout_s)
        connection.request(method, self._prefix + path, body=body, headers=dict(headers))
        response = connection.getresponse()
        data = response.read(MAX_ANSWER_BYTES + 1)
        if len(data) > MAX_ANSWER_BYTES:
            raise http.client.HTTPException("the answer is too large")
        if response.will_close:
            self.close()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, data)
