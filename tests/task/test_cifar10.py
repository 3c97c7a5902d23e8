from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.task.cifar10 import Cifar10
from compress.task.components.image import ImageSplit
from tests.configs import SHARED, settings_of


def cifar10(path: Path | None, *overrides: str) -> Cifar10:
    where = [] if path is None else [f"task.path={path}"]
    made = settings_of("task", "cifar10", *where, *overrides)
    assert isinstance(made, Cifar10)
    return made


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
    task = cifar10(tmp_path / "c.npz")
    task.check()
    data = task.load()
    assert (len(data.training.train), len(data.training.validation)) == (108, 12)
    assert data.evaluation.labels.tolist() == (np.arange(20) % 10).tolist()
    assert isinstance(data.evaluation, ImageSplit)
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


@pytest.mark.slow
def test_a_real_sample() -> None:
    path = SHARED / "data" / "cifar10" / "cifar10_12k.npz"
    if not path.exists():
        pytest.skip("needs ../shared/data/cifar10")
    data = cifar10(path, "task.limit=500").load()
    assert (len(data.training.train), len(data.evaluation)) == (500, 500)
