"""The table of costs: measured shapes of several runtimes and formats, and predictions of others.

Of each runtime, format and shape of the benchmark the time is a sum of counts (`facts.TIME`, the
neurons of each activation, and 1), fitted by `fit`. Of the bytes the codes and the tokenizer's
files are known; what is left, such as scales, norms, biases and the graph, is fitted on counts
(`facts.BYTES`, and 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from compress.config.errors import ConfigError
from compress.costs.facts import BYTES, NEURONS, TIME, Facts, code_bytes, facts_of
from compress.costs.family import Family
from compress.costs.fit import Fit, fit
from compress.costs.samples import Samples, samples_file
from compress.costs.space import Sizes
from compress.interfaces import Quantizer, Runtime
from compress.stage.run import Run
from compress.system.logs import shown_path

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Median error of a time beyond which it says little: on an idle machine it is below a tenth.
NOISY = 0.25


@dataclass(frozen=True)
class Predicted:
    """The predicted costs of a model; tuples have one figure for each shape of the benchmark.

    Attributes:
        latency_ms: on this machine when it is idle.
        speedup: over the eager float32 teacher.
        size_bytes: of the files that are needed to run the model.
        smaller: the teacher's bytes over these.
        speedup_error: median relative error of the time of a measured shape, predicted from all
            others.
        size_error: the same of bytes.
    """

    latency_ms: tuple[float, ...]
    speedup: tuple[float, ...]
    size_bytes: float
    smaller: float
    speedup_error: tuple[float, ...]
    size_error: float


@dataclass(frozen=True)
class Pair:
    """A runtime and a format, and what was measured of them.

    Attributes:
        name: such as "cpu_openvino/int8_static".
        run: has the device, whose runtime it is, and the quantizer.
    """

    name: str
    run: Run
    samples: Samples

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The benchmark's shapes: batch size and length."""
        return self.run.device.benchmark.shapes

    @cached_property
    def baseline_ms(self) -> Float[np.ndarray, " shapes"]:
        """The teacher's latency at each shape, the median over all samples."""
        times = [sample.baseline_ms for sample in self.samples.found]
        median: Float[np.ndarray, " shapes"] = np.median(np.array(times), axis=0)
        return median

    @cached_property
    def times(self) -> tuple[Fit, ...]:
        """The fit of the time at each shape of the benchmark, in milliseconds."""
        features = np.array([self._time_features(sample.facts) for sample in self.samples.found])
        ratios = np.array([sample.speedup for sample in self.samples.found])
        # The teacher's time varies with the machine's mood, a ratio taken in turns does not.
        return tuple(fit(features, ms / ratios[:, i]) for i, ms in enumerate(self.baseline_ms))

    @cached_property
    def bytes(self) -> Fit:
        """The fit of the bytes."""
        found = self.samples.found
        features = np.array([_byte_features(sample.facts) for sample in found])
        known = [s.processor_bytes + code_bytes(s.facts, self.run.quantizer) for s in found]
        return fit(features, np.array([float(s.size_bytes) for s in found]), np.array(known))

    def predict(self, facts: Facts) -> Predicted:
        """The costs of a model with these counts.

        Raises:
            ConfigError: it has an activation function that was not measured.
        """
        features = self._time_features(facts)
        latency = [fit.predict(features) for fit in self.times]
        known = self._processor_bytes(facts["tokens"]) + code_bytes(facts, self.run.quantizer)
        size = self.bytes.predict(_byte_features(facts), known)
        return Predicted(
            latency_ms=tuple(latency),
            speedup=tuple(float(b) / ms for b, ms in zip(self.baseline_ms, latency, strict=True)),
            size_bytes=size,
            smaller=self.samples.baseline_bytes / size,
            speedup_error=tuple(fit.median_error for fit in self.times),
            size_error=self.bytes.median_error,
        )

    @property
    def worst_time(self) -> float:
        """The largest of the median errors of times."""
        return max(fit.median_error for fit in self.times)

    @property
    def path(self) -> Path:
        """The file of the samples."""
        return samples_file(Path(self.run.cache.dir), self.samples.conditions)

    @cached_property
    def _activations(self) -> list[str]:
        named = {name for sample in self.samples.found for name in sample.facts}
        return sorted(name for name in named if name.startswith(NEURONS))

    def _time_features(self, facts: Facts) -> Float[np.ndarray, " features"]:
        unknown = {n for n in facts if n.startswith(NEURONS)}.difference(self._activations)
        if unknown:
            known = ", ".join(name.removeprefix(NEURONS) for name in self._activations)
            raise ConfigError(
                f"activation must be one that was measured, {known}; got "
                f"{min(unknown).removeprefix(NEURONS)}"
            )
        names = (*TIME, *self._activations)
        return np.array([1.0, *(facts.get(name, 0) for name in names)])

    def _processor_bytes(self, tokens: float) -> float:
        """Bytes of the tokenizer's files: exact for a measured vocabulary, else in between."""
        pairs = {sample.facts["tokens"]: sample.processor_bytes for sample in self.samples.found}
        known = sorted(pairs.items())
        return float(np.interp(tokens, [t for t, _ in known], [count for _, count in known]))


