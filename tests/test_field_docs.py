"""The pages about config and specs say what the models do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server import config, documents, field_docs, spec_body
from server.pool_config import PoolConfig

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {"config.md": PoolConfig, "spec.md": spec_body.SpecBody}


@pytest.mark.parametrize("page", PAGES)
def test_the_table_of_a_page_is_that_of_the_model(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert "<!-- fields:" in text
    assert field_docs.renewed(text) == text, f"run: python -m server.field_docs docs/{page}"


@pytest.mark.parametrize("model", PAGES.values())
def test_every_field_says_what_it_means_and_every_number_what_goes_wrong(model):
    for field in field_docs.describe(model):
        assert field.meaning, field.path
        if field.kind in ("number", "whole"):
            assert field.low is not None or field.rule, field.path
            assert field.too_low and field.too_high, field.path


@pytest.mark.parametrize("page", PAGES)
def test_the_example_of_a_page_is_accepted(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    example = documents.load_yaml(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    if page == "config.md":
        assert config.parse(example).pool("builders").mode == "live"
    else:
        assert spec_body.parse(example, PoolConfig())[0].family == "app-checkout"


def test_fields_are_described_by_their_yaml_paths():
    found = {field.path: field for field in field_docs.describe(spec_body.SpecBody)}
    assert found["task.grace_period_s"].unit == "s"
    assert (found["makes.named_cache"].kind, found["purpose"].choices) == ("text", ("prewarm", "clean"))
    assert (found["family"].required, found["resumable"].kind, found["serves.tags"].kind) == (True, "flag", "list")
