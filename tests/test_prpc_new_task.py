"""What clients ask for arrives whole, and is shown again as it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import text_format

from handlers.prpc import convert
from handlers.prpc.new_task import new_task_input
from server import errors
from server.proto import swarming_pb2
from server.records.task import TaskRequest
from server.store.client import Store
from tests import prpc_recordings


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"embedded:{tmp_path}")
    with store.context():
        yield store
    store.close()


def request(**changes: object) -> swarming_pb2.NewTaskRequest:
    """The request of the smallest `swarming trigger`."""
    message = swarming_pb2.NewTaskRequest()
    message.CopyFrom(prpc_recordings.calls("trigger_minimal")[0].request)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize("name", ["trigger_minimal", "trigger_all_flags"])
def test_what_a_real_client_asks_for_is_shown_again_as_recorded(name: str) -> None:
    recorded = prpc_recordings.calls(name)[0]
    wanted = new_task_input(recorded.request)
    slices = [
        {
            "properties": piece.properties.model_dump(mode="json", exclude_defaults=True),
            "expiration_s": piece.expiration_secs,
            "wait_for_capacity": piece.wait_for_capacity,
        }
        for piece in wanted.task_slices
    ]
    shown = convert.task_request(TaskRequest(id="x", task_id="7a1b2c3d4e5f6110", name=wanted.name, slices=slices))
    expected = recorded.response.request
    assert list(shown.task_slices) == list(expected.task_slices)
    assert (shown.properties, shown.expiration_secs) == (expected.properties, expected.expiration_secs)
    assert (wanted.name, wanted.priority, wanted.user) == (expected.name, expected.priority, expected.user)
    assert wanted.request_uuid == recorded.request.request_uuid


def test_a_secret_reaches_the_task_and_nobody_else() -> None:
    message = request()
    message.task_slices[0].properties.secret_bytes = b"\x00secret\xff"
    properties = new_task_input(message).task_slices[0].properties
    assert properties.secret_bytes == b"\x00secret\xff"
    kept = {
        "properties": properties.model_dump(mode="json", exclude_defaults=True),
        "expiration_s": 60,
        "wait_for_capacity": False,
    }
    shown = convert.task_request(TaskRequest(id="x", task_id="x0", slices=[kept]))
    assert shown.task_slices[0].properties.secret_bytes == b"<REDACTED>"
    assert b"secret\xff" not in shown.SerializeToString()


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ("name: ''", "name", "at least 1"),
        ("priority: 0", "priority", "at least 1"),
        ("priority: 300", "priority", "at most 255"),
        ("expiration_secs: 60", "expiration_secs", "task_slices"),
        ("properties { command: 'echo' }", "properties", "task_slices"),
        ("tags: 'no colon'", "tags", "key:value"),
        ("bot_ping_tolerance_secs: 5", "bot_ping_tolerance_secs", "60"),
        ("service_account: 'me'", "service_account", "email"),
        (r"name: 'a\000b'", "name", "NUL"),
        (r"user: 'a\000b'", "user", "NUL"),
        (r"request_uuid: 'a\000b'", "request_uuid", "NUL"),
        (r"tags: 'a:\000b'", "tags", "NUL"),
        ("realm: 'x'", "realm", "project:realm"),
        ("realm: 'x:'", "realm", "project:realm"),
        ("realm: 'X:y z'", "realm", "project:realm"),
        ("task_slices { expiration_secs: 60 }", "task_slices[1].properties", "missing"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(change: str, field: str, word: str) -> None:
    message = request()
    patch = text_format.Parse(change, swarming_pb2.NewTaskRequest())
    for descriptor in patch.DESCRIPTOR.fields:
        if change.startswith(descriptor.name):
            if descriptor.name in ("name", "priority", "user", "request_uuid", "realm"):
                message.ClearField(descriptor.name)
            message.MergeFrom(patch)
    with pytest.raises(errors.InvalidArgument, match=word) as caught:
        new_task_input(message)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("expiration_secs: 5", "task_slices[0].expiration_secs"),
        ("properties { execution_timeout_secs: 5 }", "task_slices[0].properties.execution_timeout_secs"),
        ("properties { io_timeout_secs: 5 }", "task_slices[0].properties.io_timeout_secs"),
        ("properties { relative_cwd: '../up' }", "task_slices[0].properties.relative_cwd"),
        ("properties { caches { name: 'A B' path: 'c' } }", "task_slices[0].properties.caches[0].name"),
        ("properties { dimensions { key: 'pool' value: 'other' } }", "task_slices[0].properties.dimensions"),
    ],
)
def test_a_field_of_a_slice_is_named_with_its_whole_path(change: str, field: str) -> None:
    message = request()
    message.task_slices[0].MergeFrom(text_format.Parse(change, swarming_pb2.TaskSlice()))
    with pytest.raises(errors.InvalidArgument) as caught:
        new_task_input(message)
    assert caught.value.field == field


def test_more_than_a_record_can_hold_is_refused_with_field_and_limit() -> None:
    message = request()
    message.task_slices[0].properties.command.append("x" * 140_000)
    with pytest.raises(errors.InvalidArgument, match="at most 131072") as caught:
        new_task_input(message)
    assert caught.value.field == "task_slices[0].properties.command"
    message = request()
    message.task_slices[0].properties.outputs.extend(f"{number:0500d}" for number in range(600))
    with pytest.raises(errors.InvalidArgument, match="at most 262144") as caught:
        new_task_input(message)
    assert caught.value.field == "task_slices"
    message = request()
    message.tags.extend(f"tag:{number:0255d}" for number in range(256))
    with pytest.raises(errors.InvalidArgument, match="at most 65536") as caught:
        new_task_input(message)
    assert caught.value.field == "tags"


def test_all_fields_at_fault_are_named_at_once() -> None:
    message = request(name="", priority=999)
    message.task_slices[0].expiration_secs = 1
    with pytest.raises(errors.FieldErrors) as caught:
        new_task_input(message)
    assert {"name", "priority", "task_slices[0].expiration_secs"} <= set(caught.value.errors)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"pubsub_topic": "projects/p/topics/t"}, "pubsub_topic"),
        ({"pubsub_userdata": "x"}, "pubsub_userdata"),
    ],
)
def test_what_pilotlight_would_not_do_is_refused_rather_than_forgotten(change: dict[str, str], field: str) -> None:
    with pytest.raises(errors.Unimplemented) as caught:
        new_task_input(request(**change))
    assert caught.value.field == field


def test_resultdb_is_refused_only_when_it_is_wanted() -> None:
    message = request()
    assert message.HasField("resultdb")  # real clients always send it
    new_task_input(message)
    message.resultdb.enable = True
    with pytest.raises(errors.Unimplemented):
        new_task_input(message)


@pytest.mark.parametrize("pool", ["../x", "a b", "x" * 129, "-x"])
def test_a_pool_that_could_not_be_configured_is_refused(pool: str) -> None:
    message = request()
    for pair in message.task_slices[0].properties.dimensions:
        if pair.key == "pool":
            pair.value = pool
    with pytest.raises(errors.InvalidArgument, match="at most 128") as caught:
        new_task_input(message)
    assert caught.value.field == "task_slices[0].properties.dimensions"
