"""Model folders: write, verify, read. Safetensors and JSON only; nothing is ever unpickled.

A folder holds `config.json`, the tokenizer, `runtime.json` (how to run it), `manifest.json` (what
was done, and the checksums), and the weights: `model.safetensors` where plain transformers can
load them, else `weights.safetensors`, a name that `from_pretrained` does not look for, so that it
fails instead of quietly filling what it misses with random numbers.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from pydantic import TypeAdapter, ValidationError
from safetensors import safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from compress.files import write_atomically
from compress.interfaces import CompressedModel, Runnable, Runtime, Step
from compress.modules import StoredModule
from compress.pretrained import quiet_bars, read_image_processor
from compress.report.card import CARD, model_card
from compress.settings import UserError
from compress.sources import file_digest, first_line, synced_digests
from compress.surgery import one_type_, place_stored_, plain_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor
    from compress.records import RunRecord

SCHEMA = 1
MANIFEST = "manifest.json"
RUNTIME = "runtime.json"
PLAIN_WEIGHTS = "model.safetensors"
PACKED_WEIGHTS = "weights.safetensors"
HALVES = {"F16": torch.float16, "BF16": torch.bfloat16}  # by their names in safetensors


@dataclass(frozen=True)
class StoredModuleSpec:
    """How to build the module that stands in for a plain one: its class and its arguments."""

    target: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class RunSpec:
    """How to run what is in a model folder: the content of `runtime.json`.

    Attributes:
        runtime: the runtime class that runs it.
        architecture: the transformers class that it was made from.
        modules: the modules that replace plain ones, by name.
        options: the runtime's own settings.
        weights: where the runtime names weights in its own way, its name for each.
    """

    runtime: str
    architecture: str
    modules: dict[str, StoredModuleSpec] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What was done to the model in a folder: the content of `manifest.json`.

    Attributes:
        history: every stage's settings, claims and notes.
        files: SHA-256 of each other file in the folder.
    """

    schema: int
    history: tuple[Step, ...]
    files: dict[str, str]


def write_model(
    model: CompressedModel, folder: Path, runtime: str, options: dict[str, Any] | None = None
) -> None:
    """Writes a model folder with torch modules.

    Args:
        model: what to write. Its modules are plain, or `StoredModule`s.
        folder: an empty or absent folder.
        runtime: dotted path of the runtime class that will run it.
        options: the runtime's own settings.

    Raises:
        FileExistsError: the folder holds something; it would count as part of the model.
    """
    new_folder(folder)
    modules = {name: _spec(part) for name, part in _stored_modules(model.module)}
    config = plain_config(model.module)
    if config is None:
        model.module.config.save_pretrained(folder)
        save_model(model.module, str(folder / PACKED_WEIGHTS))
    else:
        vars(model.module.config).update(vars(config))
        with quiet_bars():
            model.module.save_pretrained(folder)
    seal(model, folder, RunSpec(runtime, type(model.module).__name__, modules, options or {}))


