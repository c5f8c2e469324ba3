"""Places in lists, as opaque strings for clients: bound to the kind of list, checked when they come back."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from server import errors


def write(kind: str, *place: Any) -> str:
    """A cursor to a place in a list of `kind`."""
    return base64.urlsafe_b64encode(orjson.dumps([kind, *place])).decode()


def read(kind: str, text: str, *types: type) -> list[Any]:
    """The place that `write` put into a cursor, its parts checked to be of `types`.

    Raises:
        InvalidArgument: not a cursor of such a list.
    """
    try:
        found = orjson.loads(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise errors.InvalidArgument("cursor: not one of this list", field="cursor") from error
    good = isinstance(found, list) and found[:1] == [kind] and len(found) == 1 + len(types)
    if not good or not all(isinstance(part, kind_of) for part, kind_of in zip(found[1:], types, strict=True)):
        raise errors.InvalidArgument("cursor: not one of this list", field="cursor")
    return found[1:]
