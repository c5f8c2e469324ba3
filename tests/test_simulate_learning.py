"""What follows what in a replay: learned, announced to the policy, believed as far as it came true."""

from __future__ import annotations

import random
from statistics import mean

from server import simulation
from server.policy.announce import Arrival, Book
from server.policy.learned import FOLLOWERS
from server.policy.simulate.learning import Learning
from server.policy.simulate.options import Options
from server.policy.simulate.replay import replay
from tests.simulate_world import arrivals

HOUR_S = 3600.0
EPOCH_S = 1_000_000_000.0


def hourly(hours: int):
    """Each hour a build, and nine minutes later four tests; between them tasks that want other states."""
    dice, rows = random.Random(4), []
    for hour in range(hours):
        at_s = hour * HOUR_S + dice.uniform(0.0, 900.0)
        rows.append((at_s, 120.0, "build"))
        rows += [(at_s + 540.0 + number, 60.0, "tests") for number in range(4)]
        rows += [(at_s + 1200.0 + 120.0 * number, 60.0, f"other{dice.randrange(9)}") for number in range(12)]
    return arrivals(*sorted(rows))


def test_what_follows_is_warm_when_it_comes(monkeypatch):
    tasks, options = hourly(60), Options(bots=8, cold_s=300.0, skip_share=0.5)

    def waited_s() -> float:
        path = replay("pilotlight", tasks, options, random.Random(2), simulation.thresholds())
        return mean(start.overhead_s for start in path.started if start.task.key == "tests")

    learned_s = waited_s()
    monkeypatch.setattr(Learning, "arrive", lambda *_: [])
    assert learned_s < 0.6 * waited_s()


def test_a_learned_entry_is_believed_less_once_nothing_came():
    learning, book = Learning(EPOCH_S), Book()
    entries = []
    for number, arrival in enumerate(hourly(40)):
        came = Arrival(str(number), arrival.family, "", EPOCH_S + arrival.submit_s)
        if came.family != "tests" or arrival.submit_s < 30 * HOUR_S:  # then the tests stay away
            book.arrive(came)
            entries += (made := learning.arrive(came, 4.0, book))
            for entry in made:
                book.add(entry)
    assert {(entry.family, entry.count, entry.source) for entry in entries if entry.family == "tests"} == {
        ("tests", 4, FOLLOWERS)
    }
    assert learning.scores(EPOCH_S)[FOLLOWERS].share(EPOCH_S) == 1.0  # none has closed then
    end_s = EPOCH_S + 50 * HOUR_S
    assert learning.scores(end_s)[FOLLOWERS].share(end_s) < 0.8
