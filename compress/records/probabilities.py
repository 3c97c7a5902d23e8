"""What is measured of a classifier's probabilities, and of each of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import Field

from compress.records.ranges import Count, Name, Share

Nats: TypeAlias = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Brier: TypeAlias = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Temperature: TypeAlias = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]


# Figures of `Reliability` by name, as tables call them.
RELIABILITY_WORDS = {
    "nll": "negative log-likelihood",
    "brier": "Brier score",
    "ece": "expected calibration error",
}


@dataclass(frozen=True)
class Reliability:
    """How good probabilities are; lower is better.

    Attributes:
        nll: mean negative log-likelihood of the right class, in nats.
        brier: mean over rows of the sum over classes of squared errors, from 0 to 2.
        ece: expected calibration error of the most likely class, in 15 equally wide bins.
    """

    nll: Nats
    brier: Brier
    ece: Share


@dataclass(frozen=True)
class Calibration:
    """A classifier's probabilities on the evaluation rows.

    Attributes:
        temperature: what logits are divided by, fitted on the validation rows.
        scaled: with that temperature.
        plain: without it.
    """

    temperature: Temperature
    scaled: Reliability
    plain: Reliability


@dataclass(frozen=True)
class ClassScore:
    """One class on the evaluation rows.

    Attributes:
        support: rows of the class.
        precision: share of the rows that were taken for it which are of it; null if none was.
        recall: share of its rows that were taken for it; null if it has none.
    """

    name: Name
    support: Count
    precision: Share | None
    recall: Share | None


@dataclass(frozen=True)
class Detail:
    """What is told of a model beside its scores; nothing of models that are no classifiers.

    Attributes:
        confusion: rows by their class and by what they were taken for, [right, said]; empty where
            there are too many classes for a table.
    """

    calibration: Calibration | None = None
    classes: tuple[ClassScore, ...] = ()
    confusion: tuple[tuple[Count, ...], ...] = ()
