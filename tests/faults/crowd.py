"""Many stand-in bots that ask in the same moment, at several processes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.faults.stand_in import Line, Run, StandInBot


class Crowd:
    """Bots, each with a line to a process of its own choice: they alternate between the processes."""

    def __init__(
        self,
        urls: list[str],
        count: int,
        *,
        lines: list[Line] | None = None,
        prefix: str = "c",
        pool: str = "local",
    ) -> None:
        """Args:
        urls: of the processes; more than one for servers that share a store.
        count: how many bots.
        lines: to the workers of a server with several; the bots share them, so each is used by one thread at a time.
        prefix: of the bots' ids.
        pool: of the bots.
        """
        self.bots = [StandInBot(urls[number % len(urls)], f"{prefix}{number}", pool) for number in range(count)]
        self.busy: set[str] = set()
        """Bots with a run: their main does not poll."""
        self._lines = lines
        self._locks = [threading.Lock() for _ in lines or ()]
        self._pool = ThreadPoolExecutor(count)

    def boot(self) -> Crowd:
        """All shake hands."""
        for bot in self.bots:
            bot.boot()
        return self

    def runs(self) -> list[Run]:
        """All that have no run poll at once; what was handed out."""
        asking = [number for number, bot in enumerate(self.bots) if bot.bot_id not in self.busy]
        barrier = threading.Barrier(max(1, len(asking)))

        def ask(number: int) -> dict[str, Any]:
            barrier.wait()
            if not self._lines:
                return self.bots[number].ask()
            which = number % len(self._lines)
            with self._locks[which]:
                return self.bots[number].ask(self._lines[which])

        answers = list(self._pool.map(ask, asking))
        runs = [
            Run(self.bots[number], answer)
            for number, answer in zip(asking, answers, strict=True)
            if answer["cmd"] == "run"
        ]
        self.busy |= {run.bot.bot_id for run in runs}
        return runs

    def finish(self, runs: list[Run], exit_code: int = 0) -> None:
        """These runs start and end; their bots are free afterwards."""
        for run in runs:
            assert run.start()
            run.finish(exit_code)
            self.busy.discard(run.bot.bot_id)

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()
