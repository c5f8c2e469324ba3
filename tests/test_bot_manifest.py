"""What a manifest must be, and what becomes of its command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bot import manifest
from bot.command import BadCommand, Prepared, prepare
from tests.fake_server import manifest as raw_manifest


def prepared(root: Path, **fields: Any) -> Prepared:
    """The command of a manifest with these fields."""
    parsed = manifest.parse(raw_manifest(**fields))
    return prepare(parsed, root, root / "temp", {"SWARMING_BOT_ID": "bot1"}, "/bot.zip")


def test_a_manifest_says_whether_real_work_may_preempt_it() -> None:
    assert not manifest.parse(raw_manifest()).background
    assert manifest.parse(raw_manifest(purpose="on_demand")).background


def test_the_server_may_say_how_long_a_run_may_be_silent() -> None:
    assert manifest.parse(raw_manifest(pilotlight_keep_alive_s=2.5)).keep_alive_s == 2.5
    assert manifest.parse(raw_manifest()).keep_alive_s == 10


def test_limits_that_are_missing_mean_none() -> None:
    parsed = manifest.parse({"task_id": "a1", "command": ["x"]})
    assert (parsed.hard_timeout_s, parsed.io_timeout_s, parsed.grace_s) == (0, 0, 30)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task_id", ""),
        ("task_id", "../x"),
        ("command", "echo"),
        ("command", [1]),
        ("env", {"A": 1}),
        ("env", []),
        ("env_prefixes", {"PATH": "bin"}),
        ("hard_timeout", "60"),
        ("io_timeout", -1),
        ("grace_period", True),
        ("caches", {}),
        ("caches", [{"name": "a", "path": "../x", "hint": "-1"}]),
        ("caches", [{"name": "a", "path": "/x", "hint": "-1"}]),
        ("caches", [{"name": "a", "path": "x", "hint": "1"}, {"name": "a", "path": "y", "hint": "1"}]),
        ("caches", [{"name": "a", "path": "x", "hint": "1"}, {"name": "b", "path": "x/y", "hint": "1"}]),
        ("caches", [{"name": "a", "hint": "1"}]),
        ("cas_input_root", {"digest": {}}),
        ("cipd_input", {"packages": [{}]}),
        ("secret_bytes", "aGk="),
    ],
)
def test_what_the_bot_cannot_do_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(manifest.BadManifest, match=field.split("_input")[0]):
        manifest.parse(raw_manifest(**{field: value}))


def test_a_command_is_looked_up_in_the_tasks_path_then_in_its_directory(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "mytool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o700)
    assert prepared(tmp_path, command=["mytool"], env_prefixes={"PATH": ["bin"]}).command == (str(tool),)
    assert prepared(tmp_path, command=["bin/mytool"]).command == (str(tool),)
    assert prepared(tmp_path, command=["nonesuch"]).command == (str(tmp_path / "nonesuch"),)
    assert prepared(tmp_path, command=[sys.executable, "a"]).command == (sys.executable, "a")


def test_the_environment_is_the_bots_changed_as_the_task_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("REMOVED", "1")
    monkeypatch.setenv("PILOTLIGHT_BOT_SECRET", "s3cret")
    env = prepared(
        tmp_path, env={"SET": "x", "REMOVED": "", "P": "old"}, env_prefixes={"P": ["a", "b/c"], "Q": ["d"]}
    ).env
    assert (env["KEPT"], env["SET"], env["SWARMING_BOT_ID"]) == ("1", "x", "bot1")
    assert "REMOVED" not in env and "PILOTLIGHT_BOT_SECRET" not in env
    assert env["P"] == os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b/c"), "old"])
    assert env["Q"] == str(tmp_path / "d")


def test_the_working_directory_is_made(tmp_path: Path) -> None:
    assert prepared(tmp_path, relative_cwd="a/b").cwd == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_placeholders_are_filled_in(tmp_path: Path) -> None:
    command = prepared(tmp_path, command=["/x", "${SWARMING_TASK_ID}", "${SWARMING_BOT_FILE}"], task_id="a1").command
    assert command == ("/x", "a1", "/bot.zip")


@pytest.mark.parametrize(
    ("fields", "exit_code"),
    [
        ({"command": ["/x", "${ISOLATED_OUTDIR}"]}, 2),
        ({"relative_cwd": "../x"}, 2),
        ({"env_prefixes": {"PATH": ["/bin"]}}, 2),
        ({"env_prefixes": {"PATH": ["a/../../b"]}}, 2),
    ],
)
def test_a_command_that_cannot_be_run_is_an_ordinary_failure(
    tmp_path: Path, fields: dict[str, Any], exit_code: int
) -> None:
    with pytest.raises(BadCommand) as caught:
        prepared(tmp_path, **fields)
    assert caught.value.exit_code == exit_code


def test_no_command_is_an_ordinary_failure(tmp_path: Path) -> None:
    parsed = manifest.parse({**raw_manifest(), "command": []})
    with pytest.raises(BadCommand) as caught:
        prepare(parsed, tmp_path, tmp_path, {}, "")
    assert caught.value.exit_code == 1
