"""A compress model folder as the teacher, including pruned shapes and low-rank factors.

Plain transformers, and so `teacher=local`, reads only folders whose shapes a config can say. Here
nothing is trained, and half precision becomes float32, which changes no weight.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic.dataclasses import dataclass
from safetensors import safe_open

from compress.config.errors import ConfigError, UserError
from compress.core.monitor import UNWATCHED, Monitor
from compress.interfaces import CompressedModel, Device, Head, Step, Teacher, TrainingData
from compress.serve.folder import MANIFEST, PACKED_WEIGHTS, read_manifest, read_spec
from compress.store.artifact import read_model, read_skeleton
from compress.store.kinds import TORCH
from compress.system.digests import file_digest
from compress.transformer.checkpoint import check_classes, fit_to_rows_
from compress.transformer.pretrained import check_head, read_config
from compress.transformer.processors import read_written_processor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLOATS = ("F64", "F32", "F16", "BF16")  # by their names in safetensors


@dataclass(frozen=True, kw_only=True)
class ArtifactTeacher(Teacher):
    """A model folder with float torch weights, unchanged; its history is continued.

    Attributes:
        folder: the model folder, such as a run's `model`.
    """

    version: ClassVar[int] = 2

    folder: str

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if not self.folder:
            raise ConfigError("teacher.folder must be a compress model folder, got nothing")

    def check(self) -> None:
        """Raises a UserError if the folder is damaged or holds no float torch weights."""
        folder = Path(self.folder)
        read_manifest(folder)
        runtime = read_spec(folder).runtime
        if runtime != TORCH:
            raise UserError(f"{folder} was exported for {runtime}, expected {TORCH}")
        codes = _integer_weights(folder)
        if codes:
            raise UserError(
                f"{folder} is quantized ({codes[0]} holds integers), expected float weights: take "
                "the model of a run with quantizer=none"
            )

    def content_digest(self) -> str:
        """Digest of the manifest, which has that of every other file."""
        return file_digest(Path(self.folder) / MANIFEST)

    def skeleton(self, head: Head) -> PreTrainedModel:
        """The modules on the meta device, in the shapes that the folder stores.

        Raises:
            UserError: the model has another head.
        """
        module = read_skeleton(Path(self.folder)).to(torch.float32)
        check_head(self.folder, module, head)
        return module

    def untrained(self, data: TrainingData) -> CompressedModel:
        """The model as it is: nothing is trained here."""
        return self._read(data)

    def load(
        self, data: TrainingData, device: Device, seed: int, monitor: Monitor = UNWATCHED
    ) -> CompressedModel:
        """Reads the weights; its outputs go into the order of the task's classes.

        Raises:
            UserError: the model's classes are not the task's, or it cannot read the rows.
        """
        return self._read(data)

    def _read(self, data: TrainingData) -> CompressedModel:
        folder = Path(self.folder)
        config = read_config(folder)
        check_classes(self.folder, config, data)
        module = read_model(folder).to(torch.float32)
        tokenizer = read_written_processor(folder)
        for name, value in data.problem.config().items():
            setattr(module.config, name, value)
        notes = fit_to_rows_(self.folder, module, tokenizer, config, data, trained=False)
        history = (*read_manifest(folder).history, Step("teacher", self.describe(), notes=notes))
        return CompressedModel(module, tokenizer, history)


def _integer_weights(folder: Path) -> list[str]:
    """The names of what stored modules hold as codes, from the head of the file alone."""
    modules = tuple(f"{name}." for name in read_spec(folder).modules)
    if not modules:
        return []
    with safe_open(folder / PACKED_WEIGHTS, framework="pt") as file:
        types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return [n for n, kind in types.items() if n.startswith(modules) and kind not in FLOATS]
