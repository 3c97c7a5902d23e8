"""Tokenizers and image processors of a folder: strict loading, reproducible saving.

transformers invents a vocabulary of five tokens if a folder has none, gives ids beyond the
embeddings to tokens that a class adds by default, and saves the arguments it was called with.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers
from torch import nn

from compress.config.errors import UserError, first_line
from compress.serve.texts import TOKENIZER
from compress.transformer.checkpoint_files import GGUF

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

    from compress.interfaces import Processor

TOKENIZER_CONFIG = "tokenizer_config.json"
IMAGE_CONFIGS = ("preprocessor_config.json", "processor_config.json")
# Arguments and results of `from_pretrained`, which transformers saves with the settings.
OF_THE_PROCESS = {
    "_commit_hash", "cache_dir", "device_map", "force_download", "is_local", "local_files_only",
    "name_or_path", "proxies", "resume_download", "revision", "special_tokens_map_file",
    "subfolder", "token", "tokenizer_file", "trust_remote_code", "use_auth_token",
}  # fmt: skip


def read_processor(path: Path, module: PreTrainedModel) -> Processor:
    """The image processor or tokenizer of a model, in its folder or GGUF file.

    Raises:
        UserError: it is missing or damaged, or has token ids without an embedding.
    """
    if module.main_input_name == "pixel_values":
        return read_image_processor(path)
    tokenizer = _fitting_tokenizer(path, module)
    taken = inspect.signature(module.forward).parameters
    names = [name for name in tokenizer.model_input_names if name in taken]
    if names != list(tokenizer.model_input_names):
        set_and_keep_(tokenizer, "model_input_names", names)
    return tokenizer


def read_written_processor(folder: Path) -> Processor:
    """The tokenizer, or the image processor, in a folder that `write_processor` wrote to."""
    if any((folder / name).is_file() for name in IMAGE_CONFIGS):
        return read_image_processor(folder)
    return read_tokenizer(folder)


def read_image_processor(folder: Path) -> BaseImageProcessor:
    """The image processor of a folder.

    It uses Pillow even if torchvision is installed, which gives other values.

    Raises:
        UserError: it is missing or damaged.
    """
    if not any((folder / name).is_file() for name in IMAGE_CONFIGS):
        raise UserError(f"{folder} holds no image processor ({', '.join(IMAGE_CONFIGS)})")
    try:
        return transformers.AutoImageProcessor.from_pretrained(
            folder, trust_remote_code=False, backend="pil"
        )
    except Exception as error:
        # Whatever a wrong value makes the constructor raise.
        raise UserError(f"{folder} has a damaged image processor: {first_line(error)}") from error


def read_tokenizer(path: Path, **changes: Any) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or GGUF file, with some settings changed.

    Raises:
        UserError: it is missing or damaged.
    """
    gguf = path.suffix == GGUF
    folder = path.parent if gguf else path
    file = {"gguf_file": path.name} if gguf else {}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, **file, **changes
        )
    except Exception as error:
        # Whatever a wrong value makes the constructor raise, and backends have kinds of their own.
        if gguf or _tokenizer_files(folder):
            raise UserError(f"{path} has a damaged tokenizer: {first_line(error)}") from error
        raise _none_in(folder) from error
    # Byte-level classes have no vocabulary files.
    vocabularies = set(tokenizer.vocab_files_names.values()) - {TOKENIZER_CONFIG}
    found = any((folder / name).is_file() for name in (TOKENIZER, *vocabularies))
    if vocabularies and not (gguf or found):
        raise _none_in(folder)
    return tokenizer


def write_processor(processor: Processor, folder: Path, max_length: int | None = None) -> None:
    """Saves a tokenizer or an image processor, as the same bytes wherever it was loaded from.

    Args:
        processor: a fast tokenizer's truncation and padding, left from its last call, are reset.
        folder: exists.
        max_length: tokens that `tokenizer.json` is to truncate texts to, and with it to pad them to
            the longest of a batch; null for neither, as between stages.
    """
    backend = getattr(processor, "backend_tokenizer", None)
    if backend is not None:
        _limit_(processor, backend, max_length)
    processor.save_pretrained(folder)
    if backend is not None:
        _limit_(processor, backend, None)
    for name in (TOKENIZER_CONFIG, *IMAGE_CONFIGS):
        path = folder / name
        if path.is_file():
            settings = json.loads(path.read_text(encoding="utf-8"))
            kept = {key: value for key, value in settings.items() if key not in OF_THE_PROCESS}
            text = json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            path.write_text(text, encoding="utf-8")


def _limit_(tokenizer: Any, backend: Any, max_length: int | None) -> None:
    """Sets truncation and padding of a fast tokenizer, which are part of its file."""
    backend.no_truncation()
    backend.no_padding()
    if max_length is not None:
        backend.enable_truncation(max_length, direction=tokenizer.truncation_side)
        if tokenizer.pad_token is not None:
            backend.enable_padding(
                direction=tokenizer.padding_side,
                pad_id=tokenizer.pad_token_id,
                pad_type_id=tokenizer.pad_token_type_id,
                pad_token=tokenizer.pad_token,
            )


def set_and_keep_(tokenizer: Processor, name: str, value: Any) -> None:
    """Changes a setting of a tokenizer so that transformers saves it."""
    setattr(tokenizer, name, value)
    tokenizer.init_kwargs[name] = value


def _fitting_tokenizer(path: Path, module: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer, if each of its tokens has a row in the model's embeddings."""
    tokenizer = read_tokenizer(path)
    embeddings = module.get_input_embeddings()
    if not isinstance(embeddings, nn.Embedding):
        return tokenizer
    rows = embeddings.num_embeddings
    beyond = _beyond(tokenizer, rows)
    made_up = _made_up(path, tokenizer, beyond)
    if made_up:
        tokenizer = read_tokenizer(path, **dict.fromkeys(made_up))
        beyond = _beyond(tokenizer, rows)
    if beyond:
        raise UserError(
            f"the tokenizer of {path} has {len(beyond)} tokens, such as {min(beyond)!r}, beyond "
            f"the {rows} that {type(module).__name__} has embeddings of"
        )
    padding = module.config.pad_token_id
    if padding is not None and padding >= rows:
        raise UserError(
            f"{path}: config.json has pad_token_id {padding}, beyond the {rows} tokens that "
            f"{type(module).__name__} has embeddings of"
        )
    return tokenizer


def _beyond(tokenizer: PreTrainedTokenizerBase, rows: int) -> set[str]:
    """Tokens whose id has no embedding."""
    return {token for token, number in tokenizer.get_vocab().items() if number >= rows}


def _made_up(path: Path, tokenizer: PreTrainedTokenizerBase, beyond: set[str]) -> list[str]:
    """Special tokens beyond the embeddings that the class adds and no file names."""
    config = path / TOKENIZER_CONFIG
    if not config.is_file():
        return []
    named = json.loads(config.read_bytes())
    return [
        name
        for name in tokenizer.SPECIAL_TOKENS_ATTRIBUTES
        if name not in named and str(getattr(tokenizer, name, None)) in beyond
    ]


def _tokenizer_files(folder: Path) -> bool:
    """Whether a folder has files of a tokenizer."""
    patterns = (TOKENIZER, "vocab*", "*.model", "*.codes", "*.tokenizer")
    return any(path.is_file() for pattern in patterns for path in folder.glob(pattern))


def _none_in(folder: Path) -> UserError:
    return UserError(f"{folder} holds no tokenizer ({TOKENIZER}, vocab.txt, tokenizer.model, …)")
