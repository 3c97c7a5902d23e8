"""The settings of a staged search; apart from the search, so that a wrong one is found at once."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import NotNegative, Positive, PositiveInt
from compress.config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Frontier(Settings):
    """How finalists are found.

    Attributes:
        finalists: number of points that are trained on and measured.
        faster: least speed-up over the float32 teacher by shape of the benchmark, such as
            {1x32: 25}; null for any.
        smaller: the teacher's bytes over the model's, at least; null for any.
        minutes: to measure shapes for the table of costs, including those of earlier searches; null
            for an eighth of hydra.sweeper.max_hours, at most 4. The shapes that predictions need
            are measured however long they take.
        rounds: of timing in turns with the teacher for each of these shapes.
        max_error: the search ends before it trains if predicted times are further off than this,
            as the median relative error of shapes that were measured.
    """

    finalists: PositiveInt
    faster: dict[str, Positive] | None
    smaller: Positive | None
    minutes: NotNegative | None
    rounds: PositiveInt
    max_error: Positive

    def speedups(self, shapes: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
        """The least speed-ups by batch size and length.

        Args:
            shapes: of the benchmark.

        Raises:
            ConfigError: a speed-up is of a shape that is not timed.
        """
        timed = {f"{batch}x{length}": (batch, length) for batch, length in shapes}
        for name in self.faster or {}:
            if name not in timed:
                raise ConfigError(
                    "search.frontier.faster must be of a shape that is timed, "
                    f"{', '.join(timed)}; got {name}"
                )
        return {timed[name]: least for name, least in (self.faster or {}).items()}
