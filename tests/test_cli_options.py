"""Options that are typed before the name of a command within a group hold for that command."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from client import options
from client.cli import cli
from client.prpc import Retry

NEAR, FAR = "http://127.0.0.1:1", "http://127.0.0.1:2"
"""Nobody listens there; which of them was asked is in the error."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "READ_PATIENCE", Retry(total_s=0.0))
    monkeypatch.setenv("PILOTLIGHT_SERVER", NEAR)


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.mark.parametrize(
    "words",
    [
        ("specs", "show", "src"),
        ("specs", "retire", "src"),
        ("announced", "retract", "a1", "--pool", "local"),
        ("announced", "unschedule", "nightly", "--pool", "local"),
        ("config", "show"),
    ],
)
def test_the_server_of_a_group_is_asked_by_its_commands_unless_they_name_another(words: tuple[str, ...]) -> None:
    group, *rest = words
    assert f"no answer from {NEAR}" in call(group, *rest).stderr
    assert f"no answer from {FAR}" in call(group, "--server", FAR, *rest).stderr
    assert f"no answer from {FAR}" in call(group, "--server", NEAR, *rest, "--server", FAR).stderr


def test_the_token_file_of_a_group_is_its_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    connect = options.connect
    monkeypatch.setattr(options, "connect", lambda server, token: (seen.append(token), connect(server, token))[1])
    token = tmp_path / "token"
    token.write_text("of-the-group\n")
    call("specs", "--token-file", str(token), "show", "src")
    assert set(seen) == {"of-the-group"}
