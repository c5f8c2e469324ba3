"""The calls of a client that hands in work and follows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from handlers.prpc.convert import seconds
from server import access, task_output
from server.access import Permission, Principal
from server.proto import swarming_pb2 as api
from server.records.task import TaskResult
from tests import prpc_recordings
from tests.prpc_world import CallFailed, World

READER = Principal("user:reader", frozenset({Permission.TASK_GET, Permission.POOL_LIST_TASKS}))
OTHER_POOL = Principal("user:other", access.CLIENT, frozenset({"q"}))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def get_result(world: World, task_id: str, **options: bool) -> api.TaskResultResponse:
    return world.call("Tasks/GetResult", api.TaskIdWithPerfRequest(task_id=task_id, **options), api.TaskResultResponse)


def finish(world: World, task_id: str, **values: object) -> None:
    """The task ran on a bot and ended."""

    def change(result: TaskResult) -> None:
        now_s = world.clock.now_s()
        end = {"state": "COMPLETED", "started_s": now_s, "completed_s": now_s + 5, "bot_id": "bot1", "exit_code": 0}
        result.populate(**{**end, **values})

    world.change(TaskResult, task_id, change)


# ------------------------------------------------------------------------------------------------ one task


def test_a_new_task_is_pending_and_can_be_looked_at_by_either_form_of_its_id(world: World) -> None:
    made = world.new_task()
    assert made.task_id.endswith("0")
    assert made.request.task_id == made.task_result.task_id == made.task_id
    assert made.task_result.state == api.PENDING
    assert seconds(made.request.created_ts) == pytest.approx(world.clock.now_s(), abs=1e-3)
    for task_id in (made.task_id, made.task_id[:-1] + "1"):
        assert get_result(world, task_id) == made.task_result
        assert (
            world.call("Tasks/GetRequest", api.TaskIdRequest(task_id=task_id), api.TaskRequestResponse) == made.request
        )


def test_a_request_is_kept_completed(world: World) -> None:
    request = world.new_task(tags=["b:2", "a:1"], service_account="").request
    assert (request.name, request.user, request.priority, request.authenticated) == ("hello", "mira", 100, "user:local")
    assert (request.service_account, request.bot_ping_tolerance_secs, request.expiration_secs) == ("none", 1200, 600)
    assert {"a:1", "b:2", "pool:p", "priority:100", "user:mira", "authenticated:user:local"} <= set(request.tags)
    assert list(request.tags) == sorted(request.tags)
    assert list(request.task_slices[0].properties.command) == ["echo", "hi"]
    assert request.properties == request.task_slices[0].properties


def test_a_request_made_twice_makes_one_task(world: World) -> None:
    first, second = (world.new_task(request_uuid="378990f2-52e0-4003-8fe4-c6edbc2bd32b") for _ in range(2))
    assert first == second
    assert world.new_task(request_uuid="another").task_id != first.task_id


def test_a_task_can_be_tried_out_without_making_it(world: World) -> None:
    answer = world.new_task(evaluate_only=True)
    assert (answer.task_id, answer.request.task_id, answer.HasField("task_result")) == ("", "", False)
    assert answer.request.name == "hello"
    assert not list_tasks(world).items


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": ""}, "name"),
        ({"priority": 0}, "priority"),
        ({"task_slices": []}, "task_slices"),
        ({"tags": ["x"]}, "tags"),
    ],
)
def test_a_request_that_breaks_a_rule_makes_no_task(world: World, changes: dict[str, object], word: str) -> None:
    with pytest.raises(CallFailed, match=word) as caught:
        world.new_task(**changes)
    assert caught.value.name == "INVALID_ARGUMENT"
    assert not list_tasks(world).items


@pytest.mark.parametrize(
    ("task_id", "name"),
    [("", "INVALID_ARGUMENT"), ("nonsense", "INVALID_ARGUMENT"), ("7a1b2c3d4e5f6110", "NOT_FOUND")],
)
@pytest.mark.parametrize("method", ["GetResult", "GetRequest", "GetStdout", "CancelTask"])
def test_an_id_that_means_no_task_is_told_apart_from_one_that_means_nothing(
    world: World, method: str, task_id: str, name: str
) -> None:
    with pytest.raises(CallFailed) as caught:
        world.call(f"Tasks/{method}", api.TaskIdRequest(task_id=task_id), api.TaskResultResponse)
    assert caught.value.name == name


def test_a_finished_task_tells_what_became_of_it(world: World) -> None:
    task_id = world.new_task().task_id
    finish(world, task_id, exit_code=3, failure=True, duration_s=4.5, stats={"bot_overhead": 1.5})
    result = get_result(world, task_id)
    assert (result.state, result.exit_code, result.failure, result.duration) == (api.COMPLETED, 3, True, 4.5)
    assert (result.bot_id, result.run_id) == ("bot1", task_id[:-1] + "1")
    assert not result.HasField("performance_stats")
    assert get_result(world, task_id, include_performance_stats=True).performance_stats.bot_overhead == 1.5


@pytest.mark.parametrize("name", ["trigger_minimal", "trigger_all_flags"])
def test_a_task_of_the_real_client_is_taken_as_recorded(world: World, name: str) -> None:
    recorded = prpc_recordings.calls(name)[0]
    made = world.call("Tasks/NewTask", recorded.request, api.TaskRequestMetadataResponse)
    expected = recorded.response.request
    assert list(made.request.task_slices) == list(expected.task_slices)
    assert (made.request.name, made.request.user) == (expected.name, expected.user)
    assert (made.request.priority, made.request.expiration_secs) == (expected.priority, expected.expiration_secs)
    assert (made.request.realm or "none", made.request.service_account) == (
        recorded.request.realm or "none",
        expected.service_account,
    )
    dimensions = {tag for tag in expected.tags if tag.startswith(("pool:", "os:", "cpu:"))}
    assert dimensions | set(recorded.request.tags) <= set(made.request.tags)
    assert (made.task_result.state, made.task_result.name) == (api.PENDING, expected.name)
    again = world.call("Tasks/NewTask", recorded.request, api.TaskRequestMetadataResponse)
    assert again.task_id == made.task_id  # the client repeats itself after a lost answer, with the same request_uuid


# ------------------------------------------------------------------------------------------------ many tasks


def batch(world: World, *task_ids: str) -> api.BatchGetResultResponse:
    request = api.BatchGetResultRequest(task_ids=task_ids)
    return world.call("Tasks/BatchGetResult", request, api.BatchGetResultResponse)


def test_many_results_come_in_the_order_and_with_the_texts_asked_for(world: World) -> None:
    first, second = world.new_task(name="first").task_id, world.new_task(name="second").task_id
    asked = [second[:-1] + "1", "7a1b2c3d4e5f6110", first, "nonsense"]
    results = batch(world, *asked).results
    assert [item.task_id for item in results] == asked
    assert [item.WhichOneof("outcome") for item in results] == ["result", "error", "result", "error"]
    assert (results[0].result.name, results[0].result.task_id) == ("second", second)
    assert (results[1].error.code, results[3].error.code) == (5, 3)


@pytest.mark.parametrize("task_ids", [(), ("a0", "a0"), tuple(f"{number:x}0" for number in range(1001))])
def test_a_batch_has_a_thousand_different_ids_at_most(world: World, task_ids: tuple[str, ...]) -> None:
    with pytest.raises(CallFailed, match="task_ids") as caught:
        batch(world, *task_ids)
    assert caught.value.name == "INVALID_ARGUMENT"


def list_tasks(world: World, **filters: object) -> api.TaskListResponse:
    request = api.TasksWithPerfRequest(**{"state": api.QUERY_ALL, **filters})
    return world.call("Tasks/ListTasks", request, api.TaskListResponse)


def test_a_list_comes_newest_first_and_page_by_page(world: World) -> None:
    made = []
    for number in range(5):
        made.append(world.new_task(name=f"task {number}").task_id)
        world.clock.advance(1)
    seen, cursor = [], ""
    for _ in range(4):
        page = list_tasks(world, limit=2, cursor=cursor)
        seen += [item.task_id for item in page.items]
        cursor = page.cursor
        if not cursor:
            break
    assert seen == made[::-1]
    assert not cursor
    assert seconds(page.now) == world.clock.now_s()


def test_a_list_is_narrowed_by_state_tags_and_time(world: World) -> None:
    old = world.new_task(tags=["kind:a"]).task_id
    world.clock.advance(100)
    new = world.new_task(tags=["kind:b"]).task_id
    finish(world, old)
    now_s = int(world.clock.now_s())

    def found(**filters: object) -> list[str]:
        return [item.task_id for item in list_tasks(world, **filters).items]

    assert found(state=api.QUERY_PENDING) == found(state=api.QUERY_PENDING_RUNNING) == [new]
    assert found(state=api.QUERY_COMPLETED_SUCCESS) == [old]
    assert found(state=api.QUERY_COMPLETED_FAILURE) == []
    assert found(tags=["kind:a"]) == found(tags=["kind:a", "pool:p"]) == [old]
    assert found(tags=["kind:a|b"]) == [new, old]
    assert found(start={"seconds": now_s - 50}) == [new]
    assert found(end={"seconds": now_s - 50}) == [old]


@pytest.mark.parametrize(
    ("filters", "name", "word"),
    [
        ({"limit": -1}, "INVALID_ARGUMENT", "limit"),
        ({"limit": 1001}, "INVALID_ARGUMENT", "limit"),
        ({"cursor": "nonsense"}, "INVALID_ARGUMENT", "cursor"),
        ({"tags": ["no colon"]}, "INVALID_ARGUMENT", "tags"),
        ({"state": 99}, "INVALID_ARGUMENT", "state"),
        ({"sort": api.QUERY_STARTED_TS}, "UNIMPLEMENTED", "sort"),
        ({"start": {"seconds": 20}, "end": {"seconds": 10}}, "INVALID_ARGUMENT", "start"),
    ],
)
def test_a_filter_that_cannot_be_is_named(world: World, filters: dict[str, object], name: str, word: str) -> None:
    with pytest.raises(CallFailed, match=word) as caught:
        list_tasks(world, **filters)
    assert caught.value.name == name


def test_a_list_without_a_state_shows_waiting_tasks_only(world: World) -> None:
    finish(world, world.new_task().task_id)
    waiting = world.new_task().task_id
    page = world.call("Tasks/ListTasks", api.TasksWithPerfRequest(), api.TaskListResponse)
    assert [item.task_id for item in page.items] == [waiting]


# ------------------------------------------------------------------------------------------------ output, cancel


def test_output_is_read_window_by_window(world: World) -> None:
    task_id = world.new_task().task_id
    task_output.write(world.service, task_id, 0, b"hello \xff")
    task_output.write(world.service, task_id, 7, b" world")

    def read(**window: int) -> bytes:
        request = api.TaskIdWithOffsetRequest(task_id=task_id, **window)
        return world.call("Tasks/GetStdout", request, api.TaskOutputResponse).output

    assert read() == read(length=1 << 40) == b"hello \xff world"
    assert (read(offset=3, length=6), read(offset=9), read(offset=100)) == (b"lo \xff w", b"orld", b"")
    for window in ({"offset": -1}, {"length": -1}):
        with pytest.raises(CallFailed, match="negative"):
            read(**window)


def test_output_comes_with_the_state_of_the_task(world: World) -> None:
    task_id = world.new_task().task_id
    request = api.TaskIdWithOffsetRequest(task_id=task_id)
    assert world.call("Tasks/GetStdout", request, api.TaskOutputResponse).state == api.PENDING
    finish(world, task_id)
    assert world.call("Tasks/GetStdout", request, api.TaskOutputResponse).state == api.COMPLETED


def test_a_waiting_task_is_withdrawn_once(world: World) -> None:
    task_id = world.new_task().task_id
    request = api.TaskCancelRequest(task_id=task_id)
    answers = [world.call("Tasks/CancelTask", request, api.CancelResponse) for _ in range(2)]
    assert [(answer.canceled, answer.was_running) for answer in answers] == [(True, False), (False, False)]
    result = get_result(world, task_id)
    assert result.state == api.CANCELED
    assert seconds(result.abandoned_ts) == pytest.approx(world.clock.now_s(), abs=1e-3)


# ------------------------------------------------------------------------------------------------ access


def test_a_reader_may_look_and_not_touch(world: World) -> None:
    task_id = world.new_task().task_id
    world.principal = READER
    assert get_result(world, task_id).name == "hello"
    for path, request in (
        ("Tasks/CancelTask", api.TaskCancelRequest(task_id=task_id)),
        ("Tasks/NewTask", api.NewTaskRequest()),
    ):
        with pytest.raises(CallFailed) as caught:
            world.call(path, request, api.CancelResponse)
        assert caught.value.name == "PERMISSION_DENIED"


def test_tasks_of_another_pool_stay_hidden(world: World) -> None:
    task_id = world.new_task().task_id
    world.principal = OTHER_POOL
    assert not list_tasks(world).items
    assert batch(world, task_id).results[0].error.code == 7
    refused = [
        ("Tasks/GetResult", api.TaskIdWithPerfRequest(task_id=task_id)),
        ("Tasks/GetRequest", api.TaskIdRequest(task_id=task_id)),
        ("Tasks/GetStdout", api.TaskIdWithOffsetRequest(task_id=task_id)),
        ("Tasks/CancelTask", api.TaskCancelRequest(task_id=task_id)),
        ("Tasks/ListTasks", api.TasksWithPerfRequest(tags=["pool:p"])),
    ]
    for path, request in refused:
        with pytest.raises(CallFailed) as caught:
            world.call(path, request, api.TaskResultResponse)
        assert caught.value.name == "PERMISSION_DENIED", path
    with pytest.raises(CallFailed, match="pool 'p'"):
        world.new_task()


@pytest.mark.parametrize("method", ["CancelTasks", "ListTaskStates", "ListTaskRequests", "CountTasks"])
def test_methods_of_later_days_say_that_they_are_not_served(world: World, method: str) -> None:
    with pytest.raises(CallFailed) as caught:
        world.call(f"Tasks/{method}", api.TasksRequest(), api.TaskListResponse)
    assert caught.value.name == "UNIMPLEMENTED"
