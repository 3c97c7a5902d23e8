"""Model folders: write, verify, read. Safetensors and JSON only; nothing is ever unpickled.

A folder holds `config.json`, the tokenizer, `runtime.json` (how to run it), `manifest.json`
(history and checksums), and the weights: `model.safetensors` where plain transformers can load
them, else `weights.safetensors`, a name that `from_pretrained` does not look for, so that it fails
instead of silently initializing missing weights at random.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model

from compress.config.errors import UserError, first_line
from compress.interfaces import CompressedModel, InferenceModel, Runtime
from compress.serve.folder import (
    MANIFEST,
    PACKED_WEIGHTS,
    PLAIN_WEIGHTS,
    RUNTIME,
    SCHEMA,
    Manifest,
    RunSpec,
    StoredModuleSpec,
    read_manifest,
    read_spec,
)
from compress.serve.texts import TOKENIZERS, TextEncoder
from compress.store.kinds import module_class, runtime_class
from compress.system.files import write_atomically
from compress.system.sources import synced_digests
from compress.transformer.building import new_module
from compress.transformer.configs import write_labels
from compress.transformer.embedder import Embedder, embedder_class
from compress.transformer.pretrained import quiet_bars, quiet_reading
from compress.transformer.processors import read_written_processor, write_processor
from compress.transformer.sentence_files import write_sentence_files
from compress.transformer.stored_modules import StoredModule
from compress.transformer.surgery import one_type_, place_stored_, plain_config
from compress.transformer.text_tokens import measured_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


HALVES = {"F16": torch.float16, "BF16": torch.bfloat16}  # by their names in safetensors


def write_model(
    model: CompressedModel, folder: Path, runtime: str, options: dict[str, Any] | None = None
) -> None:
    """Writes a model of plain modules and `StoredModule`s to an empty or absent folder.

    Raises:
        FileExistsError: the folder is not empty.
    """
    new_folder(folder)
    modules = {
        name: StoredModuleSpec(part.kind, part.arguments())
        for name, part in model.module.named_modules()
        if isinstance(part, StoredModule)
    }
    config = plain_config(model.module)
    if config is None:
        model.module.config.save_pretrained(folder)
        save_model(model.module, str(folder / PACKED_WEIGHTS))
    else:
        vars(model.module.config).update(vars(config))
        with quiet_bars():
            model.module.save_pretrained(folder)
    write_labels(model.module.config, folder)
    finalize(model, folder, RunSpec(runtime, type(model.module).__name__, modules, options or {}))


def new_folder(folder: Path) -> None:
    """Creates the folder of a model.

    Raises:
        FileExistsError: it is not empty; its files would count as part of the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")


