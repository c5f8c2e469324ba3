"""The code of our own bot, as the server hands it out: one zip per server URL, and the script that starts it.

The zip names the server that it was fetched from; its version does not depend on that (`bundle.content_version`).
"""

from __future__ import annotations

import functools
import io
import json
import zipfile
from pathlib import Path

from bot import bundle

_PACKAGE = Path(bundle.__file__).resolve().parent
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold; the same files make the same bytes
_URLS_KEPT = 16

_BOOTSTRAP = '''\
#!/usr/bin/env python3
"""Fetches the bot of {shown} and starts it:

    curl -sSf {shown}/bootstrap | python3 - [--dir DIR] [--id ID] [--pool POOL] [--dimension KEY=VALUE]...

If bots need a secret here, put it into the variable PILOTLIGHT_BOT_SECRET or a file named by --secret-file.
"""
import argparse
import os
import subprocess
import sys
import urllib.request

SERVER = {server}


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--dir", default="pilotlight-bot")
    parser.add_argument("--secret-file")
    given, rest = parser.parse_known_args()
    folder = os.path.abspath(given.dir)
    os.makedirs(folder, exist_ok=True)
    secret = os.environ.get("PILOTLIGHT_BOT_SECRET", "")
    if given.secret_file:
        rest += ["--secret-file", os.path.abspath(given.secret_file)]
        with open(given.secret_file, encoding="utf-8") as file:
            secret = file.read().strip()
    request = urllib.request.Request(SERVER + "/bot_code")
    if secret:
        request.add_header("Authorization", "Bearer " + secret)
    with urllib.request.urlopen(request, timeout=60) as answer:
        code = answer.read()
    path = os.path.join(folder, "bot.zip")
    with open(path + ".new", "wb") as file:
        file.write(code)
    os.replace(path + ".new", path)
    command = [sys.executable, path, "--dir", folder] + rest
    if sys.platform == "win32":
        return subprocess.call(command)
    os.execv(sys.executable, command)


sys.exit(main())
'''


@functools.cache
def version() -> str:
    """What the bot of any of our zips says in `version`."""
    return bundle.content_version(_source())


@functools.lru_cache(maxsize=_URLS_KEPT)
def archive(server_url: str) -> bytes:
    """The bot's zip for a server that bots reach at `server_url`; the same for the same source files and URL."""
    config = {"server": server_url.rstrip("/")}
    return _zip({**_source(), bundle.CONFIG: json.dumps(config, sort_keys=True).encode("utf-8") + b"\n"})


def bootstrap_script(server_url: str) -> str:
    """A Python 3 script that fetches the bot from `server_url`/bot_code and starts it."""
    url = server_url.rstrip("/")
    shown = "".join(c for c in url if c.isalnum() or c in ":/.-_[]")
    return _BOOTSTRAP.format(shown=shown, server=json.dumps(url))


def start_command(server_url: str, *, with_secret: bool = False, pool: str = "") -> str:
    """The one line that a person types on a machine to make it a bot.

    Args:
        server_url: where bots reach the server.
        with_secret: bots need the secret, which then stands in the variable PILOTLIGHT_BOT_SECRET.
        pool: that it is to serve; "" leaves the bot's own default.
    """
    header = '-H "Authorization: Bearer $PILOTLIGHT_BOT_SECRET" ' if with_secret else ""
    return f"curl -sSf {header}{server_url.rstrip('/')}/bootstrap | python3 -" + (f" --pool {pool}" if pool else "")


@functools.cache
def _source() -> dict[str, bytes]:
    return bundle.source_entries(_PACKAGE)


def _zip(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            file.writestr(info, entries[name])
    return buffer.getvalue()
