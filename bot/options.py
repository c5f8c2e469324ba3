"""The bot's command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot import bundle
from bot.caches import DEFAULT_MAX_BYTES
from bot.command import SECRET_ENV
from bot.dimensions import default_bot_id


@dataclass(frozen=True)
class Options:
    """How this bot was started."""

    server: str  # URL without a trailing slash
    bot_dir: Path
    bot_id: str
    pool: str
    dimensions: Mapping[str, list[str]]
    secret: str | None
    hand_back_at_once: bool
    allow_reboot: bool
    hold_s: int
    max_cache_bytes: int
    min_free_bytes: int | None  # None: by the size of the disk


def parse(arguments: Sequence[str]) -> Options:
    """Reads the command line; exits with a message when it is wrong, or when only the version was asked for."""
    parser = _parser()
    given = parser.parse_args(arguments)
    server = (given.server or str(bundle.own_config().get("server", ""))).rstrip("/")
    if not server.startswith(("http://", "https://")):
        parser.error("--server: the URL of the server is missing, or no http(s) URL")
    dimensions: dict[str, list[str]] = {}
    for key, value in given.dimension:
        dimensions.setdefault(key, []).append(value)
    gib = 2**30
    return Options(
        server=server,
        bot_dir=Path(given.dir).absolute(),
        bot_id=given.id,
        pool=given.pool,
        dimensions=dimensions,
        secret=_secret(parser, given.secret_file),
        hand_back_at_once=given.on_term == "hand-back",
        allow_reboot=given.allow_reboot,
        hold_s=given.hold,
        max_cache_bytes=int(given.max_cache_gib * gib),
        min_free_bytes=None if given.min_free_gib is None else int(given.min_free_gib * gib),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bot", description="Runs tasks of a Pilotlight server on this machine.")
    add = parser.add_argument
    archive = bundle.own_archive()
    add("--server", metavar="URL", help="the server; the zip knows the one that it was downloaded from")
    add("--dir", default=str(archive.parent if archive else "."), help="the bot's own directory; default: where it is")
    add("--id", default=default_bot_id(), help="the bot's id; default: the host name")
    add("--pool", default="default", help="the pool that it works for; default: %(default)s")
    add("--dimension", metavar="KEY=VALUE", type=_dimension, action="append", default=[], help="repeatable")
    add("--secret-file", metavar="FILE", help=f"file with the bots' secret; default: the variable {SECRET_ENV}")
    add(
        "--on-term",
        choices=("finish", "hand-back"),
        default="finish",
        help="what SIGTERM does to a running task; a second one always hands it back, the next kills it at once; "
        "default: %(default)s",
    )
    add("--allow-reboot", action="store_true", help="let the server reboot this machine")
    add("--hold", metavar="S", type=int, default=20, help="how long a poll may be held, seconds; default: %(default)s")
    add("--max-cache-gib", metavar="N", type=float, default=DEFAULT_MAX_BYTES / 2**30, help="default: %(default)s")
    add("--min-free-gib", metavar="N", type=float, help="disk kept free of caches; default: 1, or 5%% of a small disk")
    add("--version", action="version", version=bundle.content_version(bundle.own_entries()))
    return parser


def _dimension(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value) or key in ("id", "pool", "caches"):
        raise argparse.ArgumentTypeError(f"{text!r}: not KEY=VALUE, or a key that has its own way (id, pool, caches)")
    return key, value


def _secret(parser: argparse.ArgumentParser, path: str | None) -> str | None:
    if path is None:
        return os.environ.get(SECRET_ENV) or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError as error:
        parser.error(f"--secret-file: {error}")
