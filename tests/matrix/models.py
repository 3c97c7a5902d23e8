"""One architecture's model with all that its cells read: checkpoint, rows, overrides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from sklearn.datasets import load_digits
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.architectures import (
    body_of,
    build,
    sentences,
    table_texts,
    write_pairs,
    write_tables,
    write_tags,
)
from tests.sizes import ARCHITECTURES

ROWS = {"train": 24, "validation": 8, "evaluation": 8}
OTHER_SEED = 1
BATCH = 4
LENGTH = 48
PROSE = 400  # sentences that a language model's windows are cut from
DARKEST = 16
SMALL = (
    *("teacher=local", "teacher.finetune.epochs=0"),
    *("device.threads=1", "device.benchmark.seconds=0.02", "device.benchmark.shapes=[[1,8]]"),
    *("device.benchmark.process_restarts=1", "device.benchmark.noise_floor=false"),
    "device.benchmark.scoring_batch=4",
)
WRITING = (
    *("task.context=12", "task.limit=16", "task.calibration_samples=8"),
    *("device.benchmark.generation.prompt=8", "device.benchmark.generation.new_tokens=4"),
)
# The task of each kind of texts, and what makes its files of tables of texts and classes.
TASKS: dict[str, Any] = {
    "texts": ("csv", lambda folder, tables: tables),
    "tags": ("conll", write_tags),
    "embeddings": ("sts", write_pairs),
}


class Embeds(nn.Module):
    """A body with the mean of its tokens, in plain torch."""

    def __init__(self, body: PreTrainedModel) -> None:
        """Takes the body, whose weights have the names that they have below a head."""
        super().__init__()
        self.config, self.base_model_prefix = body.config, body.base_model_prefix
        setattr(self, self.base_model_prefix, body)

    @classmethod
    def from_pretrained(cls, folder: Path, **settings: Any) -> tuple[Embeds, dict[str, Any]]:
        """A folder's body, and what is wrong with its weights."""
        config = transformers.AutoConfig.from_pretrained(folder)
        body = body_of(type(config))
        more = body.keywords if isinstance(body, partial) else {}
        found, told = transformers.AutoModel.from_pretrained(folder, **more, **settings)
        return cls(found), told

    def forward(self, **batch: Tensor) -> SimpleNamespace:
        """The vectors of a batch, called logits."""
        states = getattr(self, self.base_model_prefix)(**batch).last_hidden_state
        pairs = zip(states, batch["attention_mask"].bool(), strict=True)
        return SimpleNamespace(logits=torch.stack([row[real].mean(dim=0) for row, real in pairs]))


