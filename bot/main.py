"""The bot: handshake, poll, do what the answer says, again."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bot import bundle, dimensions, files, manifest
from bot.caches import CacheStore, Limits, default_min_free_bytes
from bot.control import Control, Leave
from bot.journal import Journal
from bot.leftover import Leftover, RunRecord
from bot.options import Options, parse
from bot.protocol import BotApi, CallFailed
from bot.runner import RunContext, TaskRun

MAX_BACKOFF_S = 30.0
MAX_ERROR_PAUSE_S = 300.0
REFUSED_POLLS = 3  # polls in a row answered 401 or 403 until the bot shakes hands again
_log = logging.getLogger("bot")


class Exec(Exception):
    """Ends this program and starts another in its place."""

    def __init__(self, code: Path | None) -> None:
        super().__init__(str(code))
        self.code = code  # the zip to start; None: the same again


class Bot:
    """One bot in one directory."""

    def __init__(self, options: Options, control: Control, rng: random.Random) -> None:
        self._options, self._control, self._rng = options, control, rng
        self._started_ts = time.time()
        self._version = bundle.content_version(bundle.own_entries())
        self._api = BotApi(options.server, options.bot_id, options.secret, rng)
        bot_dir = options.bot_dir
        self._work_dir = bot_dir / "w"
        minimum = options.min_free_bytes
        limits = Limits(options.max_cache_bytes, default_min_free_bytes(bot_dir) if minimum is None else minimum)
        self._caches = CacheStore(bot_dir / "c", limits)
        self._journal = Journal(bot_dir / "journal.jsonl", options.bot_id)
        self._record = RunRecord(bot_dir / "run.json")
        self._dimensions = dimensions.base_dimensions(options.bot_id, options.pool, options.dimensions)
        self._server_dimensions: Mapping[str, list[str]] = {}
        self._state = dimensions.fixed_state(self._started_ts, bot_dir)
        self._sleep_streak = 0
        self._quarantined = ""

    def run(self) -> int:
        """Works until told to leave; returns the process's exit code.

        Raises:
            Exec: another program has to take over.
        """
        self._journal.write("bot_start", version=self._version)
        leftover = self._recover()
        try:
            with self._control.idle():
                if not self._api.server_ping():
                    _log.warning("%s does not answer yet", self._options.server)
                elif leftover is not None:
                    # Now, with its own token: so the server need not fear that the run goes on beside the next one.
                    self._api.give_up_run(leftover.task_id, leftover.session, "the bot ended in the middle of the run")
                self._handshake()
            self._loop()
        except Leave:
            self._api.close()  # it may have been in the middle of an answer
            self._api.event(self.report(), "bot_shutdown", "Signal was received", retry_for_s=2.0)
        self._journal.write("bot_stop")
        return 0

    def report(self) -> dict[str, Any]:
        """Dimensions, state and version, as they are now."""
        dims = {**self._dimensions, **self._server_dimensions}
        caches = self._caches.report()
        if caches.caches:
            dims["caches"] = sorted(caches.caches)
        state = {
            **self._state,
            "disks": dimensions.disk(self._options.bot_dir),
            "named_caches": caches.caches,
            "named_caches_lost": caches.lost,
            "named_caches_heads": caches.heads,
            "running_time": int(time.time() - self._started_ts),
            "sleep_streak": self._sleep_streak,
        }
        if self._quarantined:
            state["quarantined"] = self._quarantined
        return {"dimensions": dims, "state": state, "version": self._version}

    def _recover(self) -> Leftover | None:
        try:
            leftover = self._record.recover(self._caches, self._work_dir, self._journal)
            self._caches.trim()
            return leftover
        except OSError as error:
            self._quarantined = f"cannot clear what a former run left: {error}"
            _log.error("%s", self._quarantined)
            return None

    def _handshake(self) -> None:
        """Tries until it succeeds."""
        session_id = f"{uuid.uuid4().hex}/{os.getpid()}"
        failures = 0
        while True:
            try:
                answer = self._api.handshake(self.report(), session_id)
                break
            except CallFailed as error:
                failures += 1
                _log.warning("handshake: %s", error)
                time.sleep(self._backoff_s(failures))
        group = answer.get("bot_group_cfg")
        given = group.get("dimensions") if isinstance(group, Mapping) else None
        given = given if isinstance(given, Mapping) else {}
        self._server_dimensions = {key: values for key, values in given.items() if isinstance(values, list)}
        self._sleep_streak = 0
        _log.info("connected to %s as %s", self._options.server, self._options.bot_id)

    def _loop(self) -> None:
        errors = 0
        while True:
            try:
                answer = self._poll()
                if not self._obey(answer):
                    return
                errors = 0
            except Exec:
                raise
            except Exception as error:
                errors += 1
                _log.exception("error in the main loop")
                with self._control.idle():
                    self._tell_error(f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=8)}")
                    time.sleep(min(MAX_ERROR_PAUSE_S, 2.0**errors))

    def _tell_error(self, text: str) -> None:
        try:
            self._api.event(self.report(), "bot_error", text)
        except OSError as error:  # a report reads the disk, which may be what is wrong
            _log.error("cannot report: %s", error)

    def _poll(self) -> Mapping[str, Any]:
        """Polls with one request id until the server has answered."""
        request_uuid, failures, refused = str(uuid.uuid4()), 0, 0
        with self._control.idle():
            self._heal()
            report = self.report()
            while True:
                try:
                    return self._api.poll(report, request_uuid, self._options.hold_s)
                except CallFailed as error:
                    failures += 1
                    refused = refused + 1 if error.status in (401, 403) else 0
                    _log.warning("poll: %s", error)
                time.sleep(self._backoff_s(failures))
                if refused >= REFUSED_POLLS:
                    self._handshake()
                    report, request_uuid, refused = self.report(), str(uuid.uuid4()), 0

    def _heal(self) -> None:
        """Before each poll: is the trouble over that kept this machine from running anything? Is there room?"""
        if self._quarantined:
            with contextlib.suppress(OSError):
                files.remove_tree(self._work_dir)
                self._quarantined = ""
        self._caches.trim()

    def _backoff_s(self, failures: int) -> float:
        if failures == 1:
            return self._rng.uniform(0.0, 0.5)  # so that a restart of the server does not call all bots at once
        return min(MAX_BACKOFF_S, 1.4 ** (failures - 1)) * self._rng.uniform(0.8, 1.2)

    def _obey(self, answer: Mapping[str, Any]) -> bool:
        """Does what the server says; whether the bot stays."""
        cmd = answer["cmd"]
        if cmd == "sleep":
            with self._control.idle():
                time.sleep(max(0.0, float(answer["duration"])))
            self._sleep_streak += 1
            return True
        self._sleep_streak = 0
        if cmd == "run":
            self._run(answer)
        elif cmd == "terminate":
            self._api.task_update(str(answer["task_id"]), {"exit_code": 0, "duration": 0}, self._leaving)
            self._api.event(self.report(), "bot_shutdown", "Signal was received")
            return False
        elif cmd == "update":
            self._update(str(answer["version"]))
        elif cmd == "bot_restart":
            self._exec(None, str(answer.get("message", "")))
        elif cmd in ("host_reboot", "restart"):
            self._reboot(str(answer.get("message", "")))
        else:
            raise ValueError(f"unknown command {cmd!r}")
        return True

    def _leaving(self) -> bool:
        return self._control.leaving

    def _run(self, answer: Mapping[str, Any]) -> None:
        raw = answer.get("manifest", {})
        task_id = manifest.task_id_of(raw)
        _log.info("task %s", task_id)
        try:
            parsed = manifest.parse(raw)
        except manifest.BadManifest as error:
            self._api.task_error(task_id, str(error))
            return
        bot_file = str(bundle.own_archive() or Path(__file__).parent)
        context = RunContext(
            self._api,
            self._caches,
            self._journal,
            self._record,
            self._control,
            self._work_dir,
            bot_file,
            self._options.hold_s,
        )
        run = TaskRun(context, parsed)
        run.run()
        self._quarantined = run.trouble

    def _update(self, version: str) -> None:
        staged = bundle.stage(self._api.bot_code(version), version, self._options.bot_dir)
        self._exec(staged, f"Updating to {version}")

    def _exec(self, code: Path | None, message: str) -> None:
        if not self._api.server_ping():
            raise RuntimeError(f"the server does not answer; not restarting: {message}")
        self._api.event(self.report(), "bot_shutdown", f"About to restart: {message}")
        raise Exec(code)

    def _reboot(self, message: str) -> None:
        if not self._options.allow_reboot:
            raise RuntimeError(f"not allowed to reboot this machine (--allow-reboot): {message}")
        self._api.event(self.report(), "bot_rebooting", message)
        reboot = ["shutdown", "/r", "/t", "0"] if sys.platform == "win32" else ["shutdown", "-r", "now"]
        subprocess.run(reboot, check=True, timeout=60)
        with self._control.idle():
            time.sleep(15 * 60)
        raise RuntimeError("the machine did not reboot")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a bot; returns the process's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(given)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    options.bot_dir.mkdir(parents=True, exist_ok=True)
    try:
        lock = files.DirectoryLock(options.bot_dir / "bot.lock")
    except files.DirectoryInUse as error:
        _log.error("%s", error)
        return 3
    control = Control(options.hand_back_at_once)
    control.install()
    try:
        return Bot(options, control, random.Random()).run()
    except Exec as order:
        lock.release()
        return _replace_process(order.code, given)


def _replace_process(code: Path | None, arguments: Sequence[str]) -> int:
    """Does not return, but on Windows: exec there leaves a parent that believes that this program has ended."""
    archive = code or bundle.own_archive()
    program = [str(archive)] if archive else ["-m", "bot"]
    command = [sys.executable, *program, *arguments]
    if sys.platform != "win32":
        os.execv(sys.executable, command)
    return subprocess.call(command)
