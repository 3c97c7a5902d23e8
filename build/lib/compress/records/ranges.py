"""What the values of a record may be: types that are checked when one is read.

What is measured can be anything that happens; what is read may be anything at all. The upper ends
are far beyond what a machine can do, and low enough that no sum, square or axis overflows.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints

from compress.config.legible import LONGEST_ERROR, shortened, visible

LONGEST_NAME, LONGEST_TEXT = 1_000, 100_000  # characters
MOST = 2**62  # fits into 64 bits with a sign, as columns of integers have
LONGEST_MS, LONGEST_SECONDS = 1e9, 1e10
HUGE = 1e300  # a perplexity has no natural end

# What a reader would not see, such as a control of the terminal, is seen from here on.
Name: TypeAlias = Annotated[
    str, StringConstraints(max_length=LONGEST_NAME), AfterValidator(visible)
]
Text: TypeAlias = Annotated[
    str, StringConstraints(max_length=LONGEST_TEXT), AfterValidator(visible)
]
ErrorText: TypeAlias = Annotated[
    str, AfterValidator(lambda text: visible(shortened(text, LONGEST_ERROR)))
]
Count: TypeAlias = Annotated[int, Field(ge=0, le=MOST)]
AtLeastOne: TypeAlias = Annotated[int, Field(ge=1, le=MOST)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Figure: TypeAlias = Annotated[float, Field(ge=-HUGE, le=HUGE, allow_inf_nan=False)]
Deviation: TypeAlias = Annotated[float, Field(ge=0, le=HUGE, allow_inf_nan=False)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
# Above zero: they are divided by, and drawn on logarithmic axes.
Milliseconds: TypeAlias = Annotated[float, Field(gt=0, le=LONGEST_MS, allow_inf_nan=False)]
Distance: TypeAlias = Annotated[float, Field(ge=0, le=LONGEST_MS, allow_inf_nan=False)]
Ratio: TypeAlias = Annotated[float, Field(ge=1e-9, le=1e9, allow_inf_nan=False)]
Floor: TypeAlias = Annotated[float, Field(ge=1, le=1e9, allow_inf_nan=False)]
Rate: TypeAlias = Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False)]
