"""Pilotlight as App Engine runs it: the files that gcloud would upload, the entry point and variables of `app.yaml`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.server_process import ROOT, ServerProcess, free_port

ADMIN_TOKEN, CLIENT_TOKEN = "admin-token-0123456789", "client-token-0123456789"
BOT_SECRET = "bot-secret-0123456789"
TOKENS = f"{ADMIN_TOKEN} mira@example.com admin\n{CLIENT_TOKEN} service:ci client\n"
KILLED_AFTER_S = 3.0
"""An instance that is told to end must be gone so soon: what is not is killed."""


def described() -> dict[str, Any]:
    """`app.yaml`."""
    return yaml.safe_load((ROOT / "app.yaml").read_text())


def would_upload(folder: Path) -> list[str]:
    """The files of a folder that `gcloud app deploy` uploads."""
    command = ["gcloud", "meta", "list-files-for-upload", str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def upload(folder: Path) -> Path:
    """Copies what `gcloud app deploy` would upload, and adds the two secret files, which the repository has not."""
    for name in would_upload(ROOT):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "tokens").write_text(TOKENS)
    (secrets / "bots").write_text(BOT_SECRET + "\n")
    return folder


class Instance(ServerProcess):
    """One instance: the entry point in the uploaded files, with the variables that App Engine sets.

    Three things differ from App Engine: it listens on loopback, and Datastore and Cloud Tasks are stand-ins.
    """

    def __init__(self, name: str, files: Path, project: str, *, datastore: str, cloud_tasks: str) -> None:
        port = free_port()
        super().__init__(files.parent / name, port=port)
        self.name = name
        self.files = files
        self._environ = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(files.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GAE_ENV": "standard",
            "GAE_RUNTIME": "python311",
            "GAE_APPLICATION": f"s~{project}",
            "GAE_SERVICE": "default",
            "GAE_VERSION": "v1",
            "GAE_INSTANCE": name,
            "GOOGLE_CLOUD_PROJECT": project,
            "PORT": str(port),
            **described()["env_variables"],
            "PILOTLIGHT_HOST": "127.0.0.1",
            "PILOTLIGHT_CLOUD_TASKS_EMULATOR": cloud_tasks,
            "DATASTORE_EMULATOR_HOST": datastore,
        }

    def start(self) -> None:
        """Starts it, again if it ran before; does not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                described()["entrypoint"].split(), cwd=self.files, env=self._environ, stdout=log, stderr=log
            )

    def end(self) -> float:
        """Tells it to end, as App Engine does when it takes an instance away; the seconds that it took."""
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(KILLED_AFTER_S)
        return time.monotonic() - began_s

    def said(self) -> str:
        """Its log."""
        return self.log.read_text()
