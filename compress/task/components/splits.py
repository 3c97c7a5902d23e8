"""How a task splits its rows into train, validation and evaluation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import OpenFraction, PositiveInt
from compress.config.settings import Settings

MOST_FOLDS = 10_000


@dataclass(frozen=True, kw_only=True)
class Folds(Settings):
    """Cross-validation.

    Attributes:
        folds: number of folds, at least 2; null for none. Each fold evaluates 1/folds of the rows.
        fold: the one fold to run, from 1; null runs all of them.
    """

    folds: Annotated[int, Field(ge=2, le=MOST_FOLDS)] | None
    fold: PositiveInt | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.fold is not None and self.fold > (self.folds or 0):
            allowed = f"from 1 to the {self.folds} folds" if self.folds else "null without folds"
            raise ConfigError(f"{type(self).__name__}.fold must be {allowed}, got {self.fold}")


@dataclass(frozen=True, kw_only=True)
class HeldOut(Settings):
    """The rows that are not trained on.

    Attributes:
        validation_fraction: of the rows, for validation, unless they are given separately; with
            folds, of the rows outside the fold.
        evaluation_fraction: of the rows, for evaluation, unless they are given separately; not used
            with folds.
    """

    validation_fraction: OpenFraction
    evaluation_fraction: OpenFraction

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.validation_fraction + self.evaluation_fraction >= 1:
            raise ConfigError(
                f"{type(self).__name__}.validation_fraction and evaluation_fraction must leave "
                f"rows to train on, got {self.validation_fraction} and {self.evaluation_fraction}"
            )

    @property
    def shares(self) -> dict[str, float]:
        """The fractions by split."""
        return {"evaluation": self.evaluation_fraction, "validation": self.validation_fraction}


@dataclass(frozen=True, kw_only=True)
class FoldedSplit(HeldOut, Folds):
    """Held-out rows, or cross-validation."""


@dataclass(frozen=True, kw_only=True)
class GivenFiles(HeldOut):
    """Held-out rows, some of which may have files of their own.

    Attributes:
        validation_path: a file with the same columns; null splits the rows off `path`.
        evaluation_path: a file with the same columns; null splits the rows off `path`.
    """

    validation_path: str | None
    evaluation_path: str | None

    @property
    def paths(self) -> dict[str, str]:
        """The files of the splits that have their own."""
        paths = {"evaluation": self.evaluation_path, "validation": self.validation_path}
        return {role: path for role, path in paths.items() if path is not None}


@dataclass(frozen=True, kw_only=True)
class FileSplit(GivenFiles, FoldedSplit):
    """The same, or cross-validation, with which `evaluation_path` must be null."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.folds is not None and self.evaluation_path is not None:
            raise ConfigError(
                f"FileSplit.folds and evaluation_path exclude each other, got {self.folds} and "
                f"{self.evaluation_path}: each fold of path is evaluation rows once"
            )


@dataclass(frozen=True, kw_only=True)
class HubSplit(FoldedSplit):
    """Splits of a dataset on the hub, or rows held out of one, or cross-validation.

    Attributes:
        train: name of the split to train on.
        validation: of the validation split; null splits the rows off `train`.
        evaluation: of the evaluation split; null splits the rows off `train`. Must be null with
            folds. Its labels must be public, which those of many test splits are not.
    """

    train: str
    validation: str | None
    evaluation: str | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.folds is not None and self.evaluation is not None:
            raise ConfigError(
                f"HubSplit.folds and evaluation exclude each other, got {self.folds} and "
                f"{self.evaluation}: each fold of {self.train} is evaluation rows once"
            )
        names = [self.train, *self.others.values()]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"HubSplit.train, validation and evaluation must differ, got {', '.join(names)}"
            )

    @property
    def others(self) -> dict[str, str]:
        """The dataset's splits by role, but for train."""
        others = {"evaluation": self.evaluation, "validation": self.validation}
        return {role: name for role, name in others.items() if name is not None}