READERS: dict[str, Any] = {
    "embeddings": Embeds,
    "texts": transformers.AutoModelForSequenceClassification,
    "images": transformers.AutoModelForImageClassification,
    "tokens": transformers.AutoModelForCausalLM,
    "tags": transformers.AutoModelForTokenClassification,
}
Row = Any  # a text, or the pixels of an image
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Model:
    """A checkpoint and the rows that it is evaluated on.

    Attributes:
        name: of the architecture.
        home: the folder of everything here.
        graphs: what it was exported to, by its weights: the same for every format of a runtime.
    """

    name: str
    home: Path
    graphs: dict[str, Any] = field(default_factory=dict)

    @property
    def sees(self) -> bool:
        """Whether it reads images."""
        return ARCHITECTURES[self.name].sees

    @property
    def head(self) -> str:
        """What it does: one of `READERS`."""
        if self.sees:
            return "images"
        spec = ARCHITECTURES[self.name]
        if spec.embeds:
            return "embeddings"
        return "tokens" if spec.writes else "tags" if spec.tags else "texts"

    @cached_property
    def folder(self) -> Path:
        """The checkpoint."""
        return build(self.name, self.home / "model")

    @cached_property
    def other(self) -> Path:
        """A checkpoint of the same architecture with other weights."""
        return build(self.name, self.home / "other", OTHER_SEED)

    @cached_property
    def tables(self) -> dict[str, Path]:
        """The files of the texts."""
        return write_tables(self.home / "rows", ROWS)

    @property
    def overrides(self) -> tuple[str, ...]:
        """Those that every one of its runs begins with."""
        return (*SMALL, f"teacher.path={self.folder}", *self._task)

    @property
    def _task(self) -> tuple[str, ...]:
        if self.sees:
            return "task=digits", "task.limit=30", "task.calibration_samples=10"
        if self.head == "tokens":
            return "task=textfile", f"task.path={self._prose}", *WRITING
        task, write = TASKS[self.head]
        tables = write(self.home / "rows", self.tables)
        paths = {"path" if r == "train" else f"split.{r}_path": p for r, p in tables.items()}
        files = (f"task.{name}={path}" for name, path in paths.items())
        return (
            f"task={task}",
            f"task.max_length={LENGTH}",
            "task.calibration_samples=8",
            *files,
        )

    @cached_property
    def _prose(self) -> Path:
        path = self.home / "prose.txt"
        path.write_text("\n".join(sentences(PROSE, len(ROWS) + 1)), encoding="utf-8")
        return path

    @cached_property
    def processor(self) -> Any:
        """What plain transformers reads the rows with."""
        return read_processor(self.folder, self.sees)

    def rows(self, role: str) -> list[Row]:
        """Texts of one of its files, or some images."""
        if self.sees:
            shades = load_digits().images[: ROWS[role]] * 255 / DARKEST
            return list(np.repeat(shades.round().astype(np.uint8)[..., None], 3, axis=-1))
        return [*table_texts(self.tables[role])]

    def plain(self, folder: Path | None = None) -> PreTrainedModel:
        """The model as plain transformers reads it, in float32."""
        return read_plain(self.folder if folder is None else folder, self.head)


def read_plain(folder: Path, head: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A folder as plain transformers reads it, with one of `READERS` and in a float type.

    Raises:
        ValueError: a weight is missing, or one is left over.
    """
    module, told = READERS[head].from_pretrained(folder, dtype=dtype, output_loading_info=True)
    wrong = {kind: sorted(names) for kind, names in told.items() if names}
    if wrong:
        raise ValueError(f"plain transformers finds {wrong}")
    return module.eval()


def read_processor(folder: Path, sees: bool) -> Any:
    """A folder's tokenizer or image processor as plain transformers reads it."""
    if sees:
        return transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    return transformers.AutoTokenizer.from_pretrained(folder)


def batch_of(processor: Any, rows: Sequence[Row]) -> Batch:
    """Rows as one batch, padded where they are texts."""
    if isinstance(rows[0], str):
        made = processor(
            list(rows),
            return_tensors="pt",
            truncation=True,
            max_length=LENGTH,
            padding=len(rows) > 1,
        )
    else:
        made = processor(list(rows), return_tensors="pt", input_data_format="channels_last")
    return dict(made)


@torch.no_grad()
def one_by_one(module: PreTrainedModel, processor: Any, rows: Sequence[Row]) -> Tensor:
    """Plain logits of each row alone."""
    return in_batches(lambda batch: module(**batch).logits, processor, rows, 1)


def in_batches(
    predict: Callable[[Batch], Tensor], processor: Any, rows: Sequence[Row], size: int = BATCH
) -> Tensor:
    """Logits of all rows, so many at a time; those of tokens one under the other."""
    starts = range(0, len(rows), size)
    batches = (batch_of(processor, rows[start : start + size]) for start in starts)
    return torch.cat([_listed(predict(batch).float(), batch) for batch in batches])


def _listed(logits: Tensor, batch: Batch) -> Tensor:
    """Rows of logits; of tokens, those that are no padding."""
    return logits[batch["attention_mask"].bool()] if logits.dim() == 3 else logits
