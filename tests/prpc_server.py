"""A server with one pRPC method, for tests of the transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from google.protobuf.message import Message
from webtest import TestApp as WebApp

from handlers.prpc import transport
from handlers.prpc.transport import Call, Method
from server.access import LOCAL_USER, Permission, Principal
from server.proto import swarming_pb2
from tests import prpc_recordings

SERVICES = list(swarming_pb2.DESCRIPTOR.services_by_name.values())
CANCEL = "/prpc/swarming.v2.Tasks/CancelTask"
BINARY = "application/prpc; encoding=binary"
REQUEST = swarming_pb2.TaskCancelRequest(task_id="7a1b2c3d4e5f6110", kill_running=True)
ANSWER = swarming_pb2.CancelResponse(canceled=True, was_running=True)


def server(
    function: Callable[[Call, Any], Message],
    path: str = CANCEL,
    *,
    permission: Permission | None = None,
    authenticate: Callable[[Request], Principal] = lambda request: LOCAL_USER,
    **options: Any,
) -> WebApp:
    """An app with one method, which anybody may call unless told otherwise."""
    service, name = path.removeprefix("/prpc/").split("/")
    classes = (prpc_recordings.message_class(path, 0), prpc_recordings.message_class(path, 1))
    methods = {(service, name): Method(*classes, function, permission)}
    app = Flask(__name__)
    app.register_blueprint(transport.blueprint(methods, SERVICES, authenticate=authenticate, **options))
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
