from __future__ import annotations

from typing import Any

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from compress.config.compose import (
    check_groups,
    chosen,
    compose_with_choices,
    group_config,
    literal,
    merged,
    recalled,
    settings_in,
)
from compress.config.errors import ConfigError
from tests.configs import ROOT, compose_config

CONF = ROOT / "conf"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        0.5,
        1e-5,
        "null",
        "1",
        "a b,c=d",
        "it's",
        "back\\",
        "",
        [1, [2, "x"]],
        [[1, 8]],
    ],
)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    cfg = compose_config(f"task.source={literal(value)}")
    found = cfg.task.source
    assert (OmegaConf.to_container(found) if OmegaConf.is_config(found) else found) == value
    assert type(found) is type(value) or OmegaConf.is_config(found)


def test_a_record_is_recalled_whole() -> None:
    words = ["task=imdb", "task.limit=5", "device.benchmark.shapes=[[1,7]]", "device.threads=1"]
    cfg = compose_config(*words)
    for group, choice in (("task", "imdb"), ("device", "cpu")):
        recorded = OmegaConf.to_container(cfg[group])
        assert isinstance(recorded, dict)
        found = recalled(group, group_config(CONF, group, choice), recorded)
        assert group_config(CONF, group, choice, found) == cfg[group]
    assert recalled("device", cfg.device, OmegaConf.to_container(cfg.device)) == []  # type: ignore[arg-type]


def test_settings_that_a_choice_lacks_are_left_out() -> None:
    recorded = {"threads": 1, "_target_": "x", "benchmark": {"seconds": 9.0, "gone": 1}}
    found = recalled("device", group_config(CONF, "device", "cuda"), recorded)
    assert found == ["device.benchmark.seconds=9.0"]


def test_later_overrides_win_and_a_choice_ends_settings() -> None:
    first = ["task=imdb", "task.limit=5", "task.seed=1", "device.threads=2", "seed=3"]
    assert merged(first, ["task.limit=6"]) == [
        "task=imdb", "task.seed=1", "device.threads=2", "seed=3", "task.limit=6",
    ]  # fmt: skip
    assert merged(first, ["task=sst2", "seed=4"]) == ["device.threads=2", "task=sst2", "seed=4"]


def test_what_overrides_say() -> None:
    words = ["device=cuda", "device.benchmark.seconds=1", "seed=1"]
    assert chosen(words, "device") == "cuda"
    assert chosen(words, "task") is None
    assert settings_in(words, "device") == ["device.benchmark.seconds=1"]
    check_groups(words, ["device", "seed"])
    with pytest.raises(ConfigError, match="only settings of device can be given, got seed=1"):
        check_groups(words, ["device"])
    with pytest.raises(HydraException):
        check_groups(["device"], ["device"])


def test_choices_come_with_the_config() -> None:
    cfg, choices = compose_with_choices(CONF, ["quantizer=bf16", "task.limit=3"])
    assert "hydra" not in cfg
    assert cfg == compose_config("quantizer=bf16", "task.limit=3")
    assert (choices["quantizer"], choices["task"]) == ("bf16", "rotten_tomatoes")
