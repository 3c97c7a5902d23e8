"""The models whose logits a student learns: the run's own teacher, and further ones.

The logits of several teachers are averaged, with equal weights. At any temperature that is the
geometric mean of their softened distributions, one of the two ways in Hinton, Vinyals, Dean,
arXiv:1503.02531, section 1. Others average probabilities: You et al., "Learning from Multiple
Teacher Networks" (KDD 2017), and the ensembles of Stanton et al., "Does Knowledge Distillation
Really Work?", arXiv:2106.05945. Logits, because their mean depends on no temperature, so that it is
kept once, and is defined for numbers, for several labels and for tokens as well.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from compress.config.errors import UserError
from compress.core.problem import EMBEDDER
from compress.serve.folder import MANIFEST, read_manifest, read_spec
from compress.store.artifact import load, read_architecture
from compress.store.kinds import runtime_class
from compress.system.digests import file_digest
from compress.transformer.class_order import class_order
from compress.transformer.pretrained import check_head, read_config
from compress.transformer.processors import read_written_processor
from compress.transformer.torch_model import TorchModel

if TYPE_CHECKING:
    from compress.interfaces import (
        Device,
        InferenceModel,
        Runtime,
        StageContext,
        Task,
        TrainingData,
    )


@dataclass(frozen=True)
class LogitSource:
    """A model whose logits are learned.

    Attributes:
        digest: identifies the model.
        load: makes it ready to run.
        outputs: its output for each class of the task; null where they are the task's.
    """

    digest: str
    load: Callable[[], InferenceModel]
    outputs: tuple[int, ...] | None = None

    def of_task(self, logits: Float[Tensor, "B outputs"]) -> Float[Tensor, "B classes"]:
        """The logits in the order of the task's classes."""
        return logits if self.outputs is None else logits[..., list(self.outputs)]


def logit_sources(folders: Sequence[str], ctx: StageContext) -> tuple[LogitSource, ...]:
    """The run's own teacher, and those in model folders; each distinct model once.

    Raises:
        UserError: a folder is damaged, or its model is for other classes or tokens.
    """
    own = ctx.teacher
    identity = _identity(own.folder) if own.folder else own.digest
    found = {identity: LogitSource(own.digest, _own(ctx))}
    for folder in map(Path, folders):
        digest = _identity(folder)
        if digest not in found:
            _check_tokens(folder, ctx)
            device = ctx.device
            ready = partial(load, folder, device.torch_device, device.thread_count())
            found[digest] = LogitSource(digest, ready, task_outputs(folder, ctx.data))
    return tuple(found.values())


def mean(logits: Sequence[Float[Tensor, "B ..."]]) -> Float[Tensor, "B ..."]:
    """The mean over teachers."""
    return sum(logits[1:], logits[0]) / len(logits)


def training_precision(device: Device, *, mixed: bool = True) -> torch.autocast:
    """The precision that Trainer runs a student in, for a teacher; float32 if not `mixed`."""
    mixed = mixed and device.training_dtype() is torch.bfloat16
    return torch.autocast(device.torch_device, dtype=torch.bfloat16, enabled=mixed)


def labeling_precision(model: InferenceModel, device: Device) -> torch.autocast:
    """The precision of a student's training for float32 torch models; of others their own.

    In bfloat16 a 12-layer encoder labels twice as many rows a second on a CPU that has arithmetic
    for it. Of 4,000 rows of SST-2, a fine-tuned one's probabilities moved by 0.0006 on average and
    by 0.04 at most, and no row changed its class.
    """
    floats = isinstance(model, TorchModel) and all(
        weight.dtype is torch.float32 for _, weight in model.weights()
    )
    return training_precision(device, mixed=floats)


def check_teachers(folders: Sequence[str], task: Task, device: Device) -> None:
    """Checks what does not depend on rows.

    Raises:
        UserError: a folder is damaged, has another head, or cannot be loaded here; or its model
            cannot read the task's rows.
    """
    for folder in map(Path, folders):
        read_manifest(folder)
        runtime: type[Runtime] = runtime_class(read_spec(folder).runtime)
        runtime.check_load(folder, device.torch_device)
        skeleton = read_architecture(folder)
        check_head(str(folder), skeleton, task.head)
        task.check_model(skeleton)


def task_outputs(folder: Path, data: TrainingData) -> tuple[int, ...] | None:
    """The output of a folder's model for each class of the task; null where there are no classes.

    Raises:
        UserError: it is for other classes.
    """
    expected = data.problem.config()
    if not expected or data.problem.head == EMBEDDER:
        return None
    return class_order(str(folder), read_config(folder), expected)[0]


def teachers_digest(folders: Sequence[str]) -> str:
    """Digest of the content of model folders; "" of none."""
    return "-".join(_identity(Path(folder)) for folder in folders)


def _identity(folder: Path) -> str:
    """Digest of the manifest, which has that of every other file."""
    return file_digest(folder / MANIFEST)


def _own(ctx: StageContext) -> Callable[[], InferenceModel]:
    def ready() -> InferenceModel:
        # A copy, because TorchModel moves the modules it is given to the device.
        module = copy.deepcopy(ctx.teacher.module).eval()
        return TorchModel(module, ctx.teacher.tokenizer, ctx.device.torch_device)

    return ready


def _check_tokens(folder: Path, ctx: StageContext) -> None:
    """Refuses a language model that predicts other tokens than the run's own teacher."""
    if ctx.data.problem.head != "language_model":
        return
    theirs, ours = read_written_processor(folder), ctx.teacher.tokenizer
    if theirs.get_vocab() != ours.get_vocab():
        raise UserError(
            f"{folder} predicts other tokens than the run's teacher, whose windows it would read"
        )
