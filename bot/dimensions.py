"""What this machine is (dimensions) and how it is (state)."""

from __future__ import annotations

import getpass
import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Dimensions = Mapping[str, "list[str]"]


def default_bot_id() -> str:
    """The short host name."""
    return socket.gethostname().split(".")[0] or "bot"


def base_dimensions(bot_id: str, pool: str, extra: Dimensions) -> dict[str, list[str]]:
    """Dimensions that stay the same while the bot runs; `extra` (the operator's) win over those found here."""
    version = sys.version_info
    found = {
        "cores": [str(os.cpu_count() or 1)],
        "cpu": cpu(platform.machine()),
        "os": operating_system(),
        "python": ["3", f"3.{version.minor}", f"3.{version.minor}.{version.micro}"],
    }
    return {**found, **{key: sorted(set(values)) for key, values in extra.items()}, "id": [bot_id], "pool": [pool]}


def cpu(machine: str) -> list[str]:
    """Names of a processor, general ones first: `x86`, `x86-64`."""
    name = machine.lower()
    if name in ("amd64", "x86_64"):
        return ["x86", "x86-64"]
    if name in ("aarch64", "arm64"):
        return ["arm", "arm64"]
    if re.fullmatch(r"i[3-6]86", name):
        return ["x86", "x86-32"]
    return [name or "unknown"]


def operating_system() -> list[str]:
    """Names of the system, sorted: `Debian`, `Debian-12`, `Linux`."""
    if sys.platform == "darwin":
        return _with_versions("Mac", platform.mac_ver()[0])
    if sys.platform == "win32":
        return _with_versions("Windows", platform.release())
    try:
        release = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        release = ""
    return sorted({platform.system() or "Linux", *linux_names(release)})


def linux_names(os_release: str) -> list[str]:
    """Names of a distribution from the text of its os-release file."""
    fields = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', os_release, re.MULTILINE))
    name = fields.get("ID", "").capitalize()
    return _with_versions(name, fields.get("VERSION_ID", "")) if name else []


def _with_versions(name: str, version: str) -> list[str]:
    parts = [part for part in version.split(".") if part]
    return [name] + [f"{name}-{'.'.join(parts[: n + 1])}" for n in range(len(parts))]


def disk(path: Path) -> dict[str, dict[str, float]]:
    """Size and free space, in MiB, of the file system that holds `path`, under its mount point."""
    mount = path.resolve()
    while not os.path.ismount(mount) and mount.parent != mount:
        mount = mount.parent
    usage = shutil.disk_usage(path)
    return {str(mount): {"free_mb": round(usage.free / 2**20, 1), "size_mb": round(usage.total / 2**20, 1)}}


def fixed_state(started_ts: float, bot_dir: Path) -> dict[str, Any]:
    """The part of the state that stays the same while the bot runs."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = "unknown"
    return {
        "pilotlight_bot": True,
        "cwd": str(bot_dir),
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "python": {"executable": sys.executable, "version": sys.version.split()[0]},
        "started_ts": int(started_ts),
        "user": user,
    }
