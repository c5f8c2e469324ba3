"""What stands around every page: where one is, the stop switch, the worst notice, the appearance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_wtf.csrf import generate_csrf

from server import errors
from server.access import ALL_POOLS, Permission

if TYPE_CHECKING:
    from handlers.ui.visit import Visit
    from server.latest import Head
    from server.service import Service

THEME_COOKIE = "pilotlight_theme"
THEMES = ("system", "light", "dark")
STALE_AFTER_S = 30.0
NAVIGATION = (
    ("Fleet", "/", "f", Permission.POOL_LIST_BOTS),
    ("Tasks", "/tasks", "t", Permission.POOL_LIST_TASKS),
    ("Bots", "/bots", "b", Permission.POOL_LIST_BOTS),
    ("Specs", "/specs", "s", Permission.SPEC_VIEW),
    ("Announced", "/announced", "a", Permission.SPEC_VIEW),
    ("Config", "/config", "c", Permission.CONFIG_VIEW),
)
"""Name, address, the key after `g`, the permission without which it is not shown."""


@dataclass(frozen=True, slots=True)
class SwitchState:
    """The stop switch for the top bar."""

    stopped: bool
    live: bool
    text: str
    by: str = ""
    since_s: float = 0.0
    why: str = ""


def refresh(service: Service) -> str:
    """Brings the view up to date; says what is wrong when the store does not answer, "" when all is well."""
    try:
        service.view.refresh(eager=True)
    except (errors.StoreUnavailable, errors.Contention) as error:
        return error.text
    return ""


def around(visit: Visit) -> dict[str, Any]:
    """The model of `base.html`."""
    service, asked = visit.service, visit.asked
    lost = refresh(service)
    theme = asked.cookies.get(THEME_COOKIE, "system")
    entries = [entry for entry in NAVIGATION if visit.principal.may(entry[3])]
    return {
        "visit": visit,
        "principal": visit.principal,
        "now_s": visit.now_s,
        "theme": theme if theme in THEMES else "system",
        "navigation": entries,
        "here": asked.full_path.rstrip("?"),
        "path": asked.path,
        "switch": switch_state(service),
        "notice": _notice(service, lost),
        "may_switch": visit.principal.may(Permission.SWITCH, ALL_POOLS),
        "csrf_token": generate_csrf,
    }


def switch_state(service: Service) -> SwitchState:
    """The switch as this process knows it."""
    head: Head = service.view.switch()
    if head.stopped:
        return SwitchState(
            True, False, "Prewarming is stopped", _name(head.stopped_by), head.stopped_since_s, head.stopped_why
        )
    pools = service.view.pools()
    watch = service.view.watch
    modes = ["shadow" if watch(pool).is_shadow else service.config.thresholds(pool).mode for pool in pools]
    live = modes.count("live")
    if live:
        where = f"in {live} of {len(pools)} pools" if len(pools) > 1 else f"in {pools[0]}"
        return SwitchState(False, True, f"Prewarming live {where}")
    return SwitchState(
        False, False, "Prewarming in shadow mode" if "shadow" in modes or not modes else "Prewarming off"
    )


def _notice(service: Service, lost: str) -> dict[str, Any] | None:
    """The worst of what everybody must know; the switch has a line of its own."""
    age_s = service.view.age_s()
    if lost and age_s > 3:
        known = age_s if age_s < 1e9 else None
        return {"kind": "bad", "title": "The store does not answer.", "text": lost, "age_s": known}
    if service.alarm:
        return {"kind": "bad", "title": "Many bots fell silent at once.", "text": f"{service.alarm}.", "age_s": None}
    if service.config.problem:
        return {
            "kind": "warn",
            "title": "The newest config is not in use.",
            "text": service.config.problem,
            "age_s": None,
        }
    return None


def _name(identity: str) -> str:
    return identity.removeprefix("user:")
