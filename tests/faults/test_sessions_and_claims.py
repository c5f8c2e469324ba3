"""Interleavings of one bot's sessions and claims, with a bot that behaves as the recorded one (tests 1 to 4, 7 to 9).

The numbers are those of the protocol's list of interleavings; H and I name its holes and invariants.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tests.faults.conftest import StartBot, StartServer
from tests.faults.fleet import FaultServer, started_twice, starts, state, task, wait_for, wait_for_state
from tests.faults.proxy import Passing, Proxy
from tests.faults.stand_in import StandInBot, lines

pytestmark = pytest.mark.processes


@pytest.fixture
def server(start_server: StartServer) -> FaultServer:
    """Two workers, claims that lapse after five seconds."""
    return start_server()


def test_1_the_token_of_the_run_answer_goes_round_and_tells_main_has_the_run_behind_it(server: FaultServer) -> None:
    api = server.api()
    first, second = (api.new_task(task(id="b1")) for _ in range(2))
    bot = StandInBot(server.url, "b1").boot()
    before = bot.token
    run = bot.wait_for_run()
    assert run.start()
    assert not run.must_stop()
    assert bot.poll(before).send()["cmd"] == "sleep", "a poll from before the run changes nothing"
    run.finish()
    following = bot.wait_for_run()
    assert [state(api, t) for t in (run.task_id, following.task_id)] == ["COMPLETED", "PENDING"]
    assert {run.task_id, following.task_id} == {first, second}
    following.give_back()  # its runner died before it could say anything
    again = bot.wait_for_run()
    assert again.task_id == following.task_id, "a run that main has behind it unstarted is taken back, and given anew"
    assert again.manifest["pilotlight_claim"] > following.manifest["pilotlight_claim"]
    assert again.start()
    assert following.tell(following.end(3))["must_stop"], "the former claim ends nothing"
    again.finish()
    assert api.result(again.task_id).exit_code == 0


def test_2_a_clone_of_a_bot_gets_the_run_that_the_other_never_started_and_only_the_clone_runs_it(
    server: FaultServer,
) -> None:
    """H1: M1 gets W, M2 of the same id shakes hands and polls; M1's start comes late."""
    api = server.api()
    task_id = api.new_task(task(id="b1"))
    machine1 = StandInBot(server.url, "b1").boot()
    run1 = machine1.wait_for_run()
    machine2 = StandInBot(server.url, "b1").boot()
    run2 = machine2.wait_for_run()
    assert run1.task_id == run2.task_id == task_id
    assert not run1.start(), "user code would run twice"
    assert run2.start()
    run1.tell(run1.canceled())
    assert machine1.ask()["cmd"] == "bot_restart"
    run2.finish()
    result = api.result(task_id)
    assert (state(api, task_id), result.exit_code) == ("COMPLETED", 0)


def test_2_two_bots_of_one_id_are_found_out_and_no_task_runs_twice(
    server: FaultServer, start_bot: StartBot
) -> None:
    """Two real bots, which restart and throw each other out until the server has had enough."""
    api = server.api()
    one = start_bot(server, "twin", folder="one")
    two = start_bot(server, "twin", folder="two")
    tasks = [api.new_task(task("sleep", "0.3", name=f"t{n}", id="twin")) for n in range(12)]

    wait_for(lambda: any(bot.quarantined for bot in api.bots()), 40.0, "the two are quarantined")
    wait_for(lambda: "two machines" in str(api.get("/why/bots/twin").body), 10.0, "both workers know why")
    time.sleep(1.5)  # what was under way ends
    before = starts([one, two])
    assert started_twice([one, two]) == {}
    time.sleep(1.5)
    assert starts([one, two]) == before, "a quarantined bot is given nothing"
    for task_id in tasks:
        found = state(api, task_id)
        assert found in ("PENDING", "COMPLETED", "BOT_DIED")
        assert (found == "PENDING") == (task_id not in before)


def test_3_main_is_killed_while_its_runner_lives_so_the_run_ends_and_no_second_one_begins_beside_it(
    server: FaultServer,
) -> None:
    """H5, H20."""
    api = server.api()
    tasks = {api.new_task(task(id="b1")) for _ in range(2)}
    main1 = StandInBot(server.url, "b1").boot()
    runner = main1.wait_for_run()
    assert runner.start()
    main2 = StandInBot(server.url, "b1").boot()
    assert state(api, runner.task_id) == "BOT_DIED"
    for _ in range(5):
        assert main2.ask()["cmd"] == "sleep", "the old runner may still be running"
    assert runner.must_stop()
    runner.tell(runner.end(-15))
    following = main2.wait_for_run(timeout_s=3.0)  # the old runner's last word ends the quiet time
    assert {runner.task_id, following.task_id} == tasks
    assert state(api, runner.task_id) == "BOT_DIED", "an end never changes"


