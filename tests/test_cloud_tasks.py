"""Cloud Tasks rings: what arrives at its API, over real gRPC, and that a lost ring loses no job."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

import main
from server import assembly, errors, jobs
from server.carriers import CloudTasksCarrier
from server.service import Service
from server.sweep_schedule import SweepSchedule
from tests.server_world import World

QUEUE = "projects/p/locations/europe-west1/queues/pilotlight"
BELL = "internal-token-0123456789"


class CloudTasks(grpc.GenericRpcHandler):
    """Cloud Tasks' side: keeps what it is asked to do, or refuses."""

    def __init__(self) -> None:
        self.created: list[tasks_v2.CreateTaskRequest] = []
        self.refuses = False

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method != "/google.cloud.tasks.v2.CloudTasks/CreateTask":
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._create, tasks_v2.CreateTaskRequest.deserialize, tasks_v2.Task.serialize
        )

    def _create(self, request: tasks_v2.CreateTaskRequest, context: grpc.ServicerContext) -> tasks_v2.Task:
        if self.refuses:
            context.abort(grpc.StatusCode.UNAVAILABLE, "no tasks today")
        self.created.append(request)
        return request.task


@pytest.fixture
def cloud() -> Iterator[tuple[CloudTasks, tasks_v2.CloudTasksClient]]:
    cloud = CloudTasks()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[cloud])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    yield cloud, tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
    channel.close()
    server.stop(None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data", cloud_tasks_queue=QUEUE, internal_token=BELL)
    yield world
    world.close()


def carried(world: World, client: tasks_v2.CloudTasksClient, *sweeps: Any, **options: str) -> Service:
    """A process whose carrier is Cloud Tasks."""
    service = world.process()
    schedule = SweepSchedule(service, sweeps, at_least_s=assembly.CRON_PERIOD_S)
    service.carrier = CloudTasksCarrier(service, schedule, client, **options)
    return service


def test_a_ring_on_app_engine_has_the_bell_called_at_once(world: World, cloud: Any) -> None:
    tasks, client = cloud
    carried(world, client).carrier.ring()
    (asked,) = tasks.created
    assert asked.parent == QUEUE
    assert asked.task.app_engine_http_request.relative_uri == "/internal/jobs/run"
    assert asked.task.app_engine_http_request.http_method == tasks_v2.HttpMethod.POST
    assert not asked.task.schedule_time


def test_a_ring_for_later_is_scheduled(world: World, cloud: Any) -> None:
    tasks, client = cloud
    due_s = world.clock.now_s() + 90.5
    carried(world, client).carrier.ring(due_s)
    assert tasks.created[0].task.schedule_time.timestamp() == pytest.approx(due_s, abs=0.001)


def test_elsewhere_the_bell_is_called_over_http_with_its_token(world: World, cloud: Any) -> None:
    tasks, client = cloud
    carried(world, client, url="https://pilot.example/", token=BELL).carrier.ring()
    asked = tasks.created[0].task.http_request
    assert asked.url == "https://pilot.example/internal/jobs/run"
    assert dict(asked.headers) == {"Authorization": f"Bearer {BELL}"}


def test_the_call_that_cloud_tasks_makes_is_let_in_and_does_the_jobs(
    world: World, cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_handlers", {})
    ran: list[str] = []
    jobs.handler("note")(lambda service, payload: ran.append(payload["text"]))
    tasks, client = cloud
    service = carried(world, client, url="https://pilot.example", token=BELL)
    service.store.transaction(lambda: jobs.add("note", "a", {"text": "a"}, 0.0, service.clock.now_s()))
    service.carrier.ring()
    asked = tasks.created[0].task.http_request
    path = asked.url.removeprefix("https://pilot.example")
    answer = main.create_app(service).test_client().post(path, headers=dict(asked.headers))
    assert answer.json["ran"] == 1
    assert ran == ["a"]
    assert len(tasks.created) == 1, "nothing is left to ring for"


def test_a_failed_job_is_rung_again_when_it_is_due(world: World, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_handlers", {})
    tasks, client = cloud
    service = carried(world, client)
    service.store.transaction(lambda: jobs.add("unknown", "a", {}, 0.0, service.clock.now_s()))
    bell = {"Authorization": f"Bearer {BELL}"}
    answer = main.create_app(service).test_client().post("/internal/jobs/run", headers=bell)
    assert answer.json["failed"] == 1
    assert tasks.created[0].task.schedule_time.timestamp() == pytest.approx(answer.json["next_due_s"], abs=0.001)


def test_a_ring_that_fails_harms_nobody_and_cron_finds_the_job(
    world: World, cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_handlers", {})
    ran: list[str] = []
    jobs.handler("note")(lambda service, payload: ran.append(payload["text"]))
    tasks, client = cloud
    tasks.refuses = True
    service = carried(world, client)
    service.store.transaction(lambda: jobs.add("note", "a", {"text": "a"}, 0.0, service.clock.now_s()))
    service.carrier.ring()
    bell = {"Authorization": f"Bearer {BELL}"}
    assert main.create_app(service).test_client().get("/internal/cron/jobs", headers=bell).json["ran"] == 1
    assert ran == ["a"]


def test_cron_comes_once_a_minute_and_cloud_tasks_fills_the_gaps(world: World, cloud: Any, tmp_path: Path) -> None:
    tasks, client = cloud
    (tmp_path / "tokens").write_text("admin-token-0123456789 mira admin")
    world.settings = world.settings.model_copy(
        update={"app_engine": True, "client_tokens": str(tmp_path / "tokens"), "bot_secret": "bot-secret-0123456789"}
    )
    sweeps = [("lapse", 20.0, lambda service, beat: None), ("retention", 3600.0, lambda service, beat: None)]
    service = carried(world, client, *sweeps)
    http = main.create_app(service).test_client()
    cron = {"X-Appengine-Cron": "true"}
    assert http.get("/internal/cron/lapse", headers=cron).json == {"ran": True}
    assert http.get("/internal/cron/retention", headers=cron).json == {"ran": True}
    paths = [asked.task.app_engine_http_request.relative_uri for asked in tasks.created]
    assert paths == ["/internal/cron/lapse"] * 2
    later_s = [asked.task.schedule_time.timestamp() - world.clock.now_s() for asked in tasks.created]
    assert later_s == pytest.approx([20.0, 40.0])
    http.post("/internal/cron/lapse", headers={"X-AppEngine-QueueName": "pilotlight"})
    assert len(tasks.created) == 2, "a filled gap fills no further ones"


@pytest.mark.parametrize(
    "settings,missing",
    [
        ({}, "PILOTLIGHT_CLOUD_TASKS_QUEUE"),
        ({"cloud_tasks_queue": QUEUE}, "PILOTLIGHT_PUBLIC_URL"),
        ({"cloud_tasks_queue": QUEUE, "public_url": "https://pilot.example"}, "PILOTLIGHT_INTERNAL_TOKEN"),
    ],
)
def test_cloud_tasks_without_what_it_needs_is_refused_at_the_start(
    tmp_path: Path, settings: dict[str, str], missing: str
) -> None:
    world = World(tmp_path / "data", carrier="cloud_tasks", **settings)
    with pytest.raises(errors.InvalidArgument, match=missing):
        world.process()
    world.close()
