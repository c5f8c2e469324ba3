"""Errors as clients see them: code, text and details, for a whole call or for one item of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf import any_pb2, message
from google.rpc import error_details_pb2, status_pb2

from server.errors import FieldErrors, PilotlightError

INTERNAL = 13
INTERNAL_TEXT = "the server failed to answer this call; its log says why"
DETAIL_LIMIT = 2500  # Details travel in a header, and proxies refuse long headers.
FIELD_TEXT_LIMIT = 1000


class TransportError(PilotlightError):
    """An error that brings details of its own."""

    def __init__(self, text: str, *details: message.Message) -> None:
        super().__init__(text)
        self.details = details


class ResponseTooBig(TransportError):
    """The answer is longer than the caller allows."""

    grpc_code, http_status = 14, 503


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client is told about an error.

    Attributes:
        code: number of the gRPC status code.
        http_status: the HTTP status that goes with it.
        text: for people.
        details: for programs.
        retry_after_s: when it is worth trying again, or None.
    """

    code: int
    http_status: int
    text: str
    details: tuple[message.Message, ...] = ()
    retry_after_s: float | None = None


def failure_of(error: Exception) -> Failure:
    """The one place where an exception becomes an answer; what it says of an unexpected one is nothing."""
    if not isinstance(error, PilotlightError):
        return Failure(INTERNAL, 500, INTERNAL_TEXT)
    details = error.details if isinstance(error, TransportError) else ()
    wrong = error.errors if isinstance(error, FieldErrors) else {error.field: error.text} if error.field else {}
    if wrong:
        details = (*details, _bad_request(wrong))
    return Failure(error.grpc_code, error.http_status, error.text, details, error.retry_after_s)


def _bad_request(wrong: Mapping[str, str]) -> error_details_pb2.BadRequest:
    """What is wrong by field, as much of it as a header carries."""
    result = error_details_pb2.BadRequest()
    for path, text in wrong.items():
        result.field_violations.add(field=path[:FIELD_TEXT_LIMIT], description=text[:FIELD_TEXT_LIMIT])
        if result.ByteSize() > DETAIL_LIMIT:
            del result.field_violations[-1]
            break
    return result


def packed(detail: message.Message) -> any_pb2.Any:
    """A detail with the name of its type."""
    result = any_pb2.Any()
    result.Pack(detail)
    return result


def status_of(error: Exception) -> status_pb2.Status:
    """An error as one item of an answer that has others."""
    failure = failure_of(error)
    return status_pb2.Status(
        code=failure.code, message=failure.text, details=[packed(detail) for detail in failure.details]
    )
