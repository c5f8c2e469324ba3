"""Workers that die between a commit and its answer, views that stand still, and cancel against start (5, 6, 10 to 12).

The numbers are those of the protocol's list of interleavings; H and I name its holes and invariants.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.conftest import StartServer
from tests.faults.fleet import FaultServer, state, task, wait_for, wait_for_state
from tests.faults.stand_in import Line, NoAnswer, Run, StandInBot, lines

pytestmark = pytest.mark.processes

RACES = 100


@pytest.fixture
def server(start_server: StartServer) -> FaultServer:
    """Two workers that can be made to die or go blind at one point."""
    return start_server(faulty=True)


def two_lines(server: FaultServer) -> tuple[Line, Line]:
    """One to each worker."""
    first, second = lines(server).values()
    return first, second


def lose_worker_on_claim(server: FaultServer, bot: StandInBot, line: Line) -> None:
    """Polls until the worker at the other end has claimed a task for the bot, and died of it."""
    fault = server.arm("die_after_claim")
    deadline_s = time.monotonic() + 10.0
    with pytest.raises(NoAnswer):
        while time.monotonic() < deadline_s:
            bot.poll().send(line)
            time.sleep(0.05)
    assert not fault.exists()


def let_look(server: FaultServer, line: Line) -> None:
    """Has a worker look at the store: the poll of a bot elsewhere is occasion enough."""
    onlooker = StandInBot(server.url, "onlooker", pool="elsewhere").boot(line)
    time.sleep(1.2)
    onlooker.ask(line)


def test_5_a_worker_dies_between_claim_and_answer_so_the_next_poll_elsewhere_gets_the_same_run(
    server: FaultServer,
) -> None:
    api, (a, b) = server.api(), two_lines(server)
    task_id = api.new_task(task(id="b1"))
    bot = StandInBot(server.url, "b1").boot(b)
    lose_worker_on_claim(server, bot, a)
    lost = server.result(task_id)
    assert (lost.state, lost.offered) == ("PENDING", True)
    run = bot.wait_for_run(b)
    assert (run.task_id, run.manifest["pilotlight_claim"]) == (task_id, lost.claim["n"])
    assert run.start(b)
    run.finish(line=b)
    assert state(api, task_id) == "COMPLETED"


def test_5_so_it_does_when_the_bot_never_asks_again_and_another_one_can_take_it(server: FaultServer) -> None:
    """The claiming process is gone, the claim lapses all the same."""
    api, (a, b) = server.api(), two_lines(server)
    task_id = api.new_task(task())
    gone = StandInBot(server.url, "gone").boot(b)
    lose_worker_on_claim(server, gone, a)
    assert server.result(task_id).claim["bot"] == "gone"
    run = StandInBot(server.url, "b2").boot(b).wait_for_run(timeout_s=30.0)
    assert run.task_id == task_id and run.start()
    run.finish()
    assert (state(api, task_id), api.result(task_id).bot_id) == ("COMPLETED", "b2")


def test_6_the_answer_to_a_start_or_an_end_is_lost_with_its_worker_and_the_repeat_elsewhere_is_told_the_same(
    server: FaultServer,
) -> None:
    api, (a, b) = server.api(), two_lines(server)
    task_id = api.new_task(task(id="b1"))
    run = StandInBot(server.url, "b1").boot(b).wait_for_run(b)
    start = run.update()
    server.arm("die_after_start")
    with pytest.raises(NoAnswer):
        start.send(a)
    assert state(api, task_id) == "RUNNING"
    assert not run.tell(start, b)["must_stop"], "the code may run, and it has not run yet"
    server.wait_for_all_workers()
    c = next(line for pid, line in lines(server).items() if pid != b.pid())
    end = run.end(5)
    server.arm("die_after_end")
    with pytest.raises(NoAnswer):
        end.send(c)
    before = api.result(task_id)
    assert run.tell(end, b)["ok"]
    assert api.result(task_id) == before
    assert (state(api, task_id), before.exit_code) == ("COMPLETED", 5)


def test_10_a_worker_whose_view_stands_still_stops_no_healthy_run_and_restarts_no_healthy_bot(
    server: FaultServer,
) -> None:
    """H8: a view may say "go on" or "sleep", never "no"."""
    api, (a, b) = server.api(), two_lines(server)
    bot = StandInBot(server.url, "b1").boot(a)
    assert bot.ask(b)["cmd"] == "sleep"  # b knows the bot
    frozen = server.arm(f"frozen.{b.pid()}")
    api.new_task(task(id="b1"))
    run = bot.wait_for_run(a)
    assert run.start(a)
    assert not run.must_stop(b), "b does not know the claim"
    run.finish(line=a)
    bot.boot(a)
    assert bot.ask(b)["cmd"] == "sleep", "b knows the former session only"
    task_id = api.new_task(task(id="b1"))
    again = bot.wait_for_run(a)
    assert again.start(a) and not again.must_stop(b)
    assert api.cancel(task_id, kill_running=True).was_running
    again.must_stop(b)  # b may not know yet
    wait_for(lambda: again.must_stop(a), 5.0, "a looks at the store every second or two, whoever took the cancel")
    frozen.unlink()
    wait_for(lambda: again.must_stop(b), 5.0, "b sees the stop once it can see again")
    again.tell(again.end(-15), b)
    again.give_back()
    assert state(api, task_id) == "KILLED"


def test_10_a_worker_whose_view_stands_still_gives_away_no_task_that_another_one_gave_away(
    server: FaultServer,
) -> None:
    api, (a, b) = server.api(), two_lines(server)
    bots = [StandInBot(server.url, f"b{number}").boot(b) for number in range(4)]
    tasks = [api.new_task(task()) for _ in bots]
    let_look(server, a)
    let_look(server, b)
    server.arm(f"frozen.{b.pid()}")
    early = [bot.wait_for_run(a) for bot in bots[:2]]
    late = [bot.wait_for_run(b) for bot in bots[2:]]  # b believes that all four tasks wait
    assert {run.task_id for run in early + late} == set(tasks)
    assert all(run.start(line) for run in early + late for line in (a, b))


def test_11_a_killed_run_whose_last_word_is_lost_is_killed_when_its_bot_polls_again(server: FaultServer) -> None:
    """I10."""
    api = server.api()
    task_id = api.new_task(task(id="b1"))
    run = StandInBot(server.url, "b1").boot().wait_for_run()
    assert run.start()
    answer = api.cancel(task_id, kill_running=True)
    assert (answer.canceled, answer.was_running) == (True, True)
    assert run.must_stop()
    run.give_back()  # the end update was dropped for ever
    assert run.bot.ask()["cmd"] == "sleep"
    assert state(api, task_id) == "KILLED"
    assert run.tell(run.end(-15))["ok"], "it comes at last, and changes nothing"
    assert state(api, task_id) == "KILLED"


def test_11_so_it_is_when_the_bot_starts_anew_instead(server: FaultServer) -> None:
    """H10."""
    api = server.api()
    task_id = api.new_task(task(id="b1"))
    run = StandInBot(server.url, "b1").boot().wait_for_run()
    assert run.start()
    assert api.cancel(task_id, kill_running=True).was_running
    run.bot.boot()
    wait_for_state(api, task_id, "KILLED", 2.0)


def test_12_cancel_races_start_through_two_workers_and_a_canceled_task_never_ran(server: FaultServer) -> None:
    api, (a, b) = server.api(), two_lines(server)
    bot = StandInBot(server.url, "b1").boot(a)
    barrier = threading.Barrier(2)
    outcomes: Counter[tuple[bool, str]] = Counter()

    def start(run: Run) -> bool:
        barrier.wait()
        return run.start(b)

    with ThreadPoolExecutor(1) as pool:
        for number in range(RACES):
            if number % 25 == 0:  # some at a time: the worker at a has seen most of them when it is asked
                for _ in range(25):
                    api.new_task(task(id="b1"))
            run = bot.wait_for_run(a)
            started = pool.submit(start, run)
            barrier.wait()
            canceled = api.cancel(run.task_id, kill_running=False)
            code_ran = started.result()
            found = state(api, run.task_id)
            assert (code_ran, found) in ((True, "RUNNING"), (False, "CANCELED")), (code_ran, found, canceled)
            assert canceled.canceled == (found == "CANCELED")
            outcomes[code_ran, found] += 1
            run.tell(run.end() if code_ran else run.canceled(), a)
            run.give_back()
    assert min(outcomes.values()) > RACES // 50 and len(outcomes) == 2, outcomes
