from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compress.task.cifar10 import Cifar10
from tests.configs import SHARED, settings_of
from tests.task.tables import checked, refusal


def cifar10(path: Path | None, *overrides: str) -> Cifar10:
    where = [] if path is None else [f"task.path={path}"]
    return settings_of("task", "cifar10", *where, *overrides)


def arrays(train: int = 120, test: int = 20) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    made = {}
    for split, count in (("train", train), ("test", test)):
        made[f"x_{split}"] = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        made[f"y_{split}"] = np.arange(count, dtype=np.uint8) % 10
    return made


def test_a_file_is_read_and_validation_is_cut_from_train(tmp_path: Path) -> None:
    content = arrays()
    np.savez(tmp_path / "c.npz", **content)
    data = checked(cifar10(tmp_path / "c.npz"))
    assert (len(data.training.train), len(data.training.validation)) == (108, 12)
    assert data.evaluation.labels.tolist() == (np.arange(20) % 10).tolist()
    assert np.array_equal(data.evaluation.pixels(7), content["x_test"][7])
    assert data.source == "CIFAR-10 from c.npz"
    assert data.training.problem.others == ("f1_macro", "top5")


def test_the_hub_has_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = arrays()
    np.savez(tmp_path / "c.npz", **content)
    published = {
        split: {
            "img": [Image.fromarray(pixels) for pixels in content[f"x_{split}"]],
            "label": content[f"y_{split}"].tolist(),
        }
        for split in ("train", "test")
    }
    monkeypatch.setattr("compress.task.cifar10.load_hub_dataset", lambda *_: published)
    ours, theirs = cifar10(tmp_path / "c.npz").load(), cifar10(None).load()
    assert ours.training.digest == theirs.training.digest
    assert ours.evaluation.digest == theirs.evaluation.digest


LABELS = np.arange(40, dtype=np.uint8) % 10
CIFAR: dict[str, Any] = {
    "x_train": np.zeros((40, 32, 32, 3), np.uint8),
    "y_train": LABELS,
    "x_test": np.zeros((40, 32, 32, 3), np.uint8),
    "y_test": LABELS,
}
NPZ = [
    ({"x_test": None}, "expected x_train, y_train, x_test, y_test"),
    ({"x_test": CIFAR["x_test"].astype(float)}, "x_test is float64 of shape (40, 32, 32, 3), exp"),
    ({"x_test": CIFAR["x_test"][:, 0]}, "x_test is uint8 of shape (40, 32, 3), expected uint8 of"),
    ({"y_test": LABELS[:-1]}, "y_test is uint8 of shape (39,), expected whole numbers of shape (4"),
    ({"y_test": LABELS / 2}, "y_test is float64 of shape (40,), expected whole numbers"),
    ({"y_train": LABELS + 1}, "y_train: row 10 is 10, expected 0 to 9"),
    ({"y_train": LABELS.astype(object)}, "is damaged: Object arrays cannot be loaded when allow"),
    ({"x_test": CIFAR["x_test"][:0], "y_test": LABELS[:0]}, "y_test: there are no rows, expected"),
    ({"x_train": CIFAR["x_train"][:9], "y_train": LABELS[:9]}, "9 rows are too few to hold out"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), NPZ)
def test_bad_arrays(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    content = {name: each for name, each in {**CIFAR, **changes}.items() if each is not None}
    np.savez(tmp_path / "c.npz", **content)
    told = refusal(cifar10(tmp_path / "c.npz"))
    assert told.startswith(str(tmp_path / "c.npz"))
    assert said in told


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04K\x01.", b"text"])
def test_what_is_no_npz_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.npz").write_bytes(content)
    told = refusal(cifar10(tmp_path / "c.npz"))
    assert told.startswith(f"task.path: {tmp_path / 'c.npz'} is not an npz file")


def npz(**arrays: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    return held.getvalue()


GOOD = npz(**arrays(200, 200))


def huge() -> bytes:
    """An npz file whose first array says that it has more entries than there is memory."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            header = io.BytesIO()
            shape = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 32, 32, 3)}
            np.lib.format.write_array_header_1_0(header, shape)
            file.writestr(f"{name}.npy", header.getvalue())
    return held.getvalue()


def encrypted() -> bytes:
    """The good file with the mark of an encrypted member in both of its headers."""
    content = bytearray(GOOD)
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


@pytest.mark.parametrize("content", [huge(), encrypted(), GOOD[:200] + b"\xff" * 40 + GOOD[240:]])
def test_damaged_arrays_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    path.write_bytes(GOOD)
    assert len(cifar10(path).load().evaluation) == 200
    path.write_bytes(content)
    assert "c.npz is damaged: " in refusal(cifar10(path))


@pytest.mark.slow
def test_a_real_sample() -> None:
    path = SHARED / "data" / "cifar10" / "cifar10_12k.npz"
    if not path.exists():
        pytest.skip("needs ../shared/data/cifar10")
    data = cifar10(path, "task.limit=500").load()
    assert (len(data.training.train), len(data.evaluation)) == (500, 500)
