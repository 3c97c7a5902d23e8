from __future__ import annotations

import pytest

from compress.config.errors import ConfigError
from compress.search.sampler import SAMPLERS, SamplerSettings


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_can_be_had(name: str) -> None:
    assert SamplerSettings(name=name, seed=0, options={}).make() is not None


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cma", {}, "one of tpe, nsgaii, nsgaiii, gp, random, qmc, grid; got cma"),
        ("tpe", {"population_size": 3}, "options of tpe are .*got population_size"),
        ("nsgaii", {"population_size": 0}, "options of nsgaii"),
        ("random", {"seed": 3}, "got seed"),
    ],
)
def test_what_is_no_sampler_is_refused(
    name: str, options: dict[str, str | int | float | bool | None], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        SamplerSettings(name=name, seed=0, options=options).make()
