from __future__ import annotations

from collections.abc import Callable

import pytest

from compress.build import build_run
from compress.records.schema import RunRecord
from compress.stage.forecast import forecast
from tests.configs import TINY, compose_config
from tests.slow import slow


@pytest.mark.parametrize(
    "overrides",
    [
        *slow([(("quantizer=none",),), (("quantizer=bf16",),)]),
        *slow([(("quantizer=int8_dynamic", "quantizer.embeddings=int8"),)]),
        ("quantizer=rtn", "quantizer.embeddings=int4"),
        *slow([(("pruner=heads", "pruner.sparsity=0.5"),)]),
        ("pruner=neurons", "pruner.sparsity=0.5", "quantizer=int8_weight_only"),
        ("pruner=lowrank", "pruner.rank.by=fixed", "pruner.rank.fixed=2"),
        (
            *("student=layers", "student.distillation.epochs=1", "student.shape.hidden=24"),
            *("student.shape.neurons=40", "student.shape.embedding=12"),
            *("student.shape.activation=relu", "student.shape.positions=128"),
            *("quantizer=int8_weight_only", "quantizer.embeddings=int8"),
        ),
    ],
)
def test_what_is_foreseen_holds(
    overrides: tuple[str, ...], run_config: Callable[..., RunRecord]
) -> None:
    foreseen = forecast(build_run(compose_config(*TINY, *overrides)))
    metrics = run_config(*overrides).metrics
    assert metrics is not None
    assert foreseen.parameters == metrics.parameters
    assert foreseen.least_bytes is not None
    # Codes are most of the bytes of a model, less so of a tiny one.
    assert 0.2 * metrics.size_bytes < foreseen.least_bytes < metrics.size_bytes


@pytest.mark.parametrize(
    "overrides",
    [
        ("pruner=vocabulary",),
        ("student=layers", "student.shape.vocabulary=62"),
        ("pruner=heads", "pruner.sparsity=0.5", "pruner.allocation=global"),
        ("pruner=lowrank", "pruner.rank.by=energy"),
        ("pruner=lowrank", "pruner.denoise.method=hard"),
        ("pruner=chain", "pruner.steps.heads.allocation=global"),
    ],
)
def test_nothing_is_foreseen_where_weights_or_rows_decide(overrides: tuple[str, ...]) -> None:
    foreseen = forecast(build_run(compose_config(*TINY, *overrides)))
    assert foreseen.parameters is None
    assert foreseen.least_bytes is None
