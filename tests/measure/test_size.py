from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from compress.interfaces import CompressedModel
from compress.measure.size import PIECE_BYTES, bitmask_bytes, zipped_bytes
from compress.serve.folder import folder_bytes
from compress.store.artifact import load
from tests.configs import settings_of
from tests.tiny import torch_export


def zip_file(files: list[Path], target: Path) -> int:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for path in files:
            file.write(path, path.name)
    return target.stat().st_size


def test_small_files_take_what_a_zip_file_takes(tmp_path: Path) -> None:
    noise = torch.randint(256, (5000,), generator=torch.Generator().manual_seed(0))
    files = [tmp_path / name for name in ("noise", "zeros-é", "empty")]
    for path, content in zip(files, (bytes(noise.tolist()), bytes(9000), b""), strict=True):
        path.write_bytes(content)
    assert zipped_bytes(files) == zip_file(files, tmp_path / "x.zip")
    assert zipped_bytes([]) == zip_file([], tmp_path / "none.zip") == 22


def test_a_large_file_is_cut_into_pieces_at_little_cost(tmp_path: Path) -> None:
    words = torch.randint(60, (2 * PIECE_BYTES + 5,), generator=torch.Generator().manual_seed(0))
    path = tmp_path / "large"
    path.write_bytes(bytes(words.tolist()))
    whole = zip_file([path], tmp_path / "x.zip")
    found = zipped_bytes([path])
    assert found == zipped_bytes([path])
    assert found == pytest.approx(whole, rel=1e-3)
    assert 0.73 * path.stat().st_size < found < 0.8 * path.stat().st_size, "log2(60) / 8 = 0.738"


@pytest.mark.parametrize(
    ("tensor", "bits", "saved"),
    [
        # 16 entries of 4 bytes, 4 of them not zero: 64 against 2 of the mask and 16.
        (torch.tensor([1.0, 0, 0, 0] * 4), {}, 64 - 18),
        (torch.tensor([1, 0, 0, 0] * 4, dtype=torch.bfloat16), {}, 32 - 10),
        (torch.tensor([1, 0, 0, 0] * 4, dtype=torch.int8), {}, 16 - 6),
        # 4 bits a code: 8 bytes against 2 of the mask and 2.
        (torch.tensor([1, 0, 0, 0] * 4, dtype=torch.int8), {"weight": 4}, 8 - 4),
        # Ten codes of 4 bits take 5 bytes; 2 of the mask and 1.5, filled up.
        (torch.tensor([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=torch.int8), {"weight": 4}, 5 - 4),
        # Nothing is zero: the mask would only cost.
        (torch.ones(16), {}, 0),
        # One entry in 32 is zero: what it saves is what the mask costs.
        (torch.tensor([0.0] + [1.0] * 31), {}, 0),
        (torch.tensor([0.0] * 2 + [1.0] * 30), {}, 4),
    ],
)
def test_bitmask_by_hand(tensor: Tensor, bits: dict[str, int], saved: int) -> None:
    dense = ("other", torch.ones(8))
    assert bitmask_bytes(1000, [("weight", tensor), dense], bits) == 1000 - saved


@pytest.mark.parametrize(
    ("choice", "overrides", "bits"),
    [
        ("none", (), 32),
        ("bf16", (), 16),
        ("fp8", (), 8),
        ("int8_weight_only", (), 8),
        ("rtn", (), 4),
        ("rtn", ("quantizer.embeddings=int4",), 4),
        ("nf4", (), 4),
    ],
)
def test_zeros_are_worth_the_bits_of_the_format(
    choice: str,
    overrides: tuple[str, ...],
    bits: int,
    teachers: Callable[[str], CompressedModel],
    context: Callable[..., object],
    tmp_path: Path,
) -> None:
    pruner = settings_of("pruner", "magnitude", "pruner.sparsity=0.75")
    pruned = pruner.prune(teachers("bert"), context(teachers("bert")))  # type: ignore[attr-defined]
    quantizer = settings_of("quantizer", choice, *overrides)
    torch_export(pruned, quantizer, tmp_path / "model")  # type: ignore[arg-type]
    model, size = load(tmp_path / "model"), folder_bytes(tmp_path / "model")
    packed = model.packed_bits()
    assert set(packed.values()) == ({bits} if bits < 16 else set())
    weights = dict(model.weights())
    codes = [name for name in weights if "layer" in name and weights[name].dim() == 2]
    zeros = sum(weights[n].numel() - int(weights[n].count_nonzero()) for n in codes)
    entries = sum(weights[n].numel() for n in codes)
    saved = size - bitmask_bytes(size, [(n, weights[n]) for n in codes], packed)
    assert saved == pytest.approx(zeros * bits / 8 - entries / 8, abs=len(codes))
