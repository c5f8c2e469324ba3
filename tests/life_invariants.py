"""What must hold of the records after every step of the life machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from server.records import get_multi, key_of
from server.records.task import FINAL
from server.task_life import State
from server.task_transition import state_of
from tests.life_world import POOL, LifeWorld

HELD = (State.OFFERED, State.RUNNING, State.STOPPING)
RANKS = {"PENDING": 0, "RUNNING": 1}


@dataclass(frozen=True)
class Records:
    """All records at one moment."""

    results: dict[str, Any]
    queues: dict[str, Any]
    bots: dict[str, Any]
    gate: Any

    def covered(self) -> list[str]:
        """The tasks that count on a warm-up."""
        return [entry["for"] for entry in (self.gate.entries if self.gate else []) if entry["for"]]

    def victim_holds(self, task: str, now_s: float) -> bool:
        """Whether a run is being stopped for the task."""
        mark = self.queues[task].victim
        if not mark or mark["until_s"] <= now_s:
            return False
        bot = self.bots[mark["bot"]]
        return bool(bot and bot.held and bot.held["n"] == mark["n"])


class Invariants:
    """I1 to I10, with what was seen and promised so far."""

    def __init__(self, world: LifeWorld) -> None:
        self._world = world
        self.tasks: list[str] = []
        self.real: list[str] = []
        self.code_starts: Counter[str] = Counter()
        self.code_runs_on: dict[str, set[str]] = {}
        self.canceled: set[str] = set()
        self.killed: set[str] = set()
        self._ends: dict[str, tuple] = {}
        self._shown: dict[str, int] = {}
        self._read_at: tuple[int, int] = (-1, -1)
        self._records = Records({}, {}, {}, None)
        self._held_at: tuple[int, int] = (-1, -1)

    def now(self) -> Records:
        """The records as they stand; read anew only when something was written."""
        at = self._world.store.ops.totals().writes, len(self.tasks)
        if at != self._read_at:
            names = [("TaskResult", one) for one in self.tasks] + [("TaskToRun", one) for one in self.real]
            names += [("Bot", "bot1"), ("Bot", "bot2"), ("PoolGate", POOL)]
            with self._world.store.context():
                found = get_multi(key_of(*name) for name in names)
            self._records = Records(
                dict(zip(self.tasks, found, strict=False)),
                dict(zip(self.real, found[len(self.tasks) :], strict=False)),
                {"bot1": found[-3], "bot2": found[-2]},
                found[-1],
            )
            self._read_at = at
        return self._records

    def hold(self) -> None:
        """Asserts all of them."""
        assert all(count <= 1 for count in self.code_starts.values()), "I1: user code started twice"
        assert all(len(where) <= 1 for where in self.code_runs_on.values()), "I1: user code on two machines"
        records = self.now()
        if self._held_at == self._read_at:
            return
        self._held_at = self._read_at
        for task, result in records.results.items():
            self._check_task(task, result)
        self._check_holders(records)
        self._check_gate(records)
        for task, queue in records.queues.items():
            waits = state_of(records.results[task]) is State.PENDING
            assert (queue.status == "pending") == waits, "the queue and the task disagree"
            assert bool(queue.expires_s) == waits, "it expires while it cannot"

    def _check_task(self, task: str, result: Any) -> None:
        rank = RANKS.get(result.state, 2)
        assert rank >= self._shown.get(task, 0), "I9: a client sees it go back"
        self._shown[task] = rank
        assert bool(result.claim_until_s) == (state_of(result) is State.OFFERED)
        if self.code_starts[task]:
            assert result.started_s, "user code without a start"
        if result.state in FINAL:
            ended = (result.state, result.exit_code, result.completed_s, result.abandoned_s, result.error)
            assert self._ends.setdefault(task, ended) == ended, "I3: an end changed"
            assert task not in self.killed or result.state == "KILLED", "I10: a kill was forgotten"
            assert task not in self.canceled or result.state == "CANCELED", "I10: a cancel was forgotten"
            assert result.state != "CANCELED" or not self.code_starts[task], "I10: user code of a canceled task"

    @staticmethod
    def _check_holders(records: Records) -> None:
        """I4 and I8: who holds what is the same in bot and task, and it is the current session's."""
        held = {bot.held["task"]: (name, bot.held["n"]) for name, bot in records.bots.items() if bot and bot.held}
        claimed = {
            task: (result.claim["bot"], result.claim["n"])
            for task, result in records.results.items()
            if state_of(result) in HELD
        }
        assert held == claimed, "I4, I8: bots and tasks disagree on who holds what"
        for bot in records.bots.values():
            if bot and bot.held:
                result = records.results[bot.held["task"]]
                assert bot.alive, "H9: a dead bot holds a run"
                assert result.claim["session"] == bot.session_id, "a former session holds a run"
                assert bool(bot.held["stop"]) == (state_of(result) is State.STOPPING), "H15: a stop is forgotten"

    @staticmethod
    def _check_gate(records: Records) -> None:
        entries = records.gate.entries if records.gate else []
        held = {
            (task, result.claim["bot"], result.claim["n"])
            for task, result in records.results.items()
            if result.purpose and state_of(result) in HELD
        }
        assert {(entry["task"], entry["bot"], entry["n"]) for entry in entries} == held, "I5"
        assert len(entries) == len(held), "I5: an entry twice"
        covered = records.covered()
        assert len(covered) == len(set(covered)), "I6: two covers"
