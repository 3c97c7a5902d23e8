"""What is measured on a model: the parts of a record that are figures.

Units are in the names; fractions lie in [0, 1]; what could not be measured is null, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from compress.records.probabilities import Calibration, ClassScore
from compress.records.ranges import (
    AtLeastOne,
    Count,
    Distance,
    Figure,
    Floor,
    Milliseconds,
    Name,
    Rate,
    Ratio,
    Share,
    Text,
)
from compress.records.scores import SCORES

Split: TypeAlias = Literal["validation", "evaluation"]


def outside(low: float, high: float, floor: float) -> bool:
    """Whether an interval lies outside [1/floor, floor]."""
    return low > floor or high < 1 / floor


@dataclass(frozen=True)
class Score:
    """Quality on one split, of the model reloaded from disk.

    Attributes:
        metric: primary metric of the task, a name in `compress.records.scores`.
        value: of that metric.
        low: lower end of its 95 % interval; `compress.problem` says which kind of one.
        high: upper end of it.
        samples: rows that were scored; of tags sentences, of rankings queries.
        batch_size: rows per batch while scoring, sorted by length and padded to the longest.
        split: which rows these were.
        others: other metrics of the task, such as {"mcc": 0.4}.
    """

    metric: Name
    value: Figure
    low: Figure
    high: Figure
    samples: AtLeastOne
    batch_size: AtLeastOne
    split: Name
    others: dict[Name, Figure] = field(default_factory=dict)

    @property
    def quality(self) -> float:
        """The value as a figure of which more is better; see `ScoreKind`."""
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
        p95_ms: null below 200 samples, so that 10 are beyond it.
        p99_ms: null below 1,000 samples, so that 10 are beyond it.
        samples_per_second: batch divided by the median.
        tokens_per_second: that times the length; null for images.
        quantiles_ms: from 0 to 100 % of the samples in steps of 5 %.
        shared_with: the run of the sweep whose models were timed, if not this one's: they execute
            the same graphs. Speed-up, memory and generation are from there as well.
        tokenize_ms: median time to tokenize texts of so many tokens, apart from the forward pass;
            null for images and language models.
    """

    batch: AtLeastOne
    length: AtLeastOne
    samples: AtLeastOne
    median_ms: Milliseconds
    iqr_ms: Distance
    p95_ms: Milliseconds | None
    p99_ms: Milliseconds | None
    samples_per_second: Rate
    tokens_per_second: Rate | None = None
    quantiles_ms: tuple[Milliseconds, ...] = ()
    shared_with: Name | None = None
    tokenize_ms: Milliseconds | None = None

    @property
    def text_to_label_ms(self) -> float | None:
        """Median time from texts to logits; null without tokenization."""
        return None if self.tokenize_ms is None else self.median_ms + self.tokenize_ms


@dataclass(frozen=True)
class Speedup:
    """Baseline's time divided by the candidate's at one shape, timed in turns in one run.

    Attributes:
        ratio: above 1 when the candidate is faster.
        low: lower end of the 95 % bootstrap interval.
        high: upper end of it.
        floor: what the baseline reaches against itself (A/A) in this sweep, >= 1; null if unknown.
    """

    batch: AtLeastOne
    length: AtLeastOne
    ratio: Ratio
    low: Ratio
    high: Ratio
    floor: Floor | None = None

    @property
    def counts(self) -> bool:
        """Whether the models differ in time, as far as was measured; nothing else says so.

        The interval lies outside [1/floor, floor]. Without a floor it excludes 1.
        """
        return outside(self.low, self.high, self.floor or 1.0)

    @property
    def counted(self) -> float:
        """The ratio to rank and to choose by: 1 where none was measured that counts."""
        return self.ratio if self.counts else 1.0


