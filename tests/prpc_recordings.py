"""Recorded calls of the real client, for tests of both ends of pRPC."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from server.proto import swarming_pb2

FOLDER = Path(__file__).parent / "recordings" / "client"
CLASSES = {
    f"/prpc/{service.full_name}/{method.name}": (method.input_type, method.output_type)
    for service in swarming_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def message_class(path: str, direction: int) -> type[Message]:
    """Class of the request (0) or the response (1) of the method at `path`."""
    return getattr(swarming_pb2, CLASSES[path][direction].name)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One request and its answer.

    Attributes:
        about: what the recording shows.
        exit_code: of the client that made the call.
        path: `/prpc/<service>/<method>`
        headers: of the request.
        body: of the request.
        request: the same as a message.
        status: HTTP status of the answer.
        response_headers: of the answer.
        response_body: of the answer; None if it was not kept.
        response: the same as a message; None if it is none.
    """

    about: str
    exit_code: int
    path: str
    headers: dict[str, str]
    body: bytes
    request: Message
    status: int
    response_headers: dict[str, str]
    response_body: bytes | None
    response: Message | None


def names() -> list[str]:
    """All recordings."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def calls(name: str) -> list[RecordedCall]:
    """The calls of one recording, in order."""
    recording = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return [_call(recording, call) for call in recording["calls"]]


def _call(recording: dict[str, Any], call: dict[str, Any]) -> RecordedCall:
    path = call["path"]
    response = call.get("response")
    body = call.get("response_text", "").encode("utf-8") if "response_body_size" not in call else None
    if "response_body_base64" in call:
        body = base64.b64decode(call["response_body_base64"])
    return RecordedCall(
        about=recording["about"],
        exit_code=recording["exit_code"],
        path=path,
        headers=call["headers"],
        body=base64.b64decode(call["request_body_base64"]),
        request=json_format.ParseDict(call["request"], message_class(path, 0)()),
        status=call["response_status"],
        response_headers=call["response_headers"],
        response_body=body,
        response=None if response is None else json_format.ParseDict(response, message_class(path, 1)()),
    )
