"""Bytes ↔ messages: which of pRPC's three encodings is meant, and what each looks like on the wire."""

from __future__ import annotations

import enum
import re
import zlib
from collections.abc import Mapping
from typing import TypeVar

from google.protobuf import json_format, message, text_format
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_options_header

from server.errors import InvalidArgument, TooLarge, UnsupportedMediaType

MessageT = TypeVar("MessageT", bound=message.Message)

JSON_GUARD = b")]}'\n"  # Keeps a JSON answer from being run as a script by another site's page.
WILDCARDS = frozenset({"*/*", "application/*"})


class Encoding(enum.Enum):
    """How a message is written; the value is the Content-Type of an answer. The order decides between equal wishes."""

    BINARY = "application/prpc; encoding=binary"
    JSON = "application/json"
    TEXT = "application/prpc; encoding=text"


class NotAcceptable(InvalidArgument):
    """The caller reads none of the forms that the server writes."""

    http_status = 406


def _of_media_type(media_type: str, parameters: Mapping[str, str]) -> Encoding | None:
    media_type = media_type.lower()
    if media_type == "application/json":
        return Encoding.JSON
    if media_type == "application/grpc":
        return Encoding.BINARY
    if media_type == "application/prpc":
        names = {"": Encoding.BINARY, "binary": Encoding.BINARY, "json": Encoding.JSON, "text": Encoding.TEXT}
        return names.get(parameters.get("encoding", "").lower())
    return None


def request_encoding(content_type: str) -> Encoding:
    """What a request's Content-Type says; binary if the header is absent.

    Raises:
        UnsupportedMediaType: it names anything else.
    """
    if not content_type.strip():
        return Encoding.BINARY
    media_type, parameters = parse_options_header(content_type)
    encoding = _of_media_type(media_type, parameters)
    if encoding is None:
        raise UnsupportedMediaType(
            f"Content-Type {content_type[:200]!r} is not understood; send application/json, "
            "or application/prpc with encoding=binary, json or text"
        )
    return encoding


def response_encoding(accept: MIMEAccept) -> Encoding:
    """The form of the answer that the caller's Accept header likes best; binary if there is none.

    Raises:
        NotAcceptable: the header allows none of the three.
    """
    if not len(accept):
        return Encoding.BINARY
    wishes: dict[Encoding, float] = {}
    for value, quality in accept:
        media_type, parameters = parse_options_header(value)
        encoding = Encoding.BINARY if media_type in WILDCARDS else _of_media_type(media_type, parameters)
        if encoding is not None:
            wishes[encoding] = max(quality, wishes.get(encoding, 0.0))
    best = max(Encoding, key=lambda encoding: wishes.get(encoding, 0.0))
    if wishes.get(best, 0.0) <= 0:
        raise NotAcceptable(
            f"Accept {accept.to_header()[:200]!r} allows no form of answer that the server has: "
            "application/json, or application/prpc with encoding=binary, json or text"
        )
    return best


def inflate(body: bytes, limit: int) -> bytes:
    """Undoes gzip.

    Args:
        body: one gzip member; several in a row are legal gzip, but no client sends them.
        limit: most bytes to make of it.

    Raises:
        InvalidArgument: it is not gzip, is cut short or goes on after its end.
        TooLarge: it would become longer than `limit`.
    """
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        result = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidArgument(f"the body is not valid gzip: {error}") from error
    if len(result) > limit:
        raise TooLarge(f"the body is longer than {limit} bytes once decompressed, which is the limit")
    if not inflater.eof or inflater.unused_data:
        raise InvalidArgument("the body is not valid gzip: it ends early or goes on after its end")
    return result


def decode(body: bytes, encoding: Encoding, message_class: type[MessageT]) -> MessageT:
    """A message out of a request's body.

    Raises:
        InvalidArgument: the body is not such a message; unknown fields are errors in JSON and text, and are kept
            aside in binary, as protocol buffers do.
    """
    result = message_class()
    name = result.DESCRIPTOR.full_name
    try:
        if encoding is Encoding.BINARY:
            result.ParseFromString(body)
        elif encoding is Encoding.JSON:
            text = body.decode("utf-8")
            if not text.lstrip().startswith("{"):  # json_format takes [] for an empty message
                raise ValueError("it is not a JSON object")
            json_format.Parse(text, result)
        else:
            text_format.Parse(body.decode("utf-8"), result)
    except (message.DecodeError, json_format.ParseError, text_format.ParseError, ValueError) as error:
        raise InvalidArgument(f"the body is not a valid {name}: {_plain(str(error))[:1000]}") from error
    except RecursionError as error:
        raise InvalidArgument(f"the body is not a valid {name}: it is nested too deeply") from error
    return result


PLAIN_WORDS = (
    (r"invalid literal for int\(\) with base 10: ('.*')", r"\1 is not a whole number"),
    (r"could not convert string to float: ('.*')", r"\1 is not a number"),
    (r"expected string or bytes-like object(?:, got '\w+')?", "must be text, in quotes"),
    (r"time data ('.*') does not match format '.*?'", r"\1 is not a time such as 2026-01-31T12:00:00Z"),
    (r"\n Available Fields\(except extensions\): \"\[(.*)\]\"", r"; its fields: \1"),
)
"""What the parser says in Python's terms, and the same in words that people without Python understand."""


def _plain(text: str) -> str:
    for pattern, words in PLAIN_WORDS:
        text = re.sub(pattern, words, text)
    return text


def encode(value: message.Message, encoding: Encoding) -> bytes:
    """The body of an answer."""
    if encoding is Encoding.BINARY:
        return value.SerializeToString()
    if encoding is Encoding.TEXT:
        return text_format.MessageToString(value, as_utf8=True).encode("utf-8")
    return JSON_GUARD + json_format.MessageToJson(value, indent=None, ensure_ascii=False).encode("utf-8") + b"\n"


def encode_detail(value: message.Message, encoding: Encoding) -> bytes:
    """One detail of an error, which goes into a header and so without the guard of a JSON body."""
    body = encode(value, encoding)
    return body[len(JSON_GUARD) :].strip() if encoding is Encoding.JSON else body
