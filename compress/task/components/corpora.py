"""GLUE task definitions: names, and the columns in their files and on the hub.

Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language
Understanding", arXiv:1804.07461.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from compress.config.errors import UserError
from compress.core.problem import Problem
from compress.problem.classification import Classification
from compress.problem.regression import SCORES_OF_NUMBERS, Regression
from compress.task.components.cleaning import number_labels
from compress.task.components.hub import Column


@dataclass(frozen=True)
class ClassNames:
    """Class-name labels.

    Attributes:
        names: in the order of the hub's class indices.
        spelled: how the files spell them, in that order.
        metrics: what the benchmark selects by, beside accuracy.
    """

    names: tuple[str, ...]
    spelled: tuple[str, ...]
    metrics: tuple[str, ...] = ()

    def scores(self) -> tuple[str, ...]:
        """See `Task.scores`."""
        return ("accuracy", "f1_macro", *self.metrics)

    def column(self) -> Column:
        """Requirements on the hub's label column of class indices."""
        return Column("number", 0, len(self.names) - 1)

    def problem(self) -> Problem:
        """The classification problem."""
        return Classification(self.names, self.scores()[1:])

    def read(self, where: str, labels: pd.Series) -> pd.Series:
        """A file's labels as class indices; a UserError names one that is spelled otherwise."""
        wrong = labels.index[~labels.isin(self.spelled)]
        if len(wrong):
            choices = ", ".join(self.spelled)
            raise UserError(
                f"{where}: row {wrong[0] + 1} has label {labels.loc[wrong[0]]!r}, allowed: "
                f"{choices}"
            )
        return labels.map(self.spelled.index).astype(int)


@dataclass(frozen=True)
class Scale:
    """Numeric labels from `low` to `high`."""

    low: float
    high: float

    def scores(self) -> tuple[str, ...]:
        """See `Task.scores`."""
        return SCORES_OF_NUMBERS

    def column(self) -> Column:
        """Requirements on the hub's label column of numbers."""
        return Column("number", self.low, self.high)

    def problem(self) -> Problem:
        """The regression problem."""
        return Regression("score")

    def read(self, where: str, labels: pd.Series) -> pd.Series:
        """A file's labels as numbers with the hub's precision; a UserError names one outside."""
        numbers = pd.Series(
            number_labels(where, labels.set_axis(labels.index + 1).rename("score")),
            index=labels.index,
            dtype="float32",
        )
        wrong = labels.index[~numbers.between(self.low, self.high)]
        if len(wrong):
            raise UserError(
                f"{where}: row {wrong[0] + 1} has score {labels.loc[wrong[0]]!r}, expected a "
                f"number from {self.low:g} to {self.high:g}"
            )
        return numbers


@dataclass(frozen=True)
class Corpus:
    """One GLUE task.

    Attributes:
        name: as the benchmark writes it.
        labels: what they are.
        texts: the hub's columns of the one sentence or of the two.
        columns: those of the files: the sentences, then the label.
        train: what the train file may be called; the first that exists is read.
        dev: the dev file.
        hub_dev: what the hub calls that split.
        header: the columns of files that have no first line with them.
        gaps: whether the published files have rows that lack a sentence.
        phrases: whether train has phrases of its sentences as rows, and dev has sentences alone.
    """

    name: str
    labels: ClassNames | Scale
    texts: tuple[str, ...]
    columns: tuple[str, ...]
    train: tuple[str, ...] = ("train.tsv",)
    dev: str = "dev.tsv"
    hub_dev: str = "validation"
    header: tuple[str, ...] = ()
    gaps: bool = False
    phrases: bool = False


PAIR = ("sentence1", "sentence2")
ENTAILMENT = ClassNames(("entailment", "not_entailment"), ("entailment", "not_entailment"))
THREE_WAY = ("entailment", "neutral", "contradiction")

CORPORA: Mapping[str, Corpus] = {
    "sst2": Corpus(
        "SST-2",
        ClassNames(("negative", "positive"), ("0", "1")),
        ("sentence",),
        ("sentence", "label"),
        phrases=True,
    ),
    "cola": Corpus(
        "CoLA",
        ClassNames(("unacceptable", "acceptable"), ("0", "1"), ("mcc",)),
        ("sentence",),
        ("sentence", "label"),
        header=("source", "label", "star", "sentence"),
    ),
    "mrpc": Corpus(
        "MRPC",
        ClassNames(("not_equivalent", "equivalent"), ("0", "1"), ("f1",)),
        PAIR,
        ("#1 String", "#2 String", "Quality"),
        train=("train.tsv", "msr_paraphrase_train.txt"),
    ),
    "qqp": Corpus(
        "QQP",
        ClassNames(("not_duplicate", "duplicate"), ("0", "1"), ("f1",)),
        ("question1", "question2"),
        ("question1", "question2", "is_duplicate"),
        gaps=True,
    ),
    "rte": Corpus("RTE", ENTAILMENT, PAIR, (*PAIR, "label")),
    "qnli": Corpus(
        "QNLI",
        ENTAILMENT,
        ("question", "sentence"),
        ("question", "sentence", "label"),
    ),
    "mnli": Corpus(
        "MNLI",
        ClassNames(THREE_WAY, THREE_WAY),
        ("premise", "hypothesis"),
        (*PAIR, "gold_label"),
        dev="dev_matched.tsv",
        hub_dev="validation_matched",
    ),
    "wnli": Corpus(
        "WNLI", ClassNames(("not_entailment", "entailment"), ("0", "1")), PAIR, (*PAIR, "label")
    ),
    "stsb": Corpus("STS-B", Scale(0.0, 5.0), PAIR, (*PAIR, "score")),
}
