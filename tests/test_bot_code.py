"""The bot's zip and the script that starts it."""

from __future__ import annotations

import ast
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bot import bundle
from server import bot_code
from tests.fake_server import FakeServer

URL = "http://127.0.0.1:8080"
SOURCES = sorted((Path(bot_code.__file__).parent.parent / "bot").glob("*.py"))


def entries(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_same_code_makes_the_same_bytes() -> None:
    first = bot_code.archive(URL)
    bot_code.archive.cache_clear()
    assert bot_code.archive(URL) == first
    assert bot_code.archive(URL + "/") == first


def test_the_version_follows_the_published_rule_but_for_the_configuration() -> None:
    digest = hashlib.sha256()
    for name, content in sorted(entries(bot_code.archive(URL)).items()):
        if name != "config/config.json":
            digest.update(b"%d%s%d%s" % (len(name), name.encode(), len(content), content))
    assert bot_code.version() == digest.hexdigest()


def test_code_of_another_version_is_not_even_started(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    archive = bot_code._zip({"__main__.py": f"open({str(marker)!r}, 'w')".encode()})
    with pytest.raises(bundle.BadCode, match="sent version"):
        bundle.stage(archive, "0" * 64, tmp_path)
    assert not marker.exists()


def test_each_server_url_has_its_own_zip() -> None:
    other = bot_code.archive("https://other.example/base/")
    assert entries(other)["config/config.json"] == b'{"server": "https://other.example/base"}\n'


@pytest.mark.parametrize("url", [URL, "https://other.example/base/"])
def test_the_zip_of_any_url_runs_and_says_the_same_version(tmp_path: Path, url: str) -> None:
    path = tmp_path / "bot.zip"
    path.write_bytes(bot_code.archive(url))
    command = [sys.executable, "-I", str(path), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, cwd=tmp_path)
    assert said.stdout.strip() == bot_code.version()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_bot_needs_nothing_but_python_3_9(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots = {name.split(".")[0] for name in imported if name}
    assert roots <= set(sys.stdlib_module_names) | {"bot"}


def test_the_bootstrap_script_fetches_the_bot_and_starts_it(tmp_path: Path) -> None:
    with FakeServer() as server:
        code = bot_code.archive(server.url)
        server.on[""] = lambda call: (200, code)  # whatever lies outside the bots' API
        script = bot_code.bootstrap_script(server.url + "/")
        bot = subprocess.Popen(
            [sys.executable, "-", "--dir", str(tmp_path / "bot"), "--id", "bot1", "--pool", "p1"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PILOTLIGHT_BOT_SECRET": "s3cret"},
        )
        try:
            assert bot.stdin is not None
            bot.stdin.write(script.encode())
            bot.stdin.close()
            poll = server.next_poll()
        finally:
            bot.kill()
            bot.wait()
    fetched = server.calls[0]
    assert (fetched.path, fetched.headers["authorization"]) == ("/bot_code", "Bearer s3cret")
    assert (poll.body["version"], poll.body["dimensions"]["pool"]) == (bot_code.version(), ["p1"])
    assert (tmp_path / "bot" / "bot.zip").read_bytes() == code


def test_a_url_cannot_put_code_into_the_script() -> None:
    hostile = 'http://x/"""\nimport os\n"""'
    tree = ast.parse(bot_code.bootstrap_script(hostile))
    [server] = [n.value for n in tree.body if isinstance(n, ast.Assign)]
    assert isinstance(server, ast.Constant) and server.value == hostile
    assert len([n for n in tree.body if isinstance(n, ast.Import)]) == 5


def test_the_start_command_names_the_server() -> None:
    assert bot_code.start_command(URL + "/") == f"curl -sSf {URL}/bootstrap | python3 -"
