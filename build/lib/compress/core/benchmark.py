"""What to time, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.settings import Settings, check_positive


@dataclass(frozen=True, kw_only=True)
class GenerationLength(Settings):
    """How much a language model writes while it is timed.

    Attributes:
        prompt: tokens that it is given; at least 3, as in any shape.
        new_tokens: that it writes; at least 2, for the first one is timed apart.
    """

    prompt: int
    new_tokens: int

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is too small.
        """
        super().__post_init__()
        for name, least in (("prompt", 3), ("new_tokens", 2)):
            if (got := getattr(self, name)) < least:
                raise ConfigError(f"GenerationLength.{name} must be at least {least}, got {got}")


@dataclass(frozen=True, kw_only=True)
class Benchmark(Settings):
    """The shapes that are timed and scored on a device.

    Attributes:
        shapes: (batch size, sequence length in tokens) pairs. The first is the one that a single
            latency figure, such as an objective or an axis of a plot, refers to. Images have the
            length that their size gives them, whatever stands here.
        seconds: spent timing each shape at most, baseline and candidate together; warming up, and
            the few rounds that there always are, not counted.
        target_ci_width: a restart ends early once its speed-up's interval is no wider than this,
            both sides together, as a share of the speed-up.
        process_restarts: how often the two processes are replaced by fresh ones.
        noise_floor: whether the baseline is timed against itself as well, once per sweep.
        scoring_batch: batch size at which accuracy is computed; a dynamically quantized model's
            accuracy depends on it.
        generation: what language models write while they are timed, for up to `seconds`; null for
            nothing. Other models, and runtimes without a KV cache, write nothing.
    """

    shapes: tuple[tuple[int, int], ...]
    seconds: float
    target_ci_width: float
    process_restarts: int
    noise_floor: bool
    scoring_batch: int
    generation: GenerationLength | None = None

    def __post_init__(self) -> None:
        """Checks the shapes.

        Raises:
            ConfigError: no shape, a shape with a batch below 1 or a length below 3 tokens (the
                two special ones and one of the text), or a value that is not above zero.
        """
        super().__post_init__()
        check_positive(self, "seconds", "target_ci_width", "process_restarts", "scoring_batch")
        if not self.shapes:
            raise ConfigError("Benchmark.shapes must name at least one [batch, length] pair")
        for batch, length in self.shapes:
            if batch < 1 or length < 3:
                raise ConfigError(
                    "Benchmark.shapes must be [batch >= 1, length >= 3] pairs, "
                    f"got [{batch}, {length}]"
                )
