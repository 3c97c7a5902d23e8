"""Shrinks a fast tokenizer: pure functions on the JSON that `tokenizers.Tokenizer.to_str` gives.

A smaller vocabulary must tokenize every text that used only kept tokens as before:

- WordPiece takes the longest token that fits, so fewer tokens change only the words that used the
  others. A word without pieces stays unknown if every character of the vocabulary is a token by
  itself, at the start of a word and inside one, as in BERT's.
- BPE joins the pair whose merge ranks first. A token can be reached only if all tokens on its merge
  path are kept (`with_parts`). All merges between kept tokens stay, so that each step finds the
  same pair first.
- Unigram takes the best-scoring segmentation, which is still the best among fewer. The cost of an
  unknown character depends on the lowest score of the vocabulary, so the token that has it stays.

Words that use other tokens are split into smaller ones, in the worst case into characters or bytes:
all of those stay (`essential_ids`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from compress.config.errors import UserError

State = dict[str, Any]

BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
KINDS = ("WordPiece", "BPE", "Unigram")
ENDS = ("RobertaProcessing", "BertProcessing")  # post-processors with a first and a last token
POST_PROCESSORS = ("TemplateProcessing", *ENDS, "Sequence", "ByteLevel")


def check_known(state: State) -> None:
    """Raises a UserError if the tokenizer is of a kind that cannot be shrunk."""
    kind = state["model"]["type"]
    if kind not in KINDS:
        raise UserError(f"a {kind} tokenizer cannot be shrunk; allowed: {', '.join(KINDS)}")
    _with_new_ids(state["post_processor"], lambda number: number)


def token_ids(state: State) -> dict[str, int]:
    """The id of every token, including added ones."""
    added = {token["content"]: token["id"] for token in state["added_tokens"]}
    return {**_tokens(state["model"]), **added}


def essential_ids(state: State) -> set[int]:
    """Tokens that every smaller vocabulary needs: characters, special and added tokens."""
    ids = token_ids(state)
    found = {token["id"] for token in state["added_tokens"]}
    found |= {ids[token] for token in _spelling(state["model"])}

    def note(number: int) -> int:
        found.add(number)
        return number

    _with_new_ids(state["post_processor"], note)
    return found


def with_parts(state: State, kept: set[int]) -> set[int]:
    """These tokens and all tokens that BPE merges them from."""
    if state["model"]["type"] != "BPE":
        return kept
    ids = token_ids(state)
    tokens = {token for token, number in ids.items() if number in kept}
    return kept | {ids[token] for token in _parts(state["model"], tokens)}


def shrink(state: State, new_ids: Mapping[int, int]) -> State:
    """The tokenizer with the kept tokens alone.

    Args:
        state: not modified. Truncation and padding, left from the tokenizer's last call, are reset.
        new_ids: new id by old id, for every kept token: in the old order, without gaps.
    """
    added = [{**token, "id": new_ids[token["id"]]} for token in state["added_tokens"]]
    return {
        **state,
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added, key=lambda token: int(token["id"])),
        "post_processor": _with_new_ids(state["post_processor"], new_ids.__getitem__),
        "model": _cut(state["model"], new_ids),
    }


def merge_path(
    symbols: Sequence[str], ranks: Mapping[tuple[str, str], int], prefix: str = ""
) -> list[str]:
    """The tokens that BPE merges on the way to one token; empty if it does not reach it.

    A token inside a longer text is built in the same steps as alone: its merges do not reach
    beyond it, and the first-ranking pair of the whole is the first-ranking pair of its part.

    Args:
        symbols: the token's characters.
        ranks: place of each pair in the list of merges; the lowest is joined first.
        prefix: marks symbols inside a word; the right half loses it.
    """
    symbols, built = list(symbols), []
    while pairs := [(ranks[p], i) for i, p in enumerate(pairwise(symbols)) if p in ranks]:
        _, first = min(pairs)
        joined = symbols[first] + symbols[first + 1].removeprefix(prefix)
        symbols[first : first + 2] = [joined]
        built.append(joined)
    return built if len(symbols) == 1 else []


def _affixes(model: State) -> tuple[str, str]:
    """The prefix of tokens inside a word, such as "##", and the suffix at its end, as "</w>"."""
    return model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""


def _tokens(model: State) -> dict[str, int]:
    if model["type"] == "Unigram":
        return {token: number for number, (token, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def _spelling(model: State) -> set[str]:
    """The tokens of one character or one byte, the unknown token, and Unigram's lowest score."""
    tokens = _tokens(model)
    prefix, suffix = _affixes(model)
    found = {
        token
        for token in tokens
        if len(token) == 1 or len(token.removeprefix(prefix).removesuffix(suffix)) == 1
    }
    if model.get("byte_fallback"):
        found |= {token for token in tokens if BYTE_TOKEN.fullmatch(token)}
    if model.get("unk_token") in tokens:
        found.add(model["unk_token"])
    if model["type"] == "Unigram":
        found.add(min(model["vocab"], key=lambda entry: float(entry[1]))[0])
        if model["unk_id"] is not None:
            found.add(model["vocab"][model["unk_id"]][0])
    return found


def _parts(model: State, tokens: set[str]) -> set[str]:
    prefix, suffix = _affixes(model)
    ranks = {(left, right): rank for rank, (left, right) in enumerate(model["merges"])}
    parts: set[str] = set()
    for token in tokens:
        head = token[: len(prefix)] if token.startswith(prefix) else ""
        tail = suffix if token.endswith(suffix) else ""
        first, *others = list(token[len(head) : len(token) - len(tail)]) or [""]
        symbols = [head + first, *(prefix + character for character in others)]
        symbols[-1] += tail
        parts.update(merge_path(symbols, ranks, prefix))
    return parts


def _cut(model: State, new_ids: Mapping[int, int]) -> State:
    """The "model" section with the kept tokens alone."""
    if model["type"] == "Unigram":
        entries = [entry for number, entry in enumerate(model["vocab"]) if number in new_ids]
        unknown = model["unk_id"]
        unk_id = None if unknown is None else new_ids[unknown]
        return {**model, "vocab": entries, "unk_id": unk_id}
    known = {token: new_ids[old] for token, old in model["vocab"].items() if old in new_ids}
    cut = {**model, "vocab": known}
    if model["type"] == "BPE":
        prefix, _ = _affixes(model)
        cut["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if left in known and right in known and left + right.removeprefix(prefix) in known
        ]
    return cut


def _with_new_ids(processor: State | None, new_id: Callable[[int], int]) -> State | None:
    """A post-processor with new token ids."""
    if processor is None:
        return None
    kind = processor["type"]
    if kind not in POST_PROCESSORS:
        raise UserError(
            f"a tokenizer with a {kind} post-processor cannot be shrunk; "
            f"allowed: {', '.join(POST_PROCESSORS)}"
        )
    changed: State = {}
    if kind == "TemplateProcessing":
        changed["special_tokens"] = {
            name: {**token, "ids": [new_id(number) for number in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    elif kind in ENDS:
        changed = {end: [processor[end][0], new_id(processor[end][1])] for end in ("cls", "sep")}
    elif kind == "Sequence":
        changed["processors"] = [_with_new_ids(each, new_id) for each in processor["processors"]]
    return {**processor, **changed}
