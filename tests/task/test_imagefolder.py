from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.config.errors import ConfigError
from compress.interfaces import TaskData
from compress.task.components.image import ImageSplit
from compress.task.imagefolder import ImageFolder
from tests.configs import settings_of


def draw(folder: Path, count: int, shade: int) -> None:
    """Images of differing sizes, all of one shade."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((4 + i % 3, 5, 3), shade, np.uint8)).save(folder / f"{i}.png")


def load(path: Path, *overrides: str) -> TaskData:
    task = settings_of("task", "imagefolder", f"task.path={path}", *overrides)
    assert isinstance(task, ImageFolder)
    task.check()
    return task.load()


def shades(split: object) -> list[int]:
    assert isinstance(split, ImageSplit)
    return [int(split.pixels(row)[0, 0, 0]) for row in range(len(split))]


def test_a_folder_of_classes_is_split(tmp_path: Path) -> None:
    draw(tmp_path / "dark", 20, 10)
    draw(tmp_path / "bright" / "deeper", 20, 200)
    (tmp_path / "dark" / ".hidden").write_text("passed over")
    data = load(tmp_path)
    assert data.training.problem.names == ("bright", "dark")
    parts = [data.training.train, data.training.validation, data.evaluation]
    assert [len(part) for part in parts] == [28, 4, 8]
    for part in parts:
        assert shades(part) == [(200, 10)[label] for label in part.labels.tolist()]
    assert data.training.problem.others == ("f1_macro",)
    assert data.evaluation.name == f"20% of {tmp_path.name}, seed 0"


@pytest.mark.parametrize("validation", [0, 3])
def test_train_and_test_folders_stay_apart(tmp_path: Path, validation: int) -> None:
    for folder, count, shade in (
        ("train", 20, 0),
        ("test", 5, 100),
        ("validation", validation, 50),
    ):
        for i, name in enumerate("ab" if count else ""):
            draw(tmp_path / folder / name, count, shade + i)
    data = load(tmp_path)
    assert sorted(shades(data.evaluation)) == [100] * 5 + [101] * 5
    assert data.evaluation.name == "test"
    expected = [50] * 3 + [51] * 3 if validation else [0] * 2 + [1] * 2
    assert sorted(shades(data.training.validation)) == expected
    assert len(data.training.train) == (40 if validation else 36)


def test_six_classes_are_evaluated_by_the_five_likeliest_too(tmp_path: Path) -> None:
    for name in "abcdef":
        draw(tmp_path / name, 12, 1)
    assert load(tmp_path, "task.evaluation_fraction=0.3").training.problem.others == (
        "f1_macro",
        "top5",
    )


def test_fractions_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must leave images to train on, got 0\.1 and 0\.9"):
        load(tmp_path, "task.evaluation_fraction=0.9")
