"""What is measured on a model: the parts of a record that are figures.

Units are in the names; fractions lie in [0, 1]; what could not be measured is null, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compress.scores import SCORES


@dataclass(frozen=True)
class Score:
    """Quality on one split, of the model reloaded from disk.

    Attributes:
        metric: what the task is judged by first, a name in `compress.scores`.
        value: of that metric.
        low: lower end of its 95 % interval; `compress.problem` says which kind of one.
        high: upper end of it.
        samples: rows that were scored.
        batch_size: rows per batch while scoring, sorted by length and padded to the longest.
        split: which rows these were.
        others: what the task is judged by beside it, such as {"matthews": 0.4}.
    """

    metric: str
    value: float
    low: float
    high: float
    samples: int
    batch_size: int
    split: str
    others: dict[str, float] = field(default_factory=dict)

    @property
    def quality(self) -> float:
        """The value as a figure of which more is better; see `compress.scores.ScoreKind`."""
        return SCORES[self.metric].quality(self.value)

    def by_name(self) -> dict[str, float]:
        """Every score that there is, and the quality."""
        return {"quality": self.quality, self.metric: self.value, **self.others}


@dataclass(frozen=True)
class Latency:
    """Wall-clock time of one forward pass at one shape, tokenization not included.

    Attributes:
        length: tokens in each of the `batch` rows, none of them padding.
        samples: timed forward passes.
        iqr_ms: distance between the quartiles.
        p95_ms: null below 200 samples, to have 10 beyond it; `p99_ms` likewise below 1,000.
        samples_per_second: batch divided by the median.
        tokens_per_second: that times the length; null for images.
        quantiles_ms: from 0 to 100 % of the samples in steps of 5 %.
    """

    batch: int
    length: int
    samples: int
    median_ms: float
    iqr_ms: float
    p95_ms: float | None
    p99_ms: float | None
    samples_per_second: float
    tokens_per_second: float | None = None
    quantiles_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Speedup:
    """Baseline's time divided by the candidate's at one shape, both timed in turns in this run.

    Attributes:
        ratio: above 1 when the candidate is faster.
        low: lower end of the 95 % bootstrap interval.
        high: upper end of it.
        floor: what the baseline reaches against itself (A/A) in this sweep, >= 1; null if unknown.
        difference: whether the interval lies outside [1/floor, floor].
    """

    batch: int
    length: int
    ratio: float
    low: float
    high: float
    floor: float | None = None
    difference: bool | None = None


@dataclass(frozen=True)
class Generation:
    """Speed of a language model that writes one text, with keys and values kept.

    Attributes:
        prompt: tokens that it was given.
        new_tokens: tokens that it wrote.
        samples: timed texts.
        time_to_first_token_ms: the median.
        tokens_per_second: behind the first, by the median text.
        speedup: baseline's time for these over the model's, timed in turns; null for the baseline.
        speedup_low: lower end of its 95 % bootstrap interval.
        speedup_high: upper end of it.
    """

    prompt: int
    new_tokens: int
    samples: int
    time_to_first_token_ms: float
    tokens_per_second: float
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Predictions of the candidate against those of the baseline, row by row.

    Attributes:
        agreement: share of rows, or of tokens, of which both say the same; null of quantities.
        lost: rows that the baseline has right and the candidate wrong; null where rows are not
            simply right or wrong.
        won: the other way round.
        p_value: how likely a difference at least as large is, if neither model is better. Below
            0.05 the difference in score is no chance.
        test: what gives it.
    """

    agreement: float | None
    lost: int | None
    won: int | None
    p_value: float
    test: str = "McNemar's exact test"


@dataclass(frozen=True)
class LayerWeights:
    """One compressible weight, as it was found in the reloaded model.

    Attributes:
        name: the weight's, as torch names it.
        shape: of what is stored: of codes, where numbers share bytes.
        zeros: entries that are zero.
    """

    name: str
    shape: tuple[int, ...]
    zeros: int


@dataclass(frozen=True)
class ModelMetrics:
    """All that was measured on one model folder; null where the operating system does not say.

    Attributes:
        score: on the evaluation split, which chooses nothing.
        validation: on the validation split, which a search may choose by; null in old records.
        parameters: entries of all weights, shared ones counted once.
        nonzero_parameters: those that are not zero.
        sparsity: zeroed fraction of the compressible weights (the Linear layers of the blocks).
        model_sparsity: zeroed fraction of all weights.
        size_bytes: of the files needed to run it: all in its folder but the manifest and the card.
        peak_memory_bytes: the most that a fresh process takes for it, at the largest timed shape.
        runtime: what ran it.
        precision: what it computed in; null in old records.
        zipped_bytes: what a zip file of the same files would take.
        bitmask_bytes: likewise, with a bit per weight and only what is not zero where that is less.
        resident_bytes: as peak_memory_bytes, but once it has run the first timed shape.
        generation: of language models; null where they, or the runtime, write nothing.
    """

    score: Score
    parameters: int
    nonzero_parameters: int
    sparsity: float
    model_sparsity: float
    size_bytes: int
    latency: tuple[Latency, ...]
    peak_memory_bytes: int | None
    runtime: str = "torch"
    precision: str | None = None
    zipped_bytes: int | None = None
    bitmask_bytes: int | None = None
    resident_bytes: int | None = None
    validation: Score | None = None
    layers: tuple[LayerWeights, ...] = ()
    generation: Generation | None = None
