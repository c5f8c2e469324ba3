"""A loopback HTTP proxy that loses answers after the server sent them, and holds or copies chosen requests."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "host")


@dataclass
class Passing:
    """One request on its way; `status` and `answer` are there once the server has answered."""

    method: str
    path: str
    body: bytes
    status: int = 0
    answer: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


Watcher = Callable[[Passing], bool]
"""Sees a request before it is forwarded, or its answer afterwards; may block; False: it goes no further."""


def let_pass(_: Passing) -> bool:
    """The watcher that does nothing."""
    return True


class Proxy:
    """Forwards to `target` until the block ends; its `url` stands for the server's.

    Set `before` and `after` at any time: they are asked for every request and every answer.
    """

    def __init__(self, target: str) -> None:
        parts = urllib.parse.urlsplit(target)
        self._host, self._port = parts.hostname or "", parts.port
        self.before: Watcher = let_pass
        self.after: Watcher = let_pass
        self.lost = 0
        self.passed = 0
        self._server = _Listener(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forward(self, passing: Passing, headers: dict[str, str]) -> bool:
        """Sends a request on; False when nobody answers."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=90)
        try:
            connection.request(passing.method, passing.path, passing.body or None, headers)
            answer = connection.getresponse()
            passing.status, passing.answer = answer.status, answer.read()
            passing.headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in _HOP]
            return True
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def losing(share: float, rng: random.Random) -> Watcher:
    """Loses this share of the answers, whatever they are."""
    lock = threading.Lock()

    def watch(_: Passing) -> bool:
        with lock:
            return rng.random() >= share

    return watch


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def _pass_on(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        passing = Passing(self.command, self.path, body)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
        if not proxy.before(passing) or not proxy.forward(passing, headers):
            return self._cut()
        proxy.passed += 1
        if not proxy.after(passing):
            proxy.lost += 1
            return self._cut()
        try:
            self.send_response(passing.status)
            for key, value in passing.headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(passing.answer)))
            self.end_headers()
            self.wfile.write(passing.answer)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = _pass_on

    def _cut(self) -> None:
        """Ends the connection in the caller's face."""
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""
