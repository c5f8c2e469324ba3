"""Every row of the protocol's two tables, through the use cases: what each party is told, what the records say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from server import sweeps, task_life, task_scheduler, task_stops
from server.policy.outcome import Preempt
from server.records.task import TaskToRun
from server.task_life import Event, OnBot, State
from server.task_scheduler import EndReport
from tests.life_world import LifeWorld, Machine, Run, end, keep_alive, start


@dataclass
class Scene:
    """A task in one state of the table, and the bot that has to do with it."""

    world: LifeWorld
    bot: Machine
    task_id: str
    run: Run | None = None
    old_token: Any = None
    waiting: str = ""
    """A pending real task beside a background run, which only this bot could take."""


def set_up(world: LifeWorld, state: str) -> Scene:
    """`P`, `O`, `R`, `R+` or `F`, with ` bg` for a background task."""
    name, _, background = state.partition(" ")
    if background:
        world.prewarming()
    bot = Machine(world)
    bot.handshake()
    before = bot.token
    if background:
        run = bot.warms()
        scene = Scene(world, bot, run.task_id, run, before)
    else:
        scene = Scene(world, bot, world.new_task(dimensions={"id": "bot1"}), old_token=before)
        if name == "P":
            return scene
        scene.run = bot.takes(scene.task_id)
    assert scene.run is not None
    if name in ("R", "R+", "F"):
        assert not start(world.p1, scene.run).must_stop
    if name == "R+":
        assert world.cancel(scene.task_id) == (True, True)
    if name == "F":
        end(world.p1, scene.run)
    world.fresh()
    return scene


# ---- events: each gives what the party that caused it is told


def told(scene: Scene, answer: Any) -> str:
    if answer.delivery is None:
        return "sleep"
    if scene.run is not None and answer.delivery.n == scene.run.delivery.n:
        return "same run"
    return "run" if answer.delivery.task_id == scene.task_id else "another run"


def said(answer: Any) -> str:
    return "must_stop" if answer.must_stop else "ok"


def polls(scene: Scene) -> str:
    return told(scene, scene.bot.poll())


def polls_late(scene: Scene) -> str:
    answer = scene.bot.lost_poll(token=scene.old_token)
    if answer.delivery is not None:
        assert answer.token.claim == answer.delivery.n
    return told(scene, answer)


def starts(scene: Scene) -> str:
    return said(start(scene.world.p1, scene.run))


def starts_elsewhere(scene: Scene) -> str:
    return said(start(scene.world.p2, scene.run))


def keeps_alive(scene: Scene) -> str:
    answers = {said(keep_alive(service, scene.run)) for service in scene.world.services}
    assert len(answers) == 1
    return answers.pop()


def puts_out(scene: Scene) -> str:
    return said(keep_alive(scene.world.p2, scene.run, b"hello"))


def ends(scene: Scene, **report: Any) -> str:
    return said(end(scene.world.p2, scene.run, **report))


def ends_badly(scene: Scene) -> str:
    return ends(scene, exit_code=3)


def times_out(scene: Scene) -> str:
    return ends(scene, exit_code=-15, hard_timeout=True)


def falls_quiet(scene: Scene) -> str:
    return ends(scene, exit_code=-15, io_timeout=True)


def says_canceled(scene: Scene) -> str:
    return ends(scene, exit_code=None, canceled=True)


def fails(scene: Scene, **missing: Any) -> str:
    task_scheduler.task_error(scene.world.p2, scene.run.token, scene.task_id, "no disk", missing)
    return "resp 1"


def misses_input(scene: Scene) -> str:
    return fails(scene, missing_cas=[{"digest": "a/1"}])


def is_handed_back(scene: Scene) -> str:
    task_scheduler.task_error(scene.world.p2, scene.run.token, scene.task_id, "it leaves", {}, handed_back=True)
    return "resp 1"


def is_canceled(scene: Scene) -> str:
    return "{}/{}".format(*scene.world.cancel(scene.task_id, scene.world.p2, kill=False))


def is_killed(scene: Scene) -> str:
    return "{}/{}".format(*scene.world.cancel(scene.task_id, scene.world.p2))


def claim_lapses(scene: Scene) -> str:
    scene.world.clock.advance(31)
    sweeps.lapse_claims(scene.world.p2, scene.world.beat())
    return ""


def bot_dies(scene: Scene) -> str:
    scene.world.clock.advance(601)
    sweeps.declare_deaths(scene.world.p2, scene.world.beat())
    assert not scene.world.bot().alive
    return ""


def bot_starts_anew(scene: Scene) -> str:
    scene.bot.handshake(scene.world.p2)
    assert scene.world.bot().session_id == scene.bot.token.session
    return ""


def expires(scene: Scene) -> str:
    scene.world.clock.advance(601)
    sweeps.expire_tasks(scene.world.p2, scene.world.beat())
    return ""


def is_preempted(scene: Scene) -> str:
    scene.waiting = scene.world.new_task(scene.world.p2, dimensions={"id": "bot1", "cpu": "x"})
    wanted = Preempt("bot1", scene.run.delivery.n, scene.task_id, scene.waiting, "It waits.")
    stopped = task_stops.preempt(scene.world.p2, wanted)
    return "stopped" if stopped else "refused"


def switch_stops(scene: Scene) -> str:
    n = scene.run.delivery.n
    return str(task_stops.stop_background(scene.world.p2, scene.task_id, n, "prewarming was stopped"))


def terminate_acknowledged(scene: Scene) -> str:
    def mark(touched: Any) -> None:
        touched.result = task_scheduler.result_of(scene.task_id)
        touched.result.tags = [*touched.result.tags, "swarming.terminate:1"]
        touched.put(touched.result)

    task_scheduler.run(scene.world.p1, mark)
    return ends(scene)


@dataclass(frozen=True)
class After:
    """What holds afterwards. `bot`: "held", "free", "quiet" (free, and given nothing for a while) or "stop"."""

    told: str
    state: str
    queue: str
    bot: str
    in_gate: bool = False
    more: dict[str, Any] = field(default_factory=dict)


NEW = "a claim of its own"
Cause = Callable[[Scene], str]
ROWS: list[tuple[str, Cause, After]] = [
    ("P", polls, After("run", "PENDING", "claimed", "held")),
    ("P", is_canceled, After("True/False", "CANCELED", "gone", "free")),
    ("P", is_killed, After("True/False", "CANCELED", "gone", "free")),
    ("P", expires, After("", "EXPIRED", "gone", "free")),
    ("O", polls_late, After("same run", "PENDING", "claimed", "held")),
    ("O", polls, After("run", "PENDING", "claimed", "held", more={"claim": NEW})),
    ("O", starts, After("ok", "RUNNING", "claimed", "held")),
    ("O", claim_lapses, After("", "PENDING", "pending", "free")),
    ("O", bot_dies, After("", "PENDING", "pending", "free")),
    ("O", bot_starts_anew, After("", "PENDING", "pending", "free")),
    ("O", is_canceled, After("True/False", "CANCELED", "gone", "free")),
    ("O", is_killed, After("True/False", "CANCELED", "gone", "free")),
    ("O", fails, After("resp 1", "BOT_DIED", "gone", "free")),
    ("O", misses_input, After("resp 1", "CLIENT_ERROR", "gone", "free")),
    ("O", is_handed_back, After("resp 1", "PENDING", "pending", "free", more={"claims_without_start": 0})),
    ("O", terminate_acknowledged, After("ok", "COMPLETED", "gone", "free")),
    ("O", ends, After("must_stop", "PENDING", "claimed", "held")),
    ("O", expires, After("", "PENDING", "claimed", "held")),
    ("R", starts, After("ok", "RUNNING", "claimed", "held")),
    ("R", starts_elsewhere, After("ok", "RUNNING", "claimed", "held")),
    ("R", keeps_alive, After("ok", "RUNNING", "claimed", "held")),
    ("R", puts_out, After("ok", "RUNNING", "claimed", "held")),
    ("R", is_canceled, After("False/True", "RUNNING", "claimed", "held")),
    ("R", is_killed, After("True/True", "RUNNING", "claimed", "stop")),
    ("R", ends, After("ok", "COMPLETED", "claimed", "free", more={"exit_code": 0, "failure": False})),
    ("R", ends_badly, After("ok", "COMPLETED", "claimed", "free", more={"exit_code": 3, "failure": True})),
    ("R", times_out, After("ok", "TIMED_OUT", "claimed", "free", more={"exit_code": -15, "failure": True})),
    ("R", falls_quiet, After("ok", "TIMED_OUT", "claimed", "free", more={"exit_code": -15})),
    ("R", fails, After("resp 1", "BOT_DIED", "claimed", "free", more={"internal_failure": True})),
    ("R", misses_input, After("resp 1", "CLIENT_ERROR", "claimed", "free")),
    ("R", is_handed_back, After("resp 1", "BOT_DIED", "claimed", "free", more={"error": task_life.HANDED_BACK})),
    ("R", polls, After("sleep", "BOT_DIED", "claimed", "free")),
    ("R", polls_late, After("sleep", "RUNNING", "claimed", "held")),
    ("R", bot_dies, After("", "BOT_DIED", "claimed", "quiet")),
    ("R", bot_starts_anew, After("", "BOT_DIED", "claimed", "quiet")),
    ("R", claim_lapses, After("", "RUNNING", "claimed", "held")),
    ("R", expires, After("", "RUNNING", "claimed", "held")),
    ("R+", starts, After("must_stop", "RUNNING", "claimed", "stop")),
    ("R+", starts_elsewhere, After("must_stop", "RUNNING", "claimed", "stop")),
    ("R+", keeps_alive, After("must_stop", "RUNNING", "claimed", "stop")),
    ("R+", puts_out, After("must_stop", "RUNNING", "claimed", "stop")),
    ("R+", is_killed, After("False/True", "RUNNING", "claimed", "stop")),
    ("R+", ends, After("ok", "KILLED", "claimed", "free")),
    ("R+", times_out, After("ok", "KILLED", "claimed", "free")),
    ("R+", says_canceled, After("ok", "KILLED", "claimed", "free")),
    ("R+", fails, After("resp 1", "KILLED", "claimed", "free")),
    ("R+", is_handed_back, After("resp 1", "KILLED", "claimed", "free")),
    ("R+", polls, After("sleep", "KILLED", "claimed", "free")),
    ("R+", polls_late, After("sleep", "RUNNING", "claimed", "stop")),
    ("R+", bot_dies, After("", "KILLED", "claimed", "quiet")),
    ("R+", bot_starts_anew, After("", "KILLED", "claimed", "quiet")),
    ("F", starts_elsewhere, After("must_stop", "COMPLETED", "claimed", "free")),
    ("F", keeps_alive, After("must_stop", "COMPLETED", "claimed", "free")),
    ("F", ends_badly, After("ok", "COMPLETED", "claimed", "free", more={"exit_code": 0})),
    ("F", fails, After("resp 1", "COMPLETED", "claimed", "free")),
    ("F", is_handed_back, After("resp 1", "COMPLETED", "claimed", "free", more={"error": ""})),
    ("F", is_killed, After("False/False", "COMPLETED", "claimed", "free")),
    ("F", polls, After("sleep", "COMPLETED", "claimed", "free")),
    ("F", bot_starts_anew, After("", "COMPLETED", "claimed", "free")),
    ("O bg", polls_late, After("same run", "PENDING", "none", "held", in_gate=True)),
    ("O bg", polls, After("sleep", "CANCELED", "none", "free")),
    ("O bg", starts, After("ok", "RUNNING", "none", "held", in_gate=True)),
    ("O bg", claim_lapses, After("", "CANCELED", "none", "free")),
    ("O bg", bot_dies, After("", "CANCELED", "none", "free")),
    ("O bg", bot_starts_anew, After("", "CANCELED", "none", "free")),
    ("O bg", is_canceled, After("True/False", "CANCELED", "none", "free")),
    ("O bg", is_preempted, After("stopped", "CANCELED", "none", "free")),
    ("O bg", switch_stops, After("True", "CANCELED", "none", "free")),
    ("O bg", fails, After("resp 1", "BOT_DIED", "none", "free")),
    ("O bg", is_handed_back, After("resp 1", "CANCELED", "none", "free")),
    ("R bg", ends, After("ok", "COMPLETED", "none", "free")),
    ("R bg", times_out, After("ok", "TIMED_OUT", "none", "free")),
    ("R bg", fails, After("resp 1", "BOT_DIED", "none", "free")),
    ("R bg", is_handed_back, After("resp 1", "BOT_DIED", "none", "free")),
    ("R bg", polls, After("sleep", "BOT_DIED", "none", "free")),
    ("R bg", polls_late, After("sleep", "RUNNING", "none", "held", in_gate=True)),
    ("R bg", bot_dies, After("", "BOT_DIED", "none", "quiet")),
    ("R bg", bot_starts_anew, After("", "BOT_DIED", "none", "quiet")),
    ("R bg", is_killed, After("True/True", "RUNNING", "none", "stop", in_gate=True)),
    ("R bg", is_preempted, After("stopped", "RUNNING", "none", "stop", in_gate=True)),
    ("R bg", switch_stops, After("True", "RUNNING", "none", "stop", in_gate=True)),
    ("R+ bg", is_preempted, After("refused", "RUNNING", "none", "stop", in_gate=True)),
    ("R+ bg", switch_stops, After("False", "RUNNING", "none", "stop", in_gate=True)),
    ("R+ bg", ends, After("ok", "KILLED", "none", "free")),
    ("R+ bg", fails, After("resp 1", "KILLED", "none", "free")),
    ("R+ bg", polls, After("sleep", "KILLED", "none", "free")),
    ("R+ bg", bot_dies, After("", "KILLED", "none", "quiet")),
    ("R+ bg", bot_starts_anew, After("", "KILLED", "none", "quiet")),
    ("F bg", ends, After("ok", "COMPLETED", "none", "free")),
    ("F bg", switch_stops, After("False", "COMPLETED", "none", "free")),
]


@pytest.mark.parametrize(
    ("state", "cause", "after"), ROWS, ids=[f"{state}, {cause.__name__}" for state, cause, _ in ROWS]
)
def test_a_task_in_this_state_goes_where_the_table_says(
    world: LifeWorld, state: str, cause: Cause, after: After
) -> None:
    scene = set_up(world, state)
    began = world.result(scene.task_id)
    assert cause(scene) == after.told
    result, bot = world.result(scene.task_id), world.bot()
    assert result.state == after.state
    assert world.queue(scene.task_id) == after.queue
    assert how_is(world, scene, bot) == after.bot
    assert (scene.task_id in world.entries()) is after.in_gate
    assert len(world.entries()) == after.in_gate
    for name, value in after.more.items():
        if value is NEW:
            assert result.claim["n"] > began.claim["n"]
        else:
            assert getattr(result, name) == value
    check_times(result)


def how_is(world: LifeWorld, scene: Scene, bot: Any) -> str:
    if bot.held:
        assert bot.held["task"] == scene.task_id
        assert bot.held["n"] == world.result(scene.task_id).claim["n"]
        return "stop" if bot.held["stop"] else "held"
    return "quiet" if bot.quiet_until_s > world.clock.now_s() else "free"


def check_times(result: Any) -> None:
    """What clients read out of a result belongs to its state."""
    if result.state == "PENDING":
        assert not result.started_s and not result.bot_id and not result.completed_s and not result.abandoned_s
    elif result.state == "RUNNING":
        assert result.started_s and result.bot_id == "bot1" and not result.completed_s and not result.abandoned_s
        assert not result.offered and not result.claim_until_s
    else:
        assert result.completed_s or result.abandoned_s
        assert not result.offered and not result.claim_until_s
        assert result.internal_failure == (result.state == "BOT_DIED")


def test_a_preemption_marks_the_waiting_task_and_the_run_at_once(world: LifeWorld) -> None:
    scene = set_up(world, "R bg")
    assert is_preempted(scene) == "stopped"
    n = scene.run.delivery.n
    mark = world.record(TaskToRun, scene.waiting).victim
    assert (mark["bot"], mark["n"]) == ("bot1", n)
    assert mark["until_s"] == world.clock.now_s() + 60
    assert world.result(scene.task_id).stop == "preempted for a real task"


def test_the_reason_of_a_stop_is_the_first_one(world: LifeWorld) -> None:
    scene = set_up(world, "R+ bg")
    switch_stops(scene)
    assert world.result(scene.task_id).stop == "killed by a user"
    assert world.bot().held["stop"] == "killed by a user"


def test_an_end_by_anyone_without_the_claims_token_changes_nothing(world: LifeWorld) -> None:
    scene = set_up(world, "R")
    stranger = Machine(world, "bot2")
    stranger.handshake()
    foreign = Run(scene.task_id, stranger.token, scene.run.delivery)
    older = Run(scene.task_id, scene.old_token, scene.run.delivery)
    for run in (foreign, older):
        assert start(world.p2, run).must_stop
        assert keep_alive(world.p2, run, b"x").must_stop
        assert end(world.p2, run).must_stop
        assert end(world.p2, run, None, canceled=True).must_stop
        task_scheduler.task_error(world.p2, run.token, scene.task_id, "lies", {})
    assert (world.state(scene.task_id), world.holds()) == ("RUNNING", scene.task_id)


def test_no_row_leaves_a_final_state_or_goes_from_running_to_pending() -> None:
    running = (State.RUNNING, State.STOPPING, State.FINAL)
    for (state, _), row in task_life.TABLE.items():
        assert state is not State.FINAL
        if state in (State.RUNNING, State.STOPPING):
            assert row.to in running
        if state is State.STOPPING and row.to is State.FINAL:
            assert row.outcome == "KILLED"


def test_every_row_that_takes_a_run_from_its_bot_takes_it_out_of_the_gate() -> None:
    for row in task_life.TABLE.values():
        if row.bot in (OnBot.RELEASE, OnBot.RELEASE_QUIET):
            assert row.leaves_gate


def test_an_event_without_a_row_is_refused_by_name() -> None:
    with pytest.raises(task_life.NoSuchTransition, match="start has no effect on a task that is pending"):
        task_life.row(State.PENDING, Event.START)


def test_a_report_says_which_event_it_is() -> None:
    assert EndReport(0, 1.0).event() is Event.END
    assert EndReport(-15, 1.0, hard_timeout=True).event() is Event.TIMED_OUT
    assert EndReport(io_timeout=True).event() is Event.TIMED_OUT
    assert EndReport(canceled=True).event() is Event.CANCELED_BY_BOT
