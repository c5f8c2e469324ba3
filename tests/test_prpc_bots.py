"""The calls of a client that looks at bots, and at the server itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

from handlers.prpc.convert import seconds
from server import access
from server.access import Permission, Principal
from server.proto import swarming_pb2 as api
from server.records.bot import Bot
from server.version import VERSION
from tests.prpc_world import CallFailed, World

TASK_ID = "7a1b2c3d4e5f6110"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    add_bot(world, "idle")
    add_bot(world, "busy", held={"task": world.new_task(name="build").task_id, "n": 1, "since_s": 0.0})
    add_bot(world, "dead", alive=False)
    add_bot(world, "sick", server_quarantined="black hole", maintenance="reboot")
    add_bot(world, "foreign", pool="q")
    yield world
    world.close()


def add_bot(world: World, bot_id: str, pool: str = "p", **values: object) -> None:
    """A bot that some process has taken in."""
    now_s = world.clock.now_s()

    def put() -> None:
        Bot(
            id=bot_id,
            pool=pool,
            dimensions={"id": [bot_id], "os": ["Debian", "Linux"], "pool": [pool]},
            state={"hostname": f"host-of-{bot_id}"},
            first_seen_s=now_s - 100,
            last_seen_s=now_s,
            changed_s=now_s,
            session_id="s1",
            **values,
        ).put()

    world.service.store.transaction(put)


def list_bots(world: World, **filters: object) -> api.BotInfoListResponse:
    return world.call("Bots/ListBots", api.BotsRequest(**filters), api.BotInfoListResponse)


def ids(world: World, **filters: object) -> list[str]:
    return [bot.bot_id for bot in list_bots(world, **filters).items]


def get_bot(world: World, bot_id: str) -> api.BotInfo:
    return world.call("Bots/GetBot", api.BotRequest(bot_id=bot_id), api.BotInfo)


def test_bots_are_listed_by_id_with_what_is_known_of_them(world: World) -> None:
    answer = list_bots(world)
    assert [bot.bot_id for bot in answer.items] == ["busy", "dead", "foreign", "idle", "sick"]
    assert seconds(answer.now) == world.clock.now_s()
    assert answer.death_timeout == world.service.config.pool("").death_timeout_s
    busy, dead, _, idle, sick = answer.items
    assert (busy.task_name, busy.task_id[-1], idle.task_id) == ("build", "1", "")
    assert (dead.is_dead, idle.is_dead) == (True, False)
    assert (sick.quarantined, sick.maintenance_msg) == (True, "reboot")
    assert json.loads(sick.state)["quarantined"] == "black hole"
    assert list(idle.dimensions[1].value) == ["Debian", "Linux"]
    for bot in answer.items:
        assert get_bot(world, bot.bot_id) == bot


def test_a_poll_that_this_process_answered_counts_as_seen(world: World) -> None:
    list_bots(world)
    world.clock.advance(30)
    world.service.view.saw_poll("idle", world.clock.now_s() + 10, False)
    assert seconds(get_bot(world, "idle").last_seen_ts) == pytest.approx(world.clock.now_s(), abs=0.1)
    seen = {bot.bot_id: seconds(bot.last_seen_ts) for bot in list_bots(world).items}
    assert seen["idle"] == pytest.approx(world.clock.now_s(), abs=0.1)
    assert seen["busy"] == pytest.approx(world.clock.now_s() - 30, abs=0.1)


def test_a_bot_that_another_process_took_in_is_listed_within_a_second(world: World) -> None:
    list_bots(world)
    world.clock.advance(1)
    add_bot(world, "new")
    assert "new" in ids(world)


def test_a_list_is_narrowed_by_state_and_dimensions(world: World) -> None:
    assert ids(world, is_busy=api.TRUE) == ["busy"]
    assert ids(world, is_dead=api.TRUE) == ["dead"]
    assert ids(world, quarantined=api.TRUE) == ids(world, in_maintenance=api.TRUE) == ["sick"]
    assert ids(world, is_dead=api.FALSE, is_busy=api.FALSE, quarantined=api.FALSE) == ["foreign", "idle"]
    assert ids(world, dimensions=[{"key": "pool", "value": "q"}]) == ["foreign"]
    assert ids(world, dimensions=[{"key": "id", "value": "idle|busy"}]) == ["busy", "idle"]
    both = [{"key": "os", "value": "Linux"}, {"key": "os", "value": "Debian"}, {"key": "pool", "value": "p|q"}]
    assert len(ids(world, dimensions=both)) == 5
    assert ids(world, dimensions=[{"key": "os", "value": "Windows"}]) == []


def test_a_list_comes_page_by_page(world: World) -> None:
    seen, cursor = [], ""
    for _ in range(3):
        page = list_bots(world, limit=2, cursor=cursor)
        seen += [bot.bot_id for bot in page.items]
        cursor = page.cursor
    assert (seen, cursor) == (["busy", "dead", "foreign", "idle", "sick"], "")


@pytest.mark.parametrize(
    ("filters", "word"),
    [
        ({"limit": -1}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"is_dead": 7}, "is_dead"),
        ({"dimensions": [{"key": "os", "value": " Linux"}]}, "dimensions"),
        ({"dimensions": [{"key": "", "value": "Linux"}]}, "dimensions"),
    ],
)
def test_a_filter_that_cannot_be_is_named(world: World, filters: dict[str, object], word: str) -> None:
    with pytest.raises(CallFailed, match=word) as caught:
        list_bots(world, **filters)
    assert caught.value.name == "INVALID_ARGUMENT"


def test_a_cursor_of_another_list_is_refused(world: World) -> None:
    for _ in range(2):
        world.new_task()
    request = api.TasksWithPerfRequest(limit=1)
    cursor = world.call("Tasks/ListTasks", request, api.TaskListResponse).cursor
    assert cursor
    with pytest.raises(CallFailed, match="cursor"):
        list_bots(world, cursor=cursor)


def test_a_bot_that_is_not_there_is_not_found(world: World) -> None:
    for bot_id, name in (("nobody", "NOT_FOUND"), ("", "INVALID_ARGUMENT")):
        with pytest.raises(CallFailed) as caught:
            get_bot(world, bot_id)
        assert caught.value.name == name


def test_bots_of_another_pool_stay_hidden(world: World) -> None:
    world.principal = Principal("user:other", access.CLIENT, frozenset({"q"}))
    assert ids(world) == ["foreign"]
    for call in (lambda: get_bot(world, "idle"), lambda: ids(world, dimensions=[{"key": "pool", "value": "p"}])):
        with pytest.raises(CallFailed) as caught:
            call()
        assert caught.value.name == "PERMISSION_DENIED"
    world.principal = Principal("user:nobody", frozenset({Permission.TASK_GET}))
    with pytest.raises(CallFailed):
        ids(world)


@pytest.mark.parametrize(
    "method",
    ["DeleteBot", "ListBotEvents", "TerminateBot", "ListBotTasks", "CountBots", "GetBotDimensions"],
)
def test_methods_of_later_days_say_that_they_are_not_served(world: World, method: str) -> None:
    with pytest.raises(CallFailed) as caught:
        world.call(f"Bots/{method}", api.BotRequest(bot_id="idle"), api.BotInfo)
    assert caught.value.name == "UNIMPLEMENTED"


def test_the_server_says_what_it_is(world: World) -> None:
    details = world.call("Swarming/GetDetails", Empty(), api.ServerDetails)
    assert details.server_version == VERSION
    assert len(details.bot_version) >= 32
