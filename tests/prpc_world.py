"""One process of the server with its client API, on a store of its own and a clock that only the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from flask import Flask
from google.cloud import ndb
from google.protobuf.message import Message
from google.rpc import code_pb2
from webtest import TestApp as WebApp

from handlers import prpc
from server import assembly
from server.access import LOCAL_USER, Principal
from server.clock import FakeClock
from server.proto import swarming_pb2 as api
from server.service import Service
from server.settings import Settings

BINARY = "application/prpc; encoding=binary"
Response = TypeVar("Response", bound=Message)


class CallFailed(Exception):
    """A call that the server refused."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code_pb2.Code.Name(code)}: {text}")
        self.name = code_pb2.Code.Name(code)
        self.text = text


class World:
    """Calls the API as `principal`, which a test may change."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        settings = Settings(store_url=f"embedded:{folder}", free_disk_floor_bytes=0)
        self.service: Service = assembly.build(settings, clock=self.clock, rng=random.Random(1), process_id="p1")
        self.principal: Principal = LOCAL_USER
        app = Flask(__name__)
        app.register_blueprint(prpc.make_blueprint(self.service, lambda request: self.principal))
        self._app = WebApp(app)

    def close(self) -> None:
        """Lets go of the store."""
        self.service.store.close()

    def call(self, path: str, request: Message, response_class: type[Response]) -> Response:
        """`Tasks/NewTask` and a message → the answer.

        Raises:
            CallFailed: the answer is an error.
        """
        headers = {"Content-Type": BINARY, "Accept": BINARY}
        answer = self._app.post(
            f"/prpc/swarming.v2.{path}", request.SerializeToString(), headers=headers, expect_errors=True
        )
        code = int(answer.headers["X-Prpc-Grpc-Code"])
        if code:
            raise CallFailed(code, answer.text.removesuffix("\n"))
        return response_class.FromString(answer.body)

    def new_task(self, **changes: object) -> api.TaskRequestMetadataResponse:
        """Makes the smallest task; `changes` are fields of NewTaskRequest."""
        return self.call("Tasks/NewTask", new_task_request(**changes), api.TaskRequestMetadataResponse)

    def change(self, kind: type[ndb.Model], key: str, change: Callable[[ndb.Model], None]) -> None:
        """Changes a record, as work of a bot or of another process would."""

        def step() -> None:
            record = ndb.Key(kind, key).get()
            change(record)
            record.put()

        self.service.store.transaction(step)


def new_task_request(pool: str = "p", **changes: object) -> api.NewTaskRequest:
    """A valid request."""
    properties = api.TaskProperties(
        command=["echo", "hi"],
        dimensions=[{"key": "pool", "value": pool}],
        execution_timeout_secs=3600,
        grace_period_secs=30,
        io_timeout_secs=1200,
    )
    piece = api.TaskSlice(properties=properties, expiration_secs=600)
    given = {"name": "hello", "priority": 100, "user": "mira", "task_slices": [piece], **changes}
    return api.NewTaskRequest(**given)
