"""Movie review sentiment: Rotten Tomatoes (one sentence) and IMDB (long texts).

The offline package has the published train splits only, so validation and test parts are split off
them here: figures are comparable with each other, not with a leaderboard. `source=hub` takes the
published splits. Pang & Lee 2005 (Rotten Tomatoes); Maas et al. 2011 (IMDB).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import UserError
from compress.config.fields import OneOf
from compress.interfaces import TaskData
from compress.problem.classification import Classification
from compress.system.sources import MOVIE_REVIEWS
from compress.task.components.hub import TEXTS, Column, load_hub_dataset
from compress.task.components.sampling import split_off
from compress.task.components.text import TEXT, TextTask

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

    def check(self) -> None:
        """Raises a UserError if the offline package is required and not installed."""
        if self.source == "offline" and MOVIE_REVIEWS.folder() is None:
            raise UserError(
                f"task.source=offline needs the package {MOVIE_REVIEWS.requirement}, which is not "
                "installed; install it, or take task.source=hub"
            )

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
        path = MOVIE_REVIEWS.verified_file()
        assert path is not None, "check() has seen the package"
        rows = _published(path, self.corpus)
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


@functools.lru_cache(maxsize=1)
def _published(path: Path, corpus: str) -> pd.DataFrame:
    rows = pd.read_csv(path)
    return rows.loc[rows["source"] == corpus, ["text", "label"]]
