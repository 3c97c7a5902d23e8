"""A diverged training is reported, and nothing of it is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.errors import Diverged, UserError
from compress.interfaces import CompressedModel
from compress.records.schema import RunRecord
from compress.teacher.tiny_random import TinyRandomTeacher
from compress.training.divergence import check_logits, check_weights
from tests.slow import slow_but

Runs = Callable[..., RunRecord]
STILL = "teacher.finetune.epochs=0"
# The stage, where its training's settings are, and what makes it train.
TRAININGS = [
    ("teacher", "teacher.finetune", ()),
    ("student", "student.distillation", (STILL, "student=layers", "student.keep=2")),
    (
        "student",
        "student.distillation",
        (STILL, "student=layers", "student.keep=2", "student.matching.method=hidden"),
    ),
    ("student", "student.distillation", (STILL, "student=scratch")),
    ("pruner", "pruner.recovery", (STILL, "pruner=wanda", "pruner.sparsity=0.5")),
    ("pruner", "pruner.recovery", (STILL, "pruner=heads", "pruner.sparsity=0.5")),
    ("pruner", "pruner.recovery", (STILL, "pruner=chain")),
    ("pruner", "pruner.training", (STILL, "pruner=gradual")),
    ("pruner", "pruner.training", (STILL, "pruner=movement")),
    ("quantizer", "quantizer.training", (STILL, "quantizer=qat_int8")),
]


def stored(cache: Path, stage: str) -> list[Path]:
    return [folder for folder in (cache / stage).glob("*") if folder.is_dir()]


@pytest.mark.parametrize(
    ("stage", "key", "settings"), slow_but([TRAININGS[i] for i in (0, 2, 4, 9)], TRAININGS)
)
def test_a_training_at_an_absurd_rate_is_refused_before_it_is_stored(
    stage: str, key: str, settings: tuple[str, ...], run_config: Runs, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    fast = (f"{key}.epochs=1", f"{key}.batch_size=16", f"{key}.learning_rate=1e30")
    with pytest.raises(UserError) as caught:
        run_config(*settings, *fast, folder=tmp_path / "run", cache=cache)
    line = str(caught.value)
    assert line.startswith(f"{stage}: training diverged at step ")
    assert "with learning_rate=1e+30: " in line
    assert not stored(cache, stage)
    assert stage == "teacher" or stored(cache, "teacher")


def test_one_step_is_enough_to_diverge(run_config: Runs, tmp_path: Path) -> None:
    """Its only loss is finite, and so are its weights: what they say of a row is not."""
    cache = tmp_path / "cache"
    once = ("epochs=1", "batch_size=1000", "learning_rate=1e30", "warmup_fraction=0.0")
    with pytest.raises(UserError, match=r"at step 1 of 1 .*: the logits are not finite"):
        run_config(*(f"teacher.finetune.{each}" for each in once), folder=tmp_path, cache=cache)
    assert not stored(cache, "teacher")


def test_weights_that_are_no_numbers_are_refused_whoever_made_them(
    run_config: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No training has to have gone wrong: a checkpoint may have come with them."""
    made = TinyRandomTeacher.load

    def spoilt(*arguments: Any) -> CompressedModel:
        model = made(*arguments)
        torch.nn.init.constant_(model.module.classifier.bias, torch.nan)
        return model

    monkeypatch.setattr(TinyRandomTeacher, "load", spoilt)
    with pytest.raises(UserError, match=r"^teacher: weights are not finite, in 1 tensors such as "):
        run_config(STILL, folder=tmp_path / "run", cache=tmp_path / "cache")
    assert not stored(tmp_path / "cache", "teacher")


def test_the_checks(teacher: CompressedModel) -> None:
    inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
    check_weights(teacher.module)
    check_logits(teacher.module, inputs)
    with torch.no_grad():
        teacher.module.classifier.bias[0] = torch.inf
    with pytest.raises(Diverged, match=r"in 1 tensors such as classifier\.bias"):
        check_weights(teacher.module)
    with pytest.raises(Diverged, match="the logits are not finite"):
        check_logits(teacher.module, inputs)
