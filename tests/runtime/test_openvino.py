"""OpenVINO: what it gives, what it holds, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.quantizer.none import NoQuantizer
from compress.runtime.openvino import OpenVino
from tests.configs import ROOT
from tests.runtime.openvino_models import Contexts, same, write

pytest.importorskip("openvino")
pytestmark = pytest.mark.usefixtures("export_once")


def test_float32_is_float32_all_the_way(
    biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    model, error = write(biased, NoQuantizer(), context(biased), tmp_path)
    assert error < 1e-5  # bfloat16, OpenVINO's default on many CPUs, is off by 1e-3
    assert model.precision == "float32"
    found = dict(model.weights())
    expected = dict(biased.module.named_parameters())
    assert found.keys() == expected.keys()
    assert all(same(found[name], weight) for name, weight in expected.items())
    assert model.packed_bits() == {}
    bytes_of_weights = 4 * sum(weight.numel() for weight in expected.values())
    [weights] = tmp_path.glob("*.bin")
    assert bytes_of_weights < weights.stat().st_size < bytes_of_weights + 10_000


def test_batch_and_length_are_open_up_to_the_positions(
    biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    model, _ = write(biased, NoQuantizer(), context(biased), tmp_path)
    for count, length in ((1, 1), (5, 2), (2, 512)):
        ids = torch.randint(5, 50, (count, length), generator=torch.Generator().manual_seed(1))
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        batch["token_type_ids"] = torch.zeros_like(ids)
        batch["attention_mask"][0, length // 2 + 1 :] = 0
        with torch.inference_mode():
            expected = biased.module(**batch).logits
        assert torch.allclose(model.predict(batch), expected, atol=1e-5)
    long = {name: torch.ones(1, 513, dtype=torch.long) for name in batch}
    with pytest.raises(UserError, match="513 tokens long, the model takes at most 512"):
        model.predict(long)


@pytest.mark.slow
def test_importing_needs_no_openvino_and_nothing_is_sent_or_left_behind(tmp_path: Path) -> None:
    """In a process of its own: NNCF switches its telemetry off when it sees pytest."""
    home = tmp_path / "home"
    home.mkdir()
    script = ROOT / "tests" / "runtime" / "openvino_in_a_fresh_process.py"
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment = {name: v for name, v in environment.items() if name not in ("CI", "NNCF_CI")}
    environment["PYTHONPATH"] = str(ROOT)
    result = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(tmp_path / "model")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "ok\n"
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_threads_are_those_asked_for(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    write(teacher, NoQuantizer(), context(teacher), tmp_path)
    model = OpenVino.load(tmp_path, "cpu", threads=1)
    asked = ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
    compiled = model._session._open.get_compiled_model()
    assert [compiled.get_property(name) for name in asked] == [1, 1, 0]


def test_threads_that_share_a_model_get_their_own_answers(
    biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    write(biased, NoQuantizer(), context(biased), tmp_path)
    model = OpenVino.load(tmp_path, "cpu", threads=1)
    ids = [torch.arange(5 + i, 9 + 2 * i)[None] for i in range(12)]
    batches = [{"input_ids": each, "attention_mask": torch.ones_like(each)} for each in ids]
    alone = torch.stack([model.predict(batch) for batch in batches])
    assert alone.std(dim=0).min() > 1e-4
    with ThreadPoolExecutor(4) as pool:
        together = torch.stack(list(pool.map(model.predict, batches * 10)))
    assert torch.allclose(together, alone.repeat(10, 1, 1), atol=1e-6)
