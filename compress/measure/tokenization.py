"""Time to tokenize the texts of a batch, which the latency of a forward pass does not include.

The texts of a shape are words of the rows, one row after the other, as few as have the shape's
tokens once they are truncated to its length. Where rows are pairs, these are pairs of words of both
columns. Each pass tokenizes another batch, and the model then predicts it, so that the caches are
those of a service: a forward pass has used them since the last tokenization.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np

from compress.interfaces import Device, InferenceModel, Split
from compress.measure.timed import Columns
from compress.measure.worker import open_pair

BATCHES = 8  # of each shape, so that no text is tokenized twice in a row
SECONDS = 0.3  # for each model and shape, most of which are forward passes

# Median milliseconds at each shape; None where rows are no texts to label.
Medians: TypeAlias = tuple[float | None, ...]


def measure_tokenization(
    models: tuple[InferenceModel, InferenceModel],
    folders: tuple[Path, Path],
    rows: Split,
    device: Device,
) -> tuple[Medians, Medians]:
    """Times the tokenizers of candidate and baseline at every shape of the benchmark.

    Raises:
        WorkerError: the process of one failed or died.
    """
    shapes = device.benchmark.shapes
    found: tuple[list[float | None], list[float | None]] = ([], [])
    if rows.max_length is None:
        return (None,) * len(shapes), (None,) * len(shapes)
    seconds = min(SECONDS, device.benchmark.seconds / 10)
    with open_pair(folders, device) as pair:
        for batch, length in shapes:
            for which, model in enumerate(models):
                texts = fill_texts(model, rows, batch, length)
                times = pair.wake(which).tokenize(texts, length, seconds)
                found[which].append(float(np.median(times)))
    return tuple(found[0]), tuple(found[1])


def fill_texts(model: InferenceModel, rows: Split, batch: int, length: int) -> list[Columns]:
    """`BATCHES` batches of texts, each of `length` tokens if truncated to as many."""
    words = [list(chain.from_iterable(map(str.split, column))) for column in rows.columns]
    made, start = [], 0
    for _ in range(BATCHES):
        texts = []
        for _ in range(batch):
            count, text = _fill(model, words, start, length)
            texts.append(text)
            start += count
        made.append([list(column) for column in zip(*texts, strict=True)])
    return made


def _fill(
    model: InferenceModel, words: Sequence[Sequence[str]], start: int, length: int
) -> tuple[int, list[str]]:
    """The number of words of each column that fill a length, and the texts of these words."""

    def joined(count: int) -> list[str]:
        places = range(start, start + count)
        return [" ".join(column[place % len(column)] for place in places) for column in words]

    def tokens(count: int) -> int:
        return len(model.tokenizer(*joined(count), verbose=False)["input_ids"])

    # A word has a token at least.
    count = 1 + bisect_left(range(1, length), length, key=tokens)
    return count, joined(count)
