from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compress.config.errors import ConfigError, UserError
from compress.interfaces import Task, TaskData
from compress.task.components.folds import deal
from tests.configs import SHARED, settings_of
from tests.task.tables import TABLE, parts, task, write
from tests.task.test_imagefolder import draw


def each_fold(made: Task) -> list[TaskData]:
    made.check()
    return [fold.load() for fold in made.each_fold()]


def texts(data: TaskData) -> dict[str, list[tuple[str, ...]]]:
    found = {**parts(data), "calibration": data.training.calibration}
    return {role: list(zip(*split.columns, strict=True)) for role, split in found.items()}


def check_folds(folds: list[TaskData], rows: Counter[tuple[str, ...]], alike: int = 0) -> None:
    """Every row is evaluated once, and no text is both trained and evaluated on in a fold.

    Of rows that differ in spaces and punctuation alone, of which there are so many, training and
    validation share none.
    """
    evaluated = Counter(row for data in folds for row in texts(data)["evaluation"])
    assert evaluated == rows
    seen: set[tuple[str, ...]] = set()
    for data in folds:
        by_role = {role: set(split) for role, split in texts(data).items()}
        assert not by_role["evaluation"] & seen, "no text is in two folds"
        seen |= by_role["evaluation"]
        assert by_role["calibration"] <= by_role["train"]
        for role, other in (("train", "validation"), ("train", "evaluation")):
            assert not by_role[role] & by_role[other]
        assert not by_role["validation"] & by_role["evaluation"]
        found, others = by_role["train"] | by_role["validation"], set(rows) - by_role["evaluation"]
        assert found <= others
        assert len(others - found) <= alike
    assert len({data.training.digest for data in folds}) == len(folds)


@pytest.mark.parametrize("folds", [2, 3, 5, 20])
def test_rows_are_dealt_evenly_class_by_class(folds: int) -> None:
    labels = np.array([0] * 53 + [1] * 21 + [2] * 20)
    numbers = deal(labels, np.arange(94), folds, seed=0)
    assert set(numbers) == set(range(1, folds + 1))
    for rows in (numbers, *(numbers[labels == label] for label in range(3))):
        counts = np.bincount(rows, minlength=folds + 1)[1:]
        assert counts.max() - counts.min() <= 1


def test_what_belongs_together_stays_together() -> None:
    # Worked by hand. Units by class and size: 0 (3 rows), 1 (2, of both classes alike, so it counts
    # as of the first), 2 and 3 (1 each); then 4 and 5 of class 1. 0 goes to fold 1; 1, 2 and 3 go
    # to fold 2, which has 0, 1 and 2 rows of class 0 where the other has 3. Of class 1 fold 2 has
    # one already, so 4 goes to fold 1; then they have one each and 4 rows each, and 5 goes to 1.
    units = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5])
    labels = np.array([0, 0, 0, 0, 1, 0, 0, 1, 1])
    for seed in range(8):
        assert deal(labels, units, 2, seed).tolist() == [1, 1, 1, 2, 2, 2, 2, 1, 1]


def test_folds_of_a_file_share_nothing(tmp_path: Path) -> None:
    made = task(write(tmp_path / "x.csv"), folds=4, evaluation_fraction=0.2)
    folds = each_fold(made)
    check_folds(folds, Counter((text,) for text, _ in TABLE))
    for number, data in enumerate(folds, start=1):
        assert Counter(data.evaluation.labels.tolist()) == {0: 5, 1: 5}
        assert len(data.training.validation) == 3, "a tenth of the 30 rows outside the fold"
        assert data.evaluation.name == f"fold {number} of 4 of x.csv, seed 0"
        assert data.training.train.name == "rest of x.csv"
    names = {data.training.validation.name for data in folds}
    assert names == {"10% of the other folds of x.csv, seed 0"}


