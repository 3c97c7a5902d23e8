"""Loading models from Hugging Face folders; missing and unused weights are errors."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from compress.config.errors import UserError
from compress.core.problem import EMBEDDER, a_head
from compress.transformer.building import BUILDING, new_module
from compress.transformer.checkpoint_files import GGUF
from compress.transformer.config_values import check_values, error_text
from compress.transformer.embedder import Embedder, embedder_of
from compress.transformer.processors import read_processor
from compress.transformer.sentence_files import read_pooling_

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from compress.interfaces import Head, Problem, Processor

PLAIN_OUTPUTS = {"return_dict": True, "output_hidden_states": False, "output_attentions": False}
ADAPTER = "adapter_config.json"  # of PEFT
# A weight of a block: name of the list of blocks, and index in it.
NUMBERED = re.compile(r"(.+?)\.(\d+)\.")


def load_pretrained(
    folder: Path, problem: Problem, *, fresh_head: bool
) -> tuple[PreTrainedModel, Processor]:
    """A float32 model with the head that a problem needs, in eval mode, and its tokenizer.

    Args:
        folder: config, tokenizer or image processor, and safetensors weights; or a GGUF file,
            whose quantized weights become float32.
        problem: of the task.
        fresh_head: whether a head that is missing, or for other classes, may be initialized at
            random because training follows.

    Raises:
        UserError: the architecture has no such head, or weights are missing.
    """
    config = read_config(folder)
    if problem.head == EMBEDDER:
        read_pooling_(folder, config)
    for name, value in problem.config().items():
        setattr(config, name, value)
    if (folder / ADAPTER).is_file():
        raise UserError(f"{folder} has an adapter ({ADAPTER}): merge it into its model first")
    place, file = _place(folder)
    kind = auto_class(config, problem.head)
    try:
        with quiet_reading():
            module, info = kind.from_pretrained(
                place,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **file,
            )
    except Exception as error:
        # Damaged weights, or any error that a wrong value in the config causes.
        raise UserError(f"{folder} cannot be read: {error_text(error)}") from error
    _check_loaded(folder, module, info, fresh_head)
    if module.can_generate() and (ends := module.generation_config.eos_token_id) is not None:
        module.config.eos_token_id = ends  # where its students and exported graphs have it as well
    module = _unpacked(module) if folder.suffix == GGUF else module
    return module.eval(), read_processor(folder, module)


def read_config(folder: Path) -> PreTrainedConfig:
    """The config of a folder or GGUF file, with plain outputs.

    A checkpoint can be saved with settings for tuples or hidden states as outputs.

    Raises:
        UserError: the config is damaged, or of an unknown architecture.
    """
    place, file = _place(folder)
    try:
        config = transformers.AutoConfig.from_pretrained(place, **file)
        for name, value in PLAIN_OUTPUTS.items():
            setattr(config, name, value)
        _name_outputs_(config, folder)
    except Exception as error:
        # Any error that a wrong value causes in the constructor.
        raise UserError(f"{folder} has no usable config: {error_text(error)}") from error
    check_values(folder, config)
    return config


def _name_outputs_(config: PreTrainedConfig, folder: Path) -> None:
    """Takes class names from label2id if there is no id2label; transformers would ignore them."""
    path = folder / "config.json"
    raw = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    numbers = raw.get("label2id")
    if "id2label" not in raw and isinstance(numbers, dict) and numbers:
        config.id2label = {int(number): str(name) for name, number in numbers.items()}
        config.label2id = {str(name): int(number) for name, number in numbers.items()}


def load_skeleton(folder: Path, head: Head) -> PreTrainedModel:
    """The model's modules on the meta device, from the config alone.

    Raises:
        UserError: the config is damaged, its architecture has no such head, or the folder has no
            matching tokenizer or image processor.
    """
    config = read_config(folder)
    if head == EMBEDDER:
        read_pooling_(folder, config)
    kind = auto_class(config, head)
    try:
        with torch.device("meta"):
            # As the weights are read, whatever type the checkpoint stores them in.
            module = new_module(kind.from_config, config, dtype=torch.float32)
    except Exception as error:
        # Any error that a wrong value causes in the modules.
        raise UserError(f"{folder} has no usable config: {error_text(error)}") from error
    if folder.suffix != GGUF:  # one file has both; to unpack its tokenizer takes seconds
        read_processor(folder, module)
    return module


def _place(path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder to load a model from, and further arguments of `from_pretrained`."""
    if path.suffix == GGUF:
        return path.parent, {"gguf_file": path.name, "trust_remote_code": False}
    return path, {"trust_remote_code": False}


def _unpacked(module: PreTrainedModel) -> PreTrainedModel:
    """A copy without the GGUF quantization config, with which transformers would not save it."""
    config = copy.deepcopy(module.config)
    vars(config).pop("quantization_config", None)
    with torch.random.fork_rng(devices=[]):
        plain = new_module(type(module), config)
    plain.load_state_dict(module.state_dict())
    plain.generation_config = module.generation_config
    return plain


@contextmanager
def quiet_bars() -> Iterator[None]:
    """Hides the progress bars of loading and saving weights."""
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


