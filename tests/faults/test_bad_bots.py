"""Bots that die in mid-task, and bots that fail whatever they are given."""

from __future__ import annotations

import pytest

from client.api import seconds
from tests.faults.conftest import StartBot, StartServer
from tests.faults.fleet import started_twice, starts, state, task, wait_for, wait_for_ends, wait_for_state
from tests.faults.stand_in import StandInBot
from tests.server_process import is_running

pytestmark = pytest.mark.processes

FAILS_IN_THE_HOLE = "import os, sys; sys.exit(os.environ['SWARMING_BOT_ID'] == 'hole')"


def test_a_bot_killed_in_mid_task_ends_it_at_its_return_and_nobody_starts_it_again(
    start_server: StartServer, start_bot: StartBot
) -> None:
    server = start_server()
    api = server.api()
    bot, other = start_bot(server, "b1"), start_bot(server, "b2")
    task_id = api.new_task(task("python3", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)", id="b1"))
    bot.wait_for("start")
    wait_for(lambda: b"".join(api.stdout(task_id)), 10.0, "output of the task")
    orphan = int(b"".join(api.stdout(task_id)))
    bot.kill()
    assert is_running(orphan)
    assert state(api, task_id) == "RUNNING", "the bot may only be slow to answer"
    following = api.new_task(task("true", id="b1"))
    bot.start()
    wait_for_state(api, task_id, "BOT_DIED")
    assert not is_running(orphan), "the bot cleared away what its former life left running"
    wait_for_state(api, following, "COMPLETED")
    assert starts([bot, other]) == {task_id: 1, following: 1}
    assert api.result(task_id).internal_failure


def test_a_bot_killed_before_the_start_costs_its_task_no_more_than_the_way_back_to_the_queue(
    start_server: StartServer, start_bot: StartBot
) -> None:
    server = start_server()
    api = server.api()
    lost = StandInBot(server.url, "lost").boot()
    task_id = api.new_task(task("true"))
    lost.wait_for_run()
    lost.boot()  # a new process of it, which does not ask for anything
    bot = start_bot(server, "b2")
    result = wait_for_state(api, task_id, "COMPLETED", 10.0)
    assert result.bot_id == "b2"
    assert starts([bot]) == {task_id: 1}


def test_a_bot_that_fails_task_after_task_within_seconds_is_put_aside_and_told_why(
    start_server: StartServer, start_bot: StartBot
) -> None:
    server = start_server(config={"black_hole_failures": 4, "black_hole_within_s": 5})
    api = server.api()
    hole, good = start_bot(server, "hole"), start_bot(server, "good")
    wait_for(lambda: len(api.bots()) == 2, 10.0, "both bots are there")
    tasks = [api.new_task(task("python3", "-c", FAILS_IN_THE_HOLE, name=f"t{n}")) for n in range(24)]
    assert set(wait_for_ends(api, tasks, 60.0).values()) == {"COMPLETED"}
    results = api.results(tasks)
    eaten = [result for result in results if result.failure]
    assert {result.bot_id for result in eaten} == {"hole"}
    assert 1 <= len(eaten) <= 4
    assert started_twice([hole, good]) == {}

    only_hole = [api.new_task(task("true", name=f"h{n}", id="hole")) for n in range(4 - len(eaten) + 1)]
    if len(eaten) < 4:  # the good bot was faster; the hole has its chance now
        failing = [api.new_task(task("false", name=f"f{n}", id="hole", priority=30)) for n in range(4)]
        wait_for(lambda: any(bot.quarantined for bot in api.bots()), 20.0, "the hole is quarantined")
        assert sum(state(api, task_id) == "COMPLETED" for task_id in failing) >= 4 - len(eaten)
    (shown,) = [bot for bot in api.bots() if bot.bot_id == "hole"]
    assert shown.quarantined
    why = str(api.get("/why/bots/hole").body)
    assert "black hole" in why and "in a row" in why
    asked = StandInBot(server.url, "hole")
    answer = asked.boot().ask()
    assert answer["quarantined"] is True and "black hole" in answer["quarantined_why"]
    before = starts([hole])
    waiting = [task_id for task_id in only_hole if state(api, task_id) == "PENDING"]

    api.post("/bots/hole/release", {})
    hole.kill()
    hole.start()
    assert set(wait_for_ends(api, waiting, 30.0).values()) <= {"COMPLETED"}
    assert set(waiting) <= set(starts([hole]) - before), "released, it works again"
    assert all(seconds(result.completed_ts) > 0 for result in api.results(waiting))
