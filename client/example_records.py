"""What the example keeps of its run, read back from the server and from the tasks' own output; figures and claims."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from client.api import Api, seconds, state_name
from client.tables import value_of_tag
from server.proto import swarming_pb2 as swarming

COLD, WARM, ROLLOVER, PREEMPT = "cold", "warm", "rollover", "preempt"
PHASES = (COLD, WARM, ROLLOVER, PREEMPT)


@dataclass(frozen=True, slots=True)
class Run:
    """One task as it ended; times in seconds since the epoch, 0 when it did not come to that.

    Attributes:
        phase: of the example, "" for a background task.
        wanted: the revision that it was told to work on, "" for a background task.
        purpose: of a background task, "" for a real one; `family`, `generation` and `spec_revision` go with it.
        report: the last line of its output, which it writes itself; empty when there is none.
        last_line: of its output, whatever it is.
    """

    id: str
    bot: str
    state: str
    exit_code: int
    created_s: float
    started_s: float
    completed_s: float
    phase: str = ""
    wanted: str = ""
    purpose: str = ""
    family: str = ""
    generation: str = ""
    spec_revision: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)
    last_line: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it ran to its end, and well."""
        return self.state == "COMPLETED" and self.exit_code == 0

    def how_it_ended(self) -> str:
        """State, exit code and last word, for people."""
        kind = f"Task {self.id} ({self.phase})" if self.phase else f"The background task {self.id}"
        said = self.last_line[:500] or "it said nothing"
        return f"{kind} on {self.bot or 'no bot'} ended as {self.state}, exit code {self.exit_code}: {said}"

    @property
    def ran_s(self) -> float:
        """How long it held its bot."""
        return max(0.0, self.completed_s - self.started_s) if self.started_s else 0.0

    @property
    def revision(self) -> str:
        """What its checkout was at, by `git rev-parse HEAD`."""
        return str(self.report.get("revision", ""))

    @property
    def was_warm(self) -> bool:
        """Whether it found its revision checked out and built."""
        return bool(self.report.get("warm"))

    @property
    def cache_bytes_before(self) -> int:
        """What the cache held when it began."""
        return int(self.report.get("cache_bytes_before", 0))

    @property
    def submit_to_useful_s(self) -> float:
        """From the server's record of its creation until its tests could begin."""
        return float(self.report.get("useful_at", 0.0)) - self.created_s


@dataclass(slots=True)
class Story:
    """A whole run of the example."""

    family: str
    bots: list[str]
    began_s: float
    specs_s: float = 0.0
    """When the spec was registered: no bot was warmed before."""
    old: str = ""
    new: str = ""
    rollover_s: float = 0.0
    """When the new generation was registered, by the clock of this process after the server's answer."""
    new_spec_revision: int = 0
    preempt_bound_s: float = 0.0
    victim: str = ""
    tasks: list[Run] = field(default_factory=list)
    background: list[Run] = field(default_factory=list)

    def of_phase(self, phase: str) -> list[Run]:
        """Real tasks of a phase."""
        return [task for task in self.tasks if task.phase == phase]

    def prewarms(self) -> list[Run]:
        """Background runs that made the family's state."""
        return [run for run in self.background if run.family == self.family and run.succeeded]

    def used(self) -> list[Run]:
        """Those of them whose state a real task found, before the next one on the same bot."""
        return [run for run in self.prewarms() if self._is_used(run)]

    def _is_used(self, run: Run) -> bool:
        later = [other.completed_s for other in self.prewarms() if other.bot == run.bot]
        until_s = min((at_s for at_s in later if at_s > run.completed_s), default=float("inf"))
        return any(
            task.bot == run.bot
            and task.was_warm
            and task.revision == run.revision
            and run.completed_s <= task.started_s < until_s
            for task in self.tasks
        )

    def stale_after_rollover(self) -> list[Run]:
        """Background runs for a former generation that were created after the new one was registered."""
        return [
            run
            for run in self.background
            if run.family == self.family
            and self.rollover_s
            and run.created_s > self.rollover_s
            and run.spec_revision < self.new_spec_revision
        ]

    def preempting(self) -> Run | None:
        """The real task that a background run had to make room for."""
        return next(iter(self.of_phase(PREEMPT)), None)


def figures(story: Story) -> dict[str, Any]:
    """The example's answer."""
    preempting = story.preempting()
    waited_s = preempting.started_s - preempting.created_s if preempting and preempting.started_s else None
    return {
        "tasks": [
            {
                "id": task.id,
                "phase": task.phase,
                "bot": task.bot,
                "revision": task.revision,
                "cache_bytes_before": task.cache_bytes_before,
                "warm": task.was_warm,
                "submit_to_useful_s": round(task.submit_to_useful_s, 3) if task.report else None,
            }
            for task in story.tasks
        ],
        "cold": _summary(story.of_phase(COLD)),
        "warm": _summary(story.of_phase(WARM)),
        "background_s": round(sum(run.ran_s for run in story.background), 3),
        "prewarms": len(story.prewarms()),
        "used": len(story.used()),
        "stale_after_rollover": len(story.stale_after_rollover()),
        "preempt_start_s": None if waited_s is None else round(waited_s, 3),
    }


