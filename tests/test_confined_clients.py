"""A client that is confined to some pools learns nothing of the others, whatever it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Rule

from server import announcements, config, documents, prewarm_spec
from server.access import LOCAL_USER
from server.announce_body import Announce
from tests import specs
from tests.ui_world import Pages

TOKEN = "0123456789abcdef"
ASKED = {"family": "secret-src", "bot_id": "secret-1", "pool": "secret", "name": "secret", "number": "1"}
BOTS_OWN = ("/swarming/", "/bot_code", "/bootstrap", "/internal/", "/_ah/", "/prpc/", "/static/", "/assets/")


class Confined(Pages):
    """A server with a pool of everybody's and one that the client must not see, and the client as `get`'s caller."""

    def __init__(self, folder: Path) -> None:
        tokens = folder / "tokens"
        tokens.write_text(f"{TOKEN} user:olga client local\n")
        super().__init__(folder / "data", client_tokens=str(tokens))
        for pool in ("local", "secret"):
            self.bot(f"{pool}-1", pool=pool)
            family = f"{pool}-src"
            prewarm_spec.create(self.service, LOCAL_USER, specs.body(family=family, pool=pool, dimensions={}))
            wanted = {"pool": pool, "family": family, "in_s": 60}
            announcements.announce(self.service, LOCAL_USER, documents.checked(Announce, wanted))
        config.save_config(self.service, LOCAL_USER, {"pools": {"secret": {"drained": True}, "local": {}}}, 1)
        self.service.view.refresh(force=True)

    def ask(self, address: str) -> Any:
        return self.app.get(address, headers={"Authorization": f"Bearer {TOKEN}"}, status="*")

    def rules(self) -> list[Rule]:
        """All that can be looked at, but the routes of others than clients."""
        rules = [rule for rule in self.app.app.url_map.iter_rules() if "GET" in (rule.methods or ())]
        return [rule for rule in rules if not rule.rule.startswith((*BOTS_OWN, "/events"))]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Confined]:
    world = Confined(tmp_path)
    yield world
    world.close()


def test_no_address_tells_of_pools_of_others(world: Confined) -> None:
    for rule in world.rules():
        if not rule.arguments:
            answer = world.ask(rule.rule)
            assert answer.status_int in (200, 302, 400, 403, 404), rule
            assert "secret" not in answer.text, rule


def test_what_belongs_to_a_pool_of_others_is_refused_by_name(world: Confined) -> None:
    world.service.view.refresh(force=True)
    for rule in world.rules():
        known = {name: ASKED[name] for name in rule.arguments if name in ASKED}
        if rule.arguments and len(known) == len(rule.arguments) and "/config/revisions/" not in rule.rule:
            with world.app.app.test_request_context():
                address = world.app.app.url_map.bind("localhost").build(rule.endpoint, known)
            assert world.ask(address).status_int == 403, address
    assert world.ask("/api/v1/fleet?pool=secret").status_int == 403
    assert world.ask("/api/v1/announcements?pool=secret").status_int == 403


def test_it_sees_its_own_pool(world: Confined) -> None:
    fleet = world.ask("/api/v1/fleet").json
    assert ([pool["pool"] for pool in fleet["pools"]], [bot["id"] for bot in fleet["bots"]]) == (["local"], ["local-1"])
    assert [row["family"] for row in world.ask("/api/v1/ledger").json["specs"]] == ["local-src"]
    assert world.ask("/api/v1/why/bots/local-1").json["pool"] == "local"
    assert world.ask("/api/v1/config").json["body"]["pools"].keys() <= {"local"}


def test_the_history_of_the_config_is_shown_without_the_pools_of_others(world: Confined) -> None:
    assert "secret" not in world.ask("/api/v1/config/revisions").text
    assert "secret" not in world.ask("/config/revisions/2").text
