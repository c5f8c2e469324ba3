"""Process pages: what each process saw adds up, whatever is late, repeated or killed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import page_exchange, page_kinds
from server.errors import StoreUnavailable
from server.page_kinds import COUNTERS, DEMAND, LAST_SEEN, join_ledger
from server.policy.bet_ledger import BetLedger
from server.service import Service
from tests.server_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


def exchange(*services: Service) -> None:
    for service in services:
        service.pages.flush()
    for service in services:
        service.pages.merge()


def test_a_bot_was_seen_when_any_process_saw_it_last(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    now_s = world.clock.now_s()
    one.pages.seen("bot1", now_s, now_s + 10.0)
    two.pages.seen("bot1", now_s + 5.0, now_s + 25.0)
    exchange(one, two)
    assert one.pages.last_seen("bot1") == two.pages.last_seen("bot1") == (now_s + 5.0, now_s + 25.0)
    assert one.pages.last_seen("nobody") == (0.0, 0.0)


def test_what_this_process_saw_counts_before_it_is_written(world: World) -> None:
    one = world.process("one")
    one.pages.seen("bot1", 100.0)
    one.pages.count("polls", 3)
    assert one.pages.last_seen("bot1")[0] == 100.0
    assert one.pages.counters() == {"polls": 3}


def test_counters_add_up_and_repeated_pages_are_counted_once(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    for service, amount in ((one, 2), (two, 5)):
        service.pages.count("polls", amount)
    for _ in range(3):
        exchange(one, two)
        world.clock.advance(30.0)
    one.pages.count("polls", 1)
    exchange(one, two)
    assert one.pages.counters() == two.pages.counters() == {"polls": 8}


def test_sums_do_not_fall_when_a_process_dies(world: World) -> None:
    dead = world.process("dead")
    dead.pages.count("polls", 7)
    dead.pages.flush()
    world.clock.advance(24 * 3600.0)
    heir = world.process("heir")
    heir.pages.count("polls", 1)
    heir.pages.merge()
    assert heir.pages.counters() == {"polls": 8}


def test_a_late_page_does_not_undo_a_newer_one(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    one.pages.count("polls", 1)
    with world.store.context():
        one.pages.flush()
        old = page_exchange.ProcessPage.get_by_id("counters:one")
    one.pages.count("polls", 1)
    world.clock.advance(1.0)
    exchange(one, two)
    with world.store.context():
        old.put()
    two.pages.merge()
    assert two.pages.counters() == {"polls": 2}


def test_an_idle_poll_writes_nothing_and_pages_are_written_every_half_minute(world: World) -> None:
    service = world.process()
    service.pages.turn()
    with service.store.ops.measure() as ops:
        for _ in range(300):
            for bot in range(20):
                service.pages.seen(f"bot{bot}", world.clock.now_s())
                service.pages.count("polls")
            service.pages.turn()
            world.clock.advance(1.0)
    assert ops.reads == 0
    assert 0 < ops.writes <= 300 * 0.5
    assert ops.queries <= 300 / page_exchange.MERGE_EVERY_S + 1


def test_a_process_that_sees_nothing_writes_nothing(world: World) -> None:
    service = world.process()
    with service.store.ops.measure() as ops:
        for _ in range(10):
            world.clock.advance(30.0)
            service.pages.turn()
    assert ops.writes == 0


def test_pages_that_could_not_be_written_are_written_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = world.process("one"), world.process("two")
    one.pages.count("polls")

    def gone(records: object) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(page_exchange, "put_multi", gone)
        with pytest.raises(StoreUnavailable):
            one.pages.flush()
    exchange(one, two)
    assert two.pages.counters() == {"polls": 1}


def test_a_hundred_thousand_bots_fit_into_the_pages_of_one_process(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    now_s = world.clock.now_s()
    for number in range(100_000):
        one.pages.seen(f"builder-linux-x86-64-{number:06d}", now_s + number / 1000.0, now_s + 60.0)
    assert one.pages.flush() == page_exchange.MOST_RECORDS
    two.pages.merge()
    assert two.pages.last_seen("builder-linux-x86-64-099999")[0] == pytest.approx(now_s + 100.0, abs=0.1)


def test_bots_that_this_process_has_not_seen_for_a_day_leave_its_page(world: World) -> None:
    service = world.process()
    service.pages.seen("old", world.clock.now_s())
    world.clock.advance(page_kinds.LAST_SEEN.forget_after_s + 1.0)
    service.pages.seen("new", world.clock.now_s())
    service.pages.flush()
    assert set(service.pages.values(LAST_SEEN)) == {"new"}


def test_names_made_up_by_callers_cannot_grow_a_page_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_exchange, "MOST_KEYS", 10)
    service = world.process()
    for number in range(100):
        service.pages.count(f"name{number}")
    assert len(service.pages.values(COUNTERS)) == 10


# ---- demand


def test_arrivals_at_two_processes_make_one_rate(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    for second in range(600):
        service = one if second % 2 else two
        service.pages.arrived("local", [["builds", "g1"]], world.clock.now_s())
        world.clock.advance(1.0)
    exchange(one, two)
    by_family, by_state = two.pages.demand("local", world.clock.now_s())
    demand = by_family["builds"]
    assert demand.arrivals == 600
    assert demand.rates_per_s[120] == pytest.approx(1.0, rel=0.05)
    assert demand.last_arrival_s == world.clock.now_s() - 1.0
    assert demand.first_arrival_s == world.clock.now_s() - 600.0
    assert by_state["builds", "g1"].arrivals == 600
    assert two.pages.demand("other", world.clock.now_s()) == ({}, {})


def test_a_rate_falls_by_half_in_its_half_life(world: World) -> None:
    service = world.process()
    world.clock.advance(2 * 86_400.0)
    service.pages.arrived("local", [["builds", ""]], world.clock.now_s())
    at_once = service.pages.demand("local", world.clock.now_s())[0]["builds"].rates_per_s
    world.clock.advance(120.0)
    later = service.pages.demand("local", world.clock.now_s())[0]["builds"].rates_per_s
    assert later[120] == pytest.approx(at_once[120] / 2, rel=0.01)
    assert later[900] > at_once[900] / 2


def test_nobody_wanting_it_for_hours_is_knowledge_too(world: World) -> None:
    service = world.process()
    world.clock.advance(7200.0)
    by_family, _ = service.pages.demand("local", world.clock.now_s(), families=["unwanted"])
    assert by_family["unwanted"].observed_s == 7200.0
    assert by_family["unwanted"].arrivals == 0


def test_how_long_demand_was_watched_survives_the_process(world: World) -> None:
    first = world.process("first")
    first.pages.arrived("local", [["builds", ""]], world.clock.now_s())
    first.pages.flush()
    world.clock.advance(3600.0)
    second = world.process("second")
    second.pages.merge()
    assert second.pages.demand("local", world.clock.now_s())[0]["builds"].observed_s == 3600.0


def test_costs_are_learned_over_all_processes(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    now_s = world.clock.now_s()
    for service in (one, two):
        service.pages.observed("local", "builds", now_s, cold_cost_s=60.0, duration_s=10.0)
        service.pages.observed("local", "builds", now_s, cold_cost_s=60.0)
    exchange(one, two)
    demand = one.pages.demand("local", now_s)[0]["builds"]
    assert demand.cold_cost_s == pytest.approx(60.0, rel=0.1)
    assert (demand.warm_cost_s, demand.duration_s) == (None, None), "too few observations"


def test_a_page_that_another_version_wrote_differently_is_left_aside(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    one.pages.arrived("local", [["builds", ""]], world.clock.now_s())
    one.pages.flush()
    with world.store.context():
        page = page_exchange.ProcessPage.get_by_id("demand:one")
        page.body = {"local\tbuilds\t": {"a": "b"}}
        page.put()
    two.pages.merge()
    assert two.pages.demand("local", world.clock.now_s()) == ({}, {})


def test_joining_ledgers_does_not_depend_on_the_order_of_processes() -> None:
    rng = random.Random(3)
    ledger = [{"spent": rng.uniform(0, 9), "saved": rng.uniform(0, 9), "at": rng.uniform(0, 1e5)} for _ in range(3)]
    one_way = join_ledger(join_ledger(ledger[0], ledger[1]), ledger[2])
    other_way = join_ledger(ledger[2], join_ledger(ledger[1], ledger[0]))
    assert one_way == pytest.approx(other_way)


def test_names_with_tabs_confuse_nothing(world: World) -> None:
    service = world.process()
    service.pages.arrived("a\tb", [["c\td", "e\tf"]], world.clock.now_s())
    assert list(service.pages.demand("a\tb", world.clock.now_s())[0]) == ["c d"]
    assert len(service.pages.values(DEMAND)) == 3


# ---- ledger


def test_what_was_spent_and_saved_fades_by_half_in_a_day(world: World) -> None:
    service = world.process()
    now_s = world.clock.now_s()
    service.pages.spent("local", "builds", 100_000.0, now_s)
    service.pages.saved("local", "builds", 30_000.0, now_s)
    assert service.pages.ledger("local")["builds"]["saved"] == 30_000.0
    world.clock.advance(86_400.0)
    entry = service.pages.ledger("local")["builds"]
    assert (entry["spent"], entry["saved"]) == (50_000.0, 15_000.0)


def test_starts_at_two_processes_make_one_share(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    for number in range(10):
        (one if number % 2 else two).pages.started("local", number < 4, world.clock.now_s())
    exchange(one, two)
    sums = two.pages.starts("local")
    assert (sums.every[0], sums.cold[0]) == pytest.approx((10.0, 4.0))


def test_what_became_of_bets_outlives_the_process_and_is_not_counted_twice(world: World) -> None:
    one, two = world.process("one"), world.process("two")
    now_s = world.clock.now_s()
    saw_all, saw_some = (
        BetLedger().bet(0.2, now_s).bet(0.5, now_s),
        BetLedger().bet(0.2, now_s),
    )
    one.pages.keep_bets("local", saw_all)
    two.pages.keep_bets("local", saw_some)
    exchange(one, two)
    assert one.pages.bets("local") == two.pages.bets("local") == saw_all
    world.clock.advance(3 * 86_400.0)
    heir = world.process("heir")
    heir.pages.merge()
    assert heir.pages.bets("local").staked == 2.0
    heir.pages.keep_bets("local", heir.pages.bets("local").bet(0.2, world.clock.now_s()))
    assert heir.pages.bets("local").staked == pytest.approx(1.0 + 2.0 / 8)
    assert world.process("other").pages.bets("elsewhere") == BetLedger()