def test_3_the_old_runners_last_word_ends_the_quiet_time_at_whatever_worker_it_arrives(server: FaultServer) -> None:
    """The worker that hears of the end has not seen the handshake yet."""
    api, (a, b) = server.api(), list(lines(server).values())
    for _ in range(3):
        main = StandInBot(server.url, "b1").boot(a)
        tasks = {api.new_task(task(id="b1")) for _ in range(2)}
        runner = main.wait_for_run(b)
        assert runner.start(b)
        main.boot(a)
        runner.tell(runner.end(-9), b)
        run = main.wait_for_run(a, timeout_s=3.0)
        assert run.start(a)
        run.finish(line=a)
        assert {runner.task_id, run.task_id} == tasks
        assert (state(api, runner.task_id), state(api, run.task_id)) == ("BOT_DIED", "COMPLETED")


def test_4_a_machine_reboots_in_mid_task_so_the_task_ended_with_it_and_is_not_started_again(
    server: FaultServer, start_bot: StartBot
) -> None:
    api = server.api()
    bot = start_bot(server, "b1")
    task_id = api.new_task(task("sleep", "60", id="b1"))
    bot.wait_for("start")
    wait_for_state(api, task_id, "RUNNING")
    bot.__exit__()  # main and the run, at once
    bot.start()
    wait_for_state(api, task_id, "BOT_DIED")
    assert starts([bot]) == {task_id: 1}
    assert bot.journal("leftover")


def test_7_a_bot_that_froze_before_the_start_finds_its_task_done_by_another(
    server: FaultServer, start_bot: StartBot
) -> None:
    """The bot is stopped with the `run` answer on its way, for longer than a claim stands."""
    api = server.api()
    with Proxy(server.url) as proxy:
        slow = start_bot(server, "slow", url=proxy.url)
        wait_for(lambda: api.bots(), 10.0, "the bot is there")
        frozen = threading.Event()

        def freeze(passing: Passing) -> bool:
            if passing.path.endswith("/poll") and b'"cmd":"run"' in passing.answer and not frozen.is_set():
                os.kill(slow.process.pid, signal.SIGSTOP)
                frozen.set()
            return True

        proxy.after = freeze
        task_id = api.new_task(task("true"))
        assert frozen.wait(10.0)
        assert state(api, task_id) == "PENDING"
        quick = start_bot(server, "quick")
        wait_for_state(api, task_id, "COMPLETED", 30.0)
        os.kill(slow.process.pid, signal.SIGCONT)
        following = api.new_task(task("true", id="slow"))
        wait_for_state(api, following, "COMPLETED")
        result = api.result(task_id)
        assert (result.bot_id, result.exit_code, state(api, task_id)) == ("quick", 0, "COMPLETED")
        assert starts([slow, quick]) == {task_id: 1, following: 1}


def test_8_a_poll_that_lay_in_the_network_is_answered_while_the_run_of_a_later_poll_is_on(server: FaultServer) -> None:
    """H6."""
    api = server.api()
    bot = StandInBot(server.url, "b1").boot()
    late = bot.poll()
    task_id = api.new_task(task(id="b1"))
    run = bot.wait_for_run()
    assert run.start()
    time.sleep(6.0)  # longer than a claim stands
    for line in lines(server).values():
        assert late.send(line)["cmd"] == "sleep"
        assert not run.must_stop(line), "the run goes on"
    run.finish()
    assert state(api, task_id) == "COMPLETED"


def test_9_a_copy_of_a_handshake_from_before_the_reboot_changes_nothing(server: FaultServer) -> None:
    """H7."""
    api = server.api()
    bot = StandInBot(server.url, "b1").boot()
    old = bot.handshake()
    for _ in range(3):
        bot.boot()
    task_id = api.new_task(task(id="b1"))
    idle = bot.token
    run = bot.wait_for_run()
    assert run.start()
    for line in lines(server).values():
        assert old.send(line)["session"]
        assert not run.must_stop(line)
        assert bot.poll(idle).send(line)["cmd"] == "sleep", "the session is still the bot's"
    run.finish()
    assert state(api, task_id) == "COMPLETED"
    assert bot.ask()["cmd"] == "sleep"
