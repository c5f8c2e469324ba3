"""Bodies of pRPC calls: their forms, their compression, their limits."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from handlers.prpc import encoding
from server import errors
from server.proto import swarming_pb2
from tests.prpc_server import ANSWER, BINARY, CANCEL, REQUEST, post, server

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
    "body",
    [b"not gzip", gzip.compress(REQUEST.SerializeToString())[:-3], gzip.compress(b"") + b"more"],
    ids=["other", "cut", "longer"],
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


def test_a_body_of_unannounced_length_has_the_same_limit() -> None:
    app = server(lambda call, request: ANSWER, max_body_bytes=1000)
    chunked = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    for length, status in ((900, 200), (1100, 413)):
        body = swarming_pb2.TaskCancelRequest(task_id="x" * length).SerializeToString()
        answer = app.post(CANCEL, body, {"Content-Type": BINARY}, extra_environ=chunked, expect_errors=True)
        assert answer.status_int == status


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


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"limit": "abc"}', "limit field: 'abc' is not a whole number"),
        ('{"tags": [1]}', "tags field: must be text, in quotes"),
        ('{"start": "2026-13-01T00:00:00Z"}', "'2026-13-01T00:00:00' is not a time such as 2026-01-31T12:00:00Z"),
        ('{"nosuch": 1}', "; its fields: 'limit', 'cursor'"),
    ],
)
def test_what_is_wrong_with_a_body_is_said_without_python(body: str, words: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        encoding.decode(body.encode(), encoding.Encoding.JSON, swarming_pb2.TasksWithPerfRequest)
    assert words in caught.value.text
    assert not re.search(r"\(\)|bytes-like|%Y|\[|\n", caught.value.text)


def test_fields_of_a_newer_client_are_ignored_in_binary() -> None:
    app = server(lambda call, request: swarming_pb2.CancelResponse(canceled=request.task_id == REQUEST.task_id))
    answer = post(app, REQUEST.SerializeToString() + b"\x9a\x06\x03new")  # field 99
    assert swarming_pb2.CancelResponse.FromString(answer.body).canceled