def new_folder(folder: Path) -> None:
    """Makes the folder for a model.

    Raises:
        FileExistsError: it holds something, which would count as part of the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")


def seal(model: CompressedModel, folder: Path, spec: RunSpec) -> None:
    """Adds to a folder that has config and weights all else that makes it a model folder.

    The manifest comes last, so its existence means complete.
    """
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # A fast tokenizer remembers how it was last called and would write that down as well.
        backend.no_truncation()
        backend.no_padding()
    model.tokenizer.save_pretrained(folder)
    (folder / RUNTIME).write_text(json.dumps(asdict(spec)))
    manifest = Manifest(SCHEMA, model.history, synced_digests(folder))
    write_atomically(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a model folder whose files are all there and undamaged.

    Raises:
        UserError: there is no manifest, it is of another schema, or a file is missing or damaged.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder} is no model folder of ours: it has no {MANIFEST}")
    try:
        manifest = TypeAdapter(Manifest).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is damaged: {error.errors()[0]['msg']}") from error
    if manifest.schema != SCHEMA:
        raise UserError(f"{path} has schema {manifest.schema}, this version reads {SCHEMA}")
    for name, expected in manifest.files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing")
        if file_digest(folder / name) != expected:
            raise UserError(f"{folder / name} is damaged: its SHA-256 is not the manifest's")
    return manifest


def read_spec(folder: Path) -> RunSpec:
    """How to run a verified folder.

    Raises:
        UserError: its `runtime.json` does not say.
    """
    try:
        return TypeAdapter(RunSpec).validate_json((folder / RUNTIME).read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{folder / RUNTIME} is damaged: {first_line(error)}") from error


def read_model(folder: Path) -> PreTrainedModel:
    """The torch modules in a verified folder, with weights, in eval mode."""
    if (folder / PLAIN_WEIGHTS).is_file():
        architecture = getattr(transformers, read_spec(folder).architecture)
        with quiet_bars():
            module = architecture.from_pretrained(folder, dtype="auto", use_safetensors=True)
        one_type_(module)
        return module.eval()
    # The constructor draws initial weights that are overwritten next; the caller's random
    # numbers must not depend on that.
    with torch.random.fork_rng(devices=[]):
        module = _unfilled(folder)
    load_model(module, str(folder / PACKED_WEIGHTS))
    return module.eval()


def read_skeleton(folder: Path) -> PreTrainedModel:
    """The torch modules in a verified folder on the meta device: shapes without weights."""
    with torch.device("meta"):
        return _unfilled(folder).eval()


def read_architecture(folder: Path) -> PreTrainedModel:
    """The plain modules that a verified folder's model came from, with its layers and their names.

    On the meta device, like a skeleton; their shapes and formats may be others than the model's.
    """
    with torch.device("meta"):
        return _plain(folder)


def read_tokenizer(folder: Path) -> Processor:
    """The tokenizer, or the image processor, in a model folder."""
    if (folder / "preprocessor_config.json").is_file():
        return read_image_processor(folder)
    return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def load(folder: str | Path, torch_device: str = "cpu", threads: int | None = None) -> Runnable:
    """A model folder as something to run, whatever its runtime and format; see `compress.load`."""
    folder = Path(folder)
    read_manifest(folder)
    name = read_spec(folder).runtime
    runtime = _resolve(name)
    if not issubclass(runtime, Runtime):
        raise UserError(f"{folder / RUNTIME} names {name}, which is no runtime")
    return runtime.load(folder, torch_device, threads)


def folder_bytes(folder: Path) -> int:
    """Bytes of the files that are needed to run a model."""
    return sum(path.stat().st_size for path in needed_files(folder))


def needed_files(folder: Path) -> list[Path]:
    """The files that are needed to run a model: all but its manifest and its card."""
    told = (MANIFEST, CARD)
    return sorted(path for path in folder.iterdir() if path.name not in told)


def write_card(record: RunRecord, folder: Path) -> None:
    """Writes the model card into a model folder."""
    plain = (folder / PLAIN_WEIGHTS).is_file()
    text = model_card(record, read_spec(folder).architecture, plain=plain)
    write_atomically(folder / CARD, text)


def _stored_modules(module: nn.Module) -> Iterator[tuple[str, StoredModule]]:
    """The modules of ours inside a transformers model."""
    for name, part in module.named_modules():
        if isinstance(part, StoredModule):
            yield name, part


def _plain(folder: Path) -> PreTrainedModel:
    architecture = getattr(transformers, read_spec(folder).architecture)
    return architecture(architecture.config_class.from_pretrained(folder))


def _unfilled(folder: Path) -> PreTrainedModel:
    """The modules in a folder with all their shapes; the weights are to be read next."""
    module = _plain(folder)
    # What plain transformers can load has the shapes that its config says.
    if not (folder / PLAIN_WEIGHTS).is_file():
        parts = {name: _build(part) for name, part in read_spec(folder).modules.items()}
        with safe_open(folder / PACKED_WEIGHTS, framework="pt") as file:
            stored = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: part.get_shape() for name, part in stored.items()}
            types = {name: part.get_dtype() for name, part in stored.items()}
        place_stored_(module, parts, shapes)
        for name, parameter in module.named_parameters():
            parameter.data = parameter.data.to(HALVES.get(types.get(name, ""), parameter.dtype))
    return module


def _spec(part: StoredModule) -> StoredModuleSpec:
    target = f"{type(part).__module__}.{type(part).__qualname__}"
    return StoredModuleSpec(target=target, arguments=part.arguments())


def _build(spec: StoredModuleSpec) -> StoredModule:
    target = _resolve(spec.target)
    if not issubclass(target, StoredModule):
        raise UserError(f"runtime.json names {spec.target}, which is no stored module")
    return target(**spec.arguments)


def _resolve(path: str) -> type:
    """A class of this package by its dotted path; runtime.json can name nothing else."""
    module, _, name = path.rpartition(".")
    if not module.startswith("compress."):
        raise UserError(f"runtime.json may only name classes of compress, got {path}")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"this version of compress has no {path}") from error
    if not isinstance(found, type):
        raise UserError(f"{path} is no class")
    return found
