"""SST-2 of GLUE: sentiment of single sentences. Socher et al. 2013; Wang et al. 2019.

The labels of GLUE's test split are not public, so the published dev split is the evaluation split,
as in the literature, and a validation part is cut from train: the evaluation split chooses nothing.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from compress.interfaces import Task, TaskData
from compress.settings import UserError, check_positive
from compress.sources import first_line, load_hub_dataset
from compress.task.text import build_task_data, check_rows, split_off

HUB_ID = "nyu-mll/glue"
COLUMNS = ("sentence", "label")
VALIDATION_ROWS = 872  # as many as the dev split has


@dataclass(frozen=True, kw_only=True)
class Sst2(Task):
    """Binary sentiment of SST-2.

    Attributes:
        path: a folder in the GLUE layout (train.tsv, dev.tsv); null for the hub.
        max_length: texts are cut to this many tokens.
        limit: the most rows of each split, a seeded stratified sample; null for all.
        seed: of the validation part and of samples.
        calibration_samples: train rows that pruners and quantizers may look at.
    """

    path: str | None
    max_length: int
    limit: int | None
    seed: int
    calibration_samples: int

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be.
        """
        super().__post_init__()
        check_positive(self, "max_length", "limit", "calibration_samples")

    def check(self) -> None:
        """Raises a UserError if the folder lacks a file or a file lacks a column."""
        if self.path is None:
            return
        for name in ("train.tsv", "dev.tsv"):
            file = Path(self.path) / name
            if not file.is_file():
                raise UserError(f"task.path: {file} does not exist; expected train.tsv and dev.tsv")
            with file.open(encoding="utf-8") as lines:
                found = lines.readline().rstrip("\r\n").split("\t")
            if not set(COLUMNS) <= set(found):
                raise UserError(
                    f"{file} has columns {', '.join(found)[:200]}; expected {', '.join(COLUMNS)}"
                )

    def load(self) -> TaskData:
        """Reads train and dev, and cuts the validation part from train."""
        train, dev = self._folder(Path(self.path)) if self.path else self._hub()
        size = min(VALIDATION_ROWS, len(train) // 5)
        train, validation = split_off(train, size, self.seed)
        cut = f"published train split, seed {self.seed}"
        return build_task_data(
            {
                "train": (f"rest of the {cut}", train),
                "validation": (f"{size} rows cut from the {cut}", validation),
                "evaluation": ("published dev split", dev),
            },
            class_names=("negative", "positive"),
            source=f"SST-2 from {'a local folder' if self.path else HUB_ID}",
            max_length=self.max_length,
            limit=self.limit,
            seed=self.seed,
            calibration_samples=self.calibration_samples,
        )

    def _folder(self, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        parts = []
        for name in ("train.tsv", "dev.tsv"):
            # Quotes in GLUE's files are just characters.
            try:
                rows = pd.read_csv(
                    folder / name,
                    sep="\t",
                    quoting=csv.QUOTE_NONE,
                    keep_default_na=False,
                    dtype=str,
                )
            except ValueError as error:
                raise UserError(f"{folder / name} is no TSV: {first_line(error)}") from error
            rows = rows[list(COLUMNS)].rename(columns={COLUMNS[0]: "text"})
            check_rows(str(folder / name), rows, allowed=("0", "1"))
            parts.append(rows.astype({"label": int}))
        return parts[0], parts[1]

    def _hub(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        published = load_hub_dataset(HUB_ID, "sst2", "take task.path=<folder in the GLUE layout>")
        train, dev = (
            published[name].to_pandas().rename(columns={COLUMNS[0]: "text"})
            for name in ("train", "validation")
        )
        return train, dev
