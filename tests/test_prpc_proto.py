"""The messages are those that the real clients send and understand."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.proto import prpc_error_pb2, swarming_pb2
from server.proto.__main__ import FOLDER, compile_protos
from tests import prpc_recordings


def test_the_checked_in_code_is_what_the_compiler_makes_of_the_protos(tmp_path: Path) -> None:
    compile_protos(tmp_path)
    generated = sorted(path.name for path in (tmp_path / "server" / "proto").iterdir())
    assert generated == sorted(path.name for path in FOLDER.glob("*_pb2.py*"))
    for name in generated:
        assert (tmp_path / "server" / "proto" / name).read_text() == (FOLDER / name).read_text(), name


@pytest.mark.parametrize("name", prpc_recordings.names())
def test_a_recorded_message_means_the_same_as_bytes_and_as_json(name: str) -> None:
    for call in prpc_recordings.calls(name):
        assert type(call.request).FromString(call.body) == call.request
        assert call.request.SerializeToString(deterministic=True) == call.body
        if call.response is not None and call.response_body:
            assert type(call.response).FromString(call.response_body) == call.response


def test_the_numbers_that_clients_rely_on_are_the_published_ones() -> None:
    # What no recording contains: enums that are sent as numbers, and fields of methods that come later.
    assert dict(swarming_pb2.TaskState.items()) == {
        "INVALID": 0,
        "RUNNING": 16,
        "PENDING": 32,
        "EXPIRED": 48,
        "TIMED_OUT": 64,
        "BOT_DIED": 80,
        "CANCELED": 96,
        "COMPLETED": 112,
        "KILLED": 128,
        "NO_RESOURCE": 256,
        "CLIENT_ERROR": 512,
    }
    assert swarming_pb2.QUERY_ALL == 10
    assert dict(swarming_pb2.SortQuery.items()) == {
        "QUERY_CREATED_TS": 0,
        "QUERY_COMPLETED_TS": 2,
        "QUERY_ABANDONED_TS": 3,
        "QUERY_STARTED_TS": 4,
    }
    assert dict(swarming_pb2.NullableBool.items()) == {"NULL": 0, "FALSE": 1, "TRUE": 2}
    assert numbers(swarming_pb2.BotsCount) == ["now", "count", "quarantined", "maintenance", "dead", "busy"]
    assert numbers(swarming_pb2.BotInfo)[-1] == "termination_task_id"
    assert numbers(prpc_error_pb2.ResponseTooBig) == ["response_size", "response_limit"]


def numbers(message_class: type) -> list[str]:
    """Names of the fields in the order of their numbers, which must have no gap."""
    fields = sorted(message_class.DESCRIPTOR.fields, key=lambda field: field.number)
    assert [field.number for field in fields] == list(range(1, len(fields) + 1))
    return [field.name for field in fields]
