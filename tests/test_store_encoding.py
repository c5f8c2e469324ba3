"""Keys and values as bytes: they sort as what they stand for, and keys come back."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.cloud.datastore_v1.types import entity as entity_types
from hypothesis import given
from hypothesis import strategies as st

from server.store import encoding

KINDS = st.text(min_size=1, max_size=4)
IDS = st.one_of(st.integers(1, (1 << 63) - 1), st.text(min_size=1, max_size=4))
PATHS = st.lists(st.tuples(KINDS, IDS), min_size=1, max_size=3)
VALUES = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.text(max_size=6),
    st.binary(max_size=6),
    st.booleans(),
)


@given(PATHS)
def test_a_key_comes_back_from_its_bytes(path: list[tuple[str, int | str]]) -> None:
    key = _key(path)
    assert encoding.decode_key(encoding.encode_key(key), "p") == key


@given(PATHS, PATHS)
def test_keys_sort_by_kind_then_ids_before_names(one: list[tuple[str, Any]], two: list[tuple[str, Any]]) -> None:
    first, second = encoding.encode_key(_key(one)), encoding.encode_key(_key(two))
    assert (first < second) == (_comparable(one) < _comparable(two))


@given(PATHS, PATHS)
def test_only_a_descendant_begins_with_a_keys_bytes(one: list[tuple[str, Any]], two: list[tuple[str, Any]]) -> None:
    begins = encoding.encode_key(_key(two)).startswith(encoding.encode_key(_key(one)))
    assert begins == (two[: len(one)] == one)


@given(VALUES, VALUES)
def test_values_of_one_type_sort_as_they_compare(one: Any, two: Any) -> None:
    if type(one) is not type(two):
        return
    first, second = encoding.encode_value(_value(one)), encoding.encode_value(_value(two))
    if isinstance(one, str):
        one, two = one.encode(), two.encode()
    assert (first < second) == (one < two)
    assert (first == second) == (one == two)


@given(st.lists(VALUES, min_size=2, max_size=2), st.lists(VALUES, min_size=2, max_size=2))
def test_values_written_one_after_the_other_sort_one_after_the_other(one: list[Any], two: list[Any]) -> None:
    first = [encoding.encode_value(_value(part)) for part in one]
    second = [encoding.encode_value(_value(part)) for part in two]
    assert (b"".join(first) < b"".join(second)) == (first < second)
    turned = [encoding.descending(part) for part in first], [encoding.descending(part) for part in second]
    assert (b"".join(turned[0]) < b"".join(turned[1])) == (first > second)


@given(st.binary(max_size=4), st.binary(max_size=4), VALUES)
def test_everything_with_a_prefix_lies_before_the_successor(before: bytes, after: bytes, value: Any) -> None:
    prefix = before + encoding.encode_value(_value(value))
    assert prefix <= prefix + after < encoding.successor(prefix)


def test_types_sort_as_datastore_sorts_them() -> None:
    null = entity_types.Value.pb()(null_value=0)
    ordered = [null, _value(5), _value(False), _value(b"z"), _value("a"), _value(-math.inf)]
    encoded = [encoding.encode_value(value) for value in ordered]
    assert encoded == sorted(encoded)


@pytest.mark.parametrize("data", [b"x", b"Kind\x00\x01", b"Kind\x00\x01\x01abc", b"Kind\x00\x01\x03abc"])
def test_bytes_that_are_no_key_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an encoded"):
        encoding.decode_key(data, "p")


def _key(path: list[tuple[str, int | str]]) -> Any:
    key = encoding.KeyPb()
    key.partition_id.project_id = "p"
    for kind, ident in path:
        key.path.add(kind=kind, **{"id" if isinstance(ident, int) else "name": ident})
    return key


def _comparable(path: list[tuple[str, int | str]]) -> list[tuple[bytes, bool, int, bytes]]:
    return [
        (kind.encode(), isinstance(ident, str), ident if isinstance(ident, int) else 0, str(ident).encode())
        for kind, ident in path
    ]


def _value(value: Any) -> Any:
    names = {bool: "boolean_value", int: "integer_value", float: "double_value", str: "string_value"}
    return entity_types.Value.pb()(**{names.get(type(value), "blob_value"): value})
