"""A tokenizer in a GGUF file: its tokens, merges, and how llama.cpp cuts a text before them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.config.errors import UserError

if TYPE_CHECKING:
    from gguf import GGUFWriter

TOKENIZER = "tokenizer.json"
BYTE = re.compile("<0x[0-9A-F]{2}>")
SPACE = "▁"
LOWEST = -1e6  # the score of tokens that no merge makes

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# What cuts a text into words, in order, and what llama.cpp calls it. After a pattern of its own,
# bytes have none.
CUTS: Mapping[tuple[str, ...], str] = {
    ("ByteLevel",): "gpt-2",
    ("Digits", "ByteLevel"): "smollm",
    (_WORDS + r"\p{N}" + _REST,): "qwen2",
    (_WORDS + r"\p{N}{1,3}" + _REST,): "llama-bpe",
}


def add_tokenizer(writer: GGUFWriter, folder: Path, size: int) -> None:
    """Writes the tokenizer of a model folder into a GGUF file.

    Args:
        writer: of the file.
        folder: with a `tokenizer.json`.
        size: of the model's vocabulary; tokens that the tokenizer lacks are filled up.

    Raises:
        UserError: llama.cpp has no tokenizer that does the same.
    """
    import gguf

    path = folder / TOKENIZER
    if not path.is_file():
        raise UserError(f"{folder} has no {TOKENIZER}, which a GGUF file is made from")
    said = json.loads(path.read_bytes())
    if said["model"]["type"] != "BPE":
        raise UserError(f"GGUF: {path} is a {said['model']['type']} tokenizer, allowed: BPE")
    by_bytes = not said["model"].get("byte_fallback", False)
    cut = _cut(path, said) if by_bytes else _space(path, said)
    tokens, kinds = _tokens(said, size)
    writer.add_tokenizer_model("gpt2" if by_bytes else "llama")
    if isinstance(cut, str):
        writer.add_tokenizer_pre(cut)
    else:
        writer.add_token_scores(_scores(said, tokens))
        writer.add_add_space_prefix(cut)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    special = gguf.SpecialVocab(folder, load_merges=by_bytes, n_vocab=size)
    special.add_to_gguf(writer, quiet=True)


def _cut(path: Path, said: Mapping[str, Any]) -> str:
    """The name in llama.cpp of what cuts a text into words.

    Raises:
        UserError: it has no name for this.
    """
    steps = _steps(said["pre_tokenizer"], "pretokenizers")
    kinds = tuple(step["type"] for step in steps)
    own = kinds == ("Split", "ByteLevel")
    found = (steps[0]["pattern"].get("Regex", ""),) if own else kinds
    # What each step is without a setting, where it has none.
    whole = all(
        step.get("individual_digits", True)
        and not step.get("add_prefix_space", False)
        and not step.get("invert", False)
        and step.get("behavior", "Isolated") == "Isolated"
        and step.get("use_regex", True) != (own and step["type"] == "ByteLevel")
        for step in steps
    )
    if found not in CUTS or not whole or said["normalizer"] not in (None, {"type": "NFC"}):
        names = ", ".join(sorted(CUTS.values()))
        raise UserError(
            f"GGUF: llama.cpp has no name for how {path} cuts texts into words; allowed: {names}"
        )
    return CUTS[found]


def _space(path: Path, said: Mapping[str, Any]) -> bool:
    """Whether a space is put before a text that has a token for each piece, and bytes for the rest.

    Raises:
        UserError: something else is done to the text.
    """
    cuts = _steps(said["pre_tokenizer"], "pretokenizers")
    changes = _steps(said["normalizer"], "normalizers")
    prefix = {"type": "Prepend", "prepend": SPACE}
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    known = all(
        step["type"] == "Metaspace" and step["replacement"] == SPACE and not step.get("split", True)
        for step in cuts
    )
    known &= all(step in (prefix, spaces) for step in changes)
    found = [step.get("prepend_scheme", "always") != "never" for step in cuts]
    found += [True for step in changes if step == prefix]
    if not known or len(found) > 1 or not (cuts or spaces in changes):
        raise UserError(
            f"GGUF: llama.cpp has no name for what {path} does to texts; allowed: Metaspace, or "
            f"Prepend and Replace, with {SPACE}"
        )
    return any(found)


def _steps(first: Mapping[str, Any] | None, several: str) -> list[Mapping[str, Any]]:
    """The steps of a sequence, or the one that there is."""
    if first is None:
        return []
    return [*first[several]] if first["type"] == "Sequence" else [first]


def _tokens(said: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Every token and its type, in the order of the model's vocabulary."""
    from gguf import TokenType

    tokens = [f"[PAD{number}]" for number in range(size)]
    kinds = [int(TokenType.UNUSED)] * size
    for token, number in said["model"]["vocab"].items():
        tokens[number] = token
        kinds[number] = int(TokenType.BYTE if BYTE.fullmatch(token) else TokenType.NORMAL)
    for added in said["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = int(TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED)
    return tokens, kinds


def _scores(said: Mapping[str, Any], tokens: list[str]) -> list[float]:
    """For each token how early it is merged: llama.cpp merges the pair with the highest score."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(said["model"]["merges"]):
        parts = pair.split(" ") if isinstance(pair, str) else pair
        ranks.setdefault("".join(parts), rank)
    return [float(-ranks[token]) if token in ranks else LOWEST for token in tokens]
