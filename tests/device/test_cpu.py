from __future__ import annotations

from dataclasses import replace

import psutil
import pytest
import torch

from compress.config.errors import ConfigError
from compress.device.cpu import Cpu


def test_threads_are_pinned_for_the_run_and_set_back(device: Cpu) -> None:
    before = torch.get_num_threads()
    session = replace(device, threads=1).session()
    session.__enter__()
    assert torch.get_num_threads() == 1
    session.__exit__(RuntimeError, RuntimeError("boom"), None)
    assert torch.get_num_threads() == before


def test_null_is_one_thread_a_physical_core_whatever_torch_was_set_to(device: Cpu) -> None:
    cores = psutil.cpu_count(logical=False)
    free = replace(device, threads=None)
    with replace(device, threads=1).session(), free.session():
        assert torch.get_num_threads() == cores
    assert free.label() == f"cpu, {cores} threads" if cores != 1 else "cpu, 1 thread"


def test_more_threads_than_the_machine_has_are_refused(device: Cpu) -> None:
    with pytest.raises(ConfigError, match=r"device\.threads must be at most"):
        replace(device, threads=10_000).check()


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_where_the_processor_has_it(
    native: bool, dtype: torch.dtype, device: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: native)
    assert device.training_dtype() is dtype
