"""What people must know of each field, from the models themselves: for the forms of the pages and the tables in docs/.

`python -m server.field_docs docs/config.md docs/spec.md docs/announcements.md` writes them anew between their marks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from server.announce_body import Announce, NewSchedule
from server.pool_config import PoolConfig
from server.spec_body import SpecBody


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """One field. `path` is its YAML name with dots; `low` and `high` are None without such a limit."""

    path: str
    meaning: str
    kind: Literal["number", "whole", "flag", "choice", "text", "list", "mapping"]
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    default: Any
    required: bool
    rule: str
    too_low: str
    too_high: str


def describe(model: type[BaseModel], prefix: str = "") -> Iterator[FieldDoc]:
    """The fields of a model, those of the models within it by their paths."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from describe(inner, f"{prefix}{name}.")
        else:
            yield _field(f"{prefix}{name}", field)


def _field(path: str, field: FieldInfo) -> FieldDoc:
    notes: Any = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    required = field.default is PydanticUndefined
    return FieldDoc(
        path=path,
        meaning=field.description or "",
        kind=_kind(field.annotation),
        unit=notes.get("unit", ""),
        low=_limit(field, "ge"),
        high=_limit(field, "le"),
        choices=get_args(field.annotation) if get_origin(field.annotation) is Literal else (),
        default=None if required else field.default,
        required=required,
        rule=notes.get("rule", ""),
        too_low=notes.get("too_low", ""),
        too_high=notes.get("too_high", ""),
    )


def _kind(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Literal:
        return "choice"
    if origin in (list, dict):
        return "list" if origin is list else "mapping"
    if origin is Union or origin is type(int | str):
        return _kind(next(kind for kind in get_args(annotation) if kind is not type(None)))
    kinds = {bool: "flag", int: "whole", float: "number"}
    return kinds.get(annotation, "mapping" if _is_model(annotation) else "text")


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _limit(field: FieldInfo, name: str) -> float | None:
    return next((getattr(rule, name) for rule in field.metadata if hasattr(rule, name)), None)


def table(model: type[BaseModel]) -> str:
    """The fields as a Markdown table."""
    head = "| field | meaning | limits | default | too low | too high |\n|---|---|---|---|---|---|\n"
    return head + "".join(_row(field) for field in describe(model))


def _row(field: FieldDoc) -> str:
    default = "**must be given**" if field.required else _value(field.default, field.unit)
    cells = [f"`{field.path}`", field.meaning, _limits(field), default, field.too_low, field.too_high]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _limits(field: FieldDoc) -> str:
    found = ", ".join(f"`{choice}`" for choice in field.choices)
    if field.kind == "flag":
        found = "`true`, `false`"
    elif field.low is not None and field.high is not None:
        found = f"{_number(field.low)} – {_number(field.high)}"
    elif field.low is not None or field.high is not None:
        found = f"≥ {_number(field.low)}" if field.low is not None else f"≤ {_number(field.high or 0)}"
    unit = f" {field.unit}" if found and field.unit else ""
    return "; ".join(part for part in (found + unit, field.rule) if part)


def _value(value: Any, unit: str) -> str:
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, int | float):
        return f"{_number(value)} s" if unit == "s" else _number(value)
    return f"`{value}`"


def _number(value: float) -> str:
    return f"{value:,.12g}"


TABLES: dict[str, type[BaseModel]] = {
    "PoolConfig": PoolConfig,
    "SpecBody": SpecBody,
    "Announce": Announce,
    "NewSchedule": NewSchedule,
}


def renewed(text: str) -> str:
    """A page with its tables as the models stand today."""

    def fill(mark: re.Match[str]) -> str:
        return f"<!-- fields: {mark[1]} -->\n{table(TABLES[mark[1]])}<!-- end of fields -->"

    return re.sub(r"<!-- fields: (\w+) -->\n.*?<!-- end of fields -->", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
