"""What `./pilot up` shows a newcomer: thresholds, a prewarm spec, and the task that it makes faster."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from client.sample_repository import head, make_repository

FOLDER = Path(__file__).resolve().parent
CONFIG = FOLDER / "config.yaml"
SPEC = FOLDER / "spec.yaml"
SCRIPT = FOLDER / "build_and_test.py"
REPOSITORY = "repository.git"
"""Beside its script, where the script looks for it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A repository and the script that checks it out, builds and tests it; `revision` is its newest commit."""

    folder: Path
    script: Path
    revision: str


def place(folder: Path) -> Sample:
    """Makes the sample's repository and script in a folder, unless they are there.

    Raises:
        GitFailed: git is missing or refuses.
    """
    script, repository = folder / SCRIPT.name, folder / REPOSITORY
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SCRIPT, script)
    if not repository.exists():
        half = folder / f"{REPOSITORY}.half"
        shutil.rmtree(half, ignore_errors=True)
        make_repository(half)
        half.rename(repository)
    return Sample(folder, script, head(repository))


def config_for(folder: Path, bots: int) -> Path:
    """The file of thresholds for a new pool of so many bots; one that is not as it ships is written to the folder.

    A bot that is alone is prewarmed, too: none could stay untouched beside it.
    """
    if bots != 1:
        return CONFIG
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for pool in config["pools"].values():
        pool["reserve_min"] = 0
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CONFIG.name
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return file


def spec_for(sample: Sample) -> dict[str, Any]:
    """The sample spec of this sample, ready to be registered."""
    return filled(
        yaml.safe_load(SPEC.read_text(encoding="utf-8")), {"REVISION": sample.revision, "SCRIPT": str(sample.script)}
    )


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """A copy in which texts that are one of the words are replaced."""
    if isinstance(value, str):
        return words.get(value, value)
    if isinstance(value, list):
        return [filled(item, words) for item in value]
    if isinstance(value, dict):
        return {key: filled(item, words) for key, item in value.items()}
    return copy.copy(value)
