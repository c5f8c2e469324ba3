"""Errors that a caller can tell apart; `handlers/errors.py` turns them into HTTP and pRPC answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PilotlightError(Exception):
    """An error with an answer.

    Attributes:
        grpc_code: number of the gRPC status code.
        http_status: HTTP status of the same.
        field: path of the input field at fault, or "".
        retry_after_s: when it is worth trying again, or None.
    """

    grpc_code = 13
    http_status = 500
    retry_after_s: float | None = None

    def __init__(self, text: str, *, field: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.field = field


class InvalidArgument(PilotlightError):
    """Input that breaks a rule; the text names the field and the limit."""

    grpc_code, http_status = 3, 400


class TooLarge(InvalidArgument):
    """A body or field beyond its size limit."""

    http_status = 413


class UnsupportedMediaType(InvalidArgument):
    """A body in a format that is not read here."""

    http_status = 415


class FieldErrors(InvalidArgument):
    """Fields at fault: `errors` maps the path of each to what is wrong with it; `field` is the first of them."""

    _SHOWN = 5

    def __init__(self, wrong: Mapping[str, str]) -> None:
        lines = [f"{path} {text}".strip() for path, text in wrong.items()]
        more = [f"and {len(lines) - self._SHOWN} more"] if len(lines) > self._SHOWN else []
        super().__init__("; ".join(lines[: self._SHOWN] + more), field=next(iter(wrong), ""))
        self.errors = dict(wrong)


class NotFound(PilotlightError):
    """No such thing."""

    grpc_code, http_status = 5, 404


class UnknownBot(NotFound):
    """No bot of this id."""


class UnknownTask(NotFound):
    """No task of this id."""


class UnknownSpec(NotFound):
    """No prewarm spec of this family."""


class AlreadyExists(PilotlightError):
    """A thing of this name exists already."""

    grpc_code, http_status = 6, 409


class PermissionDenied(PilotlightError):
    """The caller is known and may not do this."""

    grpc_code, http_status = 7, 403


class Unauthenticated(PilotlightError):
    """Credentials are missing where they are demanded, or are not valid."""

    grpc_code, http_status = 16, 401


class ResourceExhausted(PilotlightError):
    """A quota or the disk is used up."""

    grpc_code, http_status = 8, 429


class FailedPrecondition(PilotlightError):
    """The state of the thing does not allow this."""

    grpc_code, http_status = 9, 400


class PreconditionRequired(FailedPrecondition):
    """A change that must name the revision on which it is based."""

    http_status = 428


class EditConflict(PilotlightError):
    """Somebody else saved a newer revision in the meantime: `revision`, by `author`, with the body `theirs`."""

    grpc_code, http_status = 10, 412

    def __init__(
        self,
        text: str,
        *,
        field: str = "",
        revision: int = 0,
        author: str = "",
        theirs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(text, field=field)
        self.revision = revision
        self.author = author
        self.theirs = dict(theirs or {})


class Contention(PilotlightError):
    """A transaction lost its race on every try."""

    grpc_code, http_status = 14, 503
    retry_after_s = 1.0


class StoreUnavailable(PilotlightError):
    """The store cannot be reached; nothing was changed."""

    grpc_code, http_status = 14, 503
    retry_after_s = 5.0


class StoreCorrupt(PilotlightError):
    """The store's file is damaged or of a newer version; it was left untouched."""

    grpc_code, http_status = 15, 500


class Unimplemented(PilotlightError):
    """A method or a query that Pilotlight does not serve."""

    grpc_code, http_status = 12, 501
