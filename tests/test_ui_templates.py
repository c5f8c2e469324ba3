"""What the strict policy bars must not stand in a template; and the style sheet keeps its promises about contrast."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted((ROOT / "static").glob("*.js"))
CSS = (ROOT / "static" / "pilotlight.css").read_text(encoding="utf-8")

BARRED = {
    "inline style": r"<[^>]*\sstyle\s*=",
    "inline handler": r"<[^>]*\son[a-z]+\s*=",
    "hx-on": r"hx-on",
    "js: value": r"[\"']js:",
    "javascript: address": r"javascript:",
    "inline script": r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")",
    "inline style sheet": r"<style",
    "another site's file": r"(?:src|href)=\"(?:https?:)?//",
    "escape switched off": r"autoescape\s+false",
}


@pytest.mark.parametrize("what", BARRED)
def test_no_template_has_what_the_policy_bars(what):
    assert len(TEMPLATES) > 20
    found = [path.name for path in TEMPLATES if re.search(BARRED[what], path.read_text("utf-8"), re.IGNORECASE)]
    assert found == []


def test_nothing_but_icons_and_our_own_json_is_written_without_escaping():
    found = [
        (path.name, use) for path in TEMPLATES for use in re.findall(r"\{\{[^}]*\|\s*safe[^}]*\}\}", path.read_text())
    ]
    assert sorted(found) == [("macros.html", "{{ ICONS[name]|safe }}"), ("map_data.html", "{{ map_json|safe }}")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_needs_what_the_policy_bars(path):
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"\beval\(|new Function|setAttribute\('style'|document\.write|https?://", source)


def test_every_form_that_changes_something_is_signed():
    pages = [path.read_text(encoding="utf-8") for path in TEMPLATES]
    forms = [form for page in pages for form in re.findall(r"<form method=\"post\".*?</form>", page, re.DOTALL)]
    assert len(forms) > 10
    assert [form[:120] for form in forms if "m.hidden(" not in form and 'name="csrf_token"' not in form] == []


# ---- contrast


def _tokens() -> dict[str, tuple[str, str]]:
    found = re.findall(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS)
    return {name: (light, dark) for name, light, dark in found}


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "grounds", "least"),
    [
        ("text", ("bg", "surface", "sunken", "hover"), 4.5),
        ("text-2", ("bg", "surface", "sunken", "hover"), 4.5),
        ("text-3", ("bg", "surface"), 4.5),
        ("accent", ("bg", "surface", "accent-soft"), 4.5),
        ("good", ("surface", "good-soft"), 4.5),
        ("warn", ("surface", "warn-soft"), 4.5),
        ("bad", ("surface", "bad-soft"), 4.5),
        ("text-2", ("good-soft", "warn-soft", "bad-soft"), 4.5),
        ("line-strong", ("surface",), 3.0),
        ("vacant-edge", ("surface",), 3.0),
    ],
)
def test_what_must_be_read_has_enough_contrast(theme, ink, grounds, least):
    tokens = _tokens()
    for ground in grounds:
        found = _contrast(tokens[ink][theme], tokens[ground][theme])
        assert found >= least, f"--{ink} on --{ground}: {found:.2f}"


def test_rules_take_their_colours_from_tokens():
    rules = CSS[CSS.index("/* ---------- base ----------") :]
    strange = [line.strip()[:90] for line in rules.splitlines() if re.search(r"#[0-9a-f]{3,8}\b", line)]
    allowed = (".brand", ".sw", "dialog::backdrop", ".btn.danfill")
    assert [line for line in strange if not line.startswith(allowed)] == []
