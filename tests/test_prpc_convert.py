"""What clients see of a record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message

from handlers.prpc import convert
from server.bot_list import ListedBot
from server.proto import swarming_pb2
from server.records.bot import Bot
from server.records.task import TaskResult
from server.store.client import Store
from server.view_entries import bot_entry
from tests import prpc_recordings

TASK_ID = "7a1b2c3d4e5f6110"
CREATED_S = 1_795_514_400.0  # 2026-11-24T10:00:00Z
DIMENSIONS = {"os": ["Linux", "Debian-12", "Debian"], "pool": ["default"], "id": ["bot1"]}
TAGS = [
    "user:user1",
    "service_account:none",
    "realm:test:pool/default",
    "priority:200",
    "pool:default",
    "swarming.pool.version:rev1",
    "swarming.pool.task_template:none",
    "authenticated:anonymous:anonymous",
]


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"embedded:{tmp_path}")
    with store.context():
        yield store
    store.close()


def finished_task(**values: object) -> TaskResult:
    """The task of the recordings."""
    recorded = {
        "name": "task1",
        "tags": TAGS,
        "user": "user1",
        "state": "COMPLETED",
        "created_s": CREATED_S,
        "started_s": CREATED_S + 5,
        "completed_s": CREATED_S + 17,
        "modified_s": CREATED_S + 20,
        "exit_code": 0,
        "duration_s": 12.5,
        "bot_id": "bot1",
        "bot_version": "botversion1",
        "bot_dimensions": DIMENSIONS,
        "stats": {
            "bot_overhead": 1.5,
            "isolated_stats": {
                "download": {
                    "duration": 0.5,
                    "initial_number_items": 1,
                    "initial_size": 10,
                    "items_cold": "eJwBAgD9/wECAAcABA==",
                    "num_items_cold": 2,
                    "total_bytes_items_cold": 3,
                }
            },
            "cleanup_stats": {"duration": 0.1},
        },
    }
    return TaskResult(id=TASK_ID, **{**recorded, **values})


def shown(record: TaskResult, **options: bool) -> swarming_pb2.TaskResultResponse:
    return convert.task_result(record, server_version="server-1", **options)


def recorded_response(name: str) -> Message:
    response = prpc_recordings.calls(name)[0].response
    assert response is not None
    return response


def test_a_finished_task_looks_as_recorded() -> None:
    assert shown(finished_task(), include_performance_stats=True) == recorded_response("collect_perf").results[0].result


def test_where_the_time_went_is_only_told_when_asked_for() -> None:
    assert not shown(finished_task()).HasField("performance_stats")


def test_an_offered_task_does_not_show_a_bot_that_may_never_start_it() -> None:
    record = finished_task(state="PENDING", offered=True, started_s=0, completed_s=0, exit_code=None, duration_s=None)
    message = shown(record)
    assert (message.state, message.bot_id, message.run_id) == (swarming_pb2.PENDING, "", "")
    assert not message.bot_dimensions
    assert not message.HasField("started_ts")


def test_what_a_bot_did_not_find_is_listed() -> None:
    missing = {
        "missing_cas": [{"instance": "projects/p/instances/i", "digest": "abc/12"}, {"digest": "odd"}, "nonsense"],
        "missing_cipd": [{"package_name": "p", "version": "v", "path": None}],
    }
    message = shown(finished_task(state="CLIENT_ERROR", missing=missing))
    assert [(item.cas_instance, item.digest.hash, item.digest.size_bytes) for item in message.missing_cas] == [
        ("projects/p/instances/i", "abc", 12),
        ("", "odd", 0),
    ]
    assert message.missing_cipd[0] == swarming_pb2.CipdPackage(package_name="p", version="v")


@pytest.mark.parametrize(
    "stats",
    [
        {"bot_overhead": "long", "cleanup_stats": 3, "named_caches_stats": {"install": None}},
        {"bot_overhead": float("nan"), "isolated_stats": {"download": {"items_cold": "!", "initial_size": -1}}},
        {"cas_output_root": 5, "cipd_pins": {"packages": 7}, "cost_usd": "much"},
        {"isolated_stats": {"upload": {"initial_number_items": 2**70, "initial_size": 2**70, "items_hot": 5}}},
    ],
)
def test_nonsense_that_a_bot_reported_does_not_hide_the_task(stats: dict[str, object]) -> None:
    message = shown(finished_task(stats=stats), include_performance_stats=True)
    assert message.state == swarming_pb2.COMPLETED
    assert message.performance_stats.bot_overhead == 0


def test_what_a_bot_put_into_the_store_of_blobs_is_shown() -> None:
    root = {"cas_instance": "projects/p/instances/i", "digest": {"hash": "abc", "size_bytes": "12"}}
    pins = {"packages": [{"package_name": "p", "version": "v", "path": "x"}]}
    message = shown(finished_task(stats={"cas_output_root": root, "cipd_pins": pins, "cost_usd": 0.5}))
    assert message.cas_output_root.digest == swarming_pb2.Digest(hash="abc", size_bytes=12)
    assert [package.package_name for package in message.cipd_pins.packages] == ["p"]
    assert list(message.costs_usd) == [0.5]


def test_bots_look_as_recorded() -> None:
    state = {"sleep_streak": 0, "running_time": 12.5}
    common = {
        "external_ip": "192.0.2.1",
        "first_seen_s": CREATED_S,
        "last_seen_s": CREATED_S + 60,
        "version": "botversion1",
        "state": state,
        "session_id": "session-1",
    }
    busy = Bot(id="bot1", held={"task": TASK_ID, "n": 1}, dimensions=DIMENSIONS, authenticated_as="bot:bot1", **common)
    expected = recorded_response("bots_list").items
    assert convert.bot_info(ListedBot(bot_entry(busy), "task1")) == expected[0]
    dead = Bot(
        id="bot2",
        dimensions={**DIMENSIONS, "id": ["bot2"]},
        authenticated_as="bot:bot2",
        alive=False,
        maintenance="updating",
        server_quarantined="two machines with one id",
        **common,
    )
    message = convert.bot_info(ListedBot(bot_entry(dead)))
    assert json.loads(message.state) == {**state, "quarantined": "two machines with one id"}
    message.state = expected[1].state
    assert message == expected[1]


def test_text_that_is_no_unicode_does_not_break_the_answer() -> None:
    bot = Bot(id="bot1", dimensions={"os": ["\ud800"]}, state={"user": "\udfff"})
    message = convert.bot_info(ListedBot(bot_entry(bot)))
    assert message.dimensions[0].value == ["?"]
    assert message.SerializeToString()


@pytest.mark.parametrize(("at_s", "shown_s"), [(0.0, None), (-5.0, None), (1.25, 1.25), (1e300, 253_402_300_799.0)])
def test_a_time_is_shown_or_absent_and_never_an_error(at_s: float, shown_s: float | None) -> None:
    stamp = convert.timestamp(at_s)
    assert (stamp and convert.seconds(stamp)) == shown_s
