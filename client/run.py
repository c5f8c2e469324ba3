"""`pilot run`: a task from the command line, its output as it comes, its exit code as one's own."""

from __future__ import annotations

import contextlib
import getpass
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any

import click

from client.api import Api, ApiError, is_final, pauses_s, ran_s, seconds, state_name
from client.options import READ_PATIENCE, api_options, pairs, told_once
from client.prpc import PrpcError, Retry
from client.screen import note, show_json
from client.signals import SIGNAL_BASE, Leave, ignored, raising_leave
from client.words import duration, one_line
from server.proto import swarming_pb2 as swarming

NO_EXIT_CODE = 1
GRACE_S = 30
TIMEOUT_S = click.IntRange(30, 601_140)
EXPIRATION_S = click.IntRange(30, 604_800)
"""What the server takes."""
EXPLAIN_AFTER_S = 3.0
"""A task that waits for longer than this gets a sentence that says why."""

BAD_ENDS = {
    swarming.EXPIRED: "no bot took it before it expired",
    swarming.TIMED_OUT: "it ran longer than allowed and was stopped",
    swarming.BOT_DIED: "its bot was lost",
    swarming.CANCELED: "it was cancelled before it ran",
    swarming.KILLED: "it was stopped by a user",
    swarming.NO_RESOURCE: "no bot can run it",
    swarming.CLIENT_ERROR: "its inputs could not be had",
}