@contextmanager
def quiet_reading() -> Iterator[None]:
    """For `from_pretrained`, in one thread at a time.

    Hides progress bars and warnings about missing weights, which the caller checks.
    """
    with BUILDING:
        level = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()
        try:
            with quiet_bars():
                yield
        finally:
            transformers.logging.set_verbosity(level)


def head_of(module: PreTrainedModel) -> Head:
    """The kind of head of a model or skeleton."""
    if isinstance(module, Embedder):
        return EMBEDDER
    # Looked up for this architecture alone: every value of the mapping imports a module.
    kind = type(module.config)
    if type(module) is transformers.MODEL_FOR_CAUSAL_LM_MAPPING.get(kind, None):
        return "language_model"
    tags = transformers.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING.get(kind, None)
    return "token_classifier" if type(module) is tags else "classifier"


def check_head(where: str, module: PreTrainedModel, head: Head) -> None:
    """Raises a UserError if a model or skeleton has another kind of head."""
    if head_of(module) != head:
        found = a_head(head_of(module))
        raise UserError(f"{where} holds {found}, the task needs {a_head(head)}")


def auto_class(config: PreTrainedConfig, head: Head) -> Any:
    """The class that puts this head on this architecture.

    Raises:
        UserError: the task needs a language model, outputs of tokens, or embeddings, and this
            architecture has none.
    """
    if head == EMBEDDER:
        return embedder_of(config)
    if head == "token_classifier":
        if type(config) not in transformers.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING:
            raise UserError(
                f"the task needs a class for each token, and {config.model_type} has no head for "
                "that; allowed: encoders such as bert, roberta, distilbert, deberta-v2"
            )
        return transformers.AutoModelForTokenClassification
    if head == "language_model":
        if not _is_decoder(config):
            raise UserError(
                f"the task needs a causal language model, got {config.model_type}; allowed: "
                "decoders such as gpt2, llama, opt, gpt_neox"
            )
        return transformers.AutoModelForCausalLM
    if type(config) in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return transformers.AutoModelForImageClassification
    return transformers.AutoModelForSequenceClassification


def _is_decoder(config: PreTrainedConfig) -> bool:
    """Whether a model's attention is causal.

    Encoders have a class for language modeling too, which is causal only with `is_decoder`.
    """
    fills_gaps = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING
    return type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING and not (
        fills_gaps and not config.is_decoder
    )


def _check_loaded(
    folder: Path, module: PreTrainedModel, info: dict[str, Any], fresh_head: bool
) -> None:
    """Refuses missing or unused weights of the body, and a missing head unless `fresh_head`."""
    missing = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    body = {key for key in missing if key.startswith(f"{module.base_model_prefix}.")}
    # BERT's pooler belongs to the head here: bodies are published without it.
    body = {key for key in body if ".pooler." not in key}
    if body:
        raise UserError(
            f"{folder} lacks {len(body)} weights of {type(module).__name__}, such as {min(body)}"
        )
    surplus = sorted(key for key in info["unexpected_keys"] if _is_of_a_lacking_block(module, key))
    if surplus:
        raise UserError(
            f"{folder} has weights of more blocks than its config.json, such as {surplus[0]}"
        )
    parts = {name for name, _ in module.named_modules()}
    prefix = module.base_model_prefix
    unused = sorted(k for k in info["unexpected_keys"] if _adds(parts, prefix, k, fresh_head))
    if unused:
        raise UserError(
            f"{folder} has weights that {type(module).__name__} does not use, such as {unused[0]}; "
            "adapters must be merged into their model"
        )
    if missing and head_of(module) == "language_model":
        raise UserError(f"{folder} has no head that predicts tokens ({', '.join(sorted(missing))})")
    if missing and not fresh_head:
        raise UserError(
            f"{folder} has no head for {module.config.num_labels} classes "
            f"({', '.join(sorted(missing))}); fine-tune it with epochs > 0"
        )


def _adds(parts: Set[str], prefix: str, key: str, fresh_head: bool) -> bool:
    """Whether an unused weight belongs to a module inside the body or the head.

    Heads of other tasks, and buffers that older versions saved, may be unused. A key can lack the
    prefix of the body.
    """
    owner, _, leaf = key.rpartition(".")
    if leaf == "inv_freq":
        return False
    inside = key if key.startswith(f"{prefix}.") else f"{prefix}.{key}"
    if NUMBERED.match(inside) and inside.rpartition(".")[0] not in parts:
        return True
    first = key.partition(".")[0]
    return not fresh_head and first != prefix and first in parts and owner not in parts


def _is_of_a_lacking_block(module: PreTrainedModel, key: str) -> bool:
    """Whether an unused weight, with or without the body's prefix, is beyond the last block."""
    for name in (key, f"{module.base_model_prefix}.{key}"):
        found = NUMBERED.match(name)
        if found is None:
            continue
        with suppress(AttributeError):
            blocks = module.get_submodule(found[1])
            if isinstance(blocks, torch.nn.ModuleList) and int(found[2]) >= len(blocks):
                return True
    return False
