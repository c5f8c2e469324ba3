"""The reserve between processes: bots leave at one of them while bots of another one ask for background work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server import prewarm_spec
from server.access import LOCAL_USER
from server.fleet_view import FleetView
from server.policy.model import Gate, Purpose
from server.policy.outcome import HandOut, PoolPlan
from server.prewarm_gate import GateRefused, claim_background
from tests.life_world import LIVE, POOL, LifeWorld, Machine, hand_out, report, spec_body
from tests.reserve_world import RESERVE, WAYS, Leave, ask_at_once, fleet


def blind(world: LifeWorld) -> None:
    """The store cannot tell whether somebody changed it, as a Datastore cannot."""
    world.store.data_version = lambda: None  # type: ignore[method-assign]


@pytest.mark.parametrize("tells", [True, False], ids=["store tells news", "store does not"])
@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.parametrize("spare", [0, 1, 2])
def test_bots_that_left_at_another_process_are_no_reserve(
    world: LifeWorld, leave: Leave, tells: bool, spare: int
) -> None:
    elsewhere, here = fleet(world)
    if not tells:
        blind(world)
    leave(world, elsewhere[: len(elsewhere + here) - RESERVE - spare])
    for _ in range(3):
        ask_at_once(world, here)
        assert len(world.entries()) <= spare
    assert len(world.entries()) == spare


def test_bots_that_are_late_for_their_polls_are_no_reserve(world: LifeWorld) -> None:
    elsewhere, here = fleet(world)
    world.clock.advance(90.0)  # longer than any of them was told to sleep, and than news of polls elsewhere take
    for _ in range(2):
        ask_at_once(world, here)
        assert world.entries() == []
    elsewhere[0].poll(world.p2)
    ask_at_once(world, here)
    assert len(world.entries()) == 1


def test_the_bots_that_fit_a_spec_keep_a_reserve_of_their_own(world: LifeWorld) -> None:
    """Two processes that each see both phones idle warm one of them, however many other bots are idle."""
    world.configure(**LIVE | {"reserve_min": 1})
    prewarm_spec.create(world.p1, LOCAL_USER, {**spec_body(), "dimensions": {"device": "pixel"}})
    phones = [Machine(world, f"phone{n}", said=report(f"phone{n}", device=["pixel"])) for n in range(2)]
    for bot in (*phones, *(Machine(world, f"other{n}") for n in range(5))):
        bot.handshake()
    world.freeze(world.p2)
    assert hand_out(world.p1, phones[0].token)
    with pytest.raises(GateRefused, match="0 idle bots that fit src would remain, the reserve is 1"):
        hand_out(world.p2, phones[1].token)


def test_a_spec_for_one_bot_alone_needs_no_second_one_in_reserve(world: LifeWorld) -> None:
    """The others like it are its reserve, to the plan and to the gate."""
    world.configure(**LIVE | {"reserve_min": 1})
    bots = [Machine(world, f"b{number}") for number in range(3)]
    for bot in bots:
        bot.handshake()
    wanted = {**spec_body(expected_per_h=100_000), "dimensions": {"id": "b1"}}
    prewarm_spec.create(world.p1, LOCAL_USER, wanted)
    world.clock.advance(1.0)
    assert [bot.poll(world.p1).delivery is not None for bot in bots] == [False, True, False]


# ---- looks for bets


def test_a_bet_is_refused_while_no_look_is_left_and_what_is_owed_is_not(world: LifeWorld) -> None:
    _, here = fleet(world)
    blind(world)
    while world.p2.view.catch_up(POOL):
        pass
    here[0].poll(world.p2)
    refused = world.p2.view.refusal("b0")
    assert refused is not None
    assert (refused[1].gate, world.entries()) == (Gate.FRESH_VIEW, [])
    owed = HandOut("src", "r1", 1, Purpose.CLEAN, text="t")
    assert claim_background(world.p2, here[1].token, POOL, owed, PoolPlan(advice={}, gate_open=True))
    world.clock.advance(2.0)
    here[0].poll(world.p2)
    assert len(world.entries()) == 2


def test_polls_leave_a_look_for_bets(world: LifeWorld) -> None:
    fleet(world)
    blind(world)
    for _ in range(20):
        world.clock.advance(1.0)
        world.p2.view.refresh()
    assert world.p2.view.catch_up(POOL)
    assert not world.p2.view.catch_up(POOL)


def test_polls_that_come_while_one_looks_share_the_next_look(world: LifeWorld) -> None:
    fleet(world)
    blind(world)
    looking, go_on = threading.Event(), threading.Event()
    looks = []
    take_in = world.p2.view.take_in

    def slow(now_s: float, since_s: float | None) -> None:
        looks.append(now_s)
        looking.set()
        assert go_on.wait(10.0)
        take_in(now_s, since_s)

    view: FleetView = world.p2.view
    view.take_in = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(view.catch_up, POOL)
        assert looking.wait(10.0)
        arrived = threading.Barrier(9)

        def come() -> bool:
            arrived.wait()
            return view.catch_up(POOL) is not None

        others = [threads.submit(come) for _ in range(8)]
        arrived.wait()
        threading.Event().wait(0.2)  # until all of them wait for the one that looks
        go_on.set()
        assert first.result() is not None
        assert all(other.result() for other in others)
    assert len(looks) == 2
