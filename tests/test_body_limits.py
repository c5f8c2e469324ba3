"""A body that is refused unread: plain clients hear the answer, and may go on with the same connection."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_process import ServerProcess

pytestmark = pytest.mark.processes


def test_a_client_that_sends_too_much_hears_so(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        for path, size, status in (
            ("/poll", 5_000_000, 413),
            ("/swarming/api/v1/bot/task_update", 2_000_000, 413),
            ("/prpc/swarming.v2.Tasks/NewTask", 40_000_000, 413),
            ("/api/v1/specs", 900_000, 413),
            ("/nothing", 900_000, 404),
        ):
            for _ in range(3):
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
                connection.request("POST", path, b"x" * size, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                assert (answer.status, bool(answer.read())) == (status, True), path
                connection.request("GET", "/healthz")
                assert connection.getresponse().status == 200, path
                connection.close()


PATHS = ("/poll", "/swarming/api/v1/bot/task_update", "/prpc/swarming.v2.Tasks/NewTask", "/api/v1/specs", "/switch")
UNKNOWN = ("/nothing", "/api/v1/nothing", "/internal/jobs/run")
THREADS = 4


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of few threads that serves nobody without credentials."""
    tokens = tmp_path / "tokens"
    tokens.write_text("s3cr3t-s3cr3t-s3cr3t mira admin\n")
    environ = {"PILOTLIGHT_CLIENT_TOKENS": str(tokens), "PILOTLIGHT_BOT_SECRET": "b0t-b0t-b0t-b0t-b0t"}
    with ServerProcess(tmp_path / "data", "--threads", str(THREADS), environ=environ) as server:
        yield server


@pytest.mark.parametrize("credentials", ["", "Authorization: Bearer wrong-wrong-wrong-wrong\r\n"])
def test_a_stranger_hears_no_before_its_body_is_there_and_holds_no_thread(
    guarded: ServerProcess, credentials: str
) -> None:
    with contextlib.ExitStack() as slow:
        for path in (PATHS + UNKNOWN) * 2:
            for length in (1_000, 50_000_000):
                caller = slow.enter_context(socket.create_connection(("127.0.0.1", guarded.port), timeout=5))
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{credentials}Content-Length: {length}\r\n\r\n{{"
                caller.sendall(head.encode())
                status = caller.recv(100).split()[1]
                assert status in ((b"404", b"413") if path in UNKNOWN[:2] else (b"401", b"413")), path
        assert guarded.health() is not None


def test_a_stranger_may_ask_again_on_its_connection(guarded: ServerProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=5)
    for size in (10, 1_000, 60_000):
        connection.request("POST", "/poll", b"x" * size, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, b"UNAUTHENTICATED" in answer.read()) == (401, True)
    connection.close()
