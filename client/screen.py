"""What commands print: rich tables on a terminal, tab-separated lines in a pipe, JSON where asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click
from google.protobuf import json_format
from google.protobuf.message import Message
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.words import plain

GOOD, WARN, BAD, ACCENT, DIM = "green", "yellow", "red", "blue", "bright_black"
MARKS = ">~"
BETWEEN = 3
LEAST_ROOM = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and its colour, "" for none."""

    text: str
    style: str = ""


@dataclass(slots=True)
class Sheet:
    """A table before it is known where it goes.

    Columns whose names begin with `>` are set right; one that begins with `~` is cut when the terminal is narrow.
    """

    columns: Sequence[str]
    rows: list[Sequence[Cell | str]] = field(default_factory=list)

    def add(self, *cells: Cell | str) -> None:
        """One more row."""
        self.rows.append(cells)


def out() -> Console:
    """The terminal, or whatever stdout is."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """For what is not the answer itself: progress, trouble."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def show(sheet: Sheet, empty: str) -> None:
    """Prints a table; `empty` says in its place what is missing, why, and what to do."""
    if not sys.stdout.isatty():
        for row in [[name.lstrip(MARKS) for name in sheet.columns], *sheet.rows]:
            click.echo("\t".join(plain(_text(cell)) for cell in row))
        if not sheet.rows:
            click.echo(empty, err=True)
        return
    if not sheet.rows:
        out().print(empty)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in sheet.columns:
        table.add_column(name.lstrip(MARKS), justify="right" if name.startswith(">") else "left", overflow="fold")
    room = _room_for_cut(sheet)
    for row in sheet.rows:
        table.add_row(*[_rendered(name, cell, room) for name, cell in zip(sheet.columns, row, strict=True)])
    out().print(table)


def _room_for_cut(sheet: Sheet) -> int:
    """Characters that are left for the column that may be cut, when all others are shown whole."""
    others = 0
    for number, name in enumerate(sheet.columns):
        if not name.startswith("~"):
            others += max([len(name.lstrip(MARKS)), *(len(_text(row[number])) for row in sheet.rows)]) + BETWEEN
    return max(LEAST_ROOM, out().width - others - BETWEEN)


def _rendered(name: str, cell: Cell | str, room: int) -> Text:
    text = Text(_text(cell), style=cell.style if isinstance(cell, Cell) else "")
    if name.startswith("~"):
        text.truncate(room, overflow="ellipsis")
    return text


def say(text: str) -> None:
    """A sentence on stdout."""
    out().print(Text(text if sys.stdout.isatty() else plain(text)))


def note(text: str) -> None:
    """A sentence on stderr."""
    err().print(Text(text if sys.stderr.isatty() else plain(text)))


def show_json(value: Any) -> None:
    """JSON on stdout; messages with the field names of the API."""
    click.echo(json.dumps(_plain_json(value), indent=2, ensure_ascii=False))


def _plain_json(value: Any) -> Any:
    if isinstance(value, Message):
        return json_format.MessageToDict(value, preserving_proto_field_name=True)
    if isinstance(value, dict):
        return {key: _plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_json(item) for item in value]
    return value


def _text(cell: Cell | str) -> str:
    return cell.text if isinstance(cell, Cell) else cell
