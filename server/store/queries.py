"""From a Datastore query to the index scan that answers it, or to the reason why none does."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from google.api_core import exceptions as google_exceptions
from google.cloud.datastore_v1.types import query as query_types

from server.store import encoding
from server.store.indexes import KEY, CompositeIndexes, Index

_Operator = query_types.PropertyFilter.Operator
_LESS = (_Operator.LESS_THAN, _Operator.LESS_THAN_OR_EQUAL)
_GREATER = (_Operator.GREATER_THAN, _Operator.GREATER_THAN_OR_EQUAL)
_DESCENDING = query_types.PropertyOrder.Direction.DESCENDING
_EVERYTHING_BELOW = b"\xff"

Position = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """A scan of the rows of one index between two positions (value, key), the second one excluded.

    Attributes:
        index: the index to scan.
        low: first position of the range.
        high: position behind the range.
        also: further rows, (index, value), that the entity must have.
        reverse: from the end to the beginning.
        keys_only: the answer holds keys without properties.
        offset: how many results to leave out.
        limit: how many results to give at most, or None.
        shape: number that tells queries of one form from those of another, for cursors.
        start: cursor position after which to begin, or None.
        end: cursor position after which to stop, or None.
    """

    index: Index
    low: Position
    high: Position
    also: tuple[tuple[Index, bytes], ...] = ()
    reverse: bool = False
    keys_only: bool = False
    offset: int = 0
    limit: int | None = None
    shape: int = 0
    start: Position | None = None
    end: Position | None = None

    def bounds(self) -> tuple[Position, Position]:
        """The range with the cursors applied."""
        low, high = self.low, self.high
        if self.reverse:
            high = min(high, self.start or high)
            low = max(low, self.end or low)
        else:
            low = max(low, _behind(self.start) if self.start else low)
            high = min(high, _behind(self.end) if self.end else high)
        return low, high

    def behind(self, position: Position, bounds: tuple[Position, Position]) -> tuple[Position, Position]:
        """What is left of the bounds behind a position."""
        low, high = bounds
        return (low, position) if self.reverse else (_behind(position), high)

    @property
    def exact(self) -> bool:
        """The rows of the scan have one and the same value; only their keys differ."""
        return self.low[0] == self.high[0]

    def cursor(self, position: Position) -> bytes:
        """A cursor that stands behind this position."""
        value, key = position
        return self.shape.to_bytes(4, "big") + len(value).to_bytes(4, "big") + value + key


@dataclass(slots=True)
class _Filters:
    """The filters of a query, sorted by what they do."""

    equal: dict[str, list[bytes]] = field(default_factory=dict)
    unequal: list[tuple[str, int, bytes]] = field(default_factory=list)
    ancestor: bytes | None = None


def unimplemented(what: str) -> NoReturn:
    """Refuses a part of Datastore that the embedded store does not have.

    Raises:
        MethodNotImplemented: always, with the name of that part.
    """
    raise google_exceptions.MethodNotImplemented(f"the embedded store does not implement {what}")


def plan(query: Any, composites: CompositeIndexes) -> Plan:
    """Finds the scan for a query.

    Raises:
        MethodNotImplemented: the query uses a part of Datastore that the embedded store does not have.
        FailedPrecondition: the query needs a composite index that is not declared.
        InvalidArgument: a cursor that belongs to another query, or none at all.
    """
    _refuse_unknown_parts(query)
    filters = _sort_filters(query)
    sort = _sort_order(query, filters)
    kind = query.kind[0].name
    if sort:
        found = _range_plan(kind, filters, sort, composites)
    else:
        found = _equality_plan(kind, filters, composites)
    found = replace(
        found,
        keys_only=bool(query.projection),
        offset=query.offset,
        limit=query.limit.value if query.HasField("limit") else None,
        shape=zlib.crc32(repr((found.index.text(), found.low, found.high, found.also, found.reverse)).encode()),
    )
    return replace(found, start=_position(query.start_cursor, found), end=_position(query.end_cursor, found))


def _refuse_unknown_parts(query: Any) -> None:
    if len(query.kind) != 1:
        unimplemented("queries without a kind")
    if query.distinct_on:
        unimplemented("distinct_on")
    if query.HasField("find_nearest"):
        unimplemented("find_nearest")
    if query.projection and [part.property.name for part in query.projection] != [KEY]:
        unimplemented("projections other than keys only")


def _sort_filters(query: Any) -> _Filters:
    filters = _Filters()
    for part in _flatten(query.filter) if query.HasField("filter") else ():
        name, operator, value = part.property.name, part.op, part.value
        if operator == _Operator.HAS_ANCESTOR:
            filters.ancestor = encoding.encode_key(value.key_value)
            continue
        encoded = _encode_operand(name, value)
        if operator == _Operator.EQUAL and name != KEY:
            if encoded not in filters.equal.setdefault(name, []):
                filters.equal[name].append(encoded)
        elif operator == _Operator.EQUAL or operator in _LESS or operator in _GREATER:
            filters.unequal.append((name, operator, encoded))
        else:
            unimplemented(f"filters with {_Operator(operator).name}")
    if len({name for name, _, _ in filters.unequal}) > 1:
        unimplemented("inequalities on more than one property")
    if any(name in filters.equal for name, _, _ in filters.unequal):
        unimplemented("an equality and an inequality on the same property")
    return filters


def _flatten(part: Any) -> list[Any]:
    if part.WhichOneof("filter_type") == "property_filter":
        return [part.property_filter]
    if part.composite_filter.op != query_types.CompositeFilter.Operator.AND:
        unimplemented("composite filters other than AND")
    return [leaf for inner in part.composite_filter.filters for leaf in _flatten(inner)]


def _encode_operand(name: str, value: Any) -> bytes:
    if name == KEY:
        if value.WhichOneof("value_type") != "key_value":
            raise google_exceptions.InvalidArgument("__key__ is compared with something that is not a key")
        return encoding.encode_key(value.key_value)
    try:
        return encoding.encode_value(value)
    except ValueError:
        unimplemented(f"filters on {value.WhichOneof('value_type')}")


def _sort_order(query: Any, filters: _Filters) -> list[tuple[str, bool]]:
    """The order that an index has to have; empty when the order of keys will do."""
    if any(operator == _Operator.EQUAL for _, operator, _ in filters.unequal):
        return []  # one key: there is nothing to sort
    sort: list[tuple[str, bool]] = []
    for order in query.order:
        name = order.property.name
        if name in filters.equal or name in dict(sort):
            continue
        sort.append((name, order.direction == _DESCENDING))
        if name == KEY:
            break
    if filters.unequal:
        name = filters.unequal[0][0]
        if not sort:
            sort = [(name, False)]
        elif sort[0][0] != name:
            unimplemented("a sort order that does not begin with the property of the inequality")
    if sort and sort[-1] == (KEY, False):
        sort.pop()
    return sort


def _equality_plan(kind: str, filters: _Filters, composites: CompositeIndexes) -> Plan:
    """Equal values and the order of keys: rows of single properties, intersected."""
    equal = [(name, value) for name, values in filters.equal.items() for value in values]
    composite = composites.find(kind, frozenset(filters.equal), (), False) if len(equal) > 1 else None
    if composite and len(equal) == len(filters.equal):
        rows = [(composite, _prefix(composite, filters))]
    else:
        rows = [(Index(kind, ((name, False),)), value) for name, value in equal] or [(Index(kind), b"")]
    low, high = _key_range(filters)
    index, value = rows[0]
    return Plan(index, (value, low), (value, high), also=tuple(rows[1:]))


def _key_range(filters: _Filters) -> tuple[bytes, bytes]:
    low, high = b"", _EVERYTHING_BELOW
    if filters.ancestor is not None:
        low, high = filters.ancestor, filters.ancestor + b"\xff"
    for _, operator, key in filters.unequal:
        first, behind = key, key + b"\x00"
        if operator == _Operator.EQUAL:
            low, high = max(low, first), min(high, behind)
        elif operator in _LESS:
            high = min(high, first if operator == _Operator.LESS_THAN else behind)
        else:
            low = max(low, behind if operator == _Operator.GREATER_THAN else first)
    return low, high


def _range_plan(kind: str, filters: _Filters, sort: Sequence[tuple[str, bool]], composites: CompositeIndexes) -> Plan:
    """A sort order or an inequality: one index that has it all."""
    if len(sort) == 1 and sort[0][0] != KEY and not filters.equal and filters.ancestor is None:
        name, descending = sort[0]
        index = Index(kind, ((name, False),))
        low, high = _value_range(b"", False, filters)
        return Plan(index, (low, b""), (high, b""), reverse=descending)
    found = composites.find(kind, frozenset(filters.equal), sort, filters.ancestor is not None)
    if found is None:
        _raise_missing_index(kind, filters, sort)
    if any(len(values) > 1 for values in filters.equal.values()):
        unimplemented("two values of one property together with an inequality or a sort order")
    low, high = _value_range(_prefix(found, filters), sort[0][1], filters)
    return Plan(found, (low, b""), (high, b""))


def _prefix(index: Index, filters: _Filters) -> bytes:
    parts = [filters.ancestor + b"\x00\x00"] if index.ancestor and filters.ancestor is not None else []
    for name, descending in index.properties[: len(filters.equal)]:
        value = filters.equal[name][0]
        parts.append(encoding.descending(value) if descending else value)
    return b"".join(parts)


def _value_range(prefix: bytes, descending: bool, filters: _Filters) -> tuple[bytes, bytes]:
    low, high = prefix, encoding.successor(prefix) if prefix else _EVERYTHING_BELOW
    for name, operator, value in filters.unequal:
        if name == KEY:
            value += b"\x00\x00"
        bound = prefix + (encoding.descending(value) if descending else value)
        strict = operator in (_Operator.LESS_THAN, _Operator.GREATER_THAN)
        if (operator in _GREATER) != descending:
            low = max(low, encoding.successor(bound) if strict else bound)
        else:
            high = min(high, bound if strict else encoding.successor(bound))
    return low, high


def _raise_missing_index(kind: str, filters: _Filters, sort: Sequence[tuple[str, bool]]) -> NoReturn:
    properties = (*((name, False) for name in sorted(filters.equal)), *sort)
    wanted = Index(kind, properties, filters.ancestor is not None)
    raise google_exceptions.FailedPrecondition(f"no matching index found; add to index.yaml:\n{wanted.as_yaml()}")


def _position(cursor: bytes, for_plan: Plan) -> Position | None:
    if not cursor:
        return None
    size = int.from_bytes(cursor[4:8], "big")
    if int.from_bytes(cursor[:4], "big") != for_plan.shape or len(cursor) <= 8 + size:
        raise google_exceptions.InvalidArgument("this cursor does not belong to this query")
    return cursor[8 : 8 + size], cursor[8 + size :]


def _behind(position: Position) -> Position:
    return position[0], position[1] + b"\x00"
