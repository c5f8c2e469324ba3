"""A real browser on a real server. Without Playwright or Chromium these tests are skipped, and say so."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server_process import ServerProcess

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "NO BROWSER TESTS: pip install -r tests/browser/requirements.txt, and install Chromium"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason=MISSING)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(MISSING)
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


class Site:
    """A server, and bots that call it."""

    def __init__(self, server: ServerProcess) -> None:
        self.url = server.url

    def send(self, method: str, address: str, body: Any, **headers: str) -> Any:
        """A call of the API."""
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        asked = urllib.request.Request(self.url + address, data, headers, method=method)
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.loads(answer.read().removeprefix(b")]}'\n"))

    def bot(self, bot_id: str, pool: str = "local", **state: Any) -> None:
        """A bot polls once."""
        dimensions = {"id": [bot_id], "pool": [pool], "os": ["Linux"]}
        self.send("POST", "/poll", {"id": bot_id, "dimensions": dimensions, "state": state, "version": "1"})


@pytest.fixture(scope="session")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for all tests: each brings bots and pools of its own names."""
    with ServerProcess(tmp_path_factory.mktemp("site") / "data") as server:
        yield Site(server)


def is_fault(said: Any) -> bool:
    """Whether a line of the console is a fault; a form that was refused with 400 is none."""
    return said.type == "error" and "the server responded with a status of 400" not in said.text


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    """A page of the browser; whatever breaks the policy or fails in a script fails the test."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900})
    found = context.new_page()
    wrong: list[str] = []
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on("console", lambda said: wrong.append(said.text) if is_fault(said) else None)
    yield found
    context.close()
    assert wrong == []
