"""A decoder as a GGUF file, which llama.cpp and what is built on it read.

The names of tensors, the order of rotary dimensions and the formats are those of llama.cpp's own
converter; the package gguf, which is theirs, packs the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from transformers.pytorch_utils import Conv1D

from compress.config.errors import UserError
from compress.serve.folder import read_spec
from compress.store.artifact import read_model
from compress.store.gguf_tokens import add_tokenizer
from compress.system.files import sync, temporary_name
from compress.system.packages import require
from compress.transformer.pretrained import head_of
from compress.transformer.stored_modules import StoredModule

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedModel

# By their names in the package gguf, bits of a number with the scales of its block.
TYPES: Mapping[str, float] = {
    "F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8.5, "Q5_1": 6, "Q5_0": 5.5, "Q4_1": 5, "Q4_0": 4.5,
}  # fmt: skip
BLOCK = 32  # numbers of a row that share a scale
# Embeddings and the output layer lose most: they have this type where the others have fewer bits.
TABLES = "Q8_0"


@dataclass(frozen=True)
class Family:
    """How llama.cpp computes a model type of transformers.

    Attributes:
        name: in llama.cpp.
        activation: the one that it computes.
        pairs: whether it rotates neighboring dimensions, where transformers rotates halves.
        turns: whether positions are rotations; else they are a table.
        biases: whether it reads those of matrices.
    """

    name: str
    activation: str
    pairs: bool = False
    turns: bool = True
    biases: bool = True


FAMILIES = {
    "llama": Family("llama", "silu", pairs=True),
    "mistral": Family("llama", "silu", pairs=True),
    "qwen2": Family("qwen2", "silu"),
    "qwen3": Family("qwen3", "silu", biases=False),
    "gpt2": Family("gpt2", "gelu_new", turns=False),
}
# What configurations of these can change of what is computed, as llama.cpp computes it.
COMPUTED: Mapping[str, object] = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


def write_gguf(folder: Path, path: Path, kind: str) -> Path:
    """Writes the float model in a model folder as a GGUF file.

    Args:
        folder: verified, with a decoder for torch.
        path: of the new file, which must not exist.
        kind: one of `TYPES`, of the matrices in the layers. Vectors stay float32.

    Raises:
        UserError: the model is none that llama.cpp computes alike, its weights are quantized
            already, a row does not fill the blocks of the type, or the file exists.
    """
    require("a GGUF file", "gguf", "gguf")
    import gguf

    if path.exists():
        raise UserError(f"{path} exists already; name a new file")
    module = _read(folder)
    family = _family(folder, module)
    tensors = [*_tensors(module, family, kind)]
    scratch = temporary_name(path)
    writer = gguf.GGUFWriter(scratch, family.name)
    writer.add_name(path.stem)
    writer.add_file_type(gguf.LlamaFileType[f"{'ALL' if kind == 'F32' else 'MOSTLY'}_{kind}"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_sizes(writer, module.config, family)
    add_tokenizer(writer, folder, module.config.vocab_size)
    for name, values, type_ in tensors:
        packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType[type_])
        writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType[type_])
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        sync(scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return path


def _read(folder: Path) -> PreTrainedModel:
    """The model in a folder.

    Raises:
        UserError: it is in the format of another runtime.
    """
    runtime = read_spec(folder).runtime
    if runtime != "torch":
        raise UserError(f"GGUF: {folder} is for {runtime}, expected a model for torch (device=cpu)")
    return read_model(folder)


def _family(folder: Path, module: PreTrainedModel) -> Family:
    """How llama.cpp computes a model.

    Raises:
        UserError: it does not, or not alike.
    """
    config: Any = module.config
    stored = {type(part).kind for part in module.modules() if isinstance(part, StoredModule)}
    if stored:
        raise UserError(
            f"GGUF: the weights of {folder} are quantized or factorized already "
            f"({', '.join(sorted(stored))}); expected those of a run with quantizer=none"
        )
    family = FAMILIES.get(config.model_type)
    if family is None or head_of(module) != "language_model":
        got = type(module).__name__
        raise UserError(f"GGUF: expected a language model of {', '.join(FAMILIES)}, got {got}")
    activation = getattr(config, "hidden_act", None) or config.activation_function
    if activation != family.activation:
        raise UserError(
            f"GGUF: llama.cpp computes {family.name} with {family.activation}, got {activation}"
        )
    for name, value in COMPUTED.items():
        if getattr(config, name, value) != value:
            raise UserError(f"GGUF: expected {name}={value}, got {getattr(config, name)}")
    biased = [name for name, _ in module.named_parameters() if name.endswith("proj.bias")]
    if biased and not family.biases:
        raise UserError(f"GGUF: llama.cpp reads no biases of {family.name}, got {biased[0]}")
    rotation = getattr(config, "rope_parameters", None) or {}
    if rotation.get("rope_type", "default") != "default":
        raise UserError(f"GGUF: expected rope_type=default, got {rotation['rope_type']}")
    window = getattr(config, "sliding_window", None)
    if window is not None and window < config.max_position_embeddings:
        raise UserError(f"GGUF: expected attention to all tokens, got windows of {window}")
    return family


def _add_sizes(writer: GGUFWriter, config: Any, family: Family) -> None:
    heads, width = config.num_attention_heads, config.hidden_size
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(width)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(heads)
    writer.add_vocab_size(config.vocab_size)
    if not family.turns:
        writer.add_feed_forward_length(config.n_inner or 4 * width)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    each = getattr(config, "head_dim", None) or width // heads
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(each)
    writer.add_key_length(each)
    writer.add_value_length(each)


def _tensors(
    module: PreTrainedModel, family: Family, kind: str
) -> Iterator[tuple[str, Float[np.ndarray, ...], str]]:
    """Name in llama.cpp, values and type of each tensor.

    Raises:
        UserError: a row does not fill the blocks of the type.
    """
    import gguf

    config: Any = module.config
    arch = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == family.name)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    transposed = {f"{n}.weight" for n, part in module.named_modules() if isinstance(part, Conv1D)}
    tables = {id(module.get_input_embeddings().weight), id(module.get_output_embeddings().weight)}
    for path, parameter in module.named_parameters():
        values = parameter.detach().float().numpy()
        values = values.T if path in transposed else values
        part = path.split(".")[-2]
        if family.pairs and part in ("q_proj", "k_proj"):
            queries = part == "q_proj"
            values = _in_pairs(
                values, config.num_attention_heads if queries else config.num_key_value_heads
            )
        name = names.get_name(path, try_suffixes=(".weight", ".bias"))
        assert name is not None, f"gguf has no name for {path}"
        type_ = "F32" if values.ndim == 1 else kind
        if id(parameter) in tables and TYPES[kind] < TYPES[TABLES]:
            type_ = TABLES
        if type_.startswith("Q") and values.shape[-1] % BLOCK:
            raise UserError(
                f"GGUF: {type_} takes rows of a multiple of {BLOCK}, {path} has "
                f"{values.shape[-1]}; allowed: F32, F16, BF16"
            )
        yield name, np.ascontiguousarray(values), type_


def _in_pairs(values: Float[np.ndarray, "out ..."], heads: int) -> Float[np.ndarray, "out ..."]:
    """Queries or keys with the two dimensions of a rotation beside each other."""
    halves = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)
