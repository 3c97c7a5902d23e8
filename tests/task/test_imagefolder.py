from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compress.config.errors import ConfigError
from compress.interfaces import TaskData
from compress.task.components.image import ImageSplit
from tests.configs import settings_of
from tests.task.tables import checked, refusal


def draw(folder: Path, count: int, shade: int) -> None:
    """Images of differing sizes, all of one shade."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((4 + i % 3, 5, 3), shade, np.uint8)).save(folder / f"{i}.png")


def load(path: Path, *overrides: str) -> TaskData:
    return checked(settings_of("task", "imagefolder", f"task.path={path}", *overrides))


def shades(split: ImageSplit) -> list[int]:
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
    assert load(tmp_path, "task.split.evaluation_fraction=0.3").training.problem.others == (
        "f1_macro",
        "top5",
    )


def test_fractions_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must leave rows to train on, got 0\.1 and 0\.9"):
        load(tmp_path, "task.split.evaluation_fraction=0.9")


# Folder of files → how many images, or text; what the line must say.
FOLDERS = [
    ({}, "has 0 class folders, expected at least two"),
    ({"cat/{i}.png": 30}, "has 1 class folders, expected at least two"),
    ({"cat/{i}.png": 30, "dog/.x.png": 1}, "dog has no images"),
    ({"cat/{i}.png": 30, "dog/{i}.png": 1}, "with each of 2 classes in it: 1 of 'dog'"),
    ({"cat/{i}.png": 30, "dog/{i}.png": 30, "3.png": 1}, "3.png is in no class folder"),
    ({"cat/{i}.png": 30, "dog/{i}.png": 30, "dog/a.txt": "x"}, "a.txt is not an image; expected"),
    ({"cat/{i}.png": 30, "dog/{i}.png": 30, "dog/a.png": "x"}, "a.png is not a complete image: "),
    ({"train/cat/{i}.png": 9, "train/dog/{i}.png": 9}, "has the folders train; expected train a"),
    ({"train/a/{i}.png": 1, "test/a/{i}.png": 1, "b/{i}.png": 1}, "has the folders b, test, train"),
    (
        {"train/a/{i}.png": 30, "train/b/{i}.png": 30, "test/c/{i}.png": 2},
        "c: no train image is of this class; expected a, b",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("files", "said"), FOLDERS)
def test_bad_image_folders(files: dict[str, int | str], said: str, tmp_path: Path) -> None:
    for pattern, content in files.items():
        for i in range(content if isinstance(content, int) else 1):
            path = tmp_path / pattern.format(i=i)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_text(content)
            else:
                Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
    told = refusal(settings_of("task", "imagefolder", f"task.path={tmp_path}"))
    assert str(tmp_path) in told
    assert said in told
