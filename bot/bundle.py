"""The bot's own code: which version it is, and how it changes to another one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

CONFIG = "config/config.json"
STAGED = ("bot.1.zip", "bot.2.zip")


class BadCode(Exception):
    """Downloaded code is not what it should be."""


def content_version(entries: Mapping[str, bytes]) -> str:
    """The version of a bot: SHA-256, in hex, over its code, sorted by the names of the files.

    For each file: the length of its name in decimal, its name, the length of its content in decimal, its content. The
    configuration counts not, unlike in Swarming's own bots: the same code is the same version, by whatever address of
    the server it was fetched.
    """
    digest = hashlib.sha256()
    for name in sorted(set(entries) - {CONFIG}):
        for part in (name.encode("utf-8"), entries[name]):
            digest.update(str(len(part)).encode("ascii"))
            digest.update(part)
    return digest.hexdigest()


def entries_of(archive: bytes) -> dict[str, bytes]:
    """Files in a zip.

    Raises:
        BadCode: it is no zip.
    """
    try:
        with zipfile.ZipFile(BytesIO(archive)) as file:
            return {name: file.read(name) for name in file.namelist() if not name.endswith("/")}
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise BadCode(f"not a zip: {error}") from error


def own_archive() -> Path | None:
    """The zip that this code runs from, or None when it runs from a source tree."""
    for parent in Path(__file__).absolute().parents:
        if parent.is_file():
            return parent
    return None


def own_entries() -> dict[str, bytes]:
    """The files that this code consists of, as they stand in its zip, or would."""
    archive = own_archive()
    if archive is not None:
        return entries_of(archive.read_bytes())
    return source_entries(Path(__file__).absolute().parent)


def source_entries(package: Path) -> dict[str, bytes]:
    """The files of a zip made of a source tree, without its configuration."""
    entries = {f"bot/{path.name}": path.read_bytes() for path in package.glob("*.py")}
    entries["__main__.py"] = entries["bot/__main__.py"]
    return entries


def own_config() -> dict[str, Any]:
    """What the server wrote into the zip: {"server": URL, …}; empty when run from a source tree."""
    return dict(json.loads(own_entries().get(CONFIG, b"{}")))


def stage(archive: bytes, version: str, bot_dir: Path) -> Path:
    """Puts downloaded code beside the running one, after checking that it is that version and that it starts.

    Raises:
        BadCode: it is not, or does not.
    """
    found = content_version(entries_of(archive))
    if found != version:
        raise BadCode(f"the server sent version {found} when asked for {version}")
    running = own_archive()
    target = next(bot_dir / n for n in STAGED if running is None or (bot_dir / n).resolve() != running.resolve())
    target.write_bytes(archive)
    try:
        said = subprocess.run(
            [sys.executable, str(target), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BadCode(f"version {version} does not start: {error}") from error
    if said.stdout.strip() != version:
        raise BadCode(f"version {version} does not start: {(said.stderr or said.stdout)[-500:]}")
    return target
