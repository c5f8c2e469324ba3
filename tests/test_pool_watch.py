"""A pool that loses goes to shadow mode by itself: bets end, what is owed goes on, and it comes back."""

from __future__ import annotations

import pytest

from server import audit, errors, fleet_report, pool_watch
from server.access import LOCAL_USER, OPERATOR, Principal
from server.policy.model import Gate
from server.policy.self_disabling import YOUNG_S
from server.prewarm_gate import GateRefused
from server.service import Service
from tests.life_world import FAMILY, LIVE, POOL, LifeWorld, Machine, end, hand_out, start


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def sweep(world: LifeWorld, service: Service | None = None) -> None:
    """A minute passes, pages go round, and one process looks at all pools."""
    world.clock.advance(60)
    for one in world.services:
        one.pages.flush()
    world.fresh()
    pool_watch.sweep(service or world.p1, world.beat())
    world.fresh()


def losing(world: LifeWorld) -> list[Machine]:
    """A live pool with two idle bots, whose background work brought nothing; it just found that out."""
    world.prewarming(expected_per_h=1000)
    machines = [Machine(world), Machine(world, "bot2")]
    for machine in machines:
        machine.handshake()
    run = machines[0].warms()
    start(world.p1, run)
    world.p1.pages.spent(POOL, FAMILY, 50_000.0, world.clock.now_s())
    end(world.p1, run)
    sweep(world)
    return machines


def test_it_says_so_everywhere_and_hands_out_no_more_bets(world: LifeWorld) -> None:
    _, bot = losing(world)
    assert [service.view.watch(POOL).is_shadow for service in world.services] == [True, True]
    assert bot.poll().delivery is None
    why = plain(fleet_report.why_bot(world.p2, LOCAL_USER, "bot2")["sentence"])
    assert why.startswith("shadow: would have warmed bot2 for src@r1. The ledger refused: 13 h 52 m of background")
    assert why.endswith("so p went to shadow mode by itself, for another 2 h.")
    pool = fleet_report.fleet(world.p2, LOCAL_USER)["pools"][0]
    assert (pool["mode"], pool["self_shadow"]["times"]) == ("live", 1)
    ledger = next(gate for gate in pool["gates"] if gate["gate"] == "ledger")
    assert not ledger["passed"] and "./pilot start --pool p" in ledger["would_change"]
    (entry,) = [one for one in audit.recent(world.p1) if one.what == "pool.shadow"]
    assert (entry.who, entry.target) == ("service:pilotlight", POOL)


def test_a_claim_reads_it_in_its_transaction(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=1000)
    bot, other = Machine(world), Machine(world, "bot2")
    bot.handshake(), other.handshake()
    run = bot.warms()
    start(world.p1, run)
    end(world.p1, run)
    world.freeze(world.p2)
    world.p1.pages.spent(POOL, FAMILY, 50_000.0, world.clock.now_s())
    pool_watch.sweep(world.p1, world.beat())
    assert not world.p2.view.watch(POOL).is_shadow
    with pytest.raises(GateRefused) as caught:
        hand_out(world.p2, other.token)
    assert caught.value.refused.gate is Gate.LEDGER


def test_what_is_owed_goes_on(world: LifeWorld) -> None:
    _, bot = losing(world)
    assert bot.warms(for_task=world.new_task(dimensions={"device": "none has it"}))


def test_it_comes_back_by_itself_and_what_it_lost_is_forgiven(world: LifeWorld) -> None:
    losing(world)
    world.clock.advance(2 * 3600)
    sweep(world)
    assert not world.p2.view.watch(POOL).is_shadow
    sweep(world, world.p2)
    assert not world.p2.view.watch(POOL).is_shadow
    bot = Machine(world, "bot3")
    bot.handshake()
    world.clock.advance(1)
    world.fresh()
    assert bot.poll().delivery is not None
    assert next(one.what for one in audit.recent(world.p1)) == "pool.back"


def test_an_operator_lets_it_go_on_at_once(world: LifeWorld) -> None:
    losing(world)
    assert pool_watch.start_again(world.p2, LOCAL_USER, POOL, "it was a broken disk")
    assert not world.p2.view.watch(POOL).is_shadow
    sweep(world)
    assert not world.p1.view.watch(POOL).is_shadow
    assert not pool_watch.start_again(world.p2, LOCAL_USER, POOL)
    entry = next(one for one in audit.recent(world.p1) if one.what == "pool.start")
    assert (entry.who, entry.detail["why"]) == ("user:local", "it was a broken disk")


def test_only_who_may_edit_specs_of_the_pool_may_do_that(world: LifeWorld) -> None:
    losing(world)
    elsewhere = Principal("user:ann", OPERATOR, frozenset({"lab"}))
    with pytest.raises(errors.PermissionDenied):
        pool_watch.start_again(world.p1, elsewhere, POOL)
    with pytest.raises(errors.FieldErrors):
        pool_watch.start_again(world.p1, LOCAL_USER, POOL, "x" * 1001)
    assert world.p1.view.watch(POOL).is_shadow


def test_the_api_and_the_page_let_it_go_on(world: LifeWorld) -> None:
    losing(world)
    client = world.client(world.p1)
    assert client.post(f"/api/v1/pools/{POOL}/start", json={"why": "x"}).json == {"pool": POOL, "started": True}
    assert client.post(f"/api/v1/pools/{POOL}/start", json={}).json == {"pool": POOL, "started": False}


def test_two_processes_that_sweep_at_once_write_it_once(world: LifeWorld) -> None:
    losing(world)
    world.clock.advance(2 * 3600)
    world.fresh()
    world.freeze(world.p2)
    pool_watch.sweep(world.p1, world.beat())
    pool_watch.start_again(world.p1, LOCAL_USER, POOL)
    pool_watch.sweep(world.p2, world.beat())
    assert [one.what for one in audit.recent(world.p1)].count("pool.back") == 1


def test_a_look_at_a_pool_that_is_well_costs_no_read_and_no_write(world: LifeWorld) -> None:
    world.prewarming()
    Machine(world).handshake()
    world.p1.pages.merge()
    with world.store.ops.measure() as measured:
        pool_watch.sweep(world.p1, world.beat())
    assert (measured.reads, measured.writes, measured.queries) == (0, 0, 0)


# ---- which starts count for a collapse


def starts(world: LifeWorld) -> tuple[float, float]:
    sums = world.p1.pages.starts(POOL)
    return round(sums.every[0], 1), round(sums.cold[0], 1)


def runs(world: LifeWorld, bot: Machine, wish: str) -> None:
    run = bot.takes(world.new_task(tags=[f"warm:{wish}"] if wish else []))
    start(world.p1, run)
    end(world.p1, run)
    world.fresh()


def test_cold_starts_count_unless_the_generation_is_new_or_another(world: LifeWorld) -> None:
    world.prewarming()
    world.configure(**LIVE)
    bot = Machine(world)
    bot.handshake()
    runs(world, bot, f"{FAMILY}@r1")
    assert starts(world) == (0, 0), "it is new"
    world.clock.advance(YOUNG_S + 60)
    bot.handshake()
    runs(world, bot, f"{FAMILY}@r1")
    runs(world, bot, f"{FAMILY}@r0")
    runs(world, bot, FAMILY)
    runs(world, bot, "")
    assert starts(world) == (2, 1)
