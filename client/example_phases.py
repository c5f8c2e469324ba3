"""The example's course: cold tasks, prewarming, warm tasks, a new generation, a bot taken back. All of it real work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from client import sample_repository, samples
from client.api import Api, ApiError, is_final, quoted, seconds, wait_for_end
from client.example_records import COLD, PREEMPT, ROLLOVER, WARM, Run, Story, run_of
from client.run import task_request
from client.words import duration
from server.proto import swarming_pb2 as swarming

POOL = "example"
CACHE = "example_src"
TASK_WITHIN_S = 600.0
PREWARM_WITHIN_S = 240.0
QUIET_S = 6.0
"""When no background task has run for so long, none will."""
SOAK_RUNS_S = 3.0
LOOK_EVERY_S = 0.3
PREEMPT_SLACK_S = 3.0
"""On top of the second between two updates and the grace period: the start of a process on a busy machine."""


class ExampleFailed(Exception):
    """The example cannot go on; the text says what did not come, and why as far as the server knows."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it plays.

    Attributes:
        api: of its own server.
        folder: holds the repository and the script, side by side.
        bots: ids; the first half gets cold tasks.
        say: told of each step.
    """

    api: Api
    folder: Path
    bots: list[str]
    say: Callable[[str], None]

    @property
    def script(self) -> Path:
        """What tasks run."""
        return self.folder / samples.SCRIPT.name

    @property
    def repository(self) -> Path:
        """What they check out."""
        return self.folder / samples.REPOSITORY


def documents() -> dict[str, Any]:
    """The example's config and specs, names in capitals not yet filled in."""
    return dict(yaml.safe_load((samples.FOLDER / "example.yaml").read_text(encoding="utf-8")))


