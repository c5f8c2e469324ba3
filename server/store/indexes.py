"""Indexes: those that every property has, and the composite ones that `index.yaml` declares.

An index is a sorted list of rows (value, key). What a query may ask is what one scan of such a list can answer, here as
in Datastore; so a query that needs an index that nobody declared fails on the laptop, not in production.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from server.store import encoding

KEY = "__key__"
# Datastore's limits: bytes of an indexed string or blob, rows of an entity in its composite indexes.
_MAX_INDEXED_BYTES = 1_500
_MAX_COMBINATIONS = 20_000


@dataclass(frozen=True, slots=True)
class Index:
    """One index.

    Attributes:
        kind: kind of the entities in it.
        properties: name and whether it sorts descending; none: the entities of a kind by their keys.
        ancestor: each entity has rows for itself and for each of its ancestors, which come first.
    """

    kind: str
    properties: tuple[tuple[str, bool], ...] = ()
    ancestor: bool = False

    def text(self) -> str:
        """A name that is the same for equal indexes."""
        signed = [("-" if descending else "+") + name for name, descending in self.properties]
        return "|".join([self.kind, "ancestor" if self.ancestor else "", *signed])

    def as_yaml(self) -> str:
        """The lines to add to `index.yaml`."""
        lines = [f"- kind: {self.kind}"]
        if self.ancestor:
            lines.append("  ancestor: yes")
        lines.append("  properties:")
        for name, descending in self.properties:
            lines.append(f"  - name: {name}")
            if descending:
                lines.append("    direction: desc")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One entity's place in an index; `several` if the entity has other rows in the same index."""

    index: str
    value: bytes
    several: bool = False


class CompositeIndexes:
    """The composite indexes of one `index.yaml`."""

    def __init__(self, indexes: Iterable[Index] = ()) -> None:
        by_kind: dict[str, list[Index]] = {}
        for index in indexes:
            by_kind.setdefault(index.kind, []).append(index)
        self._by_kind: Mapping[str, Sequence[Index]] = by_kind

    @classmethod
    def from_file(cls, path: Path | str) -> CompositeIndexes:
        """Reads `index.yaml`.

        Raises:
            ValueError: the file breaks the format; the text names the entry.
        """
        return cls(parse(Path(path).read_text(encoding="utf-8")))

    def of_kind(self, kind: str) -> Sequence[Index]:
        """The composite indexes of a kind."""
        return self._by_kind.get(kind, ())

    def all(self) -> list[Index]:
        """Every composite index."""
        return [index for indexes in self._by_kind.values() for index in indexes]

    def find(self, kind: str, equal: frozenset[str], sort: Sequence[tuple[str, bool]], ancestor: bool) -> Index | None:
        """The index that begins with these properties in any order, goes on with this sort order and ends there."""
        for index in self.of_kind(kind):
            head, tail = index.properties[: len(equal)], index.properties[len(equal) :]
            names = frozenset(name for name, _ in head)
            if index.ancestor == ancestor and names == equal and tail == tuple(sort):
                return index
        return None


def parse(text: str) -> list[Index]:
    """The indexes of an `index.yaml`, in the format of `gcloud datastore indexes create`.

    Raises:
        ValueError: with the number of the entry at fault.
    """
    document = yaml.safe_load(text) or {}
    entries = document.get("indexes") if isinstance(document, dict) else None
    if not isinstance(document, dict) or set(document) - {"indexes"} or not isinstance(entries, list | None):
        raise ValueError("index.yaml: expected a list under 'indexes'")
    found = [_parse_entry(number, entry) for number, entry in enumerate(entries or [], start=1)]
    for index in found:
        if found.count(index) > 1:
            raise ValueError(f"index.yaml: declared twice: {index.text()}")
    return found


def _parse_entry(number: int, entry: Any) -> Index:
    where = f"index.yaml: entry {number}"
    if not isinstance(entry, dict) or set(entry) - {"kind", "ancestor", "properties"} or not entry.get("kind"):
        raise ValueError(f"{where}: expected kind, properties and, if wanted, ancestor")
    ancestor = entry.get("ancestor", False)
    if ancestor not in (True, False):
        raise ValueError(f"{where}: ancestor is yes or no")
    properties = []
    for item in entry.get("properties") or []:
        direction = item.get("direction", "asc") if isinstance(item, dict) else None
        if direction not in ("asc", "desc") or set(item) - {"name", "direction"} or not item.get("name"):
            raise ValueError(f"{where}: a property has a name and a direction, asc or desc")
        properties.append((str(item["name"]), direction == "desc"))
    if len(properties) + bool(ancestor) < 2 and properties != [(KEY, True)]:
        raise ValueError(f"{where}: Datastore keeps single-property indexes by itself; declare none")
    return Index(str(entry["kind"]), tuple(properties), bool(ancestor))


def rows(entity: Any, composites: Sequence[Index]) -> set[Row]:
    """All places of an entity in the indexes: of its kind, of its properties, and in these composite ones."""
    kind = entity.key.path[-1].kind
    values = _indexed_values(entity)
    found = {Row(Index(kind).text(), b"")}
    for name, encoded in values.items():
        text = Index(kind, ((name, False),)).text()
        found.update(Row(text, value, len(encoded) > 1) for value in encoded)
    for index in composites:
        found.update(_composite_rows(index, entity.key, values))
    return found


def rows_in(entity: Any, index: Index) -> list[bytes]:
    """The values under which an entity stands in one index, in ascending order."""
    values = _indexed_values(entity)
    return sorted(row.value for row in _composite_rows(index, entity.key, values))


def _composite_rows(index: Index, key: Any, values: Mapping[str, set[bytes]]) -> set[Row]:
    choices: list[list[bytes]] = []
    count = 1
    several = False
    if index.ancestor:
        choices.append([prefix + b"\x00\x00" for prefix in encoding.ancestors(key)])
    for name, descending in index.properties:
        encoded = {encoding.encode_key(key) + b"\x00\x00"} if name == KEY else values.get(name, set())
        choices.append([encoding.descending(value) for value in encoded] if descending else list(encoded))
        several = several or len(choices[-1]) > 1
        count *= len(choices[-1])
    if count > _MAX_COMBINATIONS:
        raise ValueError(f"an entity of kind {index.kind} has {count} rows in one index; at most {_MAX_COMBINATIONS}")
    return {Row(index.text(), b"".join(parts), several) for parts in product(*choices)}


def _indexed_values(entity: Any) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for name, value in entity.properties.items():
        _collect(found, name, value)
    return found


def _collect(found: dict[str, set[bytes]], name: str, value: Any) -> None:
    if value.exclude_from_indexes:
        return
    kind = value.WhichOneof("value_type")
    if kind == "array_value":
        for item in value.array_value.values:
            _collect(found, name, item)
    elif kind == "entity_value":
        for inner_name, inner in value.entity_value.properties.items():
            _collect(found, f"{name}.{inner_name}", inner)
    elif kind is not None:
        if kind in ("string_value", "blob_value") and value.ByteSize() > _MAX_INDEXED_BYTES + 8:
            _refuse_long_value(name, value)
        found.setdefault(name, set()).add(encoding.encode_value(value))


def _refuse_long_value(name: str, value: Any) -> None:
    size = len(value.string_value.encode() or value.blob_value)
    if size > _MAX_INDEXED_BYTES:
        raise ValueError(f"the value of the indexed property {name} has {size} bytes; at most {_MAX_INDEXED_BYTES}")
