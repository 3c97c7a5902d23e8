from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from compress.config.compose import CONF
from compress.config.settings_page import GROUPS, PARTS, PLAIN, meanings, settings_page
from tests.commands import run_here

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page() -> str:
    return settings_page(CONF)


def test_the_committed_page_is_the_one_of_the_code(page: str) -> None:
    assert (ROOT / "docs/settings.md").read_text() == page, "run python scripts/settings.py"


def test_every_key_of_every_choice_is_on_it(page: str) -> None:
    for group in GROUPS:
        section = page.split(f"\n## {group}\n")[1].split("\n## ")[0]
        for file in (CONF / group).glob("*.yaml"):
            assert f"`{group}={file.stem}`" in section
            part = section.split(f"`{group}={file.stem}`")[1].split("\n### ")[0]
            for key in set(yaml.safe_load(file.read_text())) - {"defaults", "_target_"}:
                assert re.search(rf"^\| `{key}(\.[\w.*]+)?` \|", part, re.MULTILINE), (file, key)
    top = set(yaml.safe_load((CONF / "config.yaml").read_text())) - {"defaults", "hydra"}
    assert top <= {*PLAIN, *(key for _, key, _ in PARTS)}


def test_every_key_says_what_it_means(page: str) -> None:
    for line in page.splitlines():
        if line.startswith("| `") and not line.startswith("| `key"):
            assert not line.endswith("|  |") or ".*`" in line, line


def test_meanings_come_from_all_bases() -> None:
    class Base:
        """Base.

        Attributes:
            a: first, on
                two lines.
            b: second.
        """

    class Derived(Base):
        """Derived.

        Attributes:
            b: its own. And more.

        What follows is not a field: c.
        """

    assert meanings(Derived) == {"a": "first, on two lines", "b": "its own. And more"}


def test_help_names_every_choice_in_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_here("--help")
    assert ended.value.code == 0
    words = capsys.readouterr().out
    assert len(words.splitlines()) <= 24
    for file in CONF.rglob("*.yaml"):
        if len(file.relative_to(CONF).parts) > 1 and "hydra" not in file.parts:
            assert file.stem in words
    assert words.count("python run.py") == 3
