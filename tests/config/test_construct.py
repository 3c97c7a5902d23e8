from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import compress.pruner
from compress.config.construct import construct
from compress.config.errors import ConfigError, UserError
from compress.interfaces import Pruner
from compress.search.plan import read_settings
from tests.configs import compose_config

Write = Callable[[str], None]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a pruner of the user's own, `compress/pruner/mine.py`."""
    monkeypatch.setattr(compress.pruner, "__path__", [*compress.pruner.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "compress.pruner.mine", raising=False)

    def write(text: str) -> None:
        (tmp_path / "mine.py").write_text(text)

    return write


def refused(target: str = "compress.pruner.mine.Mine", **settings: object) -> str:
    cfg = OmegaConf.create({"pruner": {"_target_": target, **settings}})
    with pytest.raises(UserError) as caught:
        construct(cfg, "pruner", Pruner)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:\n", "mine.py cannot be imported: SyntaxError: "),
        (
            "import no_such_package\n",
            "cannot be imported: ModuleNotFoundError: No module named 'no_s",
        ),
        ("from compress.pruner.wanda import Wandaa\n", "ImportError: cannot import name 'Wandaa'"),
        ("1 / 0\n", "mine.py cannot be imported: ZeroDivisionError: division by zero"),
        ("raise ValueError('two\\nlines')\n", "cannot be imported: ValueError: two"),
        ("import compress.pruner.nothing\n", "No module named 'compress.pruner.nothing'"),
        ("x = '\\udc00'.encode()\n", "mine.py cannot be imported: UnicodeEncodeError: "),
        ("", "compress.pruner.mine has no Mine"),
        ("Mine = 3\n", "has no class of settings Mine"),
        ("class Mine: pass\n", "has no class of settings Mine"),
        ("def Mine(): raise AssertionError('it was called')\n", "has no class of settings Mine"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_cause(
    text: str, said: str, mine: Write
) -> None:
    mine(text)
    line = refused()
    assert line.startswith("pruner._target_")
    assert said in line
    assert "\n" not in line


def test_a_fault_of_the_users_class_is_a_bug_and_not_a_mistake(mine: Write) -> None:
    """It has a traceback: whoever writes a pruner needs to see where."""
    mine(
        "from compress.pruner.none import NoPruner\n"
        "class Mine(NoPruner):\n"
        "    def __post_init__(self):\n"
        "        self.nothing\n"
    )
    cfg = OmegaConf.create({"pruner": {"_target_": "compress.pruner.mine.Mine"}})
    with pytest.raises(AttributeError, match="nothing"):
        construct(cfg, "pruner", Pruner)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("compress.pruner.wandaa.Wanda", "names compress.pruner.wandaa, which does not exist"),
        ("compress.prunner.wanda.Wanda", "names compress.prunner.wanda, which does not exist"),
        (
            "compress.pruner.wanda.Wanda.x",
            "names compress.pruner.wanda.Wanda, which does not exist",
        ),
        ("compress", "such as compress.pruner.wanda.Wanda; got 'compress'"),
        ("compress.load", "got 'compress.load'"),
        ("", "got ''"),
        (".", "got '.'"),
        ("compress..Wanda", "names compress., which does not exist"),
        ("compressed.pruner.wanda.Wanda", "got 'compressed."),
        ("os.system", "got 'os.system'"),
        ("compress.store.cache_entries.delete", "has no class of settings delete"),
    ],
)
def test_targets_that_are_no_settings(target: str, said: str) -> None:
    line = refused(target)
    assert line.startswith("pruner._target_")
    assert said in line


def test_nothing_but_settings_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.store.cache_entries.delete", lambda *_: pytest.fail("called"))
    assert "no class of settings" in refused("compress.store.cache_entries.delete", entry={"a": 1})


def test_names_of_settings_are_text() -> None:
    cfg = OmegaConf.create({"pruner": {"_target_": "compress.pruner.none.NoPruner", 3: 4}})
    with pytest.raises(ConfigError, match="the names in pruner must be text, got 3"):
        construct(cfg, "pruner", Pruner)


def test_only_the_beginning_of_a_message_is_reworded(mine: Write) -> None:
    """A value that is quoted may look like the name of the class, or like its setting."""
    mine(
        "from pydantic.dataclasses import dataclass\n"
        "from compress.config.errors import ConfigError\n"
        "from compress.pruner.none import NoPruner\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(NoPruner):\n"
        "    path: str = ''\n"
        "    def __post_init__(self):\n"
        "        raise ConfigError(f'Mine.path must be absent, got {self.path}')\n"
    )
    got = "pruner.path must be absent, got "
    assert refused(path="not Mine.path") == f"{got}not Mine.path"
    assert refused(paht="Mine.x").startswith("pruner (Mine) has no setting paht; its settings: ")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("search.workers=0", "search.workers must be > 0, got 0"),
        ("search.workers=two", "search.workers must be an integer, got 'two'"),
        ("search.sampler.seed=x", "search.sampler.seed must be an integer, got 'x'"),
        (
            "search.early_stopping={after: 2, margin: 0}",
            "search.early_stopping.after must be in [0, 1), got 2",
        ),
        ("search.storage=[SearchSettings.x]", "search.storage must be text, got ['SearchSett"),
    ],
)
def test_errors_of_a_search_name_the_key(override: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_settings(compose_config("+search=pareto", override))
    assert str(caught.value).startswith(said)


def test_the_key_of_a_nested_choice_is_named() -> None:
    cfg = compose_config("pruner=chain", "pruner.steps.heads._target_=compress.pruner.x.Y")
    with pytest.raises(ConfigError, match=r"^pruner\.steps\.heads\._target_ names compress"):
        construct(cfg, "pruner", Pruner)