@dataclass(frozen=True)
class Generation:
    """Speed of a language model that writes one text, with its KV cache.

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

    prompt: AtLeastOne
    new_tokens: AtLeastOne
    samples: AtLeastOne
    time_to_first_token_ms: Milliseconds
    tokens_per_second: Rate
    speedup: Ratio | None = None
    speedup_low: Ratio | None = None
    speedup_high: Ratio | None = None

    @property
    def counts(self) -> bool:
        """Whether the models differ in speed: the interval excludes 1. There is no noise floor."""
        if self.speedup_low is None or self.speedup_high is None:
            return False
        return outside(self.speedup_low, self.speedup_high, 1.0)


@dataclass(frozen=True)
class Comparison:
    """Predictions of the candidate against those of the baseline, row by row.

    Attributes:
        agreement: share of rows, or of tokens, of which both say the same; null of quantities.
        n_regressed: rows that the baseline has right and the candidate wrong; null where rows are
            not simply right or wrong.
        n_improved: rows that the candidate has right and the baseline wrong.
        p_value: how likely a difference at least as large is, if neither model is better. Below
            0.05 the difference in score is statistically significant.
        test: what gives it.
        standard_error: of the difference in quality over rows, paired; null where rows are right or
            wrong, as the counts give it then.
    """

    agreement: Share | None
    n_regressed: Count | None
    n_improved: Count | None
    p_value: Share
    test: Name = "McNemar's exact test"
    standard_error: Distance | None = None


@dataclass(frozen=True)
class LayerWeights:
    """One compressible weight, as it was found in the reloaded model.

    Attributes:
        name: the weight's, as torch names it.
        shape: of what is stored: of codes, where numbers share bytes.
        zeros: entries that are zero.
    """

    name: Name
    shape: tuple[Count, ...]
    zeros: Count


@dataclass(frozen=True)
class ModelMetrics:
    """All that was measured on one model folder; null where the operating system does not say.

    Attributes:
        score: on the evaluation split, which chooses nothing.
        validation: on the validation split, which a search may choose by.
        parameters: entries of all weights, shared ones counted once.
        nonzero_parameters: those that are not zero.
        sparsity: zeroed fraction of the compressible weights (the Linear layers of the blocks).
        model_sparsity: zeroed fraction of all weights.
        size_bytes: of the files needed to run it: all in its folder but the manifest and the card.
        peak_memory_bytes: the most that a fresh process takes for it, at the largest timed shape.
        runtime: what ran it.
        precision: what it computed in.
        zipped_bytes: what a zip file of the same files would take.
        bitmask_bytes: the same with a bit per weight and the nonzero weights, where that is less.
        resident_bytes: as peak_memory_bytes, but once it has run the first timed shape.
        generation: of language models; null where they, or the runtime, write nothing.
        tokenizer: what tokenized the texts; null for images and language models.
        calibration: of a classifier's probabilities; null of other models.
        classes: precision and recall of each class; empty of other models.
        confusion: rows by class and by what they were taken for; see `Detail`.
        tokenizer_reason: why that is not the fast one; null if it is, and for models that were not
            exported.
    """

    score: Score
    parameters: AtLeastOne
    nonzero_parameters: Count
    sparsity: Share
    model_sparsity: Share
    size_bytes: AtLeastOne
    latency: tuple[Latency, ...]
    peak_memory_bytes: Count | None
    runtime: Name = "torch"
    precision: Name | None = None
    zipped_bytes: AtLeastOne | None = None
    bitmask_bytes: AtLeastOne | None = None
    resident_bytes: Count | None = None
    validation: Score | None = None
    layers: tuple[LayerWeights, ...] = ()
    generation: Generation | None = None
    tokenizer: Name | None = None
    tokenizer_reason: Text | None = None
    calibration: Calibration | None = None
    classes: tuple[ClassScore, ...] = ()
    confusion: tuple[tuple[Count, ...], ...] = ()

    def score_on(self, split: Split) -> Score:
        """The score on the rows of a split on which the model was scored."""
        if split == "evaluation":
            return self.score
        assert self.validation is not None, "it was scored on validation rows"
        return self.validation


@dataclass(frozen=True)
class Control:
    """A model that is trivially available, on the rows of the run: what compression must beat.

    Attributes:
        name: such as "teacher in int8".
        recipe: how it was made; empty if there is no such model.
        metrics: null if there is no such model; without latency if it was not timed.
        speedup: over the baseline; empty if it was not timed.
        comparison: of predictions on the evaluation split with those of the baseline.
        validation_comparison: the same on the validation split.
        absent: why there is no such model; null if there is one.
    """

    name: Name
    recipe: Text = ""
    metrics: ModelMetrics | None = None
    speedup: tuple[Speedup, ...] = ()
    comparison: Comparison | None = None
    validation_comparison: Comparison | None = None
    absent: Text | None = None
