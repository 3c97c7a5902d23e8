from __future__ import annotations

import pytest
import torch

from compress.config.errors import UserError
from compress.device.cuda import Cuda
from compress.records.schema import RunRecord
from tests.configs import settings_of


def cuda() -> Cuda:
    made = settings_of("device", "cuda")
    assert isinstance(made, Cuda)
    return made


def test_no_gpu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=r"device=cuda: torch \(.*\) sees no GPU; take device=cpu"):
        cuda().check()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_whole_run_on_a_gpu(run_config: object) -> None:
    assert callable(run_config)
    record = run_config("device=cuda", "student=layers", "pruner=wanda")
    assert isinstance(record, RunRecord)
    assert record.environment.device.startswith("cuda, ")
