"""Fixtures of the fault tests: real servers, real bots; nothing that they start outlives a test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulator import emulator  # noqa: F401 -- a fixture
from tests.faults.fleet import Bot, FaultServer, bot_code

StartServer = Callable[..., FaultServer]
StartBot = Callable[..., Bot]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers, each in a folder of its own name: `start_server("a", faulty=True, config={…})`."""
    with contextlib.ExitStack() as stack:

        def start(name: str = "server", **options: Any) -> FaultServer:
            server = stack.enter_context(FaultServer(tmp_path / name, **options))
            server.wait_for_all_workers()
            return server

        yield start


@pytest.fixture
def start_bot(tmp_path: Path) -> Iterator[StartBot]:
    """Starts bots: `start_bot(server, "b1", url=proxy.url)`."""
    with contextlib.ExitStack() as stack:

        def start(server: FaultServer, bot_id: str, *arguments: str, url: str = "", folder: str = "") -> Bot:
            code = tmp_path / "bot.zip"
            if not code.exists():
                bot_code(server, tmp_path)
            bot = Bot(url or server.url, tmp_path / (folder or bot_id), bot_id, code, *arguments)
            return stack.enter_context(bot)

        yield start