def _summary(tasks: Sequence[Run]) -> dict[str, Any]:
    times = [task.submit_to_useful_s for task in tasks if task.report]
    return {
        "n": len(times),
        "mean_s": round(statistics.fmean(times), 3) if times else None,
        "p50_s": round(statistics.median(times), 3) if times else None,
    }


def broken_claims(story: Story) -> list[str]:
    """What the example promises and this run did not show, a sentence each; empty when it showed all."""
    return [
        *_tasks_did_their_work(story),
        *_cold_was_cold(story),
        *_prewarmed_before_any_task(story),
        *_warm_was_warm(story),
        *_moved_to_the_new_generation(story),
        *_made_room(story),
    ]


def _tasks_did_their_work(story: Story) -> list[str]:
    broken = []
    for task in story.tasks:
        if not task.succeeded:
            broken.append(task.how_it_ended())
        elif task.revision != task.wanted:
            broken.append(f"Task {task.id} worked on {task.revision or 'nothing'}, not on {task.wanted}.")
    return broken


def _cold_was_cold(story: Story) -> list[str]:
    return [
        f"Task {task.id} found {task.cache_bytes_before} bytes in the cache of {task.bot}, which was to be cold."
        for task in story.of_phase(COLD)
        if task.was_warm or task.cache_bytes_before
    ]


def _prewarmed_before_any_task(story: Story) -> list[str]:
    """Each bot of the warm phase that no cold task had used was warmed in the background first."""
    if not story.prewarms():
        return ["No prewarm happened: no background task made the state."]
    broken = []
    for bot in sorted({task.bot for task in story.of_phase(WARM)} - {task.bot for task in story.of_phase(COLD)}):
        first_s = min(task.started_s for task in story.tasks if task.bot == bot)
        if not any(run.bot == bot and 0 < run.completed_s <= first_s for run in story.prewarms()):
            broken.append(f"{bot} was not prewarmed before its first task of that kind.")
    return broken


def _warm_was_warm(story: Story) -> list[str]:
    cold, warm = story.of_phase(COLD), story.of_phase(WARM)
    broken = [
        f"Task {task.id} was to find {task.bot} warm and found {task.cache_bytes_before} bytes, at another revision."
        for task in warm
        if not task.was_warm
    ]
    if not warm or not cold:
        return [*broken, f"There were {len(cold)} cold and {len(warm)} warm tasks to compare."]
    cold_s = statistics.fmean(task.submit_to_useful_s for task in cold)
    warm_s = statistics.fmean(task.submit_to_useful_s for task in warm)
    if warm_s >= cold_s:
        broken.append(f"Warm tasks were not faster: {warm_s:.2f} s, cold ones {cold_s:.2f} s.")
    return broken


def _moved_to_the_new_generation(story: Story) -> list[str]:
    """Half of the bots at least: how many more is a question of what each further one is worth."""
    broken = [
        f"{run.bot} was warmed by revision {run.spec_revision} of the spec after {story.new_spec_revision} was saved."
        for run in story.stale_after_rollover()
    ]
    moved = {run.bot for run in story.prewarms() if story.new and run.revision == story.new}
    if len(moved) < len(story.bots) / 2:
        broken.append(f"Only {len(moved)} of {len(story.bots)} bots moved to the new generation.")
    tasks = story.of_phase(ROLLOVER)
    broken += [
        f"Task {task.id} did not find {task.bot} warm for the new generation." for task in tasks if not task.was_warm
    ]
    return broken if tasks else [*broken, "No task ran on the new generation."]


def _made_room(story: Story) -> list[str]:
    task = story.preempting()
    victim = next((run for run in story.background if run.id == story.victim), None)
    if task is None or victim is None:
        return ["No real task had to take its bot from a background task."]
    if victim.bot != task.bot or not victim.started_s or victim.completed_s < task.created_s:
        return [f"The background task {victim.id} did not run on {task.bot} when the real task came."]
    waited_s = task.started_s - task.created_s
    if not task.started_s or waited_s > story.preempt_bound_s:
        return [f"The real task waited {waited_s:.1f} s for its bot, the bound is {story.preempt_bound_s:g} s."]
    return []


def run_of(api: Api, task: swarming.TaskResultResponse, phase: str = "", wanted: str = "") -> Run:
    """A task as the server tells it, with the report in its output."""
    state = state_name(task)
    lines = b"".join(api.stdout(task.task_id)).decode("utf-8", "replace").splitlines()
    return Run(
        id=task.task_id,
        bot=task.bot_id,
        state=state,
        exit_code=int(task.exit_code),
        created_s=seconds(task.created_ts),
        started_s=seconds(task.started_ts),
        completed_s=seconds(task.completed_ts) or seconds(task.abandoned_ts),
        phase=phase,
        wanted=wanted,
        purpose=value_of_tag(task.tags, "purpose"),
        family=value_of_tag(task.tags, "spec"),
        generation=task.name.partition("@")[2] if not phase else "",
        spec_revision=int(value_of_tag(task.tags, "spec_revision") or 0),
        report=report_in(lines),
        last_line=next((line for line in reversed(lines) if line.strip()), ""),
    )


def report_in(lines: Iterable[str]) -> dict[str, Any]:
    """The last line that is a JSON object, which a task of the example writes about itself; empty without one."""
    for line in reversed(list(lines)):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                return found
    return {}
