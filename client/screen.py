"""What commands print: rich tables on a terminal, tab-separated lines in a pipe, JSON where asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import click
from google.protobuf import json_format
from google.protobuf.message import Message
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from client.words import plain

GOOD, WARN, BAD, ACCENT, DIM = "green", "yellow", "red", "blue", "bright_black"
MARKS = ">~"
BETWEEN = 2
LEAST_ROOM = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and its colour, "" for none."""

    text: str
    style: str = ""


@dataclass(slots=True)
class Sheet:
    """A table before it is known where it goes.

    Columns whose names begin with `>` are set right. On a narrow terminal one that begins with `~` is cut, those in
    which nothing stands are left out, and all others are wrapped between words: ids, which people copy, stay whole.
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
    if _line([_longest(sheet, number) for number in range(len(sheet.columns))]) > out().width:
        sheet = _without_empty_columns(sheet)
    widths = widths_of_columns(sheet, out().width)
    if widths is None:
        _show_without_columns(sheet)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name, width in zip(sheet.columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        table.add_column(name.lstrip(MARKS), justify=justify, width=width)
    for row in sheet.rows:
        table.add_row(*map(_rendered, sheet.columns, row, widths))
    out().print(table)
    out().print()


def widths_of_columns(sheet: Sheet, room: int) -> list[int] | None:
    """Characters of each column so that a line has `room` at most; None if no words can be wrapped to reach that.

    What may be cut gives way first, then always the widest column that has words to wrap.
    """
    columns = range(len(sheet.columns))
    widths = [_longest(sheet, number) for number in columns]
    least = [_least(sheet, number) for number in columns]
    for _ in range(_line(widths) - room):
        wide = [number for number in columns if widths[number] > least[number]]
        if not wide:
            return None
        widths[max(wide, key=lambda number: (sheet.columns[number].startswith("~"), widths[number]))] -= 1
    return widths


def _line(widths: Sequence[int]) -> int:
    return sum(widths) + BETWEEN * (len(widths) - 1)


def _without_empty_columns(sheet: Sheet) -> Sheet:
    kept = [number for number in range(len(sheet.columns)) if any(_text(row[number]) for row in sheet.rows)]
    return Sheet([sheet.columns[number] for number in kept], [[row[number] for number in kept] for row in sheet.rows])


def _texts(sheet: Sheet, number: int) -> list[str]:
    return [sheet.columns[number].lstrip(MARKS), *(_text(row[number]) for row in sheet.rows)]


def _longest(sheet: Sheet, number: int) -> int:
    """Characters of the longest text in a column, its name among them."""
    return max(map(cell_len, _texts(sheet, number)))


def _least(sheet: Sheet, number: int) -> int:
    """The width below which a column cannot go: the longest word, such as an id."""
    if sheet.columns[number].startswith("~"):
        return min(LEAST_ROOM, _longest(sheet, number))
    return max(cell_len(word) for text in _texts(sheet, number) for word in text.split() or [""])


def _show_without_columns(sheet: Sheet) -> None:
    """Each row as a line of its first cell, and one of all others with their names: no terminal is too narrow."""
    for row in sheet.rows:
        first, *others = [_styled(cell) for cell in row]
        out().print(first, soft_wrap=True)
        named = zip(sheet.columns[1:], others, strict=True)
        parts = [Text.assemble((f"{name.lstrip(MARKS)} ", DIM), text) for name, text in named if text.plain]
        out().print(Padding(Text(", ").join(parts), (0, 0, 0, BETWEEN)))
    out().print()


def _styled(cell: Cell | str) -> Text:
    return Text(_text(cell), style=cell.style if isinstance(cell, Cell) else "")


def _rendered(name: str, cell: Cell | str, width: int) -> Text:
    text = _styled(cell)
    if name.startswith("~"):
        text.truncate(width, overflow="ellipsis")
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
