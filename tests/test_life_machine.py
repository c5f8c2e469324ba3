"""Whatever bots, clones, processes, users and sweeps do, and in whatever order: the invariants I1 to I10 hold."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server import bot_management, jobs, sweeps, switch, task_stops
from server.access import LOCAL_USER
from server.policy.outcome import Preempt
from server.records.task import FINAL, TaskToRun
from server.service import Service
from server.sweep_schedule import Beat
from server.task_life import State
from server.task_transition import state_of
from tests.life_invariants import HELD, Invariants
from tests.life_model import CODE, GIVEN, REFUSED, Copy, ModelBot
from tests.life_world import LifeWorld, end, start

PROCESSES = st.sampled_from([0, 1])
BOTS = st.sampled_from([0, 0, 2, 1])
FAULT = st.sampled_from([False] * 5 + [True])
FRESH = st.sampled_from([True, True, False])
NEXT = st.sampled_from(["silence", "success", "output", "silence", "failure", "error", "hand back"])
MOVES = st.tuples(BOTS, PROCESSES, FRESH, FAULT, FAULT, NEXT, st.sampled_from(["poll", "poll", "warm", "cover"]))
THEN = st.lists(MOVES, min_size=4, max_size=9)
"""Moves of bots come after whatever else happens: they are what there is most of."""
MISHAPS = st.sampled_from(["dies", "reboots", "crashes"])
PICK = st.integers(0, 7)
SWEEPS = st.sampled_from([None, sweeps.lapse_claims, sweeps.expire_tasks, sweeps.declare_deaths])
Sweep = Callable[[Service, Beat], None]
Moves = list[tuple[int, int, bool, bool, bool, str, str]]
PLACES = {"anywhere": {}, "bot1": {"id": "bot1"}, "nowhere": {"cpu": "none-has-it"}}
MOST_TASKS = 8


class LifeMachine(RuleBasedStateMachine):
    """Two processes, each with a view that only looks when told to; bot1, a clone of it, and bot2."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.world = LifeWorld(self.folder)
        self.world.prewarming()
        self.looks = [service.view.refresh for service in self.world.services]
        for service in self.world.services:
            self.world.freeze(service)
        self.looked: list[tuple[int, float]] = [(-1, 0.0), (-1, 0.0)]
        self.late: list[Copy] = []
        self.must = Invariants(self.world)
        self.bots = [
            ModelBot(self.world, bot_id, name, self.late, self.must.code_starts, self.must.code_runs_on)
            for bot_id, name in (("bot1", "first"), ("bot1", "clone"), ("bot2", "other"))
        ]
        for bot in (self.bots[0], self.bots[2]):
            bot.restarts(self.world.p1, lost=False, copied=False, runner_lives=False)
        for where in ("anywhere", "bot1", "anywhere"):
            self._new_task(0, where)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.everything_ends()
            finally:
                self.world.close()
                shutil.rmtree(self.folder)

    def look(self, number: int) -> None:
        """That process sees the fleet as it is; nothing new costs nothing."""
        at = self.world.store.ops.totals().writes, self.world.clock.now_s()
        if self.looked[number] != at:
            self.looked[number] = at
            self.looks[number](force=True)

    @invariant()
    def invariants_hold(self) -> None:
        if hasattr(self, "world"):
            self.must.hold()

    # ---- bots

    @rule(then=THEN)
    def bots_go_on(self, then: Moves) -> None:
        """Each time one bot does what comes next: handshake, poll, start, output or end."""
        for number, process, fresh, lost, copied, how, work in then:
            if fresh:
                self.look(process)
            bot, service = self.bots[number], self.world.services[process]
            if not bot.all_runners() or (how == "output" and bot.runner is None):
                self._main_goes_on(bot, service, lost, copied, work)
            else:
                self._runner_goes_on(bot, service, lost, copied, how)
            self.must.hold()

    def _runner_goes_on(self, bot: ModelBot, service: Service, lost: bool, copied: bool, how: str) -> None:
        runners = bot.all_runners()
        runner = runners[-1]
        with self._only_the_claim(runner.run.task_id, runner.run.delivery.n):
            if runner.phase == GIVEN:
                bot.starts(runner, service, lost=lost, copied=copied)
                assert runner.phase != CODE or runner.run.task_id not in self.must.canceled, "I10"
            elif how in ("output", "silence") and runner.phase != REFUSED:
                bot.says_more(runner, service, b"hello" if how == "output" else b"")
            else:
                bot.ends(runner, service, how, lost=lost, copied=copied)

    def _main_goes_on(self, bot: ModelBot, service: Service, lost: bool, copied: bool, work: str) -> None:
        if bot.token is None:
            bot.sessions += bot.sessions == 0
            bot.shakes_hands(service, lost=lost, copied=copied)
            return
        if work != "poll":
            self._is_warmed(bot, service, lost, work == "cover")
            return
        behind = bot.token.claim
        if bot.polls(service, lost=lost, copied=copied):
            held = self.must.now().bots[bot.bot_id].held
            assert not (behind and held and held["n"] == behind), "I8: a run that its bot has behind it"

    @contextmanager
    def _only_the_claim(self, task: str, n: int) -> Iterator[None]:
        """What anybody but the claim's run says changes nothing of the task (C0)."""
        before = self.must.now().results[task]
        yield
        if before.claim is None or before.claim["n"] != n:
            after = self.must.now().results[task]
            assert (after.state, after.claim, after.stop) == (before.state, before.claim, before.stop), "C0"

    def _is_warmed(self, bot: ModelBot, service: Service, lost: bool, cover: bool) -> None:
        """A poll for which the plan has background work; on demand, for the task that waits longest."""
        before = self.must.now()
        pending = [task for task, queue in before.queues.items() if queue.status == "pending"]
        waiting = (pending or self.must.real)[0] if cover else ""
        delivery = bot.is_warmed(service, waiting, lost=lost)
        if delivery is None:
            return
        self.must.tasks.append(delivery.task_id)
        assert not (before.gate and before.gate.stopped), "a hand-out past the switch"
        if waiting:
            assert before.queues[waiting].status == "pending", "a cover for nobody"
            assert waiting not in before.covered(), "I6: a second cover"
            assert not before.victim_holds(waiting, self.world.clock.now_s()), "H17: a cover beside a victim"

    @rule(bot=BOTS, process=PROCESSES, lost=FAULT, copied=st.booleans(), what=MISHAPS)
    def accident(self, bot: int, process: int, lost: bool, copied: bool, what: str) -> None:
        """A runner dies; a machine reboots; a main is killed and its runner lives on."""
        hurt = self.bots[bot]
        if what != "dies":
            alive = what == "crashes"
            hurt.restarts(self.world.services[process], lost=lost, copied=copied, runner_lives=alive)
        elif hurt.all_runners():
            hurt.goes(hurt.all_runners()[-1])

    @rule(bot=st.sampled_from(["bot1", "bot2"]), process=PROCESSES)
    def bot_is_taken_for_dead(self, bot: str, process: int) -> None:
        task_stops.declare_dead(self.world.services[process], bot, self.world.clock.now_s())

    @precondition(lambda self: self.late)
    @rule(pick=PICK, process=PROCESSES, handshake=st.booleans())
    def late_copy_arrives(self, pick: int, process: int, handshake: bool) -> None:
        among = [copy for copy in self.late if copy.session] if handshake else []
        among = among or self.late
        copy, service = among[pick % len(among)], self.world.services[process]
        self.late.remove(copy)
        before = self.must.now()
        if copy.run is not None:
            with self._only_the_claim(copy.run.task_id, copy.run.delivery.n):
                copy.send(service)
            return
        copy.send(service)
        after = self.must.now()
        for bot, known in before.bots.items():
            if known and any(old["session"] == copy.session for old in known.superseded):
                assert after.bots[bot].session_id == known.session_id, "H7: a late handshake took the bot"
        if copy.token is not None:
            for task, result in before.results.items():
                running = state_of(result) in (State.RUNNING, State.STOPPING)
                assert not running or after.results[task].state == "RUNNING", "H6: a late poll ended a run"

    # ---- users

    def _new_task(self, process: int, where: str) -> None:
        task = self.world.new_task(self.world.services[process], dimensions=PLACES[where])
        self.must.tasks.append(task)
        self.must.real.append(task)

    @rule(process=PROCESSES, where=st.sampled_from(sorted(PLACES)), then=THEN)
    def task_is_made(self, process: int, where: str, then: Moves) -> None:
        if len(self.must.real) < MOST_TASKS:
            self._new_task(process, where)
        self.bots_go_on(then)

    @rule(pick=PICK, process=PROCESSES, kill=st.sampled_from([True, False]), held=st.booleans(), then=THEN)
    def task_is_canceled(self, pick: int, process: int, kill: bool, held: bool, then: Moves) -> None:
        """Any task, or one that a bot holds."""
        results = self.must.now().results
        among = [one for one in results if state_of(results[one]) in HELD] if held else []
        among = among or self.must.tasks
        task = among[pick % len(among)]
        canceled, was_running = self.world.cancel(task, self.world.services[process], kill)
        if canceled:
            (self.must.killed if was_running else self.must.canceled).add(task)
        self.bots_go_on(then)

    @rule(process=PROCESSES, stopped=st.sampled_from([False, False, True]))
    def switch_is_set(self, process: int, stopped: bool) -> None:
        service = self.world.services[process]
        switch.set_switch(service, LOCAL_USER, stopped)
        while jobs.run_due(service).ran:
            pass
        if stopped:
            for entry in self.world.entries():
                assert state_of(self.world.result(entry)) is State.STOPPING, "the switch left a run alone"

    @precondition(lambda self: self.world.entries())
    @rule(pick=PICK, other=PICK, process=PROCESSES, own=st.booleans())
    def run_is_preempted(self, pick: int, other: int, process: int, own: bool) -> None:
        """For any task, or for the one that counts on that very run."""
        before = self.must.now()
        entry = before.gate.entries[pick % len(before.gate.entries)]
        waiting = (own and entry["for"]) or self.must.real[other % len(self.must.real)]
        wanted = Preempt(entry["bot"], entry["n"], entry["task"], waiting, "It waits.")
        if task_stops.preempt(self.world.services[process], wanted):
            assert before.queues[waiting].status == "pending", "a run stopped for nobody"
            assert waiting not in before.covered(), "H17: a task stops its own warm-up"
            assert not before.results[entry["task"]].stop, "H15: two victims' marks on one run"
            assert not before.victim_holds(waiting, self.world.clock.now_s()), "I6: a second victim"
            served = before.queues.get(entry["for"])
            assert served is None or served.status != "pending", "H17: a run that a task counts on"

    # ---- time

    @rule(process=PROCESSES, seconds=st.sampled_from([1, 5, 31, 62]), sweep=SWEEPS, then=THEN)
    def time_passes(self, process: int, seconds: int, sweep: Sweep | None, then: Moves) -> None:
        self.world.clock.advance(seconds)
        if sweep is not None:
            sweep(self.world.services[process], self.world.beat())
        self.bots_go_on(then)

    # ---- in the end

    def everything_ends(self) -> None:
        """I2, I7: from wherever things are, one healthy bot is enough to bring every task to an end."""
        world = self.world
        for bot in self.bots:
            if bot.token is not None or bot.all_runners():
                bot.restarts(world.p1, lost=False, copied=False, runner_lives=False)
        world.clock.advance(100)
        self.look(0)
        sweeps.lapse_claims(world.p2, world.beat())
        sweeps.expire_tasks(world.p2, world.beat())
        bot_management.release(world.p1, LOCAL_USER, "bot1")
        healthy = ModelBot(world, "bot1", "healthy", [], Counter(), {})
        healthy.restarts(world.p1, lost=False, copied=False, runner_lives=False)
        for _ in range(4 * len(self.must.tasks)):
            self.look(0)
            if all("cpu" in dict(entry.policy.dimensions) for entry in world.p1.view.pending()):
                break
            healthy.polls(world.p1, lost=False, copied=False)
            if healthy.runner is not None:
                run = healthy.runner.run
                assert not start(world.p2, run).must_stop
                assert end(world.p2, run).ok
                healthy.goes(healthy.runner)
            world.clock.advance(2)
        self.must.hold()
        for task in [one for one in self.must.real if world.state(one) not in FINAL]:
            assert world.queue(task) == "pending", "I2: it neither waits nor ended"
            assert "cpu" in dict(world.record(TaskToRun, task).dimensions), "I7: a task that fits was not started"
        world.clock.advance(601)
        sweeps.expire_tasks(world.p2, world.beat())
        assert all(result.state in FINAL for result in self.must.now().results.values()), "I2"
        assert world.entries() == []


TestLife = LifeMachine.TestCase
TestLife.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