class Course:
    """Goes through the phases and keeps what comes of them in `story`."""

    def __init__(self, stage: Stage, revision: str) -> None:
        self._stage, self._api, self._say = stage, stage.api, stage.say
        self._specs = documents()
        self.story = Story(
            family=self._specs["source"]["family"],
            bots=list(stage.bots),
            began_s=time.time(),
            old=revision,
        )
        half = len(stage.bots) // 2
        self._cold_bots, self._idle_bots = stage.bots[:half], stage.bots[half:]

    def run(self) -> None:
        """All phases.

        Raises:
            ExampleFailed: one did not come to its end; what was recorded until then is in `story`.
        """
        try:
            self._wait_for_bots()
            self._cold_tasks()
            self._prewarm()
            self._warm_tasks()
            self._new_generation()
            self._take_back()
        except TimeoutError as error:
            raise ExampleFailed(str(error)) from error
        finally:
            self._read_background()

    def _wait_for_bots(self) -> None:
        wanted = set(self._stage.bots)
        self._until(
            lambda: wanted <= {bot.bot_id for bot in self._api.bots([("pool", POOL)])}, 60.0, "all bots to come"
        )

    def _cold_tasks(self) -> None:
        self._say(f"{len(self._cold_bots)} tasks on bots that have nothing: each clones, builds, tests")
        for bot in self._cold_bots:
            self._task(COLD, self.story.old, bot)

    def _prewarm(self) -> None:
        self._say(f"the spec is registered; {', '.join(self._idle_bots)} are idle and ran no task of that kind")
        spec = self._filled("source", REVISION=self.story.old)
        self._api.post("/specs", spec)
        self.story.specs_s = time.time()
        self._until(
            lambda: set(self._idle_bots) <= self._warmed_for(self.story.old) or self._refuse_failure(),
            PREWARM_WITHIN_S,
            f"{', '.join(self._idle_bots)} to be prewarmed",
        )

    def _warm_tasks(self) -> None:
        self._say("the same tasks again: on each prewarmed bot, then wherever the server sends them")
        for bot in [*self._idle_bots, *[""] * len(self._cold_bots)]:
            self._task(WARM, self.story.old, bot)

    def _new_generation(self) -> None:
        story = self.story
        story.new = sample_repository.commit_change(self._stage.repository)
        self._say(f"a new commit, {story.new[:10]}, becomes the new generation")
        current = self._api.get(f"/specs/{quoted(story.family)}")
        spec = self._filled("source", REVISION=story.new)
        story.new_spec_revision = self._api.put(f"/specs/{quoted(story.family)}", spec, current.revision).revision
        story.rollover_s = time.time()
        self._wait_while_it_spreads()
        for _ in self._idle_bots:
            self._task(ROLLOVER, story.new, "")

    def _wait_while_it_spreads(self) -> None:
        """Until all bots have moved, or no further one has for a while."""
        tags, quiet_since_s = [f"pool:{POOL}", f"spec:{self.story.family}"], time.monotonic()
        moved = 0
        while time.monotonic() - quiet_since_s < QUIET_S and moved < len(self._stage.bots):
            now = len(self._warmed_for(self.story.new))
            if now > moved or self._api.tasks(state="QUERY_PENDING_RUNNING", tags=tags):
                moved, quiet_since_s = now, time.monotonic()
            time.sleep(LOOK_EVERY_S)
        self._say(f"{moved} of {len(self._stage.bots)} bots moved to it")
        stayed = [bot for bot in self._stage.bots if bot not in self._warmed_for(self.story.new)]
        for sentence in self._reasons(stayed):
            self._say(f"  {sentence}")

    def _take_back(self) -> None:
        bot = self._idle_bots[-1]
        spec = self._filled("soak", REVISION=self.story.new, BOT=bot)
        self.story.preempt_bound_s = 1.0 + spec["task"]["grace_period_s"] + PREEMPT_SLACK_S
        self._api.post("/specs", spec)
        tags = [f"pool:{POOL}", f"spec:{spec['family']}"]
        self._until(
            lambda: [run for run in self._api.tasks(state="QUERY_RUNNING", tags=tags) if _has_run_s(run) > SOAK_RUNS_S],
            PREWARM_WITHIN_S,
            f"{bot} to run a long background task",
        )
        self.story.victim = self._api.tasks(state="QUERY_RUNNING", tags=tags)[0].task_id
        self._say(f"{bot} runs a long background task; now comes a real one that only {bot} can take")
        self._task(PREEMPT, self.story.new, bot)
        self._api.post(f"/specs/{quoted(spec['family'])}/retire", {"why": "the example has seen it"})
        self._until(lambda: is_final(self._api.result(self.story.victim)), 30.0, "the background task to be ended")

    def _task(self, phase: str, revision: str, bot: str) -> Run:
        """One real task, from submission to its end."""
        request = task_request(
            pool=POOL,
            command=["python3", str(self._stage.script)],
            dimensions=[("id", bot)] if bot else [],
            caches=[(CACHE, "cache")],
            env=[("REVISION", revision)],
            tags=[f"warm:{self.story.family}@{revision}"],
            name=f"build and test {revision[:10]}",
            timeout_s=int(TASK_WITHIN_S),
        )
        result = wait_for_end(self._api, self._api.new_task(request), TASK_WITHIN_S)
        run = run_of(self._api, result, phase, revision)
        self.story.tasks.append(run)
        if not run.succeeded:
            raise ExampleFailed(run.how_it_ended())
        useful = duration(run.submit_to_useful_s) if run.report else "nothing"
        self._say(f"  {run.bot}: useful after {useful}, {'warm' if run.was_warm else 'cold'}")
        return run

    def _warmed_for(self, revision: str) -> set[str]:
        """Bots on which a background run for this revision has succeeded."""
        tags = [f"pool:{POOL}", f"spec:{self.story.family}"]
        found = self._api.tasks(state="QUERY_COMPLETED_SUCCESS", tags=tags, since_s=self.story.began_s)
        return {task.bot_id for task in found if task.name.endswith(f"@{revision}")}

    def _refuse_failure(self) -> bool:
        """False while no background run has failed; where one did, waiting for its success is in vain."""
        tags = [f"pool:{POOL}", f"spec:{self.story.family}"]
        failed = self._api.tasks(state="QUERY_COMPLETED_FAILURE", tags=tags, since_s=self.story.began_s)
        if failed:
            raise ExampleFailed(run_of(self._api, failed[0]).how_it_ended())
        return False

    def _read_background(self) -> None:
        found = self._api.tasks(tags=[f"pool:{POOL}"], since_s=self.story.began_s)
        real = {task.id for task in self.story.tasks}
        runs = [run_of(self._api, task) for task in found if task.task_id not in real]
        self.story.background = sorted((run for run in runs if run.purpose), key=lambda run: run.created_s)

    def _filled(self, name: str, **words: str) -> dict[str, Any]:
        return dict(samples.filled(self._specs[name], {"SCRIPT": str(self._stage.script), **words}))

    def _until(self, holds: Callable[[], object], timeout_s: float, what: str) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline_s:
                reasons = "".join(f"\n  {sentence}" for sentence in self._reasons(self._stage.bots))
                raise ExampleFailed(f"Waited {timeout_s:g} s for {what}, in vain.{reasons}")
            time.sleep(LOOK_EVERY_S)

    def _reasons(self, bots: Sequence[str]) -> list[str]:
        """What the server says about each of these bots."""
        sentences = []
        for bot in bots:
            try:
                sentences.append(str(self._api.get(f"/why/bots/{quoted(bot)}").body["sentence"]))
            except ApiError as error:
                sentences.append(f"{bot}: {error.text}")
        return sentences


def _has_run_s(task: swarming.TaskResultResponse) -> float:
    return time.time() - seconds(task.started_ts)
