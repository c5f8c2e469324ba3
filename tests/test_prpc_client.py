"""The client of the command line understands the answers that the real one understands."""

from __future__ import annotations

import base64
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flask import Flask
from google.rpc import error_details_pb2
from werkzeug.serving import make_server

from client.prpc import NotAPrpcServer, PrpcClient, PrpcError, Retry, ServerUnreachable, normal_url
from handlers.prpc import transport
from handlers.prpc.status import packed
from server import errors
from server.access import LOCAL_USER
from server.proto import swarming_pb2
from tests import prpc_recordings

TASKS = "swarming.v2.Tasks"
REQUEST = swarming_pb2.TaskCancelRequest(task_id="7a1b2c3d4e5f6110")
CANCELED = swarming_pb2.CancelResponse(canceled=True)
BINARY = {"Content-Type": "application/prpc; encoding=binary"}


@dataclass
class Answer:
    """What the server says to one request; `missing` bytes are announced and not sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    missing: int = 0


@dataclass
class ScriptedServer:
    """Gives its answers in turn, the last one for ever, and keeps what it was asked."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.requests.append((handler.path, dict(handler.headers), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body) + answer.missing))
        handler.end_headers()
        handler.wfile.write(answer.body)


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            script.handle(self)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield script
        server.shutdown()


class Pauses:
    """A clock on which only pauses take time."""

    def __init__(self) -> None:
        self.all_s: list[float] = []

    def sleep(self, duration_s: float) -> None:
        self.all_s.append(duration_s)

    def monotonic_s(self) -> float:
        return sum(self.all_s)


def client(url: str, pauses: Pauses | None = None, **options: object) -> PrpcClient:
    pauses = pauses or Pauses()
    return PrpcClient(url, sleep=pauses.sleep, monotonic_s=pauses.monotonic_s, rng=random.Random(1), **options)


def cancel(prpc: PrpcClient, **options: object) -> swarming_pb2.CancelResponse:
    return prpc.call(TASKS, "CancelTask", REQUEST, swarming_pb2.CancelResponse, **options)


def play(scripted: ScriptedServer, name: str) -> prpc_recordings.RecordedCall:
    """Loads a recording's answers; returns its first call."""
    recorded = prpc_recordings.calls(name)
    for call in recorded:
        headers = {key: value for key, value in call.response_headers.items() if key != "Content-Length"}
        body = b"x" * 5000 if call.response_body is None else call.response_body
        scripted.answers.append(Answer(call.status, headers, body))
    return recorded[0]


# ------------------------------------------------------------------------------------------------ recorded answers


@pytest.mark.parametrize(
    "name",
    [
        "header_http_404_with_code_0",
        "header_content_type_missing",
        "header_content_type_no_space",
        "header_content_type_plain_prpc",
        "body_unknown_fields",
        "cancel_running_kill",
    ],
)
def test_odd_but_right_answers_are_understood(scripted: ScriptedServer, name: str) -> None:
    play(scripted, name)
    assert cancel(client(scripted.url)).canceled
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("error_not_found", "NOT_FOUND"),
        ("error_permission_denied", "PERMISSION_DENIED"),
        ("error_invalid_argument", "INVALID_ARGUMENT"),
        ("error_unauthenticated", "UNAUTHENTICATED"),
        ("error_already_exists", "ALREADY_EXISTS"),
        ("error_failed_precondition", "FAILED_PRECONDITION"),
        ("error_resource_exhausted", "RESOURCE_EXHAUSTED"),
        ("error_unimplemented", "UNIMPLEMENTED"),
        ("error_data_loss", "DATA_LOSS"),
        ("error_http_200_with_code_5", "NOT_FOUND"),
        ("error_multiline_and_details", "INVALID_ARGUMENT"),
        ("error_code_without_http_meaning", "99"),
        ("header_code_missing_http_401", "UNAUTHENTICATED"),
        ("header_code_missing_http_403", "PERMISSION_DENIED"),
    ],
)
def test_an_error_that_will_not_pass_is_not_asked_for_twice(scripted: ScriptedServer, name: str, code: str) -> None:
    recorded = play(scripted, name)
    with pytest.raises(PrpcError) as caught:
        cancel(client(scripted.url))
    assert caught.value.name == code
    said = (recorded.response_body or b"").decode().removesuffix("\n")
    assert caught.value.text == (f"{scripted.url} answers HTTP 401 with a page" if "<html>" in said else said)
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    "name",
    ["header_content_type_json", "header_content_type_octet_stream", "header_content_type_text_plain_ok"],
)
def test_an_answer_in_another_form_is_refused_at_once(scripted: ScriptedServer, name: str) -> None:
    play(scripted, name)
    with pytest.raises(NotAPrpcServer, match="Content-Type"):
        cancel(client(scripted.url))
    assert len(scripted.requests) == 1


