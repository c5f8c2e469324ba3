"""From a manifest to what is really executed: argument list, directory, environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.manifest import Manifest, is_inside

SECRET_ENV = "PILOTLIGHT_BOT_SECRET"


class BadCommand(Exception):
    """The command cannot be run as it is: an ordinary failure of the task, told in its output."""

    def __init__(self, exit_code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Prepared:
    """Ready to be started."""

    command: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]


def prepare(manifest: Manifest, run_dir: Path, temp_dir: Path, fixed_env: Mapping[str, str], bot_file: str) -> Prepared:
    """Works out how to run the command, and makes its directory.

    Raises:
        BadCommand: it cannot be run.
    """
    if not manifest.command:
        raise BadCommand(1, "there is no command to run")
    cwd = run_dir
    if manifest.relative_cwd:
        cwd = run_dir / _inside(manifest.relative_cwd, "relative_cwd")
        cwd.mkdir(parents=True, exist_ok=True)
    values = {
        "${EXECUTABLE_SUFFIX}": ".exe" if sys.platform == "win32" else "",
        "${SWARMING_TASK_ID}": manifest.task_id,
        "${SWARMING_BOT_FILE}": bot_file,
    }
    env = task_environment(manifest, run_dir, temp_dir, fixed_env, values)
    argv = [_fill_in(argument, values) for argument in manifest.command]
    return Prepared((_find(argv[0], cwd, env), *argv[1:]), cwd, env)


def task_environment(
    manifest: Manifest, run_dir: Path, temp_dir: Path, fixed_env: Mapping[str, str], values: Mapping[str, str]
) -> dict[str, str]:
    """The bot's environment without its secret, changed as the manifest says; an empty value removes a variable.

    Raises:
        BadCommand: a prefix leaves the run directory.
    """
    env = {key: value for key, value in os.environ.items() if key != SECRET_ENV}
    env.update({name: str(temp_dir) for name in ("TMPDIR", "TEMP", "TMP")})
    for key, value in manifest.env.items():
        if value:
            env[key] = _fill_in(value, values)
        else:
            env.pop(key, None)
    for key, paths in manifest.env_prefixes.items():
        first = [str(run_dir / _inside(path, f"env_prefixes[{key}]")) for path in paths]
        env[key] = os.pathsep.join(first + ([env[key]] if env.get(key) else []))
    env.update(fixed_env)
    return env


def _inside(path: str, field: str) -> str:
    if path not in (".", "") and not is_inside(path):
        raise BadCommand(2, f"{field}: {path!r} leaves the run directory")
    return path


def _fill_in(text: str, values: Mapping[str, str]) -> str:
    if "${ISOLATED_OUTDIR}" in text:
        raise BadCommand(2, "${ISOLATED_OUTDIR} needs a content-addressed store, and this bot has none")
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _find(program: str, cwd: Path, env: Mapping[str, str]) -> str:
    """The program's path: a bare name is looked up in PATH first, anything else is relative to the directory."""
    if os.path.isabs(program):
        return program
    bare = "/" not in program and (os.sep not in program)
    found = shutil.which(program, path=env.get("PATH", os.defpath)) if bare else None
    return found or str(cwd / program)