@dataclass(frozen=True)
class Table:
    """Predicted costs of a teacher's students.

    Attributes:
        pairs: by name; those without enough samples are not there.
        refused: why not for each other pair.
    """

    family: Family
    pairs: Mapping[str, Pair]
    refused: Mapping[str, str]

    def predict(self, sizes: Sizes, runtime: Runtime, quantizer: Quantizer) -> Predicted:
        """The costs of a shape in a runtime and a format.

        Raises:
            ConfigError: the shape is outside of the space, or the pair was not measured.
        """
        return self._pair(runtime, quantizer).predict(self.facts(sizes))

    def doubt(self, most: float = NOISY) -> str:
        """A warning if times are hardly predicted; "" otherwise.

        Args:
            most: median relative error that is no reason to doubt.
        """
        doubted = [pair for pair in self.pairs.values() if pair.worst_time > most]
        if not doubted:
            return ""
        paths = ", ".join(dict.fromkeys(shown_path(pair.path) for pair in doubted))
        worst = max(pair.worst_time for pair in doubted)
        return (
            f"predicted times are off by {worst:.0%} in the median, too much to rank shapes by. On "
            "an idle machine the same command measures again what it measured "
            f"beside other work; to measure everything again, delete {paths}"
        )

    def facts(self, sizes: Sizes) -> Facts:
        """The counts of a shape, whose vocabulary has no more tokens than occur in the rows.

        Raises:
            ConfigError: the shape is outside of the space.
        """
        if sizes.vocabulary is None:
            return self.family.facts(sizes)
        return self.family.facts(sizes, min([sizes.vocabulary, *self._tokens(sizes.vocabulary)]))

    def _tokens(self, vocabulary: int) -> Iterator[int]:
        """How many tokens are left in samples with a vocabulary of this size or a larger one."""
        for pair in self.pairs.values():
            for sample in pair.samples.found:
                if sample.sizes.vocabulary is not None and sample.sizes.vocabulary >= vocabulary:
                    yield int(sample.facts["tokens"])

    def predict_model(
        self, module: PreTrainedModel, runtime: Runtime, quantizer: Quantizer
    ) -> Predicted:
        """The costs of any model of the architecture, with the embeddings that it has.

        Raises:
            ConfigError: the architecture is unknown, or the pair was not measured.
        """
        return self._pair(runtime, quantizer).predict(facts_of(module))

    def _pair(self, runtime: Runtime, quantizer: Quantizer) -> Pair:
        for pair in self.pairs.values():
            found = pair.run.device.runtime.describe(), pair.run.quantizer.describe()
            if found == (runtime.describe(), quantizer.describe()):
                return pair
        measured = ", ".join(self.pairs) or "none"
        raise ConfigError(
            f"{type(runtime).__name__} with {type(quantizer).__name__} is not in the table of "
            f"costs; measured: {measured}"
        )


def _byte_features(facts: Facts) -> Float[np.ndarray, " features"]:
    return np.array([1.0, *(facts.get(name, 0) for name in BYTES)])
