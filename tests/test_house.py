"""Where things stand. That rooms import downwards only is for `lint-imports` to say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.configs import ROOT

HALL = [
    "__init__.py", "__main__.py", "build.py", "cli.py", "interfaces.py", "job.py", "pipeline.py",
]  # fmt: skip
GROUPS = ["device", "pruner", "quantizer", "runtime", "student", "task", "teacher", "tracker"]
TARGET = re.compile(r"_target_: compress\.([\w.]+)\.\w+")


def sources(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")


def targets() -> set[str]:
    """The modules that yamls name, without the package."""
    found = (path.read_text() for path in (ROOT / "conf").rglob("*.yaml"))
    return {module for text in found for module in TARGET.findall(text)}


def test_what_the_hall_holds() -> None:
    hall = ROOT / "compress"
    assert [name for name in sources(hall) if (hall / name).is_file()] == HALL


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_holds_choices_and_what_they_share(group: str) -> None:
    folder = ROOT / "compress" / group
    choices = {name.removesuffix(".py") for name in sources(folder)} - {"__init__", "components"}
    named = {each.partition(".")[2] for each in targets() if each.startswith(f"{group}.")}
    assert choices == {name for name in named if not name.startswith("components.")}


def test_every_room_says_what_it_knows() -> None:
    for path in sorted((ROOT / "compress").rglob("__init__.py")):
        assert path.read_text().startswith('"""'), path
