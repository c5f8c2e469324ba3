"""The secret with which the pages' forms are signed: made once, kept in the store, the same in every process."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from server.records.config import SigningKeys

if TYPE_CHECKING:
    from server.service import Service

KEY = "pages"


def page_secret(service: Service) -> str:
    """The secret: one look-up, and a write the first time.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """

    def read_or_make() -> str:
        record = SigningKeys.get_by_id(KEY)
        if record is None:
            record = SigningKeys(id=KEY, keys=[secrets.token_urlsafe(32)], rotated_s=service.clock.now_s())
            record.put()
        return str(record.keys[0])

    return service.store.transaction(read_or_make)
