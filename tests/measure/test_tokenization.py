from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, TrainingData
from compress.measure.timed import Columns
from compress.measure.tokenization import BATCHES, fill_texts, measure_tokenization
from compress.measure.worker import Worker
from compress.task.components.text import TextSplit
from compress.transformer.torch_model import TorchModel

MOODS = ("a sad dull film", "a glad bright film with an endless end, unlike others")


@pytest.fixture
def model(teacher: CompressedModel) -> TorchModel:
    return TorchModel(teacher.module, teacher.tokenizer, "cpu")


def rows_of(columns: int) -> TextSplit:
    texts = [f"{MOODS[i % 2]} {i}" for i in range(12)]
    named = {"text": texts, "second": texts[::-1]} if columns == 2 else {"text": texts}
    return TextSplit("rows", pd.DataFrame({**named, "label": 0}), max_length=32)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize(("batch", "length"), [(1, 4), (1, 32), (3, 17), (2, 200)])
def test_texts_have_the_tokens_of_the_shape_and_no_word_too_many(
    batch: int, length: int, columns: int, model: TorchModel
) -> None:
    made = fill_texts(model, rows_of(columns), batch, length)
    assert len(made) == BATCHES
    assert len({str(texts) for texts in made}) > 1, "batches differ"
    for texts in made:
        assert [len(column) for column in texts] == [batch] * columns
        encoded = model.encoder.encode(texts, length)
        assert encoded["input_ids"].shape == (batch, length)
        assert encoded["attention_mask"].all()
    fewer = [[text.rpartition(" ")[0] for text in column] for column in made[0]]
    assert (model.encoder.encode(fewer, length)["attention_mask"].sum(axis=1) < length).all()
    words = " ".join(rows_of(columns).columns[0]).split()
    assert made[0][0][0].split() == (words * length)[: len(made[0][0][0].split())]


class Processes:
    """Stands in for a pair of processes: the time is the number of texts, ten times for one."""

    awake = 0

    @contextmanager
    def open_pair(self, folders: Any, device: Any) -> Iterator[Processes]:
        yield self

    def wake(self, which: int) -> Processes:
        self.awake = which
        return self

    def tokenize(self, batches: list[Columns], length: int, seconds: float) -> list[float]:
        own = len(batches[0][0]) * (10.0 if self.awake else 1.0) + length / 1000
        return [own, own / 2, 100 * own]


def test_each_model_has_its_median_at_each_shape(
    model: TorchModel, device: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.measure.tokenization.open_pair", Processes().open_pair)
    shaped = replace(device, benchmark=replace(device.benchmark, shapes=((1, 8), (4, 16))))
    found = measure_tokenization((model, model), (Path(), Path()), rows_of(1), shaped)
    assert found == ((1.008, 4.016), (10.008, 40.016))


def test_images_are_not_tokenized(model: TorchModel, device: Cpu, images: TrainingData) -> None:
    found = measure_tokenization((model, model), (Path(), Path()), images.calibration, device)
    assert found == ((None, None), (None, None))


def test_a_real_process_tokenizes(model: TorchModel, teacher: CompressedModel, device: Cpu) -> None:
    assert teacher.folder is not None
    with closing(Worker(teacher.folder, device)) as worker:
        worker.load()
        times = worker.tokenize(fill_texts(model, rows_of(1), 2, 16), 16, 0.0)
    assert len(times) == 5
    assert min(times) > 0
