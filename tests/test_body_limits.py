"""A body that is refused unread: plain clients hear the answer, and may go on with the same connection."""

from __future__ import annotations

import http.client
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
