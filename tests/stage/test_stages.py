from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import compress
from compress.config.errors import UserError
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, Quantizer, StageContext
from compress.quantizer.none import NoQuantizer
from compress.serve.folder import read_spec
from compress.stage.stages import write
from compress.store.artifact import load
from compress.task.components.text import TextSplit
from tests.configs import settings_of, yaml_names
from tests.slow import slow

TEXTS = ["a glad film", "", "a sad dull film " * 40, "naïve 😀 \x7f", "a good end"]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", yaml_names("quantizer"))
def test_weights_that_are_no_numbers_are_refused_before_anything_is_written(
    name: str,
    value: float,
    teacher: CompressedModel,
    context: Callable[[CompressedModel], StageContext],
    tmp_path: Path,
) -> None:
    with torch.no_grad():
        teacher.module.classifier.weight[1, 2] = value
    quantizer = settings_of("quantizer", name)
    assert isinstance(quantizer, Quantizer)
    with pytest.raises(
        UserError, match=r"^classifier\.weight has weights that are NaN or infinite"
    ):
        write(teacher, quantizer, context(teacher), tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        *(("cpu", True), ("cpu_openvino", False)),
        *slow([("cpu", False), ("cpu_onnxruntime", True), ("cpu_onnxruntime", False)]),
        *slow([("cpu_openvino", True)]),
    ],
)
def test_logits_of_texts_are_those_of_the_tasks_batches(
    name: str,
    pairs: bool,
    teacher: CompressedModel,
    context: Callable[[CompressedModel], StageContext],
    tmp_path: Path,
) -> None:
    columns = [TEXTS, TEXTS[::-1]] if pairs else [TEXTS]
    named = dict(zip(("text", "second"), columns, strict=False))
    rows = TextSplit("rows", pd.DataFrame({**named, "label": 0}), max_length=20)
    ctx, device = context(teacher), settings_of("device", name, "device.threads=1")
    assert isinstance(device, Cpu)
    ctx = replace(ctx, device=device, data=replace(ctx.data, train=rows, validation=rows))
    write(teacher, NoQuantizer(), ctx, tmp_path / "model")
    model = load(tmp_path / "model")
    assert model.encoder.max_length == 20
    encoded = rows.encode(model.tokenizer).remove_columns("length")
    batch = rows.collate(model.tokenizer, list(encoded))
    assert batch["input_ids"].shape == (5, 20)
    served = compress.load(tmp_path / "model", threads=1)
    assert np.allclose(served.logits(*columns), model.predict(batch), atol=1e-6)
    shortest = served.logits(*[column[:2] for column in columns])
    assert np.allclose(shortest, served.logits(*columns)[:2], atol=1e-5)


def test_an_artifact_says_how_texts_are_tokenized(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext], tmp_path: Path
) -> None:
    ctx = context(teacher)
    write(teacher, NoQuantizer(), ctx, tmp_path / "model")
    spec = read_spec(tmp_path / "model").texts
    assert spec is not None
    assert spec.max_length == ctx.data.train.max_length == 32
    assert (spec.fast is None) == (spec.reason is not None) == (spec.alphabet == "")
    assert teacher.folder is not None
    assert read_spec(teacher.folder).texts is None, "a stage's model is not deployed"
