"""Annotated types of settings fields, with their ranges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

# numpy's legacy random generator has the narrowest seed, 32 bits.
LARGEST_SEED = 2**32 - 1
LARGEST_BATCH = 2**31 - 1  # torch multiplies a batch's size with others


class OneOf:
    """Marks a text field that holds one name of a table: `Annotated[str, OneOf(IMPORTANCES)]`.

    Use `Literal` for names that are defined nowhere else.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Stores the names in the order in which messages list them."""
        self.names = tuple(names)

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accepts the names and nothing else."""
        return core_schema.literal_schema(list(self.names))


Fraction = Annotated[float, Field(ge=0, lt=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
PositiveInt = Annotated[int, Field(gt=0)]
BatchSize = Annotated[int, Field(ge=1, le=LARGEST_BATCH)]
NotNegativeInt = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
