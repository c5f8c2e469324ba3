"""Who may come in, as callers notice it: on one's own machine, with tokens, from other sites' pages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient

import main
from handlers import auth, guards
from server import access, errors
from server.access import Permission
from server.settings import Settings
from tests.server_world import World

ADMIN, READER = "admin-token-0123456789", "reader-token-0123456789"
BOT_SECRET, BELL = "bot-secret-0123456789", "internal-token-0123456789"
TOKENS = f"""
# who may come in
{ADMIN} mira@example.com admin
sha256:{hashlib.sha256(READER.encode()).hexdigest()} service:dashboard client linux,mac
"""


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Any]:
    made: list[World] = []

    def make(**settings: Any) -> FlaskClient:
        world = World(tmp_path / f"data{len(made)}", **settings)
        made.append(world)
        service = world.process()
        app = main.create_app(service)
        authenticator = auth.Authenticator.from_settings(service.settings)
        for path, audience in (("client", authenticator.client), ("bot", authenticator.bot)):
            _add_probe(app, path, audience)
        return app.test_client()

    yield make
    for world in made:
        world.close()


def _add_probe(app: flask.Flask, path: str, audience: auth.Authenticate) -> None:
    @app.route(f"/api/whoami/{path}", methods=["GET", "POST"], endpoint=f"whoami_{path}")
    def whoami() -> dict[str, Any]:
        principal = audience(flask.request)
        principal.require(Permission.BOT_CONNECT if path == "bot" else Permission.SERVER_PEEK)
        return {"identity": principal.identity, "admin": principal.may(Permission.CONFIG_EDIT)}


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "tokens"
    path.write_text(TOKENS)
    return str(path)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ---- one's own machine


def test_on_ones_own_machine_nobody_needs_a_token(worlds: Any) -> None:
    client = worlds()
    assert client.get("/api/whoami/client").json == {"identity": "user:local", "admin": True}
    assert client.get("/api/whoami/bot").json["identity"] == "bot:local"


@pytest.mark.parametrize(
    "host", ["localhost:8080", "127.0.0.1", "127.9.9.9:1", "[::1]:8080", "pilot.localhost", "LOCALHOST."]
)
def test_every_name_of_this_machine_is_fine(worlds: Any, host: str) -> None:
    assert worlds().get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "192.168.1.7:8080", "10.0.0.1", "", "[::"])
def test_a_name_that_another_site_points_at_this_machine_is_refused(worlds: Any, host: str) -> None:
    answer = worlds().get("/api/whoami/client", headers={"Host": host})
    assert answer.status_code == 403
    assert "localhost" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Origin": "https://[bad"},
    ],
)
@pytest.mark.parametrize("path", ["/api/whoami/client", "/prpc/swarming.v2.Tasks/CancelTask", "/poll"])
def test_a_page_of_another_site_can_change_nothing(worlds: Any, path: str, headers: dict[str, str]) -> None:
    assert worlds().post(path, headers=headers, json={}).status_code == 403


def test_pages_of_this_server_and_programs_can(worlds: Any) -> None:
    client = worlds()
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/whoami/client", headers=own).status_code == 200
    assert client.post("/api/whoami/client").status_code == 200


def test_a_request_from_another_machine_is_nobody_even_if_the_server_is_made_to_listen_there(worlds: Any) -> None:
    answer = worlds().get("/api/whoami/client", environ_base={"REMOTE_ADDR": "192.168.1.50"})
    assert answer.status_code == 401


# ---- tokens


def test_with_tokens_a_client_is_whom_its_token_says(worlds: Any, token_file: str) -> None:
    client = worlds(client_tokens=token_file, bot_secret=BOT_SECRET)
    found = client.get("/api/whoami/client", headers={**bearer(ADMIN), "Host": "pilot.example"})
    assert found.json == {"identity": "user:mira@example.com", "admin": True}
    found = client.get("/api/whoami/client", headers=bearer(READER))
    assert found.json == {"identity": "service:dashboard", "admin": False}


def test_a_browser_can_give_its_token_as_password(worlds: Any, token_file: str) -> None:
    client = worlds(client_tokens=token_file, bot_secret=BOT_SECRET)
    assert client.get("/api/whoami/client", auth=("whoever", ADMIN)).json["admin"] is True
    forged = client.post("/api/whoami/client", auth=("x", ADMIN), headers={"Origin": "https://evil.example"})
    assert forged.status_code == 403


@pytest.mark.parametrize(
    "headers", [{}, bearer("wrong-token-0123456789"), bearer(BOT_SECRET), bearer(""), {"Authorization": "x"}]
)
def test_without_a_valid_token_a_client_is_told_that_it_needs_one(
    worlds: Any, token_file: str, headers: dict[str, str]
) -> None:
    answer = worlds(client_tokens=token_file, bot_secret=BOT_SECRET).get("/api/whoami/client", headers=headers)
    assert answer.status_code == 401
    assert answer.json["error"]["code"] == "UNAUTHENTICATED"
    assert answer.headers["WWW-Authenticate"]


def test_a_token_can_be_confined_to_pools() -> None:
    _, reader = auth.parse_tokens(TOKENS)
    reader.principal.require(Permission.TASK_GET, "linux")
    with pytest.raises(errors.PermissionDenied, match="windows"):
        reader.principal.require(Permission.TASK_GET, "windows")


@pytest.mark.parametrize("secret,status", [(BOT_SECRET, 200), ("wrong-secret-0123456", 401), (ADMIN, 401), ("", 401)])
def test_with_a_bot_secret_only_those_who_have_it_are_bots(
    worlds: Any, token_file: str, secret: str, status: int
) -> None:
    client = worlds(client_tokens=token_file, bot_secret=BOT_SECRET)
    assert client.get("/api/whoami/bot", headers=bearer(secret) if secret else {}).status_code == status


def test_a_bot_is_no_client_and_a_client_no_bot() -> None:
    assert not auth.BOT.may(Permission.POOL_CREATE_TASK)
    assert not any(auth.ROLES[role] & access.BOT for role in auth.ROLES)
    assert not any(auth.ROLES[role] & access.INTERNAL for role in auth.ROLES)


@pytest.mark.parametrize(
    "line,reason",
    [
        ("short a admin", "at least 16"),
        (f"{ADMIN} a", "expected TOKEN IDENTITY ROLE"),
        (f"{ADMIN} a king", "'king' is none of"),
        ("sha256:abc a admin", "64 hexadecimal digits"),
        ("", "no token"),
    ],
)
def test_a_wrong_line_of_the_token_file_is_named_and_the_token_is_not(line: str, reason: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=reason) as caught:
        auth.parse_tokens(f"# comment\n{line}\n", "tokens")
    assert ADMIN not in caught.value.text
    assert ADMIN not in repr(auth.parse_tokens(TOKENS))


# ---- internal


def test_the_bell_needs_its_token(worlds: Any) -> None:
    client = worlds(internal_token=BELL)
    assert client.post("/internal/jobs/run").status_code == 401
    assert client.post("/internal/jobs/run", headers=bearer("wrong-token-0123456789")).status_code == 401
    assert client.post("/internal/jobs/run", headers=bearer(BELL)).json["ran"] == 0
    assert worlds().post("/internal/jobs/run").status_code == 401, "no token set: nobody has it"


def test_app_engines_headers_count_on_app_engine_only(worlds: Any, token_file: str) -> None:
    cron = {"X-Appengine-Cron": "true"}
    queue = {"X-AppEngine-QueueName": "default"}
    assert worlds().get("/internal/cron/lapse", headers=cron).status_code == 401
    client = worlds(app_engine=True, client_tokens=token_file, bot_secret=BOT_SECRET)
    assert client.get("/internal/cron/lapse", headers=cron).json == {"ran": True}
    assert client.post("/internal/jobs/run", headers=queue).status_code == 200
    assert client.get("/internal/cron/lapse").status_code == 401


def test_on_app_engine_nobody_is_the_local_user(worlds: Any) -> None:
    assert worlds(app_engine=True).get("/api/whoami/client").status_code == 401


# ---- listening


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_listening_on_this_machine_alone_needs_nothing(host: str) -> None:
    auth.check_listening(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "pilot.example", ""])
@pytest.mark.parametrize(
    "given",
    [{}, {"client_tokens": "tokens"}, {"bot_secret": BOT_SECRET}, {"client_tokens": "t", "bot_secret": "short"}],
)
def test_listening_elsewhere_without_tokens_and_secret_is_refused_and_says_what_is_missing(
    host: str, given: dict[str, str]
) -> None:
    with pytest.raises(errors.FailedPrecondition) as caught:
        auth.check_listening(Settings(host=host, **given))
    for name in {"client_tokens", "bot_secret"} - set(given):
        assert f"PILOTLIGHT_{name.upper()}" in caught.value.text


def test_listening_elsewhere_with_both_is_fine() -> None:
    auth.check_listening(Settings(host="0.0.0.0", client_tokens="tokens", bot_secret=BOT_SECRET))


def test_an_address_of_this_machine_in_ipv6_clothes_is_recognised() -> None:
    assert guards.is_loopback("::ffff:127.0.0.1")
    assert not guards.is_loopback("::ffff:10.0.0.1")
