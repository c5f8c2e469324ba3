"""pRPC as its clients meet it: encodings, headers, limits and errors."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from google.protobuf import any_pb2, text_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from structlog.testing import capture_logs
from webtest import TestApp as WebApp

from handlers.prpc import transport
from handlers.prpc.transport import Call, Method, parse_timeout_s
from server import errors
from server.proto import prpc_error_pb2, swarming_pb2
from tests import prpc_recordings

SERVICES = list(swarming_pb2.DESCRIPTOR.services_by_name.values())
CANCEL = "/prpc/swarming.v2.Tasks/CancelTask"
BINARY = "application/prpc; encoding=binary"
REQUEST = swarming_pb2.TaskCancelRequest(task_id="7a1b2c3d4e5f6110", kill_running=True)
ANSWER = swarming_pb2.CancelResponse(canceled=True, was_running=True)
REPLAYED = [
    "trigger_minimal",
    "trigger_all_flags",
    "spawn_tasks_two",
    "request_show",
    "collect_perf",
    "collect_item_not_found",
    "bots_list",
    "tasks_list",
    "cancel_running_kill",
]
ERRORS = {
    "error_not_found": errors.NotFound,
    "error_permission_denied": errors.PermissionDenied,
    "error_invalid_argument": errors.InvalidArgument,
    "error_unauthenticated": errors.Unauthenticated,
    "error_already_exists": errors.AlreadyExists,
    "error_failed_precondition": errors.FailedPrecondition,
    "error_resource_exhausted": errors.ResourceExhausted,
    "error_unimplemented": errors.Unimplemented,
    "error_data_loss": errors.StoreCorrupt,
    "error_multiline_and_details": errors.InvalidArgument,
}


def server(
    function: Callable[[Call, Any], Message], path: str = CANCEL, permission: str = "", **options: Any
) -> WebApp:
    """An app with one method, which anybody may call unless `options` say otherwise."""
    service, name = path.removeprefix("/prpc/").split("/")
    classes = (prpc_recordings.message_class(path, 0), prpc_recordings.message_class(path, 1))
    app = Flask(__name__)
    app.register_blueprint(
        transport.blueprint(
            {(service, name): Method(*classes, function, permission)},
            SERVICES,
            authenticate=options.pop("authenticate", lambda request: "somebody"),
            check=options.pop("check", lambda principal, permission: None),
            **options,
        )
    )
    return WebApp(app)


def raising(error: Exception) -> Callable[[Call, Any], Message]:
    def function(call: Call, request: Message) -> Message:
        raise error

    return function


def post(app: WebApp, body: bytes = REQUEST.SerializeToString(), path: str = CANCEL, **headers: str) -> Any:
    """A call in binary form; `headers` with underscores for dashes, None to leave one out."""
    all_headers = {"Content_Type": BINARY, "Accept": BINARY, **headers}
    clean = {name.replace("_", "-"): value for name, value in all_headers.items() if value is not None}
    return app.post(path, body, headers=clean, expect_errors=True)


# ------------------------------------------------------------------------------------------------ recorded calls


@pytest.mark.parametrize("name", REPLAYED)
def test_a_real_client_gets_the_recorded_answer(name: str) -> None:
    for recorded in prpc_recordings.calls(name):
        seen: list[Message] = []

        def function(call: Call, request: Message, recorded=recorded, seen=seen) -> Message:
            seen.append(request)
            return recorded.response

        answer = server(function, recorded.path).post(recorded.path, recorded.body, headers=recorded.headers)
        assert seen == [recorded.request]
        assert answer.status_int == recorded.status
        assert answer.body == recorded.response_body
        for header, value in recorded.response_headers.items():
            assert answer.headers[header] == value


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_looks_as_real_clients_were_seen_to_understand_it(name: str) -> None:
    recorded = prpc_recordings.calls(name)[0]
    app = server(raising(ERRORS[name](recorded.response_body.decode().removesuffix("\n"))))
    answer = app.post(recorded.path, recorded.body, headers=recorded.headers, expect_errors=True)
    assert answer.status_int == recorded.status
    assert answer.body == recorded.response_body
    for header in ("Content-Type", "X-Prpc-Grpc-Code", "X-Content-Type-Options"):
        assert answer.headers[header] == recorded.response_headers[header]


def test_an_answer_above_the_limit_of_the_caller_is_refused_in_the_recorded_way() -> None:
    recorded = prpc_recordings.calls("too_big_server_says")[1]
    allowed = int(recorded.headers["X-Prpc-Max-Response-Size"])
    app = server(lambda call, request: swarming_pb2.TaskOutputResponse(output=b"x" * allowed), recorded.path)
    answer = app.post(recorded.path, recorded.body, headers=recorded.headers, expect_errors=True)
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (503, "14")
    detail = any_pb2.Any.FromString(base64.b64decode(answer.headers["X-Prpc-Status-Details-Bin"]))
    recorded_detail = any_pb2.Any.FromString(base64.b64decode(recorded.response_headers["X-Prpc-Status-Details-Bin"]))
    assert detail.type_url == recorded_detail.type_url
    too_big = prpc_error_pb2.ErrorDetails.FromString(detail.value).response_too_big
    assert too_big.response_limit == allowed
    assert too_big.response_size == len(swarming_pb2.TaskOutputResponse(output=b"x" * allowed).SerializeToString())
    assert prpc_error_pb2.ErrorDetails.FromString(recorded_detail.value).response_too_big.response_size > 0


# ------------------------------------------------------------------------------------------------ encodings


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (BINARY, REQUEST.SerializeToString()),
        ("application/prpc", REQUEST.SerializeToString()),
        ("application/prpc;encoding=binary", REQUEST.SerializeToString()),
        ("application/grpc", REQUEST.SerializeToString()),
        ("application/json", b'{"taskId": "7a1b2c3d4e5f6110", "killRunning": true}'),
        ("application/json; charset=utf-8", b'{"task_id": "7a1b2c3d4e5f6110", "kill_running": true}'),
        ("application/prpc; encoding=json", b'{"taskId": "7a1b2c3d4e5f6110", "kill_running": true}'),
        ("application/prpc; encoding=text", b'task_id: "7a1b2c3d4e5f6110" kill_running: true'),
    ],
)
def test_a_request_is_read_as_its_content_type_says(content_type: str, body: bytes) -> None:
    seen: list[Message] = []
    answer = post(server(lambda call, request: seen.append(request) or ANSWER), body, Content_Type=content_type)
    assert (answer.status_int, seen) == (200, [REQUEST])


def test_a_request_without_content_type_is_binary() -> None:
    app = server(lambda call, request: swarming_pb2.CancelResponse(canceled=request == REQUEST))
    # WebTest insists on a Content-Type, a WSGI server does not.
    answer = app.request(CANCEL, method="POST", body=REQUEST.SerializeToString(), headers={"Accept": BINARY})
    assert swarming_pb2.CancelResponse.FromString(answer.body).canceled


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, BINARY),
        ("*/*", BINARY),
        ("application/*", BINARY),
        ("application/grpc", BINARY),
        ("application/prpc", BINARY),
        ("application/json", "application/json"),
        ("application/prpc; encoding=json", "application/json"),
        ("application/prpc; encoding=text", "application/prpc; encoding=text"),
        ("application/json, text/plain, */*;q=0.1", "application/json"),
        ("application/json;q=0.5, application/prpc; encoding=binary;q=0.9", BINARY),
        ("application/json;q=0.9, application/prpc; encoding=binary;q=0.5", "application/json"),
        ("application/json, application/prpc; encoding=binary", BINARY),
        ("image/png, application/json;q=0.2", "application/json"),
    ],
)
def test_an_answer_has_the_form_that_the_caller_likes_best(accept: str | None, content_type: str) -> None:
    answer = post(server(lambda call, request: ANSWER), Accept=accept)
    assert (answer.status_int, answer.headers["Content-Type"]) == (200, content_type)
    if content_type == BINARY:
        assert swarming_pb2.CancelResponse.FromString(answer.body) == ANSWER
    elif content_type == "application/json":
        assert json.loads(answer.body.removeprefix(b")]}'\n")) == {"canceled": True, "wasRunning": True}
    else:
        assert text_format.Parse(answer.body, swarming_pb2.CancelResponse()) == ANSWER


@pytest.mark.parametrize("accept", ["text/html", "application/prpc; encoding=yaml", "application/json;q=0"])
def test_a_caller_that_reads_none_of_the_forms_is_told_so(accept: str) -> None:
    answer = post(server(lambda call, request: ANSWER), Accept=accept)
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (406, "3")
    assert "application/json" in answer.text


def test_json_follows_the_rules_of_protocol_buffers() -> None:
    result = swarming_pb2.TaskResultResponse(task_id="1", exit_code=3, state=swarming_pb2.COMPLETED)
    result.created_ts.FromMilliseconds(1_800_000_000_250)
    app = server(lambda call, request: result, "/prpc/swarming.v2.Tasks/GetResult")
    answer = post(app, b"", "/prpc/swarming.v2.Tasks/GetResult", Accept="application/json")
    assert answer.body.startswith(b")]}'\n")
    assert answer.body.endswith(b"}\n")
    assert json.loads(answer.body.removeprefix(b")]}'\n")) == {
        "taskId": "1",
        "exitCode": "3",  # 64 bits do not fit a JavaScript number
        "state": "COMPLETED",
        "createdTs": "2027-01-15T08:00:00.250Z",
    }


# ------------------------------------------------------------------------------------------------ bodies


def test_a_compressed_body_is_read() -> None:
    app = server(lambda call, request: swarming_pb2.CancelResponse(canceled=request == REQUEST))
    answer = post(app, gzip.compress(REQUEST.SerializeToString()), Content_Encoding="gzip")
    assert swarming_pb2.CancelResponse.FromString(answer.body).canceled


@pytest.mark.parametrize(
    "body", [b"not gzip", gzip.compress(REQUEST.SerializeToString())[:-3], gzip.compress(b"") + b"more"]
)
def test_a_body_that_is_not_gzip_although_it_says_so_is_refused(body: bytes) -> None:
    answer = post(server(lambda call, request: ANSWER), body, Content_Encoding="gzip")
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (400, "3")
    assert "gzip" in answer.text


def test_an_unknown_compression_is_refused() -> None:
    answer = post(server(lambda call, request: ANSWER), Content_Encoding="br")
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (415, "3")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_body_above_the_limit_is_refused_and_the_limit_is_stated(compressed: bool) -> None:
    app = server(lambda call, request: ANSWER, max_body_bytes=1000)
    body = swarming_pb2.TaskCancelRequest(task_id="x" * 1000).SerializeToString()
    headers = {"Content_Encoding": "gzip"} if compressed else {}
    answer = post(app, gzip.compress(body) if compressed else body, **headers)
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (413, "3")
    assert "1000 bytes" in answer.text


def test_a_small_body_that_would_inflate_to_gigabytes_costs_no_more_than_the_limit() -> None:
    answer = post(server(lambda call, request: ANSWER), gzip.compress(b"\0" * 100_000_000), Content_Encoding="gzip")
    assert answer.status_int == 413
    assert str(32 * 1024 * 1024) in answer.text


@pytest.mark.parametrize(
    ("content_type", "body", "word"),
    [
        (BINARY, b"\xff\xff\xff", "TaskCancelRequest"),
        (BINARY, b"\x0a\x02\xff\xfe", "TaskCancelRequest"),  # a string that is not UTF-8
        ("application/json", b"{", "TaskCancelRequest"),
        ("application/json", b"", "TaskCancelRequest"),
        ("application/json", b'{"taskId": 5}', "taskId"),
        ("application/json", b'{"taskIdd": "5"}', "taskIdd"),
        ("application/json", b'{"taskId": "\xff"}', "utf-8"),
        ("application/json", b'{"taskId": "\\ud800"}', "TaskCancelRequest"),
        ("application/json", b"[" * 100_000, "TaskCancelRequest"),
        ("application/json", b"[]", "TaskCancelRequest"),
        ("application/prpc; encoding=text", b"nonsense: 1", "nonsense"),
        ("application/xml", b"<a/>", "application/xml"),
        ("application/prpc; encoding=yaml", b"", "yaml"),
    ],
)
def test_a_body_that_is_no_such_message_is_refused_with_a_reason(content_type: str, body: bytes, word: str) -> None:
    answer = post(server(lambda call, request: ANSWER), body, Content_Type=content_type)
    assert answer.status_int in (400, 415)
    assert answer.headers["X-Prpc-Grpc-Code"] == "3"
    assert word in answer.text


def test_fields_of_a_newer_client_are_ignored_in_binary() -> None:
    app = server(lambda call, request: swarming_pb2.CancelResponse(canceled=request.task_id == REQUEST.task_id))
    answer = post(app, REQUEST.SerializeToString() + b"\x9a\x06\x03new")  # field 99
    assert swarming_pb2.CancelResponse.FromString(answer.body).canceled


# ------------------------------------------------------------------------------------------------ headers


@pytest.mark.parametrize(
    ("header", "timeout_s"),
    [("", None), ("90000000u", 90.0), ("2H", 7200.0), ("3M", 180.0), ("4S", 4.0), ("500m", 0.5), ("1000n", 1e-6)],
)
def test_the_caller_says_how_long_it_waits(header: str, timeout_s: float | None) -> None:
    assert parse_timeout_s(header) == pytest.approx(timeout_s)


@pytest.mark.parametrize("header", ["5", "S", "1.5S", "-1S", "5s", "\u0665S", "9" * 30 + "S"])
def test_a_deadline_in_another_form_is_refused(header: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="X-Prpc-Grpc-Timeout"):
        parse_timeout_s(header)


def test_a_method_learns_who_asks_and_for_how_long() -> None:
    calls: list[Call] = []
    app = server(lambda call, request: calls.append(call) or ANSWER, permission="tasks.cancel")
    post(app, X_Prpc_Grpc_Timeout="5S")
    assert calls == [Call(principal="somebody", permission="tasks.cancel", timeout_s=5.0)]


def test_a_wrong_header_is_noticed_before_anything_happens() -> None:
    calls: list[Call] = []
    app = server(lambda call, request: calls.append(call) or ANSWER)
    assert post(app, X_Prpc_Max_Response_Size="many").headers["X-Prpc-Grpc-Code"] == "3"
    assert post(app, X_Prpc_Grpc_Timeout="soon").headers["X-Prpc-Grpc-Code"] == "3"
    assert calls == []


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/prpc/swarming.v2.Tasks/CountTasks", "does not serve"),
        ("/prpc/swarming.v2.Tasks/Nonsense", "no method"),
        ("/prpc/swarming.v3.Tasks/CancelTask", "no service"),
        ("/prpc/nonsense", "no service"),
        ("/prpc/swarming.v2.Tasks/CancelTask/more", "no method"),
    ],
)
def test_what_is_not_served_is_unimplemented(path: str, word: str) -> None:
    answer = post(server(lambda call, request: ANSWER), path=path)
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (501, "12")
    assert word in answer.text


def test_only_post_makes_a_call() -> None:
    app = server(lambda call, request: ANSWER)
    for method in ("GET", "OPTIONS", "DELETE"):
        answer = app.request(CANCEL, method=method, expect_errors=True)
        assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (405, "3")
        assert answer.headers["Allow"] == "POST"


def test_an_unexpected_error_is_logged_and_tells_the_caller_nothing() -> None:
    app = server(raising(KeyError("secret of the house")))
    with capture_logs() as logs:
        answer = post(app)
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (500, "13")
    assert "secret" not in answer.text
    assert "CancelTask" in logs[0]["path"]
    assert logs[0]["exc_info"]


def test_a_method_that_answers_with_the_wrong_message_is_an_internal_error() -> None:
    with capture_logs() as logs:
        assert post(server(lambda call, request: REQUEST)).headers["X-Prpc-Grpc-Code"] == "13"
    assert len(logs) == 1


def test_an_error_about_a_field_names_it_for_programs() -> None:
    app = server(raising(errors.InvalidArgument("name is empty", field="task_slices[0].properties.command")))
    answer = post(app)
    detail = any_pb2.Any.FromString(base64.b64decode(answer.headers["X-Prpc-Status-Details-Bin"]))
    violations = error_details_pb2.BadRequest.FromString(detail.value).field_violations
    assert [(item.field, item.description) for item in violations] == [
        ("task_slices[0].properties.command", "name is empty")
    ]
    in_json = post(app, Accept="application/json").headers["X-Prpc-Status-Details-Bin"]
    assert json.loads(base64.b64decode(in_json)) == {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": "task_slices[0].properties.command", "description": "name is empty"}],
    }


def test_trouble_that_passes_says_when_to_come_again() -> None:
    answer = post(server(raising(errors.StoreUnavailable("the store does not answer"))))
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (503, "14")
    assert answer.headers["Retry-After"] == "5"
    assert answer.text == "the store does not answer\n"


# ------------------------------------------------------------------------------------------------ access


def test_nobody_gets_further_than_their_credentials() -> None:
    def nobody(request: Any) -> str:
        raise errors.Unauthenticated("this token is not known")

    calls: list[Call] = []
    app = server(lambda call, request: calls.append(call) or ANSWER, authenticate=nobody)
    answer = post(app, b"\xff\xff\xff")
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (401, "16")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert calls == []


def test_a_caller_without_the_permission_of_a_method_is_refused() -> None:
    def check(principal: str, permission: str) -> None:
        raise errors.PermissionDenied(f"{principal} lacks {permission}")

    calls: list[Call] = []
    app = server(lambda call, request: calls.append(call) or ANSWER, permission="tasks.cancel", check=check)
    answer = post(app)
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (403, "7")
    assert answer.text == "somebody lacks tasks.cancel\n"
    assert calls == []
    assert post(server(lambda call, request: ANSWER, check=check)).status_int == 200


# ------------------------------------------------------------------------------------------------ the table


@pytest.mark.parametrize(
    ("key", "request_class"),
    [
        (("swarming.v2.Tasks", "Nonsense"), swarming_pb2.TaskCancelRequest),
        (("swarming.v2.Tasks", "CancelTask"), swarming_pb2.TaskIdRequest),
    ],
)
def test_a_table_that_does_not_fit_the_proto_stops_the_start(key: tuple[str, str], request_class: type) -> None:
    method = Method(request_class, swarming_pb2.CancelResponse, lambda call, request: ANSWER, "")
    with pytest.raises(ValueError, match=key[1]):
        transport.blueprint({key: method}, SERVICES, authenticate=lambda request: "", check=lambda *_: None)
