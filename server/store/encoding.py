"""Keys and property values as bytes that sort as Datastore sorts them.

Every encoding is prefix-free, so encodings can be written one after the other and still sort component by component,
and a key's encoding is a prefix of those of its descendants.
"""

from __future__ import annotations

import struct
from typing import Any

from google.cloud.datastore_v1.types import entity as entity_types

KeyPb = entity_types.Key.pb()

# Types in the order in which Datastore sorts values of different types.
_NULL, _INTEGER, _TIMESTAMP, _BOOLEAN, _BLOB, _STRING, _DOUBLE, _GEO, _KEY = range(0x10, 0xA0, 0x10)
_TAGS = {
    "null_value": _NULL,
    "integer_value": _INTEGER,
    "timestamp_value": _TIMESTAMP,
    "boolean_value": _BOOLEAN,
    "blob_value": _BLOB,
    "string_value": _STRING,
    "double_value": _DOUBLE,
    "geo_point_value": _GEO,
    "key_value": _KEY,
}
_ID, _NAME = b"\x01", b"\x02"
_END = b"\x00\x01"
_SIGN = 1 << 63


def encode_key(key: Any) -> bytes:
    """The path of a complete key; ids sort before names, parents before children."""
    parts = []
    for element in key.path:
        parts.append(_text(element.kind.encode()))
        if element.WhichOneof("id_type") == "id":
            parts.append(_ID + _integer(element.id))
        else:
            parts.append(_NAME + _text(element.name.encode()))
    return b"".join(parts)


def decode_key(data: bytes, project: str) -> Any:
    """The key of which `encode_key` made these bytes.

    Raises:
        ValueError: these bytes are no key.
    """
    key = KeyPb()
    key.partition_id.project_id = project
    while data:
        kind, data = _read_text(data)
        element = key.path.add(kind=kind.decode())
        tag, data = data[:1], data[1:]
        if tag == _ID and len(data) >= 8:
            element.id = int.from_bytes(data[:8], "big") - _SIGN
            data = data[8:]
        elif tag == _NAME:
            name, data = _read_text(data)
            element.name = name.decode()
        else:
            raise ValueError("not an encoded key")
    return key


def ancestors(key: Any) -> list[bytes]:
    """The encodings of a key's ancestors, the root first and the key itself last."""
    found = []
    part = KeyPb()
    for element in key.path:
        part.path.append(element)
        found.append(encode_key(part))
    return found


def encode_value(value: Any) -> bytes:
    """One property value that is neither an array nor an embedded entity.

    Raises:
        ValueError: values of this type have no order.
    """
    kind = value.WhichOneof("value_type")
    tag = _TAGS.get(kind)
    if tag is None:
        raise ValueError(f"a value of type {kind or 'nothing'} cannot be indexed")
    return bytes((tag,)) + _payload(tag, value)


def descending(encoded: bytes) -> bytes:
    """The same component, sorting the other way round."""
    return bytes(byte ^ 0xFF for byte in encoded)


def successor(prefix: bytes) -> bytes:
    """The smallest bytes greater than everything that begins with this prefix; the prefix holds a byte below 0xFF."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,))


def encode_integer(number: int) -> bytes:
    """As `encode_value` does for an integer value."""
    return bytes((_INTEGER,)) + _integer(number)


def encode_double(number: float) -> bytes:
    """As `encode_value` does for a double value."""
    return bytes((_DOUBLE,)) + _double(number)


def encode_timestamp(microseconds: int) -> bytes:
    """As `encode_value` does for a timestamp value."""
    return bytes((_TIMESTAMP,)) + _integer(microseconds)


def _payload(tag: int, value: Any) -> bytes:
    if tag == _NULL:
        return b""
    if tag == _INTEGER:
        return _integer(value.integer_value)
    if tag == _TIMESTAMP:
        return _integer(value.timestamp_value.seconds * 1_000_000 + value.timestamp_value.nanos // 1000)
    if tag == _BOOLEAN:
        return b"\x01" if value.boolean_value else b"\x00"
    if tag == _BLOB:
        return _text(value.blob_value)
    if tag == _STRING:
        return _text(value.string_value.encode())
    if tag == _DOUBLE:
        return _double(value.double_value)
    if tag == _GEO:
        return _double(value.geo_point_value.latitude) + _double(value.geo_point_value.longitude)
    return encode_key(value.key_value) + b"\x00\x00"


def _text(data: bytes) -> bytes:
    return data.replace(b"\x00", b"\x00\xff") + _END


def _read_text(data: bytes) -> tuple[bytes, bytes]:
    end = data.find(_END)
    if end < 0:
        raise ValueError("not an encoded text")
    return data[:end].replace(b"\x00\xff", b"\x00"), data[end + 2 :]


def _integer(number: int) -> bytes:
    return (number + _SIGN).to_bytes(8, "big")


def _double(number: float) -> bytes:
    # Adding 0.0 makes -0.0 equal to 0.0, as a comparison does.
    bits = int.from_bytes(struct.pack(">d", number + 0.0), "big")
    return (bits ^ (0xFFFFFFFFFFFFFFFF if bits & _SIGN else _SIGN)).to_bytes(8, "big")
