"""The store cannot be used for ten seconds: clear answers meanwhile, nothing lost afterwards."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest

from client.prpc import PrpcClient, PrpcError, Retry
from server.proto import swarming_pb2 as swarming
from server.store.sqlite_pool import FILE_NAME
from tests.faults.conftest import StartBot, StartServer
from tests.faults.fleet import FaultServer, started_twice, starts, state, task, wait_for, wait_for_ends, wait_for_state
from tests.faults.stand_in import StandInBot
from tests.server_process import kill

pytestmark = pytest.mark.processes

GONE_S = 10.0
Outage = Callable[[FaultServer], AbstractContextManager[None]]


@contextmanager
def locked(server: FaultServer) -> Iterator[None]:
    """Another program holds the file's write lock."""
    connection = sqlite3.connect(server.data / FILE_NAME, timeout=5.0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def taken_away(server: FaultServer) -> Iterator[None]:
    """The folder is not where it was, as when a disk is unplugged or a share is gone."""
    away = server.data.with_name("away")
    server.data.rename(away)
    try:
        yield
    finally:
        assert not server.data.exists(), "nobody made a new, empty store in its place"
        away.rename(server.data)


@pytest.mark.parametrize("outage", [locked, taken_away])
def test_whoever_calls_while_the_store_is_gone_is_told_clearly(start_server: StartServer, outage: Outage) -> None:
    server = start_server()
    api = server.api()
    once = PrpcClient(server.url, retry=Retry(total_s=0.0))
    for _ in range(2):
        api.new_task(task(id="b1"))
    bot = StandInBot(server.url, "b1").boot()
    idle = StandInBot(server.url, "idle").boot()
    run = bot.wait_for_run()
    assert run.start()
    calls = {
        "output": run.update(output="aGkK", output_chunk_start=0),
        "end": run.end(),
        "handshake": StandInBot(server.url, "new", session_id="s1").handshake(),
    }
    with outage(server), ThreadPoolExecutor(len(calls) + 1) as pool:  # some wait for the store for seconds
        refused = pool.submit(once.call, "swarming.v2.Tasks", "NewTask", task(), swarming.TaskRequestMetadataResponse)
        answers = dict(zip(calls, pool.map(lambda call: call.try_to_send(), calls.values()), strict=True))
        assert {name: status for name, (status, _) in answers.items()} == dict.fromkeys(calls, 503)
        assert all(answer["error"]["code"] == "UNAVAILABLE" for _, answer in answers.values())
        for _ in range(3):
            assert idle.ask()["cmd"] == "sleep", "a poll is told to come back"
        error = refused.exception()
        assert isinstance(error, PrpcError)
        assert (error.name, error.transient) == ("UNAVAILABLE", True)
        assert error.retry_after_s
    assert run.tell(run.end())["ok"], "the end is told again, and counts"
    run.give_back()
    assert state(api, run.task_id) == "COMPLETED"
    following = bot.wait_for_run()
    assert following.start()
    following.finish()


@pytest.mark.parametrize("outage", [locked, taken_away])
def test_what_runs_and_waits_while_the_store_is_gone_for_ten_seconds_is_all_done_afterwards(
    start_server: StartServer, start_bot: StartBot, outage: Outage
) -> None:
    server = start_server()
    api = server.api()
    bots = [start_bot(server, f"bot{number}") for number in range(3)]
    wait_for(lambda: len(api.bots()) == len(bots), 10.0, "all bots are there")
    tasks = [api.new_task(task("sh", "-c", f"sleep 0.5; echo {n}", name=f"t{n}")) for n in range(12)]
    handing_in: list[str] = []
    with outage(server):
        client = threading.Thread(target=lambda: handing_in.append(api.new_task(task("true", name="late"))))
        client.start()  # waits, and asks again with the same request id
        time.sleep(GONE_S)
    client.join(30.0)
    tasks += handing_in
    assert len(tasks) == 13
    assert set(wait_for_ends(api, tasks, 60.0).values()) == {"COMPLETED"}
    assert started_twice(bots) == {}
    assert set(starts(bots)) == set(tasks)
    assert [b"".join(api.stdout(task_id)) for task_id in tasks[:12]] == [f"{n}\n".encode() for n in range(12)]


def test_health_says_that_the_store_is_gone_and_that_it_is_back(start_server: StartServer) -> None:
    server = start_server()

    def status() -> int:
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{server.url}/healthz") as answer:
            return int(answer.status)
        return 503

    assert status() == 200
    with taken_away(server):
        wait_for(lambda: [status() for _ in range(4)] == [503] * 4, 10.0, "health tells")
    wait_for(lambda: [status() for _ in range(4)] == [200] * 4, 10.0, "health tells")
    task_id = server.api().new_task(task(id="b1"))
    run = StandInBot(server.url, "b1").boot().wait_for_run()
    assert run.start()
    run.finish()
    wait_for_state(server.api(), task_id, "COMPLETED")


def test_a_worker_that_starts_while_the_store_is_gone_waits_for_it_and_makes_no_empty_one(
    start_server: StartServer,
) -> None:
    server = start_server()
    api = server.api()
    task_id = api.new_task(task(id="b1"))
    server.wait_for_all_workers()
    with taken_away(server):
        kill(server.workers()[0])
        time.sleep(4.0)
        assert server.process.poll() is None, "the master goes on trying"
    server.wait_for_all_workers()
    assert state(api, task_id) == "PENDING"
