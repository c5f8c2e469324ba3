"""Runs one task, from its start update to the clearing of its directory."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot import command, files, processes
from bot.caches import CacheStore
from bot.control import Control
from bot.journal import Journal
from bot.leftover import RunRecord
from bot.listener import Listener, Rhythm
from bot.manifest import Manifest
from bot.output import OutputBuffer
from bot.protocol import BotApi, CallFailed
from bot.supervisor import Ended, Supervisor
from bot.updates import UpdateSender
from bot.verdict import Verdict

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """What a run needs of its bot."""

    api: BotApi
    caches: CacheStore
    journal: Journal
    record: RunRecord
    control: Control
    work_dir: Path
    bot_file: str
    hold_s: float  # longest time that the server may hold a call


class TaskRun:
    """One run. The server hears of every way in which it can end, unless the server is out of reach."""

    def __init__(self, context: RunContext, manifest: Manifest) -> None:
        self._context, self._manifest = context, manifest
        self._began_s = time.monotonic()
        self._run_id = uuid.uuid4().hex
        self._run_dir = context.work_dir / "ir"
        self._temp_dir = context.work_dir / "it"
        self._buffer = OutputBuffer()
        self._events = context.control.new_events()
        self._verdict = Verdict(self._events)
        self._sender = UpdateSender(self._send, self._buffer, self._verdict, context.api.close)
        keep_alive_s = manifest.keep_alive_s
        rhythm = Rhythm(manifest.background, keep_alive_s, min(context.hold_s, keep_alive_s))
        self._listener = Listener(context.api, manifest.task_id, self._verdict, rhythm)
        self._stats: dict[str, Any] = {}
        self.trouble = ""  # why this machine should run nothing more

    def run(self) -> None:
        """Does all of it; never raises an Exception."""
        try:
            if self._context.control.handing_back():
                self._hand_back()
            elif self._start_acknowledged():
                self._run_started()
        except CallFailed as error:
            if self._context.control.handing_back():
                self._hand_back()
            else:
                self._fail(f"the server could not be told about the run: {error}")
        except Exception:
            self._fail(f"the bot failed: {traceback.format_exc(limit=8)}")
        finally:
            self._clean_up()

    def _start_acknowledged(self) -> bool:
        """Nothing of the task happens before the server has taken note of its start."""
        answer = self._send({})
        if answer.get("must_stop"):
            self._send({"canceled": True})
            return False
        return True

    def _run_started(self) -> None:
        self._sender.start()
        self._listener.start()
        try:
            ended = self._execute()
        finally:
            self._buffer.abandon()
            self._listener.finish()
            self._sender.finish()
        if ended is None:
            self._sender.send_rest(canceled=True)
        elif ended.handed_back:
            self._sender.send_rest()
            self._hand_back()
        else:
            self._sender.send_rest(**self._final_fields(ended))

    def _execute(self) -> Ended | None:
        """Runs the command with its caches; None when it was stopped before it began."""
        files.remove_tree(self._context.work_dir)
        self._run_dir.mkdir(parents=True)
        self._temp_dir.mkdir()
        with self._caches_installed():
            if self._context.control.handing_back():
                return Ended(exit_code=-1, duration_s=0.0, handed_back=True)
            if self._verdict.must_stop:
                return None
            if self._verdict.failure is not None:
                raise self._verdict.failure
            try:
                prepared = command.prepare(
                    self._manifest, self._run_dir, self._temp_dir, self._fixed_env(), self._context.bot_file
                )
            except command.BadCommand as error:
                return self._refused(error)
            return self._run_command(prepared)

    def _run_command(self, prepared: command.Prepared) -> Ended:
        task_id = self._manifest.task_id
        about = {"task_id": task_id, "run_id": self._run_id, "n": self._manifest.claim_no}
        self._context.journal.write("start", purpose=self._manifest.purpose, **about)
        try:
            process = processes.spawn(prepared.command, prepared.cwd, prepared.env)
        except (OSError, ValueError) as error:
            ended = self._refused(command.BadCommand(1, f"cannot start {prepared.command[0]}: {error}"))
        else:
            ended = self._watch(process)
        with _a_full_disk_spoils_no_result():
            self._context.journal.write("end", exit_code=ended.exit_code, **about)
        return ended

    def _watch(self, process: subprocess.Popen[bytes]) -> Ended:
        try:
            with _a_full_disk_spoils_no_result():
                self._context.record.started(process.pid)
            return Supervisor(
                process,
                self._buffer,
                self._events,
                hard_timeout_s=self._manifest.hard_timeout_s,
                io_timeout_s=self._manifest.io_timeout_s,
                grace_s=self._manifest.grace_s,
            ).watch()
        except BaseException:
            processes.kill_group(process.pid)
            raise

    def _refused(self, error: command.BadCommand) -> Ended:
        self._buffer.write(f"{error}\n".encode())
        return Ended(exit_code=error.exit_code, duration_s=0.0)

    @contextlib.contextmanager
    def _caches_installed(self) -> Iterator[None]:
        caches, requests = self._context.caches, self._manifest.caches
        before = {request.name: caches.measure(request.name) for request in requests}
        self._stats["named_caches_before"] = before
        hints = sum(max(0, request.hint_bytes) for request in requests if not before[request.name])
        names = [request.name for request in requests]
        self._timed("cache_trim_stats", lambda: caches.trim(keep=names, extra_bytes=hints))
        targets = {request.name: self._run_dir / request.path for request in requests}
        self._context.record.begin(self._run_id, self._manifest.task_id, targets, self._context.api.session)
        stats: dict[str, Any] = {}
        self._stats["named_caches_stats"] = stats
        lent: dict[str, Path] = {}
        began_s = time.monotonic()
        try:
            for name, target in targets.items():
                caches.install(name, target)
                lent[name] = target
            stats["install"] = {"duration": time.monotonic() - began_s}
            yield
        finally:
            began_s = time.monotonic()
            for name, target in lent.items():
                caches.uninstall(name, target)
            stats["uninstall"] = {"duration": time.monotonic() - began_s}

    def _timed(self, stat: str, action: Callable[[], object]) -> None:
        began_s = time.monotonic()
        action()
        self._stats[stat] = {"duration": time.monotonic() - began_s}

    def _fixed_env(self) -> Mapping[str, str]:
        return {
            "SWARMING_BOT_ID": self._context.api.bot_id,
            "SWARMING_TASK_ID": self._manifest.task_id,
            "SWARMING_SERVER": self._context.api.server_url,
            "SWARMING_HEADLESS": "1",
            processes.RUN_ID_ENV: self._run_id,
        }

    def _final_fields(self, ended: Ended) -> Mapping[str, Any]:
        return {
            "exit_code": ended.exit_code,
            "duration": ended.duration_s,
            "hard_timeout": ended.hard_timeout,
            "io_timeout": ended.io_timeout,
            "bot_overhead": max(0.0, time.monotonic() - self._began_s - ended.duration_s),
            **self._stats,
        }

    def _send(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._context.api.task_update(self._manifest.task_id, fields, self._context.control.handing_back)

    def _hand_back(self) -> None:
        """The bot has to leave: before the start the server gives the task to another bot, later it ends so."""
        self._fail("handed back: the bot was told to leave", handed_back=True)

    def _fail(self, message: str, *, handed_back: bool = False) -> None:
        task_id = self._manifest.task_id
        retry_for_s = 10.0 if self._context.control.handing_back() else 240.0
        _log.error("task %s: %s", task_id, message)
        try:
            self._context.api.task_error(task_id, message, retry_for_s, handed_back=handed_back)
        except CallFailed as error:
            _log.error("task %s: its failure could not be reported: %s", task_id, error)

    def _clean_up(self) -> None:
        """After the report, so that nobody waits for it; the record goes last."""
        try:
            files.remove_tree(self._context.work_dir)
            self._context.record.clear()
            self._context.caches.trim()
        except OSError as error:
            self.trouble = f"cannot clear the run directory: {error}"
            _log.error("%s", self.trouble)


@contextlib.contextmanager
def _a_full_disk_spoils_no_result() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _log.error("cannot keep a record: %s", error)