def task_request(
    *,
    pool: str,
    command: Sequence[str],
    dimensions: Sequence[tuple[str, str]] = (),
    caches: Sequence[tuple[str, str]] = (),
    env: Sequence[tuple[str, str]] = (),
    tags: Sequence[str] = (),
    name: str = "",
    priority: int = 100,
    timeout_s: int = 3600,
    expiration_s: int = 6 * 3600,
) -> swarming.NewTaskRequest:
    """What `NewTask` gets; it has an id of its own, so that it may be sent twice."""
    properties = swarming.TaskProperties(
        command=command,
        dimensions=[swarming.StringPair(key=key, value=value) for key, value in [("pool", pool), *dimensions]],
        caches=[swarming.CacheEntry(name=key, path=value) for key, value in caches],
        env=[swarming.StringPair(key=key, value=value) for key, value in env],
        execution_timeout_secs=timeout_s,
        grace_period_secs=GRACE_S,
    )
    piece = swarming.TaskSlice(properties=properties, expiration_secs=expiration_s, wait_for_capacity=True)
    return swarming.NewTaskRequest(
        name=name or one_line(" ".join(command))[:100] or "unnamed",
        priority=priority,
        task_slices=[piece],
        tags=tags,
        user=_user(),
        request_uuid=str(uuid.uuid4()),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--pool", required=True, help="Pool whose bots may run it.")
@click.option(
    "--dimension",
    "dimensions",
    multiple=True,
    metavar="K=V",
    callback=pairs("=", "KEY=VALUE"),
    help="Asked of the bot; alternatives as a|b.",
)
@click.option(
    "--cache",
    "caches",
    multiple=True,
    metavar="NAME=PATH",
    callback=pairs("=", "NAME=PATH"),
    help="Named cache, and where the task finds it.",
)
@click.option(
    "--env", multiple=True, metavar="K=V", callback=pairs("=", "KEY=VALUE"), help="Variable of its environment."
)
@click.option("--tag", "tags", multiple=True, metavar="K:V", help="Tag.")
@click.option("--warm", multiple=True, metavar="FAMILY[@GENERATION]", help="Warm state that it wants.")
@click.option("--priority", type=click.IntRange(1, 255), default=100, show_default=True, help="Lower goes first.")
@click.option("--name", default="", help="Default: the command.")
@click.option("--timeout", "timeout_s", type=TIMEOUT_S, default=3600, show_default=True, help="Longest run, in s.")
@click.option(
    "--expiration",
    "expiration_s",
    type=EXPIRATION_S,
    default=21_600,
    show_default=True,
    help="Longest wait for a bot, in s.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@api_options
def run(api: Api, as_json: bool, warm: Sequence[str], tags: Sequence[str], **given: Any) -> None:
    """Run COMMAND as a task, show its output, and exit with its exit code.

    Ctrl-C stops the task. With --json the output goes to stderr, and the result to stdout.
    """
    request = task_request(tags=[*tags, *(f"warm:{state}" for state in warm)], **given)
    with raising_leave():
        task_id = ""
        try:
            task_id = api.new_task(request)
            note(f"task {task_id}")
            _warn_of_no_bots(api, given["pool"], given["expiration_s"])
            api.wait_out(Retry(), told_once())
            result = _follow(api, task_id, sys.stderr.buffer if as_json else sys.stdout.buffer)
        except Leave as leave:
            with ignored():
                _stop(api, task_id)
            sys.exit(leave.exit_code)
        except BrokenPipeError:  # nobody reads its output any more, as in `pilot run … | head -1`
            with ignored():
                _stop(api, task_id)
            raise
    if as_json:
        show_json(result)
    sys.exit(_exit_code(api, result))


def _follow(api: Api, task_id: str, target: Any) -> swarming.TaskResultResponse:
    """Copies output until the task is final. A state that is final has all of the output with it."""
    offset, began_s, explained = 0, time.monotonic(), False
    for pause_s in pauses_s():
        result = api.result(task_id)
        if result.state != swarming.PENDING:
            for piece in api.stdout(task_id, offset):
                target.write(piece)
                target.flush()
                offset += len(piece)
        elif not explained and time.monotonic() - began_s > EXPLAIN_AFTER_S:
            explained = True
            _say_why(api, task_id)
        if is_final(result):
            return result
        time.sleep(pause_s)
    raise AssertionError("pauses never end")


def _warn_of_no_bots(api: Api, pool: str, expiration_s: int) -> None:
    with contextlib.suppress(PrpcError):  # whoever may not list bots runs tasks all the same
        if not api.has_bots(pool):
            longest = duration(expiration_s)
            note(f"no bot of pool {pool} is known: the task waits for one, {longest} at most (--expiration)")


def _say_why(api: Api, task_id: str) -> None:
    with contextlib.suppress(ApiError):  # a server without this answer runs tasks all the same
        note(str(api.get(f"/why/tasks/{task_id}").body.get("sentence", "")))


def _exit_code(api: Api, result: swarming.TaskResultResponse) -> int:
    if result.state == swarming.COMPLETED:
        if sys.stderr.isatty():
            waited_s = seconds(result.started_ts) - seconds(result.created_ts)
            note(f"{result.bot_id}: started after {duration(waited_s)}, ran for {duration(result.duration)}")
        code = int(result.exit_code)
        return SIGNAL_BASE - code if code < 0 else code
    ran = f" after it ran for {duration(ran_s(result, 0.0))}" if seconds(result.started_ts) else ""
    note(f"task {result.task_id} is {state_name(result)}{ran}: {_bad_end(api, result)}")
    return NO_EXIT_CODE


def _bad_end(api: Api, result: swarming.TaskResultResponse) -> str:
    with contextlib.suppress(ApiError):
        if api.handed_back([result]):
            return "its bot was shut down and handed it back"
        if result.state in (swarming.BOT_DIED, swarming.CLIENT_ERROR) and not seconds(result.started_ts):
            return str(api.get(f"/why/tasks/{result.task_id}").body["sentence"]).rstrip(".")
    return BAD_ENDS.get(result.state, "it did not end well")


def _stop(api: Api, task_id: str) -> None:
    if not task_id:
        note("stopped while the task was handed in; ./pilot tasks shows whether the server has it")
        return
    api.wait_out(READ_PATIENCE)
    try:
        answer = api.cancel(task_id, kill_running=True)
    except PrpcError as error:
        note(f"task {task_id} could not be cancelled and may run on: {error}")
        return
    if not answer.canceled:
        note(f"task {task_id} has ended, or is being stopped already")
    elif answer.was_running:
        note(f"task {task_id} is being stopped; it has {GRACE_S} s to end by itself")
    else:
        note(f"task {task_id} was withdrawn before it ran")
