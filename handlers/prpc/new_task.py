"""NewTaskRequest → what `server.task_request.new_task` takes. The rules of the fields are with that model."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from server import documents
from server.errors import InvalidArgument, Unimplemented
from server.proto import swarming_pb2
from server.task_properties import NewTask

UNUSED = ("expiration_secs", "properties", "pool_task_template", "resultdb")
PUBSUB = ("pubsub_topic", "pubsub_auth_token", "pubsub_userdata")


def new_task_input(request: swarming_pb2.NewTaskRequest) -> NewTask:
    """The request as the model that checks it.

    Raises:
        InvalidArgument: a field breaks its rule; all such fields are named.
        Unimplemented: it asks for something that Pilotlight does not do, and would not want to be without it.
    """
    if request.expiration_secs or request.HasField("properties"):
        name = "expiration_secs" if request.expiration_secs else "properties"
        raise InvalidArgument(f"{name} must not be set; it stands in task_slices", field=name)
    for name in PUBSUB:
        if getattr(request, name):
            raise Unimplemented(f"{name}: Pilotlight does not publish to Pub/Sub", field=name)
    if request.resultdb.enable:
        raise Unimplemented("resultdb.enable: Pilotlight has no ResultDB", field="resultdb.enable")
    fields = _fields(request)
    for name in (*UNUSED, *PUBSUB):
        fields.pop(name, None)
    for piece, given in zip(fields["task_slices"], request.task_slices, strict=True):
        if given.HasField("properties"):
            _refine(piece["properties"], given.properties)
    return documents.checked(NewTask, fields)


def _refine(fields: dict[str, Any], given: swarming_pb2.TaskProperties) -> None:
    """What JSON would carry as other types: bytes stay bytes; containment is kept as it came."""
    fields.pop("secret_bytes", None)
    if given.secret_bytes:
        fields["secret_bytes"] = given.secret_bytes
    if given.HasField("containment"):
        fields["containment"] = json_format.MessageToDict(given.containment, preserving_proto_field_name=True)


def _fields(request: swarming_pb2.NewTaskRequest) -> dict[str, Any]:
    """All fields by their names in the API, also those that have their default."""
    return json_format.MessageToDict(
        request, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
