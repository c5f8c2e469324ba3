"""Machines as the life of a task meets them: a main and a runner that lose answers, crash, restart and are cloned.

They only do what a bot does. What must hold whatever they do is in `test_life_machine`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from server import bot_management, task_scheduler
from server.bot_session import Token
from server.prewarm_gate import GateRefused
from server.service import Service
from server.task_scheduler import Delivery, HoldsRun, NotNow, SessionGone
from tests.life_world import LifeWorld, Machine, Run, end, hand_out, keep_alive, start

GIVEN, CODE, STOPPING, REFUSED = "given", "code", "stopping", "refused"


@dataclass(frozen=True)
class Copy:
    """A request that is still on its way: a poll with `token`, a handshake of `session`, or word of `run`."""

    send: Callable[[Service], object]
    token: Token | None = None
    session: str = ""
    run: Run | None = None


@dataclass
class Runner:
    """A runner and how far it is: `given` until its start is acknowledged, then user code runs."""

    run: Run
    phase: str = GIVEN


@dataclass
class ModelBot:
    """One machine. Late copies of what it sends go to `late`; starts of user code are counted in `code_starts`."""

    world: LifeWorld
    bot_id: str
    name: str
    late: list[Copy]
    code_starts: Counter[str]
    code_runs_on: dict[str, set[str]]
    runner: Runner | None = None
    orphans: list[Runner] = field(default_factory=list)
    token: Token | None = None
    sessions: int = 0

    def __post_init__(self) -> None:
        self._wire = Machine(self.world, self.bot_id, self.name)

    # ---- main

    def restarts(self, service: Service, *, lost: bool, copied: bool, runner_lives: bool) -> None:
        """Main starts anew; its former runner lives on as an orphan, or dies with it (a reboot)."""
        runners = self.all_runners()
        self.runner, self.orphans = None, runners if runner_lives else []
        for runner in runners if not runner_lives else []:
            self._code_ends(runner)
        self.sessions += 1
        self.shakes_hands(service, lost=lost, copied=copied)

    def shakes_hands(self, service: Service, *, lost: bool, copied: bool) -> None:
        """The handshake, which is repeated until it is answered."""
        session = f"{self.bot_id}/{self.name}/{self.sessions}"
        if copied:
            self.late.append(Copy(lambda other: self._wire.repeat_handshake(other, session), session=session))
        token = self._wire.repeat_handshake(service, session)
        self.token = None if lost else token

    def polls(self, service: Service, *, lost: bool, copied: bool) -> bool:
        """Main polls; it does so only while no runner of its own is on. False when it has to start anew."""
        token = self.token
        assert token is not None and self.runner is None
        if copied:
            self.late.append(Copy(lambda other: self._late_poll(other, token), token=token))
        try:
            answer = self._wire.lost_poll(service, token)
        except SessionGone:
            if not lost:
                self.token, self.sessions = None, self.sessions + 1
            return False
        if not lost:
            self._takes(answer.token, answer.delivery)
        return True

    def is_warmed(self, service: Service, for_task: str, *, lost: bool) -> Delivery | None:
        """A poll for which the plan has background work; what was handed out for it."""
        token = self.token
        assert token is not None and self.runner is None
        try:
            bot_management.merge_report(service, token, self._wire.says())
            delivery = hand_out(service, token, for_task=for_task)
        except (SessionGone, GateRefused, HoldsRun, NotNow):
            return None
        if not lost:
            self._takes(token.with_claim(delivery.n), delivery)
        return delivery

    def _takes(self, token: Token, delivery: Delivery | None) -> None:
        self.token = token
        if delivery is not None:
            self.runner = Runner(Run(delivery.task_id, token, delivery))

    def _late_poll(self, service: Service, token: Token) -> None:
        with contextlib.suppress(SessionGone):
            self._wire.lost_poll(service, token)

    # ---- runner

    def all_runners(self) -> list[Runner]:
        """Its own and those of former mains."""
        return [*self.orphans, *([self.runner] if self.runner else [])]

    def starts(self, runner: Runner, service: Service, *, lost: bool, copied: bool) -> None:
        """The start update; user code begins with its acknowledgement."""
        if copied:
            self.late.append(Copy(lambda other: start(other, runner.run), run=runner.run))
        answer = start(service, runner.run)
        if lost:
            return
        if answer.must_stop:
            runner.phase = REFUSED
            return
        runner.phase = CODE
        task = runner.run.task_id
        self.code_starts[task] += 1
        self.code_runs_on.setdefault(task, set()).add(self.name)

    def says_more(self, runner: Runner, service: Service, output: bytes) -> None:
        """Output or a keep-alive; the answer may tell it to stop."""
        if keep_alive(service, runner.run, output).must_stop:
            runner.phase = STOPPING

    def ends(self, runner: Runner, service: Service, how: str, *, lost: bool, copied: bool) -> None:
        """The last update, or an error; it goes when that is acknowledged."""

        def send(other: Service) -> None:
            if how in ("error", "hand back"):
                run, leaves = runner.run, how == "hand back"
                task_scheduler.task_error(other, run.token, run.task_id, "it failed", {}, handed_back=leaves)
            elif runner.phase == REFUSED:
                end(other, runner.run, None, canceled=True)
            else:
                end(other, runner.run, 3 if how == "failure" else 0)

        if copied:
            self.late.append(Copy(send, run=runner.run))
        send(service)
        if not lost:
            self.goes(runner)

    def goes(self, runner: Runner) -> None:
        """It is gone, acknowledged or not; main, if it is still there, polls with the runner's token."""
        self._code_ends(runner)
        if runner is self.runner:
            self.runner = None
            self.token = runner.run.token
        else:
            self.orphans = [orphan for orphan in self.orphans if orphan is not runner]

    def _code_ends(self, runner: Runner) -> None:
        if runner.phase in (CODE, STOPPING):
            self.code_runs_on[runner.run.task_id].discard(self.name)
