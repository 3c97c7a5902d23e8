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
from compress.task.components.hub import TEXTS, Column, load_hub_dataset
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
    """

    corpus: Annotated[str, OneOf(HUB_IDS)]
    source: Literal["offline", "hub"]

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
        splits = self._offline() if self.source == "offline" else self._hub()
        source = HUB_IDS[self.corpus] if self.source == "hub" else MOVIE_REVIEWS.requirement
        problem = Classification(("negative", "positive"))
        return self.assemble(splits, problem, f"{self.corpus} from {source}")

    def _offline(self) -> dict[str, tuple[str, pd.DataFrame]]:
        rows = published_reviews(self.corpus)
        whole = len(rows)
        rows = rows.drop_duplicates(TEXT, ignore_index=True)  # no text is in two splits
        train, evaluation = split_off(rows, 2 * HELD_OUT, self.seed)
        validation, evaluation = split_off(evaluation, 0.5, self.seed)
        dropped = f", {whole - len(rows)} duplicate texts dropped" if whole > len(rows) else ""
        words = f"of the published train split{dropped}, seed {self.seed}"
        return {
            "train": (f"{1 - 2 * HELD_OUT:.0%} {words}", train),
            "validation": (f"{HELD_OUT:.0%} {words}", validation),
            "evaluation": (f"{HELD_OUT:.0%} {words}", evaluation),
        }

    def _hub(self) -> dict[str, tuple[str, pd.DataFrame]]:
        columns = {"text": TEXTS, "label": Column("number", 0, 1)}
        splits = ("train", "validation", "test") if self.corpus in VALIDATED else ("train", "test")
        needed = dict.fromkeys(splits, columns)
        published = load_hub_dataset(HUB_IDS[self.corpus], None, "take task.source=offline", needed)
        train = published["train"].to_pandas()
        if "validation" in splits:
            validation = published["validation"].to_pandas()
            names = ("published train split", "published validation split")
        else:
            train, validation = split_off(train, HELD_OUT, self.seed)
            cut = f"of the published train split, seed {self.seed}"
            names = (f"{1 - HELD_OUT:.0%} {cut}", f"{HELD_OUT:.0%} {cut}")
        return {
            "train": (names[0], train),
            "validation": (names[1], validation),
            "evaluation": ("published test split", published["test"].to_pandas()),
        }