def finalize(model: CompressedModel, folder: Path, spec: RunSpec) -> None:
    """Completes a folder that has config and weights: adds tokenizer, run spec and manifest.

    The manifest is written last, so its existence means that the folder is complete.
    """
    texts = model.texts
    alone = texts is not None and texts.library == TOKENIZERS
    write_processor(model.tokenizer, folder, texts.max_length if texts and alone else None)
    if isinstance(model.module, Embedder):
        write_sentence_files(
            folder, model.module.config, None if texts is None else texts.max_length
        )
    raw = asdict(replace(spec, texts=texts))
    # The alphabet of another script takes three times as many bytes in escapes.
    (folder / RUNTIME).write_text(json.dumps(raw, ensure_ascii=False), encoding="utf-8")
    manifest = Manifest(SCHEMA, model.history, synced_digests(folder))
    write_atomically(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")


def write_temperature(folder: Path, temperature: float) -> None:
    """Writes a classifier's temperature into the manifest of a folder that was just finalized."""
    content = TypeAdapter(Manifest).validate_json((folder / MANIFEST).read_bytes())
    manifest = replace(content, temperature=temperature)
    write_atomically(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")


def read_texts(folder: Path) -> tuple[Processor, TextEncoder]:
    """The tokenizer or image processor in a verified folder, and what tokenizes its texts."""
    processor = read_written_processor(folder)
    return processor, measured_encoder(folder, processor, read_spec(folder).texts)


def read_model(folder: Path) -> PreTrainedModel:
    """The torch modules in a verified folder, with weights, in eval mode.

    Raises:
        UserError: the weights do not match the modules that the folder describes.
    """
    # Constructors draw initial weights that are overwritten next; the caller's random state must
    # not change.
    with torch.random.fork_rng(devices=[]):
        if (folder / PLAIN_WEIGHTS).is_file():
            module = _read_plain(folder)
            one_type_(module)
            return module.eval()
        module = _unfilled(folder)
    try:
        load_model(module, str(folder / PACKED_WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder / PACKED_WEIGHTS} does not match the model: {reason}") from error
    return module.eval()


def read_skeleton(folder: Path) -> PreTrainedModel:
    """The torch modules in a verified folder on the meta device: shapes without weights."""
    with torch.device("meta"):
        return _unfilled(folder).eval()


def read_architecture(folder: Path) -> PreTrainedModel:
    """The plain modules of a verified folder's architecture, with layers and names, on meta.

    Their shapes and formats may differ from the model's.
    """
    with torch.device("meta"):
        return _plain(folder)


def load(
    folder: str | Path, torch_device: str = "cpu", threads: int | None = None
) -> InferenceModel:
    """Loads a model folder of any runtime and format to measure it; `compress.load` serves it."""
    folder = Path(folder)
    read_manifest(folder)
    runtime: type[Runtime] = runtime_class(read_spec(folder).runtime)
    return runtime.load(folder, torch_device, threads)


def _read_plain(folder: Path) -> PreTrainedModel:
    """Reads a model that plain transformers can load; refuses missing and unexpected weights.

    transformers would initialize missing weights at random.
    """
    architecture = _architecture(folder)
    try:
        with quiet_reading():
            module, info = architecture.from_pretrained(
                folder,
                dtype="auto",
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} cannot be read: {first_line(error)}") from error
    other = {str(key) for key, *_ in info["mismatched_keys"]}
    for what, names in (
        ("lacks {} weights", info["missing_keys"]),
        ("has {} unexpected weights", info["unexpected_keys"]),
        ("has {} weights of another shape", other),
    ):
        if names:
            raise UserError(
                f"{folder / PLAIN_WEIGHTS} {what.format(len(names))} for "
                f"{architecture.__name__}, such as {min(names)}"
            )
    loaded: PreTrainedModel = module
    return loaded


def _architecture(folder: Path) -> Any:
    """The transformers model class that a folder names."""
    name = read_spec(folder).architecture
    found = getattr(transformers, name, None)
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise UserError(f"{folder / RUNTIME} names {name}, which is not a transformers model class")
    architecture: Any = found
    body = transformers.MODEL_MAPPING.get(architecture.config_class, None)
    return embedder_class(architecture) if architecture is body else architecture


def _plain(folder: Path) -> PreTrainedModel:
    architecture = _architecture(folder)
    return new_module(architecture, architecture.config_class.from_pretrained(folder))


def _unfilled(folder: Path) -> PreTrainedModel:
    """The modules of a folder with their final shapes and uninitialized weights."""
    module = _plain(folder)
    # Plain checkpoints have the shapes of their config.
    if not (folder / PLAIN_WEIGHTS).is_file():
        modules = read_spec(folder).modules
        parts = {name: module_class(m.kind)(**m.arguments) for name, m in modules.items()}
        with safe_open(folder / PACKED_WEIGHTS, framework="pt") as file:
            stored = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: part.get_shape() for name, part in stored.items()}
            types = {name: part.get_dtype() for name, part in stored.items()}
        place_stored_(module, parts, shapes)
        # Duplicates included: of names that share a tensor the file has one, not always the first.
        for name, parameter in module.named_parameters(remove_duplicate=False):
            parameter.data = parameter.data.to(HALVES.get(types.get(name, ""), parameter.dtype))
    return module
