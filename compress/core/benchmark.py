"""Settings of the benchmark."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import BatchSize, Positive, PositiveInt
from compress.config.settings import Settings

# Rows of a batch, and tokens of each: the first, the last and one between them.
Shape = tuple[PositiveInt, Annotated[int, Field(ge=3)]]


@dataclass(frozen=True, kw_only=True)
class GenerationLength(Settings):
    """Prompt and generation length for timing a language model.

    Attributes:
        prompt: tokens of the prompt, at least 3.
        new_tokens: generated tokens, at least 2: the first one is timed separately.
    """

    prompt: Annotated[int, Field(ge=3)]
    new_tokens: Annotated[int, Field(ge=2)]


@dataclass(frozen=True, kw_only=True)
class Benchmark(Settings):
    """Shapes, rounds and time limits of the measurements on a device.

    Attributes:
        shapes: (batch size, sequence length in tokens) pairs. The first is the one that a single
            latency figure, such as an objective or an axis of a plot, refers to. Images have the
            length that their size gives them, whatever stands here.
        seconds: maximum time per shape, baseline and candidate together, without warm-up and the
            minimum number of rounds.
        target_ci_width: a restart ends early if the interval of its speed-up is at most this wide,
            relative to the speed-up.
        process_restarts: number of fresh pairs of processes.
        noise_floor: whether the baseline is timed against itself as well, once per sweep.
        scoring_batch: batch size at which accuracy is computed; a dynamically quantized model's
            accuracy depends on it.
        share: whether the runs of a sweep share one timing if both models execute the same graphs
            as another run's: the same runtime, format and tensor shapes, whatever the weights.
        generation: what language models write while they are timed, for up to `seconds`; null for
            nothing. Other models write nothing.
    """

    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)]
    seconds: Positive
    target_ci_width: Positive
    process_restarts: PositiveInt
    noise_floor: bool
    scoring_batch: BatchSize
    share: bool
    generation: GenerationLength | None = None

    def __post_init__(self) -> None:
        """Checks that shapes differ."""
        super().__post_init__()
        if twice := sorted({shape for shape in self.shapes if self.shapes.count(shape) > 1}):
            raise ConfigError(f"Benchmark.shapes must differ, got {list(twice[0])} twice")
