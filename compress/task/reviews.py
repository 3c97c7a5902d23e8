"""Movie review sentiment: Rotten Tomatoes (one sentence) and IMDB (long texts).

The offline package has the published train splits only, so validation and test parts are split off
them here: figures are comparable with each other, not with a leaderboard. `source=hub` takes the
published splits. Pang & Lee 2005 (Rotten Tomatoes); Maas et al. 2011 (IMDB).
"""

from __future__ import annotations

from typing import Annotated, Literal

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.fields import OneOf
from compress.interfaces import TaskData
from compress.problem.classification import Classification
from compress.system.sources import MOVIE_REVIEWS
from compress.task.components.hub import (
    TEXTS,
    Column,
    check_revision,
    load_hub_dataset,
    source_words,
)
from compress.task.components.movie_reviews import check_package, published_reviews
from compress.task.components.sampling import split_off
from compress.task.components.text import TEXT
from compress.task.components.text_task import TextTask

HUB_IDS = {
    "rotten_tomatoes": "cornell-movie-review-data/rotten_tomatoes",
    "imdb": "stanfordnlp/imdb",
}
VALIDATED = ("rotten_tomatoes",)  # those that are published with a validation split
HELD_OUT = 0.1  # of the rows, for each part that the source does not have


@dataclass(frozen=True, kw_only=True)
class Reviews(TextTask):
    """Binary sentiment: negative, positive.

    Attributes:
        corpus: rotten_tomatoes or imdb.
        source: "offline" (the package movie-reviews) or "hub".
        revision: branch, tag or commit of the hub's dataset; null for the newest.
    """

    corpus: Annotated[str, OneOf(HUB_IDS)]
    source: Literal["offline", "hub"]
    revision: str | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        check_revision(self.revision, self.source == "hub", "task.source=hub")

    @property
    def texts_per_row(self) -> int:
        """One."""
        return 1

    def check_rows(self) -> None:
        """Raises a UserError if the offline package is required and not installed."""
        if self.source == "offline":
            check_package("task.source=offline", "take task.source=hub")

    def scores(self) -> tuple[str, ...]:
        """Accuracy, and macro F1."""
        return ("accuracy", "f1_macro")

    def load(self) -> TaskData:
        """Reads the rows and splits off the splits that the source does not have."""
        offline = self.source == "offline"
        splits, source = self._offline() if offline else self._hub()
        problem = Classification(("negative", "positive"))
        return self.assemble(splits, problem, f"{self.corpus} from {source}")

    def _offline(self) -> tuple[dict[str, tuple[str, pd.DataFrame]], str]:
        rows = published_reviews(self.corpus)
        whole = len(rows)
        rows = rows.drop_duplicates(TEXT, ignore_index=True)  # no text is in two splits
        train, evaluation = split_off(rows, 2 * HELD_OUT, self.seed)
        validation, evaluation = split_off(evaluation, 0.5, self.seed)
        dropped = f", {whole - len(rows)} duplicate texts dropped" if whole > len(rows) else ""
        words = f"of the published train split{dropped}, seed {self.seed}"
        splits = {
            "train": (f"{1 - 2 * HELD_OUT:.0%} {words}", train),
            "validation": (f"{HELD_OUT:.0%} {words}", validation),
            "evaluation": (f"{HELD_OUT:.0%} {words}", evaluation),
        }
        return splits, MOVIE_REVIEWS.requirement

    def _hub(self) -> tuple[dict[str, tuple[str, pd.DataFrame]], str]:
        columns = {"text": TEXTS, "label": Column("number", 0, 1)}
        splits = ("train", "validation", "test") if self.corpus in VALIDATED else ("train", "test")
        needed = dict.fromkeys(splits, columns)
        name, advice = HUB_IDS[self.corpus], "take task.source=offline"
        published = load_hub_dataset(name, None, advice, needed, self.revision)
        train = published["train"].to_pandas()
        if "validation" in splits:
            validation = published["validation"].to_pandas()
            names = ("published train split", "published validation split")
        else:
            train, validation = split_off(train, HELD_OUT, self.seed)
            cut = f"of the published train split, seed {self.seed}"
            names = (f"{1 - HELD_OUT:.0%} {cut}", f"{HELD_OUT:.0%} {cut}")
        parts = {
            "train": (names[0], train),
            "validation": (names[1], validation),
            "evaluation": ("published test split", published["test"].to_pandas()),
        }
        return parts, source_words(name, None, published)
