"""What a bot says about its machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bot import dimensions

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
UBUNTU = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'


@pytest.mark.parametrize(
    ("os_release", "names"),
    [
        (DEBIAN, ["Debian", "Debian-12"]),
        (UBUNTU, ["Ubuntu", "Ubuntu-24", "Ubuntu-24.04"]),
        ("ID=arch\n", ["Arch"]),
        ("", []),
    ],
)
def test_a_linux_is_named_by_its_distribution_and_versions(os_release: str, names: list[str]) -> None:
    assert dimensions.linux_names(os_release) == names


@pytest.mark.parametrize(
    ("machine", "names"),
    [("x86_64", ["x86", "x86-64"]), ("AMD64", ["x86", "x86-64"]), ("arm64", ["arm", "arm64"]), ("", ["unknown"])],
)
def test_a_processor_is_named_in_general_and_in_particular(machine: str, names: list[str]) -> None:
    assert dimensions.cpu(machine) == names


def test_what_the_operator_says_wins_over_what_was_found() -> None:
    found = dimensions.base_dimensions("b", "p", {"cores": ["1"], "rack": ["b", "a", "a"]})
    assert (found["id"], found["pool"], found["cores"], found["rack"]) == (["b"], ["p"], ["1"], ["a", "b"])
    assert found["python"][-1] == ".".join(map(str, sys.version_info[:3]))


def test_free_disk_is_told_under_its_mount_point(tmp_path: Path) -> None:
    [(mount, room)] = dimensions.disk(tmp_path).items()
    assert tmp_path.resolve().is_relative_to(mount) and 0 < room["free_mb"] <= room["size_mb"]
