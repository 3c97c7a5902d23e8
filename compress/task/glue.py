"""The GLUE benchmark: tasks on single sentences and sentence pairs.

Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language
Understanding", arXiv:1804.07461. The labels of the test splits are not public, so the published dev
split is the evaluation split, as in the literature, and a validation part is split off train: the
evaluation split chooses nothing. SST-2's are whole sentences, as its dev split has.

Deviations: QQP's files have rows that lack a question, which are dropped, as the hub's loader drops
those that lack a field; the number is in the record. MRPC's `msr_paraphrase_train.txt` holds the
rows of dev.tsv too, which are taken out of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import UserError
from compress.config.fields import OneOf
from compress.interfaces import TaskData
from compress.task.components.corpora import CORPORA, ClassNames, Corpus
from compress.task.components.delimited import as_table, decoded, listed, read_text, split_fields
from compress.task.components.hub import TEXTS, check_revision, load_hub_dataset, source_words
from compress.task.components.phrases import split_off_sentences
from compress.task.components.sampling import LABEL, split_off
from compress.task.components.text import SECOND, TEXT, check_texts, text_columns
from compress.task.components.text_task import TextTask

HUB_ID = "nyu-mll/glue"
VALIDATION_ROWS = 872  # as many as SST-2's dev split has
ENCODING = "utf-8-sig"  # MRPC's files begin with a byte order mark


@dataclass(frozen=True, kw_only=True)
class Glue(TextTask):
    """One task of GLUE.

    Attributes:
        corpus: the GLUE task.
        path: a folder in the GLUE layout (train.tsv, dev.tsv); null for the hub.
        revision: branch, tag or commit of the hub's dataset; null for the newest.
    """

    corpus: Annotated[str, OneOf(CORPORA)]
    path: str | None
    revision: str | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        check_revision(self.revision, self.path is None, "task.path=null")

    @property
    def _corpus(self) -> Corpus:
        return CORPORA[self.corpus]

    def scores(self) -> tuple[str, ...]:
        """The benchmark's metrics; for classification also accuracy and macro F1."""
        return self._corpus.labels.scores()

    def smooths_labels(self) -> bool:
        """Label smoothing is available for classification."""
        return isinstance(self._corpus.labels, ClassNames)

    @property
    def texts_per_row(self) -> int:
        """1, or 2 for text pairs."""
        return len(self._corpus.texts)

    def check_rows(self) -> None:
        """Raises a UserError if the folder lacks a file or a file lacks a column."""
        if self.path is not None:
            for file in self._files(Path(self.path)):
                with file.open("rb") as lines:
                    first = decoded(file, lines.readline(), ENCODING).rstrip("\r\n")
                self._check_columns(file, first.split("\t"))

    def load(self) -> TaskData:
        """Reads train and dev, and splits the validation rows off train."""
        train, dev, source = self._folder(Path(self.path)) if self.path else self._hub()
        return self.assemble(
            {**self._split(train), "evaluation": ("published dev split", dev)},
            self._corpus.labels.problem(),
            f"{self._corpus.name} from {source}",
        )

    def _split(self, train: pd.DataFrame) -> dict[str, tuple[str, pd.DataFrame]]:
        """The rest of train, and the validation rows: of sentences and phrases, sentences."""
        cut = f"published train split, seed {self.seed}"
        if self._corpus.phrases:
            rest, validation = split_off_sentences(train, VALIDATION_ROWS, self.seed)
            kind, lost = "sentences", ", without the phrases of the validation sentences"
        else:
            size = min(VALIDATION_ROWS, len(train) // 5)
            rest, validation = split_off(train, size, self.seed)
            kind, lost = "rows", ""
        return {
            "train": (f"rest of the {cut}{lost}", rest),
            "validation": (f"{len(validation)} {kind} cut from the {cut}", validation),
        }

    def _files(self, folder: Path) -> tuple[Path, Path]:
        names = self._corpus.train
        train = next((folder / n for n in names if (folder / n).is_file()), folder / names[0])
        dev = folder / self._corpus.dev
        for file in (train, dev):
            if not file.is_file():
                expected = f"{' or '.join(names)} and {self._corpus.dev}"
                raise UserError(f"task.path: {file} does not exist; expected {expected}")
        return train, dev

    def _check_columns(self, file: Path, found: list[str]) -> None:
        """Raises a UserError if a header lacks columns, or a file without one has another width."""
        header = self._corpus.header
        if header and len(found) != len(header):
            raise UserError(
                f"{file} has {len(found)} columns, expected {len(header)} without a header: "
                f"{', '.join(header)}"
            )
        if not header and not set(self._corpus.columns) <= set(found):
            expected = ", ".join(self._corpus.columns)
            raise UserError(f"{file} has columns {listed(found)}; expected {expected}")

    def _folder(self, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, str]:
        files = self._files(folder)
        (train, lost), (dev, lost_too) = (self._read(file) for file in files)
        source = "a local folder"
        if lost + lost_too:
            source += f", {lost + lost_too} rows without a sentence dropped"
        if files[0].name != self._corpus.train[0]:
            texts = text_columns(train)
            known = pd.MultiIndex.from_frame(dev[texts])
            held = pd.MultiIndex.from_frame(train[texts]).isin(known)
            train = train[~held].reset_index(drop=True)
            source += f", {held.sum()} rows of {files[1].name} taken out of {files[0].name}"
        return train, dev, source

    def _read(self, file: Path) -> tuple[pd.DataFrame, int]:
        """The rows of a file, and how many without a sentence were dropped."""
        # Quotes in GLUE's files are just characters.
        rows = split_fields(file, read_text(file, ENCODING), "\t", quoted=False)
        header = list(self._corpus.header) or (rows.pop(0) if rows else [])
        self._check_columns(file, header)
        places = [header.index(column) for column in self._corpus.columns]

        def full(row: list[str]) -> bool:
            return len(row) > max(places) and all(row[place].strip() for place in places[:-1])

        numbers = [i for i, row in enumerate(rows) if not self._corpus.gaps or full(row)]
        if not numbers:
            raise UserError(f"{file} has no rows")
        table = as_table(file, header, [rows[number] for number in numbers]).iloc[:, places]
        table.columns = pd.Index([*(TEXT, SECOND)[: len(places) - 1], LABEL])
        table.index = pd.Index(numbers)
        check_texts(str(file), table)
        table[LABEL] = self._corpus.labels.read(str(file), table[LABEL])
        return table.reset_index(drop=True), len(rows) - len(numbers)

    def _hub(self) -> tuple[pd.DataFrame, pd.DataFrame, str]:
        splits = ("train", self._corpus.hub_dev)
        columns = {**dict.fromkeys(self._corpus.texts, TEXTS), LABEL: self._corpus.labels.column()}
        advice = "set task.path=<folder in the GLUE layout>"
        needed = dict.fromkeys(splits, columns)
        published = load_hub_dataset(HUB_ID, self.corpus, advice, needed, self.revision)
        names = dict(zip(self._corpus.texts, (TEXT, SECOND), strict=False))
        train, dev = (published[split].to_pandas().rename(columns=names) for split in splits)
        return train, dev, source_words(HUB_ID, None, published)
