"""Tiny rows and tiny models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers
from datasets import Dataset

from compress.interfaces import (
    CompressedModel,
    InferenceModel,
    Quantizer,
    Split,
    StageContext,
    Step,
)
from compress.runtime.torch import TorchRuntime
from compress.task.components.text import TextSplit
from compress.teacher.tiny_random import TinyRandomTeacher
from compress.training.train import Training
from tests.configs import settings_of

ROWS = {"train": 24, "validation": 8, "calibration": 6}
IMAGE_ARCHITECTURES = ("vit", "deit")
# With what else conf/finetune/default.yaml has.
PLAIN: dict[str, Any] = {
    "warmup_fraction": 0.1,
    "schedule": "linear",
    "patience": None,
    "average": None,
    "dropout": None,
}
NO_TRAINING = Training(epochs=0, learning_rate=1e-3, batch_size=8, **PLAIN)


def make_split(count: int, name: str = "train") -> TextSplit:
    """Rows whose label is whether the text is glad."""
    moods = ("a sad dull film", "a glad bright film with a good end")
    rows = [(f"{moods[i % 2]} number {i}", i % 2) for i in range(count)]
    return TextSplit(name, pd.DataFrame(rows, columns=["text", "label"]), max_length=32)


class ImageSplit(Split):
    """Noise of 8 × 8 pixels whose brightness is its label."""

    def __init__(self, count: int, name: str) -> None:
        self.name, self.digest = name, f"images-{name}-{count}"
        noise = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(count))
        self._labels = torch.arange(count) % 2
        self._pixels = noise / 2 + self._labels[:, None, None, None] / 2

    @property
    def labels(self) -> torch.Tensor:
        return self._labels

    def encode(self, tokenizer: Any) -> Dataset:
        columns = {"pixel_values": self._pixels.tolist(), "length": [5] * len(self._labels)}
        return Dataset.from_dict(columns)

    def collate(self, tokenizer: Any, rows: Sequence[Any]) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.tensor([row["pixel_values"] for row in rows])}


def tiny_teacher(architecture: str = "bert", layers: int = 4) -> TinyRandomTeacher:
    heads = 4 if architecture == "llama" else 2
    return TinyRandomTeacher(
        architecture=architecture, layers=layers, hidden=16, heads=heads, finetune=NO_TRAINING
    )


def tiny_image_model(architecture: str) -> CompressedModel:
    """A random ViT or DeiT for 8 × 8 images."""
    transformers.set_seed(0)
    config = transformers.AutoConfig.for_model(
        architecture,
        num_hidden_layers=4,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_labels=2,
    )
    kinds = {
        "vit": transformers.ViTForImageClassification,
        "deit": transformers.DeiTForImageClassification,
    }
    processor = transformers.ViTImageProcessorPil(size={"height": 8, "width": 8})
    step = Step("teacher", {"kind": "tests.tiny.tiny_image_model"})
    return CompressedModel(kinds[architecture](config).eval(), processor, (step,))


def torch_export(model: CompressedModel, quantizer: Quantizer, folder: Path) -> InferenceModel:
    """Writes a model folder for torch on the CPU; the model in memory that it was written from.

    Torch formats are not calibrated, so there are no rows.
    """
    device = settings_of("device", "cpu")
    ctx = StageContext(model, None, device, 0, None)  # type: ignore[arg-type]
    return TorchRuntime(compile=False).export(model, quantizer, folder, ctx).reference