def test_an_answer_that_is_no_message_is_refused_at_once(scripted: ScriptedServer) -> None:
    play(scripted, "body_malformed")
    with pytest.raises(PrpcError, match=r"swarming\.v2\.CancelResponse") as caught:
        cancel(client(scripted.url))
    assert (caught.value.name, len(scripted.requests)) == ("INTERNAL", 1)


@pytest.mark.parametrize(
    "name",
    [
        "retry_unavailable_then_ok",
        "retry_unknown_then_ok",
        "header_code_missing_http_502",
        "header_code_missing_http_503",
    ],
)
def test_trouble_that_passes_is_waited_for(scripted: ScriptedServer, name: str) -> None:
    play(scripted, name)
    pauses = Pauses()
    told: list[PrpcError] = []
    assert cancel(client(scripted.url, pauses, on_retry=lambda error, pause_s: told.append(error))).canceled
    assert len(scripted.requests) == 2
    assert scripted.requests[0][2] == scripted.requests[1][2]
    assert (len(told), len(pauses.all_s)) == (1, 1)
    assert 0.2 <= pauses.all_s[0] <= 0.3


def test_an_answer_cut_short_is_asked_for_again(scripted: ScriptedServer) -> None:
    play(scripted, "body_short")
    scripted.answers[0].missing = 10
    assert cancel(client(scripted.url)).canceled
    assert len(scripted.requests) == 2


def test_a_web_page_in_place_of_the_api_is_named_at_once(scripted: ScriptedServer) -> None:
    # The real client tries again for five minutes here; someone at a terminal wants to know now.
    play(scripted, "header_code_missing_http_404_html")
    with pytest.raises(NotAPrpcServer, match="HTTP 404"):
        cancel(client(scripted.url))
    assert len(scripted.requests) == 1


def test_the_page_of_another_server_is_not_printed_but_named(scripted: ScriptedServer) -> None:
    scripted.answers = [Answer(501, {"Content-Type": "text/html;charset=utf-8"}, b"<html>no POST here</html>")]
    with pytest.raises(PrpcError, match="answers HTTP 501 with a page"):
        cancel(client(scripted.url, retry=Retry(total_s=0)))


def test_an_answer_that_the_server_finds_too_long_is_not_asked_for_again(scripted: ScriptedServer) -> None:
    recorded = prpc_recordings.calls("too_big_server_says")[1]
    scripted.answers = [Answer(recorded.status, recorded.response_headers, recorded.response_body or b"")]
    with pytest.raises(PrpcError, match="too big") as caught:
        cancel(client(scripted.url))
    assert (caught.value.name, len(scripted.requests)) == ("UNAVAILABLE", 1)


def test_a_long_message_is_cut_and_a_missing_one_replaced(scripted: ScriptedServer) -> None:
    play(scripted, "error_long_message")
    with pytest.raises(PrpcError) as caught:
        cancel(client(scripted.url))
    assert len(caught.value.text) == 4096 + len("...")
    scripted.answers = []
    play(scripted, "error_empty_body")
    with pytest.raises(PrpcError, match="no reason"):
        cancel(client(scripted.url))


def test_details_that_cannot_be_read_do_not_hide_the_error(scripted: ScriptedServer) -> None:
    # The real client asks again here; the error itself is clear, so ours reports it.
    play(scripted, "error_bad_details_header")
    with pytest.raises(PrpcError, match="bad") as caught:
        cancel(client(scripted.url))
    assert (caught.value.name, caught.value.details) == ("INVALID_ARGUMENT", ())


def test_a_request_looks_like_that_of_the_real_client(scripted: ScriptedServer) -> None:
    recorded = play(scripted, "trigger_minimal")
    answer = client(scripted.url).call(
        TASKS, "NewTask", recorded.request, swarming_pb2.TaskRequestMetadataResponse, timeout_s=90
    )
    path, headers, body = scripted.requests[0]
    assert answer == recorded.response
    assert (path, body) == (recorded.path, recorded.body)
    assert {name: headers[name] for name in recorded.headers} == recorded.headers
    assert "Authorization" not in headers


# ------------------------------------------------------------------------------------------------ trouble


def test_a_token_goes_into_the_authorization_header(scripted: ScriptedServer) -> None:
    scripted.answers = [Answer(200, {"X-Prpc-Grpc-Code": "0", **BINARY}, CANCELED.SerializeToString())]
    cancel(client(scripted.url, token="secret"))
    assert scripted.requests[0][1]["Authorization"] == "Bearer secret"


