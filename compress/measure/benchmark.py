"""What to time, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from compress.settings import ConfigError, Settings, check_positive


@dataclass(frozen=True, kw_only=True)
class Benchmark(Settings):
    """The shapes that are timed and scored on a device.

    Attributes:
        shapes: (batch size, sequence length in tokens) pairs. The first is the one that a single
            latency figure, such as an objective or an axis of a plot, refers to.
        seconds: time spent timing each shape, baseline and candidate together.
        scoring_batch: batch size at which accuracy is computed; a dynamically quantised model's
            accuracy depends on it.
    """

    shapes: tuple[tuple[int, int], ...]
    seconds: float
    scoring_batch: int

    def __post_init__(self) -> None:
        """Checks the shapes.

        Raises:
            ConfigError: no shape, a shape with a batch below 1 or a length below 3 tokens (the
                two special ones and one of the text), or a time that is not above zero.
        """
        super().__post_init__()
        check_positive(self, "seconds", "scoring_batch")
        if not self.shapes:
            raise ConfigError("Benchmark.shapes must name at least one [batch, length] pair")
        for batch, length in self.shapes:
            if batch < 1 or length < 3:
                raise ConfigError(
                    "Benchmark.shapes must be [batch >= 1, length >= 3] pairs, "
                    f"got [{batch}, {length}]"
                )
