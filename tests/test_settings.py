"""Settings come from the environment; what is wrong there is named."""

from __future__ import annotations

import pytest

import main
from server import errors
from server.settings import Settings, from_environment


def test_options_count_more_than_the_environment() -> None:
    environ = {"PILOTLIGHT_PORT": "9000", "PILOTLIGHT_WORKERS": "2", "PORT": "7000"}
    settings = main.load_settings(environ, port=9100, workers=None)
    assert (settings.port, settings.workers) == (9100, 2)


def test_a_misspelt_variable_is_refused_by_its_name() -> None:
    with pytest.raises(errors.InvalidArgument, match="PILOTLIGHT_BOT_SECRETS"):
        from_environment({"PILOTLIGHT_BOT_SECRETS": "x"})


def test_variables_of_the_command_line_may_stand_beside() -> None:
    assert from_environment({"PILOTLIGHT_SERVER": "http://x", "HOME": "/"}) == Settings()


@pytest.mark.parametrize("name,value", [("PORT", "0"), ("PORT", "high"), ("THREADS", "1"), ("CARRIER", "pigeon")])
def test_a_wrong_value_is_refused_and_its_setting_named(name: str, value: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=name.lower()):
        main.load_settings({f"PILOTLIGHT_{name}": value})


def test_no_secret_stands_in_what_is_logged_of_the_settings() -> None:
    settings = Settings(bot_secret="hush-hush-hush-hush", internal_token="quiet-quiet-quiet")
    assert "hush" not in repr(settings)
    assert "quiet" not in repr(settings)
