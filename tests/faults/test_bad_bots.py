"""Bots that die in mid-task, and bots that fail whatever they are given."""

from __future__ import annotations

import time

import pytest

from tests.faults.conftest import StartBot, StartServer
from tests.faults.fleet import started_twice, starts, state, task, wait_for, wait_for_ends, wait_for_state
from tests.faults.stand_in import StandInBot
from tests.server_process import is_running

pytestmark = pytest.mark.processes

SAYS_ITS_PID = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
FAILS_IN_THE_HOLE = "import os, sys; sys.exit(os.environ['SWARMING_BOT_ID'] == 'hole')"


def test_a_bot_killed_in_mid_task_ends_it_at_its_return_and_nobody_starts_it_again(
    start_server: StartServer, start_bot: StartBot
) -> None:
    server = start_server()
    api = server.api()
    bot, other = start_bot(server, "b1"), start_bot(server, "b2")
    task_id = api.new_task(task("python3", "-c", SAYS_ITS_PID, id="b1"))
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
    hole = start_bot(server, "hole")
    tasks = [api.new_task(task("python3", "-c", FAILS_IN_THE_HOLE, name=f"t{n}")) for n in range(16)]
    wait_for(lambda: any(bot.quarantined for bot in api.bots()), 20.0, "the hole is quarantined")
    time.sleep(1.5)
    assert len(starts([hole])) == 4, "what it eats is bounded"
    good = start_bot(server, "good")
    assert set(wait_for_ends(api, tasks, 40.0).values()) == {"COMPLETED"}
    assert [result.bot_id for result in api.results(tasks) if result.failure] == ["hole"] * 4
    assert started_twice([hole, good]) == {}
    assert set(starts([hole, good])) == set(tasks)

    why = str(api.get("/why/bots/hole").body)
    assert "black hole" in why and "4 tasks" in why
    answer = StandInBot(server.url, "hole").boot().ask()  # what the bot itself is told
    assert (answer["cmd"], answer["quarantined"]) == ("sleep", True)
    assert "black hole" in answer["quarantined_why"]
    waiting = api.new_task(task("true", id="hole"))
    api.post("/bots/hole/release", {})
    wait_for_state(api, waiting, "COMPLETED", 15.0)
    assert starts([hole])[waiting] == 1, "released, it works again"
