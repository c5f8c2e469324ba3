"""Workers and masters are killed under work: what was accepted ends once, and nothing is started twice."""

from __future__ import annotations

import random
import threading
import time

import pytest

from tests.faults.conftest import StartBot, StartServer
from tests.faults.fleet import (
    FaultServer,
    assert_all_gone,
    assert_only_this_generation_answers,
    started_twice,
    starts,
    task,
    wait_for_ends,
)
from tests.server_process import kill

pytestmark = pytest.mark.processes

TASKS = 200
KILL_EVERY_S = 3.0
FOR_S = 60.0


class Killer(threading.Thread):
    """Kills a worker or the master again and again, and puts up a new master for a killed one."""

    def __init__(self, server: FaultServer, rng: random.Random) -> None:
        super().__init__(name="killer", daemon=True)
        self._server, self._rng = server, rng
        self.kills: list[str] = []
        self.left_over: set[int] = set()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Until the time is over."""
        until_s = time.monotonic() + FOR_S
        try:
            while time.monotonic() < until_s:
                time.sleep(KILL_EVERY_S)
                self._kill_one()
        except BaseException as error:
            self.failure = error

    def _kill_one(self) -> None:
        server = self._server
        victim = self._rng.choice([server.process.pid, *server.workers()])
        if victim != server.process.pid:
            self.kills.append("worker")
            kill(victim)
            return
        self.kills.append("master")
        self.left_over |= set(server.kill_master())
        server.start()
        server.wait_until_ready()
        assert_only_this_generation_answers(server, times=5)


def test_a_minute_of_kills_under_200_tasks_loses_nothing_and_starts_nothing_twice(
    start_server: StartServer, start_bot: StartBot
) -> None:
    server = start_server()
    bots = [start_bot(server, f"bot{number}") for number in range(4)]
    api = server.api()
    killer = Killer(server, random.Random(20))
    killer.start()
    began_s, accepted = time.monotonic(), []
    for number in range(TASKS):
        accepted.append(api.new_task(task("python3", "-c", f"print({number})", name=f"t{number}")))
        time.sleep(max(0.0, began_s + number * FOR_S / TASKS - time.monotonic()))
    killer.join()
    assert killer.failure is None, killer.failure
    states = wait_for_ends(api, accepted, 60.0)

    assert len(set(accepted)) == TASKS
    assert set(states.values()) == {"COMPLETED"}, {t: s for t, s in states.items() if s != "COMPLETED"}
    assert started_twice(bots) == {}
    assert set(starts(bots)) == set(accepted)
    assert {"worker", "master"} <= set(killer.kills)
    assert_all_gone(killer.left_over)
    assert_only_this_generation_answers(server)
    # A later look shows the same ends: they are in the store, not in a process.
    assert wait_for_ends(api, accepted, 1.0) == states
    assert all(b"".join(api.stdout(t)).strip() == str(n).encode() for n, t in enumerate(accepted[:20]))
