from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, Quantizer, StageContext
from compress.stage.stages import write
from tests.configs import settings_of, yaml_names


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", yaml_names("quantizer"))
def test_weights_that_are_no_numbers_are_refused_before_anything_is_written(
    name: str,
    value: float,
    teacher: CompressedModel,
    context: Callable[[CompressedModel], StageContext],
    tmp_path: Path,
) -> None:
    with torch.no_grad():
        teacher.module.classifier.weight[1, 2] = value
    quantizer = settings_of("quantizer", name)
    assert isinstance(quantizer, Quantizer)
    with pytest.raises(
        UserError, match=r"^classifier\.weight has weights that are NaN or infinite"
    ):
        write(teacher, quantizer, context(teacher), tmp_path / "model")
    assert not (tmp_path / "model").exists()
