"""Small spaces, and the runs of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.build import build_run
from compress.costs.space import Costs, Space
from compress.stage.run import Run
from tests.configs import TINY, compose_config


def space(**axes: tuple[Any, ...]) -> Space:
    """A space of one layer and the teacher's sizes, but for these."""
    own = dict.fromkeys(
        ("hidden", "heads", "neurons", "embedding", "activation", "vocabulary", "positions"),
        (None,),
    )
    return Space(**{"layers": (1,), **own, **axes})  # type: ignore[arg-type]


def costs(minutes: float = 1e-9, **axes: tuple[Any, ...]) -> Costs:
    """A table of the corners of a space."""
    return Costs(minutes=minutes, rounds=1, space=space(**axes))


def run_of(cache: Path, *overrides: str) -> Run:
    """A run of the tiny teacher, which has a width of 32, 2 heads, 64 neurons and 4 layers."""
    return build_run(compose_config(*TINY, f"cache.dir={cache}", *overrides))
