"""Generation speed: time to first token, and tokens per second after it, interleaved.

Greedy decoding of one text with a KV cache of all tokens so far, and no end but the
number of tokens: the loop is the runtime's own and does nothing else. As for forward passes, each
model has a process of its own and only one of the two is awake; a round is a text each in the order
A B B A. Texts take long, so there are fewer restarts and rounds; the interval says what that costs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int

from compress.analysis.speedup import speedup_interval
from compress.core.benchmark import GenerationLength
from compress.interfaces import Device, InferenceModel, Split
from compress.measure.latency import BASELINE, CANDIDATE, fill_shape
from compress.measure.worker import Pair, open_pair
from compress.records.schema import Generation

RESTARTS = 3  # at most: a restart begins by loading both models
MIN_ROUNDS = 6  # in all restarts together; as with passes, intervals of so few are a little narrow
WARM_UP = 1  # texts of each model in each restart that are not counted


@dataclass(frozen=True)
class Writing:
    """Generation times of candidate and baseline.

    Attributes:
        first_ms: to the first token, of every text, the candidate's and the baseline's.
        token_ms: of each token after the first, a mean per text, of the candidate and the baseline.
        restarts: of each, the logarithms of its rounds' speed-ups in tokens behind the first.
    """

    length: GenerationLength
    first_ms: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    token_ms: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    restarts: list[list[float]] = field(default_factory=list)

    def of(self, which: int, seed: int) -> Generation:
        """The metrics of the candidate (0) or the baseline (1)."""
        ratio = low = high = None
        if which == CANDIDATE:
            rounds = [np.array(restart) for restart in self.restarts]
            ratio, low, high = speedup_interval(rounds, seed)
        return Generation(
            prompt=self.length.prompt,
            new_tokens=self.length.new_tokens,
            samples=len(self.first_ms[which]),
            time_to_first_token_ms=float(np.median(self.first_ms[which])),
            tokens_per_second=1000 / float(np.median(self.token_ms[which])),
            speedup=ratio,
            speedup_low=low,
            speedup_high=high,
        )


def measure_generation(
    models: tuple[InferenceModel, InferenceModel],
    folders: tuple[Path, Path],
    rows: Split,
    device: Device,
    seed: int,
) -> Writing | None:
    """Times the generation of candidate and baseline; None if one cannot generate.

    The prompt is text of the rows, by each model's own tokenizer.

    Raises:
        WorkerError: the process of one failed or died.
    """
    length = device.benchmark.generation
    if length is None or not all(model.decodes for model in models):
        return None
    prompts = [fill_shape(model, rows, 1, length.prompt)["input_ids"].numpy() for model in models]
    writing = Writing(length)
    restarts = min(RESTARTS, device.benchmark.process_restarts)
    least, seconds = math.ceil(MIN_ROUNDS / restarts), device.benchmark.seconds / restarts
    for _ in range(restarts):
        with open_pair(folders, device) as pair:
            write_in_turns(pair, prompts, least, seconds, writing)
    return writing


def write_in_turns(
    pair: Pair,
    prompts: Sequence[Int[np.ndarray, "1 L"]],
    least: int,
    seconds: float,
    writing: Writing,
) -> None:
    """One process restart: a minimum of rounds, and more while time is left."""
    for which in (CANDIDATE, BASELINE):
        for _ in range(WARM_UP):
            pair.wake(which).generate(prompts[which], writing.length.new_tokens)
    rounds: list[float] = []
    writing.restarts.append(rounds)
    deadline = time.perf_counter() + seconds
    while len(rounds) < least or time.perf_counter() < deadline:
        outer = len(rounds) % 2
        logs: tuple[list[float], list[float]] = ([], [])
        for which in (outer, 1 - outer, 1 - outer, outer):
            written = pair.wake(which).generate(prompts[which], writing.length.new_tokens)
            writing.first_ms[which].append(written[0])
            writing.token_ms[which].append(written[1])
            logs[which].append(math.log(written[1]))
        rounds.append(float(np.mean(logs[BASELINE]) - np.mean(logs[CANDIDATE])))
