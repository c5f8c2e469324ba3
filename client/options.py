"""Options that every command has, and what becomes of errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from client.api import DEFAULT_SERVER, Api, ApiError, connect
from client.prpc import PrpcError, Retry
from client.screen import note

Command = TypeVar("Command", bound=Callable[..., Any])

READ_PATIENCE = Retry(total_s=5.0)
"""Whoever looks at something is told soon that there is no server."""


def api_options(command: Command) -> Command:
    """Adds --server, --token-file and --json; the command gets `api` and `as_json`. Refusals end it in one line.

    Given to a group, they hold for the command within it too, unless that has its own.
    """

    @click.option(
        "--server",
        envvar="PILOTLIGHT_SERVER",
        default=DEFAULT_SERVER,
        show_default=True,
        callback=_own_or_of_group,
        help="Its URL.",
    )
    @click.option(
        "--token-file",
        envvar="PILOTLIGHT_TOKEN_FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=_own_or_of_group,
        help="File with a client token.",
    )
    @click.option("--json", "as_json", is_flag=True, callback=_own_or_of_group, help="Print JSON.")
    @functools.wraps(command)
    def wrapped(server: str, token_file: Path | None, as_json: bool, **given: Any) -> Any:
        token = token_file.read_text(encoding="utf-8").strip() if token_file else None
        try:
            return command(api=_connected(server, token), as_json=as_json, **given)
        except UnicodeEncodeError as error:
            raise click.UsageError(f"{error.object!r} is not UTF-8, and the API carries no other text") from error
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        except (PrpcError, ApiError) as error:
            raise click.ClickException(explain(error, server)) from error

    return wrapped  # type: ignore[return-value]


def _own_or_of_group(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """The value that was typed nearest to the command; what nobody typed is the environment's or the default."""
    name = parameter.name or ""
    above: click.Context | None = context
    while above is not None:
        if above.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            return value if above is context else above.params[name]
        above = above.parent
    return value


def _connected(server: str, token: str | None) -> Api:
    api = connect(server, token)
    api.wait_out(READ_PATIENCE, told_once())
    return api


def told_once() -> Callable[[PrpcError, float], None]:
    """Says of the first failed try that there will be others."""
    told: list[str] = []

    def tell(error: PrpcError, _pause_s: float) -> None:
        if not told:
            note(f"{error.text}; trying again for a while")
        told.append(error.text)

    return tell


def explain(error: PrpcError | ApiError, server: str) -> str:
    """One line, with what to do where that is known."""
    lines = [error.text]
    if isinstance(error, ApiError) and error.errors:
        lines += [f"  {name}: {text}" for name, text in error.errors.items()]
    if error.text.startswith("no answer from"):
        lines.append(f"Is a server running there? ./pilot up starts one; --server names another than {server}.")
    return "\n".join(lines)


def pairs(
    separator: str, name: str
) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], list[tuple[str, str]]]:
    """For repeatable options of the form KEY=VALUE."""

    def parse(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> list[tuple[str, str]]:
        found = []
        for text in given:
            key, sign, value = text.partition(separator)
            if not sign or not key:
                raise click.BadParameter(f"{text!r} is not {name}")
            found.append((key, value))
        return found

    return parse
