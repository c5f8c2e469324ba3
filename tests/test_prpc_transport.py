"""pRPC as its clients meet it: recorded calls, headers and errors."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from structlog.testing import capture_logs

from handlers.prpc import transport
from handlers.prpc.transport import Call, Method, parse_timeout_s
from server import errors
from server.access import LOCAL_USER, Permission, Principal
from server.proto import prpc_error_pb2, swarming_pb2
from tests import prpc_recordings
from tests.prpc_server import ANSWER, CANCEL, REQUEST, SERVICES, post, raising, server

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
    app = server(lambda call, request: calls.append(call) or ANSWER, permission=Permission.TASK_CANCEL)
    post(app, X_Prpc_Grpc_Timeout="5S")
    assert calls == [Call(principal=LOCAL_USER, timeout_s=5.0)]


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


def test_every_field_at_fault_is_named_as_far_as_a_header_carries_it() -> None:
    wrong = {f"task_slices[{index}].properties.command": "is missing" for index in range(1000)}
    answer = post(server(raising(errors.FieldErrors(wrong))))
    value = answer.headers["X-Prpc-Status-Details-Bin"]
    violations = error_details_pb2.BadRequest.FromString(
        any_pb2.Any.FromString(base64.b64decode(value)).value
    ).field_violations
    assert {item.field: item.description for item in violations}.items() <= wrong.items()
    assert len(violations) > 20
    assert len(value) < 4000


def test_a_guard_of_the_whole_application_answers_in_the_protocol_too() -> None:
    app = server(lambda call, request: ANSWER)
    app.app.before_request(raising_guard)
    answer = post(app)
    assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (403, "7")
    assert answer.text == "not from here\n"


def raising_guard() -> None:
    raise errors.PermissionDenied("not from here")


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
    calls: list[Call] = []
    reader = Principal("user:mira", frozenset({Permission.TASK_GET}), frozenset({"p"}))
    for permission, status, code in ((Permission.TASK_CANCEL, 403, "7"), (Permission.TASK_GET, 200, "0")):
        app = server(
            lambda call, request: calls.append(call) or ANSWER, permission=permission, authenticate=lambda _: reader
        )
        answer = post(app)
        assert (answer.status_int, answer.headers["X-Prpc-Grpc-Code"]) == (status, code)
    assert len(calls) == 1


# ------------------------------------------------------------------------------------------------ the table


@pytest.mark.parametrize(
    ("key", "request_class"),
    [
        (("swarming.v2.Tasks", "Nonsense"), swarming_pb2.TaskCancelRequest),
        (("swarming.v2.Tasks", "CancelTask"), swarming_pb2.TaskIdRequest),
    ],
)
def test_a_table_that_does_not_fit_the_proto_stops_the_start(key: tuple[str, str], request_class: type) -> None:
    method = Method(request_class, swarming_pb2.CancelResponse, lambda call, request: ANSWER, None)
    with pytest.raises(ValueError, match=key[1]):
        transport.blueprint({key: method}, SERVICES, authenticate=lambda request: LOCAL_USER)