def test_pauses_double_up_to_a_limit_and_end_in_time(scripted: ScriptedServer) -> None:
    scripted.answers = [Answer(503, {"X-Prpc-Grpc-Code": "14"}, b"busy\n")]
    pauses = Pauses()
    with pytest.raises(PrpcError, match="busy"):
        cancel(client(scripted.url, pauses, retry=Retry(first_s=1, longest_s=4, total_s=20)))
    assert len(scripted.requests) == len(pauses.all_s) + 1
    assert sum(pauses.all_s) <= 20
    for pause_s, plain_s in zip(pauses.all_s, [1, 2, 4, 4, 4, 4, 4], strict=False):
        assert plain_s * 0.8 <= pause_s <= plain_s * 1.2


def test_the_pause_that_the_server_asks_for_is_kept(scripted: ScriptedServer) -> None:
    scripted.answers = [
        Answer(503, {"X-Prpc-Grpc-Code": "14", "Retry-After": "5"}, b"busy\n"),
        Answer(200, {"X-Prpc-Grpc-Code": "0", **BINARY}, CANCELED.SerializeToString()),
    ]
    pauses = Pauses()
    assert cancel(client(scripted.url, pauses)).canceled
    assert pauses.all_s == [5.0]


def test_without_patience_there_is_one_try(scripted: ScriptedServer) -> None:
    scripted.answers = [Answer(503, {"X-Prpc-Grpc-Code": "14"}, b"busy\n")]
    with pytest.raises(PrpcError):
        cancel(client(scripted.url), retry=Retry(total_s=0))
    assert len(scripted.requests) == 1


def test_a_server_that_is_not_there_is_said_to_be_so() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{placeholder.getsockname()[1]}"
        with pytest.raises(ServerUnreachable, match=url):
            cancel(client(url, retry=Retry(total_s=0)))


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServerUnreachable, match="timed out"):
            cancel(client(url, retry=Retry(total_s=0)), timeout_s=0.05)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://localhost:8080/prpc?x=1", "http://localhost:8080"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("pilot.example.com", "https://pilot.example.com"),
        ("http://pilot.example.com:80", "http://pilot.example.com:80"),
    ],
)
def test_the_address_of_a_server_may_be_short(given: str, url: str) -> None:
    assert normal_url(given) == url


@pytest.mark.parametrize("given", ["", "http://", "ftp://localhost", "http://me:secret@localhost", "localhost:x"])
def test_what_is_no_address_is_refused_by_name(given: str) -> None:
    with pytest.raises(ValueError, match=repr(given)):
        PrpcClient(given)


# ------------------------------------------------------------------------------------------------ with our own server


def test_client_and_server_understand_each_other() -> None:
    def function(call: transport.Call, request: swarming_pb2.TaskCancelRequest) -> swarming_pb2.CancelResponse:
        if not request.task_id:
            raise errors.InvalidArgument("task_id is empty", field="task_id")
        return swarming_pb2.CancelResponse(canceled=call.timeout_s == 7.0, was_running=request.kill_running)

    method = transport.Method(swarming_pb2.TaskCancelRequest, swarming_pb2.CancelResponse, function, None)
    app = Flask(__name__)
    services = swarming_pb2.DESCRIPTOR.services_by_name.values()
    table = {(TASKS, "CancelTask"): method}
    app.register_blueprint(transport.blueprint(table, services, authenticate=lambda request: LOCAL_USER))
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        prpc = client(f"http://127.0.0.1:{server.server_port}")
        assert cancel(prpc, timeout_s=7.0).canceled
        with pytest.raises(PrpcError, match="task_id is empty") as caught:
            prpc.call(TASKS, "CancelTask", swarming_pb2.TaskCancelRequest(), swarming_pb2.CancelResponse)
        assert (caught.value.name, caught.value.field) == ("INVALID_ARGUMENT", "task_id")
        with pytest.raises(PrpcError, match="does not serve") as caught:
            prpc.call(TASKS, "CountTasks", swarming_pb2.TasksCountRequest(), swarming_pb2.TasksCount)
        assert caught.value.name == "UNIMPLEMENTED"
    finally:
        server.shutdown()
        thread.join()


def test_details_that_a_proxy_joined_into_one_header_are_all_read(scripted: ScriptedServer) -> None:
    detail = error_details_pb2.BadRequest(field_violations=[{"field": "name", "description": "empty"}])
    value = base64.b64encode(packed(detail).SerializeToString()).decode()
    headers = {"X-Prpc-Grpc-Code": "3", "X-Prpc-Status-Details-Bin": f"{value}, {value}"}
    scripted.answers = [Answer(400, headers, b"empty\n")]
    with pytest.raises(PrpcError) as caught:
        cancel(client(scripted.url))
    assert (len(caught.value.details), caught.value.field) == (2, "name")
