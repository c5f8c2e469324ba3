"""Settings of a process: where the store is, who may come in, where it listens. From the environment, read once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from server import errors


class Settings(BaseModel):
    """One process's settings; `docs/settings.md` lists the environment variables."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_url: str = Field("embedded:.pilot/data", description="embedded:FOLDER or datastore:PROJECT")
    sqlite_synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=1, le=65535)
    workers: int = Field(1, ge=1, le=64)
    threads: int = Field(64, ge=2, le=2048)
    generation: str = ""
    """Of the serving master: workers of one start share it; `/healthz` shows it."""
    client_tokens: str = ""
    """Path of a file with a client token a line: `TOKEN identity role`."""
    bot_secret: str = Field("", repr=False)
    """Shared secret of the bots; empty lets any bot in (loopback only)."""
    internal_token: str = Field("", repr=False)
    """Bearer token for /internal; App Engine's own headers count too when `app_engine` is set."""
    app_engine: bool = False
    carrier: Literal["thread", "cloud_tasks"] = "thread"
    cloud_tasks_queue: str = ""
    """projects/P/locations/L/queues/Q."""
    cloud_tasks_emulator: str = ""
    """Host and port of a stand-in for Cloud Tasks, which is spoken to without TLS and credentials."""
    public_url: str = ""
    config_file: str = ""
    """YAML imported as the first config revision when the store has none."""
    free_disk_floor_bytes: int = Field(500_000_000, ge=0, description="below it no new task is taken")
    record_plans: str = ""
    """Folder in which each process writes down what its plans saw and decided; empty: nowhere."""
    held_polls: int = Field(-1, description="most polls held at once; -1 means threads minus 32, at least a quarter")

    @property
    def serves_alone(self) -> bool:
        """Whether all that bots say comes to this process."""
        return bool(self.generation) and self.workers == 1 and self.store_url.startswith("embedded:")

    def most_held_polls(self) -> int:
        """How many polls a process may hold, so that other requests find a thread."""
        return self.held_polls if self.held_polls >= 0 else max(self.threads - 32, self.threads // 4)


PREFIX = "PILOTLIGHT_"
OF_OTHERS = frozenset({"SERVER", "TOKEN_FILE", "RUN_ID"})
"""Variables of the command line and of the bot, which may stand in the same environment."""


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Settings from PILOTLIGHT_* variables; unknown ones are refused with their name.

    Raises:
        InvalidArgument: a variable is none of the settings (misspelt, it would leave a default in force unseen).
    """
    given = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX)}
    known = {name.upper(): name for name in Settings.model_fields}
    unknown = sorted(set(given) - set(known) - OF_OTHERS)
    if unknown:
        raise errors.InvalidArgument(f"no setting has the name {', '.join(PREFIX + name for name in unknown)}")
    return Settings.model_validate({known[name]: value for name, value in given.items() if name in known})
