"""Loads a model folder for use. What a model does not need is not imported."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from compress.config.errors import UserError
from compress.serve.folder import read_manifest, read_outputs, read_spec
from compress.serve.model import ServedModel
from compress.serve.session import Session
from compress.serve.texts import TOKENIZERS, TextSpec, deployed_encoder
from compress.system.packages import require

# By kind of runtime. torch's is above this package, and imported by name.
SESSIONS = {
    "onnxruntime": "compress.serve.onnxruntime.OnnxSession",
    "openvino": "compress.serve.openvino.OpenVinoSession",
    "torch": "compress.runtime.torch.TorchSession",
}
PROCESSORS = "compress.transformer.text_tokens.processor_and_encoder"
HEAVY = ("torch", "transformers", "safetensors")


def load(folder: str | Path, threads: int | None = None) -> ServedModel:
    """Loads a model folder of any runtime and format for inference on the CPU.

    Args:
        folder: the folder that a run wrote (`<run>/model`).
        threads: of the runtime; null for its own choice.

    Raises:
        UserError: the folder is not a model folder, a file is missing or damaged, or a package is
            not installed.
        ValueError: `threads` is no whole number from 1.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise ValueError(f"threads must be null or a whole number from 1, got {threads!r}")
    folder = Path(folder)
    manifest, spec = read_manifest(folder), read_spec(folder)
    outputs = read_outputs(folder, spec.architecture, manifest.temperature)
    if spec.runtime not in SESSIONS:
        allowed = ", ".join(SESSIONS)
        raise UserError(f"{folder} names the runtime {spec.runtime!r}; allowed: {allowed}")
    if spec.runtime == "torch":
        require("the torch runtime", "serve-torch", *HEAVY)
    session: Session = _named(SESSIONS[spec.runtime])(folder, spec, threads)
    processor = None
    if spec.texts is not None and spec.texts.library == TOKENIZERS:
        encoder = deployed_encoder(folder, spec.texts)
    else:
        processor, encoder = _of_transformers(folder, spec.texts)
    columns = None if spec.texts is None else spec.texts.columns
    return ServedModel(session, encoder, outputs, processor, columns)


def _of_transformers(folder: Path, texts: TextSpec | None) -> Any:
    """The processor of transformers, and what encodes texts with it where the model labels such."""
    require(f"the tokenizer or image processor of {folder}", "serve-torch", *HEAVY)
    return _named(PROCESSORS)(folder, texts)


def _named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
