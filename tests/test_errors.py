"""Whatever goes wrong, a program gets JSON that says what, and nothing that it should not see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import flask
import pytest
from flask.testing import FlaskClient

import main
from handlers import bodies
from server import errors
from tests.server_world import World

UPDATE = "/swarming/api/v1/bot/task_update"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    world = World(tmp_path / "data")
    app = main.create_app(world.process())

    @app.post("/api/echo")
    def echo() -> dict:
        return bodies.read_json(flask.request)

    @app.get("/api/fail/<name>")
    def fail(name: str) -> str:
        if name == "bug":
            raise KeyError("secret detail")
        raise getattr(errors, name)("what happened", field="task.name")

    yield app.test_client()
    world.close()


@pytest.mark.parametrize(
    "name,status,code",
    [
        ("InvalidArgument", 400, "INVALID_ARGUMENT"),
        ("UnknownTask", 404, "NOT_FOUND"),
        ("AlreadyExists", 409, "ALREADY_EXISTS"),
        ("PermissionDenied", 403, "PERMISSION_DENIED"),
        ("Unauthenticated", 401, "UNAUTHENTICATED"),
        ("ResourceExhausted", 429, "RESOURCE_EXHAUSTED"),
        ("FailedPrecondition", 400, "FAILED_PRECONDITION"),
        ("EditConflict", 412, "ABORTED"),
        ("StoreUnavailable", 503, "UNAVAILABLE"),
        ("StoreCorrupt", 500, "DATA_LOSS"),
        ("Unimplemented", 501, "UNIMPLEMENTED"),
    ],
)
def test_a_typed_error_becomes_its_status_code_text_and_field(
    client: FlaskClient, name: str, status: int, code: str
) -> None:
    answer = client.get(f"/api/fail/{name}")
    assert answer.status_code == status
    assert answer.json == {"error": {"code": code, "message": "what happened", "field": "task.name"}}


def test_a_lost_store_says_when_to_try_again(client: FlaskClient) -> None:
    assert client.get("/api/fail/StoreUnavailable").headers["Retry-After"] == "5"


def test_a_bug_is_answered_without_its_details(client: FlaskClient) -> None:
    answer = client.get("/api/fail/bug")
    assert (answer.status_code, answer.json["error"]["code"]) == (500, "INTERNAL")
    assert "secret" not in answer.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/swarming/api/v1/bot/nosuch", "/api/nosuch", "/internal/nosuch", "/poll/nosuch"])
def test_an_unknown_path_is_json_so_that_a_luci_bot_does_not_ask_again(client: FlaskClient, path: str) -> None:
    answer = client.post(path, json={})
    assert answer.status_code == 404
    assert answer.content_type.startswith("application/json")
    assert path in answer.json["error"]["message"]


def test_a_wrong_method_is_json_and_says_which_ones_are_right(client: FlaskClient) -> None:
    answer = client.get(UPDATE)
    assert answer.status_code == 405
    assert answer.json["error"]["code"] == "UNIMPLEMENTED"
    assert "POST" in answer.headers["Allow"]


def test_pages_that_do_not_exist_are_text_for_people(client: FlaskClient) -> None:
    answer = client.get("/nosuch")
    assert answer.status_code == 404
    assert not answer.content_type.startswith("application/json")


@pytest.mark.parametrize("path", [UPDATE, "/poll", "/api/echo"])
def test_a_body_beyond_the_limit_is_refused_and_the_limit_is_said(client: FlaskClient, path: str) -> None:
    answer = client.post(path, data=b"x" * (bodies.MIB + 1), content_type="application/json")
    assert answer.status_code == 413
    assert str(bodies.MIB) in answer.json["error"]["message"]


def test_a_body_that_does_not_announce_its_length_is_held_to_the_limit_too(client: FlaskClient) -> None:
    import io

    answer = client.post(
        "/api/echo",
        input_stream=io.BytesIO(b"[" + b" " * bodies.MIB + b"]"),
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 413
    assert str(bodies.MIB) in answer.json["error"]["message"]


def test_prpc_has_a_larger_limit_of_its_own() -> None:
    assert bodies.limit_of("/prpc/swarming.v2.Tasks/NewTask") == 32 * bodies.MIB
    assert bodies.limit_of("/specs/edit") == bodies.MIB


@pytest.mark.parametrize(
    "body,reason",
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"[1]", "array"),
        (b"7", "number"),
        (b"null", "null"),
        (b"\xff", "JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_named(client: FlaskClient, body: bytes, reason: str) -> None:
    answer = client.post("/api/echo", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert reason in answer.json["error"]["message"]


def test_a_form_of_another_site_cannot_pass_for_json(client: FlaskClient) -> None:
    answer = client.post("/api/echo", data=b"{}", content_type="text/plain")
    assert answer.status_code == 415
    assert client.post("/api/echo", data=b"{}", content_type="application/json; charset=UTF-8").json == {}
