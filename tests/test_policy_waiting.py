"""Why is my task pending? One answer, whatever the reason."""

from __future__ import annotations

import pytest

from server.policy.model import Phase, Purpose, Victim
from server.policy.plan import plan
from server.policy.waiting import Step, why_waiting
from tests.policy_world import NOW_S, bot, held, spec, task, view, warm

WANTS_CAIMAN = (("pool", ("p",)), ("os", ("Android",)), ("device_type", ("caiman",)))


def phone(name: str, device: str = "komodo", **fields: object):
    """An Android phone."""
    return bot(name, extra={"os": ["Android"], "device_type": [device]}, **fields)  # type: ignore[arg-type]


def why(bots: list, asked: object, *others: object):
    """The answer for the first of the tasks."""
    seen = view(bots, tasks=[asked, *others], specs=[spec("src")])  # type: ignore[list-item]
    return why_waiting(seen, plan(seen), asked.id)  # type: ignore[attr-defined]


def test_a_dimension_that_no_bot_has_is_named_with_the_nearest_one() -> None:
    answer = why([phone("p1"), phone("p2"), phone("p3", "husky"), bot("b1")], task("t1", dimensions=WANTS_CAIMAN))
    assert answer.text == "No bot in p has `device_type:caiman`."
    assert answer.would_change == "A bot with `device_type:caiman`; 2 bots have `device_type:komodo`."
    assert answer.steps == (Step("pool", ("p",), 4), Step("os", ("Android",), 3), Step("device_type", ("caiman",), 0))


def test_dimensions_that_no_bot_has_together_are_named_together() -> None:
    lonely = bot("b1", extra={"device_type": ["caiman"]})
    answer = why([phone("p1"), lonely], task("t1", dimensions=WANTS_CAIMAN))
    assert answer.text == "No bot in p has `device_type:caiman` beside `pool:p` and `os:Android`."


def test_bots_that_are_out_are_counted_by_reason() -> None:
    bots = [bot("b1", alive=False), bot("b2", quarantined="disk"), bot("b3", quarantined="net")]
    answer = why(bots, task("t1"))
    assert answer.text == "All 3 bots that fit are out: 1 dead, 2 quarantined."
    assert answer.would_change == "One of them back in service, such as b1."
    assert why(bots[1:2], task("t1")).text == "The only bot that fits is out: b2 is quarantined: disk."


def test_a_bot_whose_poll_is_overdue_is_called_silent_and_not_dead() -> None:
    bots = [bot("b1", alive=False), bot("b2", alive=False, overdue=True), bot("b3", alive=False, overdue=True)]
    assert why(bots, task("t1")).text == "All 3 bots that fit are out: 1 dead, 2 silent."
    assert why(bots[1:2], task("t1")).text == "The only bot that fits is out: b2 is silent: its poll is overdue."


def test_a_task_that_is_held_for_a_warm_bot_says_for_which_and_how_long() -> None:
    bots = [bot("cold"), bot("warm", warm("src"), next_poll_s=NOW_S + 5)]
    answer = why(bots, task("t1", "src"))
    assert answer.text.replace("\u00a0", " ").startswith("It waits at most 6.0 s for warm, which is warm and due")
    assert answer.would_change == "A poll of warm."


def test_a_task_that_has_its_bot_waits_for_a_poll() -> None:
    assert why([bot("b1")], task("t1")).text == "b1 takes it at its next poll."


def test_busy_bots_are_counted_and_so_are_the_tasks_before_it() -> None:
    bots = [bot("b1", run=held()), bot("b2", run=held())]
    answer = why(bots, task("t2", "src", age_s=30), task("t1", age_s=60))
    assert answer.text.replace("\u00a0", " ") == (
        "2 bots fit: 2 busy with other tasks. 1 task is served before it. It has waited 30 s."
    )
    assert answer.would_change == "A bot that ends its task, best one that is warm for src."


def test_bots_that_are_warmed_for_tasks_before_it_are_told_with_how_long_that_takes_at_most() -> None:
    bots = [bot(f"b{n}", run=held(Purpose.ON_DEMAND, "src", for_task=f"t{n}", since_s=NOW_S - 20)) for n in (1, 2)]
    covered = [task(f"t{n}", "src", age_s=60) for n in (1, 2)]
    answer = why(bots, task("t3", age_s=30), *covered)
    assert answer.text.replace("\u00a0", " ") == (
        "2 bots fit: 0 busy with other tasks, 2 being made ready (another 80 s at most) for tasks that are "
        "served before it. "
        "2 tasks are served before it. It has waited 30 s."
    )
    assert answer.would_change == "Another bot that fits, or the end of those tasks."


def test_a_bot_that_is_warmed_for_a_later_task_as_urgent_is_told_as_such() -> None:
    running = bot("b1", run=held(Purpose.ON_DEMAND, "src", for_task="t2", since_s=NOW_S - 20))
    answer = why([running, bot("b2", run=held())], task("t1", age_s=30), task("t2", "src", age_s=10))
    assert answer.text.replace("\u00a0", " ").startswith(
        "2 bots fit: 1 busy with other tasks, 1 being made ready (another 80 s at most) for other tasks that wait. "
    )


def test_an_idle_bot_that_another_task_gets_first_does_not_count_as_busy() -> None:
    other = task("t0", age_s=60, dimensions=(("pool", ("p",)), ("id", ("b1",))))
    mine = task("t1", dimensions=(("pool", ("p",)), ("id", ("b1", "b2"))))
    others = [task(f"t{number}", age_s=50 - number, dimensions=other.dimensions) for number in range(2, 8)]
    answer = why([bot("b1"), bot("b2", run=held())], mine, other, *others)
    assert answer.text.replace("\u00a0", " ") == (
        "2 bots fit: 1 busy with other tasks, 1 about to take other tasks. 7 tasks are served before it. "
        "It has waited 0.0 s."
    )


def test_a_task_for_which_a_run_is_stopped_says_so() -> None:
    running = bot("b1", run=held(Purpose.FORECAST, "src"))
    assert why([running], task("t1")).text.startswith("b1 stops warming src@g1 for t1")
    marked = task("t1", victim=Victim("b1", 7, NOW_S + 60))
    assert why([running], marked).text == "b1 ends a background run for it."


def test_an_unknown_task_is_an_error() -> None:
    seen = view([bot("b1", warm("src", phase=Phase.WARM))])
    with pytest.raises(KeyError):
        why_waiting(seen, plan(seen), "nobody")