def test_one_fold_is_the_same_alone_and_among_all(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv")
    alone = task(path, folds=4, fold=2)
    assert alone.each_fold() == (alone,)
    among = each_fold(task(path, folds=4))[1]
    assert among.evaluation.digest == alone.load().evaluation.digest
    assert among.evaluation.digest != task(path, folds=4, fold=2, seed=1).load().evaluation.digest
    with pytest.raises(ConfigError, match=r"only runs take all folds of task\.split\.folds=4"):
        task(path, folds=4).load()


def test_copies_of_a_text_are_in_one_fold(tmp_path: Path) -> None:
    conflicts = [(text, "cold") for text, _ in TABLE[:6]]
    rows = [*TABLE, *TABLE[:10] * 3, *conflicts]
    folds = each_fold(task(write(tmp_path / "x.csv", rows), folds=5))
    check_folds(folds, Counter((text,) for text, _ in rows))


def test_pairs_are_told_apart_by_both_texts(tmp_path: Path) -> None:
    rows = [(f"one {i % 10}", f"two {i}", "ab"[i % 2]) for i in range(40)]
    path = tmp_path / "x.csv"
    path.write_text("".join(f"{','.join(row)}\n" for row in [("a", "b", "label"), *rows]))
    folds = each_fold(task(path, text=("a", "b"), folds=4))
    check_folds(folds, Counter(row[:2] for row in rows))
    assert all(len(data.evaluation) == 10 for data in folds)


def test_a_validation_file_serves_every_fold(tmp_path: Path) -> None:
    other = write(tmp_path / "v.csv", [("new", "warm"), ("text 0", "cold")])
    path = write(tmp_path / "x.csv")
    folds = each_fold(task(path, folds=2, validation_path=str(other)))
    validation = sorted(texts(data)["validation"] for data in folds)
    assert validation == [[("new",)], [("new",), ("text 0",)]], "evaluation keeps its texts"


def test_numbers_and_sets_of_labels_are_dealt_evenly(tmp_path: Path) -> None:
    rows = [f"text {i},{i / 4},{i % 2},{i % 3 // 2}" for i in range(60)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["text,size,a,b", *rows]))
    numbers = each_fold(task(path, folds=3, label="size", problem="regression"))
    check_folds(numbers, Counter((f"text {i}",) for i in range(60)))
    tenths = [Counter((data.evaluation.labels * 4 // 6).int().tolist()) for data in numbers]
    assert tenths == [dict.fromkeys(range(10), 2)] * 3
    several = each_fold(task(path, folds=3, label=("a", "b")))
    sets = [Counter(map(tuple, data.evaluation.labels.tolist())) for data in several]
    whole = {(0, 0): 20, (1, 0): 20, (0, 1): 10, (1, 1): 10}
    assert sum(sets, Counter()) == whole
    for each, count in whole.items():
        assert {found[each] for found in sets} <= {count // 3, count // 3 + 1}
    with pytest.raises(UserError, match="60 different rows are too few for 61 folds"):
        task(path, folds=61, fold=1, label="size", problem="regression").load()


def test_images_are_dealt_too(tmp_path: Path) -> None:
    for name, shade in (("dark", 0), ("bright", 100)):
        for i in range(12):
            draw(tmp_path / name / str(i), 1, shade + i)
    overrides = ("task.split.folds=3", "task.split.validation_fraction=0.25")
    made = settings_of("task", "imagefolder", f"task.path={tmp_path}", *overrides)
    evaluated = []
    for data in each_fold(made):
        assert Counter(data.evaluation.labels.tolist()) == {0: 4, 1: 4}
        evaluated += [int(data.evaluation.pixels(row)[0, 0, 0]) for row in range(8)]
    assert sorted(evaluated) == [*range(12), *range(100, 112)]
    (tmp_path / "train").mkdir()
    (tmp_path / "dark").rename(tmp_path / "train" / "a")
    (tmp_path / "bright").rename(tmp_path / "train" / "b")
    (tmp_path / "test").mkdir()
    with pytest.raises(UserError, match=r"task\.split\.folds=3: .* has a test folder"):
        each_fold(made)


def test_digits_have_folds() -> None:
    first = settings_of("task", "digits", "task.split.folds=2", "task.split.fold=1")
    second = settings_of("task", "digits", "task.split.folds=2", "task.split.fold=2")
    assert [len(each_fold(made)[0].evaluation) for made in (first, second)] == [899, 898]


@pytest.mark.parametrize(
    ("rows", "folds", "reason"),
    [
        ([*TABLE, *[("x", "hot"), ("y", "hot")]], 3, "2 different rows of class 'hot' are too few"),
        ([*TABLE, *[("x", "hot")] * 9], 3, "1 different rows of class 'hot' are too few"),
        ([("a", "x"), ("b", "y")], 5, r"of class 'x' are too few to have some in each of 5 folds"),
        ([*TABLE, ("x", "hot"), ("y", "hot")], 2, r"without fold 1: 21 rows .*: 1 of 'hot'"),
    ],
)
def test_a_class_of_too_few_rows_is_refused_by_name(
    rows: list[tuple[str, ...]], folds: int, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=reason):
        each_fold(task(write(tmp_path / "x.csv", rows), folds=folds))


@pytest.mark.slow
def test_a_real_file_is_evaluated_row_by_row() -> None:
    path = SHARED / "data" / "bengali_hate" / "bengali_hate_v2.0.csv"
    if not path.exists():
        pytest.skip("needs ../shared/data/bengali_hate")
    folds = each_fold(task(path, folds=5))
    rows = Counter((text,) for text in pd.read_csv(path)["text"])
    check_folds(folds, rows, alike=16)
