"""One answer in five is lost after the server sent it: everybody asks again, and nothing happens twice."""

from __future__ import annotations

import random

import pytest

from tests.faults.conftest import StartBot, StartServer
from tests.faults.fleet import started_twice, starts, task, wait_for, wait_for_ends
from tests.faults.proxy import Proxy, losing

pytestmark = pytest.mark.processes

TASKS = 80


def test_with_a_fifth_of_all_answers_lost_every_task_is_made_started_and_ended_once(
    start_server: StartServer, start_bot: StartBot
) -> None:
    server = start_server()
    with Proxy(server.url) as proxy:
        proxy.after = losing(0.2, random.Random(7))
        bots = [start_bot(server, f"bot{number}", url=proxy.url) for number in range(4)]
        api = server.api(proxy.url)
        accepted = [api.new_task(task("python3", "-c", f"print({n})", name=f"t{n}")) for n in range(TASKS)]
        states = wait_for_ends(server.api(), accepted, 90.0)

        assert len(set(accepted)) == TASKS
        assert set(states.values()) == {"COMPLETED"}, {t: s for t, s in states.items() if s != "COMPLETED"}
        assert started_twice(bots) == {}
        assert set(starts(bots)) == set(accepted)
        assert {t.task_id for t in server.api().tasks(limit=500)} == set(accepted), "a request repeated made a task"
        for number, task_id in enumerate(accepted):
            assert b"".join(server.api().stdout(task_id)) == f"{number}\n".encode()
        assert proxy.lost > 0.1 * proxy.passed
        wait_for(lambda: all(not bot.task_id for bot in server.api().bots()), 10.0, "every bot is free again")
