"""What tests compose is what Hydra composes."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from tests.configs import ROOT, TINY, compose_config


@pytest.mark.parametrize(
    "overrides",
    [
        TINY,
        ("pruner=chain", "pruner.order=[heads]", "pruner.steps.heads.sparsity=0.3"),
        ("pruner.recovery.epochs=0.5", "pruner=wanda", "pruner.pattern='2:4'", "seed=3"),
        ("pruner=chain", "~pruner.steps.heads", "+pruner.steps.x={a: [1, null]}"),
        ("device.threads=1", "device.threads=null", "++task.limit=7", "task.limit=5"),
    ],
)
def test_values_are_set_as_hydra_sets_them(overrides: tuple[str, ...]) -> None:
    before = compose_config(*overrides)
    with initialize_config_dir(str(ROOT / "conf")):
        whole = compose("config", list(overrides))
    assert before == whole
    # One that a test has changed is no other's.
    before.seed = 12345
    assert compose_config(*overrides) == whole


def test_mistakes_are_hydras() -> None:
    with pytest.raises(HydraException, match=r"Could not override 'pruner\.sparsty'"):
        compose_config("pruner=wanda", "pruner.sparsty=1")
