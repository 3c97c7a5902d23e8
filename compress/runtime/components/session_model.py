"""A served graph as it is measured: tensors in, tensors out, and the weights that its file has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from compress.core.inference import InferenceModel
from compress.serve.folder import RunSpec
from compress.serve.session import Session
from compress.store.artifact import read_texts


class SessionModel(InferenceModel):
    """The session that serves a model folder.

    Weights are read from the folder when they are asked for, so that the model is not held twice.
    """

    def __init__(self, folder: Path, spec: RunSpec, session: Session) -> None:
        """Measures a session of a verified folder."""
        self.tokenizer, self.encoder = read_texts(folder)
        self._folder, self._spec, self._session = folder, spec, session
        self.precision, self.decodes = session.precision, session.decodes

    def predict(self, batch: Mapping[str, Int[Tensor, "B L"]]) -> Float[Tensor, "B classes"]:
        """Logits of one padded batch; see `Session.run`."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in batch.items()}
        return torch.from_numpy(self._session.run(arrays))

    def decode(self, tokens: Int[Tensor, "1 L"], count: int) -> Iterator[Int[Tensor, "1 1"]]:
        """Greedy continuation of a text, token by token; see `Session.decode`."""
        for token in self._session.decode(tokens.numpy(), count):
            yield torch.tensor([[token]])

    def synchronize(self) -> None:
        """Does nothing: `predict` is synchronous."""
