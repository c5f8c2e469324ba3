"""The page of settings names each setting, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from server.settings import PREFIX, Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def test_the_page_lists_exactly_the_settings_that_there_are() -> None:
    named = set(re.findall(rf"^\| `{PREFIX}([A-Z_]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {name.upper() for name in Settings.model_fields}
