"""Files of the bot's directory: atomic JSON, removal and measuring of trees, and the lock of the directory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class DirectoryInUse(Exception):
    """Another bot runs in this directory."""


class DirectoryLock:
    """Holds a bot directory for one process; the system lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Takes the lock file at `path`.

        Raises:
            DirectoryInUse: another process holds it.
        """
        self._file = open(path, "a+b")  # noqa: SIM115 -- open means locked
        try:
            if sys.platform == "win32":
                self._file.seek(0)
                msvcrt.locking(self._file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise DirectoryInUse(f"another bot runs in {path.parent}") from error

    def release(self) -> None:
        """Lets another bot have the directory."""
        self._file.close()


def write_json(path: Path, value: Any) -> None:
    """Replaces the file at once and for good: after a crash it holds the old or the new value, never a part."""
    handle, temporary = tempfile.mkstemp(prefix=path.name, suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_json(path: Path, default: Any) -> Any:
    """The value in the file, or `default` when there is none or it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def remove_tree(path: Path) -> None:
    """Removes a file, link or directory tree, read-only parts included; a missing one is fine.

    Raises:
        OSError: something is left.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):
        make_writable(Path(folder))
    shutil.rmtree(path)


def make_writable(path: Path) -> None:
    """Gives the owner all rights on a directory or file, where the system lets us."""
    with contextlib.suppress(OSError):  # whoever needs the right gets the error that names the file
        os.chmod(path, os.stat(path, follow_symlinks=False).st_mode | stat.S_IRWXU)


def tree_size(path: Path, budget_s: float | None = None) -> int | None:
    """Bytes of all files in a tree, links not followed; None when measuring took longer than `budget_s`."""
    until = None if budget_s is None else time.monotonic() + budget_s
    total, folders = 0, [path]
    while folders:
        if until is not None and time.monotonic() > until:
            return None
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # vanished or unreadable: it does not count
    return total


def is_empty(path: Path) -> bool:
    """Whether a directory has no entries."""
    with os.scandir(path) as entries:
        return next(entries, None) is None
