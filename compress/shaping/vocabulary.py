"""A smaller vocabulary: the tokens that the rows use, with their embeddings.

Abdaoui, Pradel, Sigel, "Load What You Need: Smaller Versions of Multilingual BERT",
arXiv:2010.05609; Ushio, Zhou, Camacho-Collados, "An Efficient Multilingual Language Model
Compression through Vocabulary Trimming", arXiv:2305.15020. More than half of a small model's
bytes are embeddings: 30,522 rows of 384 numbers in MiniLM-L6.

Deviations: the papers count tokens in a corpus of a language; here they are counted in the task's
train rows and its transfer text, if it has any (`rows_counted` in the notes), and the first entries
of the vocabulary or a list of words can be added. Beside special and added tokens, every token of
one character or byte stays, to spell the words of rows that are yet to come, and all that BPE
builds a kept token from (see `compress.transformer.tokenizers`).

Where every token of these rows stays, the model computes the same numbers as before on each of
them, but for two cases: a row cut at the task's `max_length` amid a word of BPE or Unigram, because
what was cut off is not counted; and a word that WordPiece did not know, if a character of it is a
token only together with others. The rows whose pieces differ are counted in the notes.
"""

from __future__ import annotations

import copy
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import nn

from compress.config.errors import ConfigError, UserError
from compress.interfaces import Split
from compress.system.files import scratch_folder
from compress.transformer.dry_run import check_runs
from compress.transformer.pretrained import head_of
from compress.transformer.processors import read_written_processor
from compress.transformer.rebuilding import check_rebuilds
from compress.transformer.stacks import token_table
from compress.transformer.surgery import keep_rows_, resize_
from compress.transformer.tokenizers import (
    State,
    check_known,
    essential_ids,
    shrink,
    token_ids,
    with_parts,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


@dataclass(frozen=True)
class Kept:
    """Which tokens stay, beside those that every vocabulary needs.

    Attributes:
        min_count: tokens with at least this many occurrences in the rows.
        size: tokens in all, at most: of those the most frequent, of equally frequent ones the
            earlier; null for no limit.
        general: number of the first entries of the vocabulary.
        words: whose tokens stay as well.
    """

    min_count: int = 1
    size: int | None = None
    general: int = 0
    words: Sequence[str] = ()


def check_vocabulary(
    skeleton: PreTrainedModel, setting: str, counts: Mapping[str, int | None]
) -> None:
    """Checks that the vocabulary of a model can shrink.

    Args:
        skeleton: not modified: which tokens stay is known once the rows are read.
        setting: the setting, for messages.
        counts: by name of a setting, numbers of tokens that it asks for.

    Raises:
        ConfigError: the model reads no tokens, or predicts them, or has fewer than are asked for.
    """
    if head_of(skeleton) == "language_model":
        raise ConfigError(
            f"with {setting} a {type(skeleton).__name__} predicts other tokens than "
            "the teacher, and perplexities of different tokens do not compare"
        )
    embeddings = token_table(skeleton)
    if embeddings is None:
        raise ConfigError(
            f"{setting} needs a model that reads tokens, got "
            f"{type(skeleton).__name__}, which has no table of token embeddings"
        )
    for name, asked in counts.items():
        if asked is not None and asked > embeddings.num_embeddings:
            raise ConfigError(
                f"{name} must be at most the {embeddings.num_embeddings} tokens that there are, "
                f"got {asked}"
            )
    # Whatever tokens go, what has to follow them is the same.
    smaller, count = copy.deepcopy(skeleton), embeddings.num_embeddings
    keep_tokens_(smaller, {number: number for number in range(max(count - 1, 1))})
    check_runs(smaller, "the model with fewer tokens")
    check_rebuilds(smaller, "the model with fewer tokens")


def shrink_vocabulary_(
    module: PreTrainedModel, tokenizer: Processor, rows: Split, setting: str, kept: Kept
) -> tuple[Processor, dict[str, Any]]:
    """Drops the rows of all other tokens from a model's embeddings.

    Args:
        module: changes in place.
        tokenizer: left as it is.
        rows: their tokens are counted.
        setting: the setting, for messages.
        kept: which tokens stay.

    Returns:
        The tokenizer of the kept tokens alone, and notes for the record.

    Raises:
        UserError: the tokenizer is of a kind that cannot be shrunk, or needs more than `kept.size`.
    """
    if not isinstance(tokenizer, transformers.PreTrainedTokenizerFast):
        raise UserError(f"{setting} needs a fast tokenizer, got {type(tokenizer).__name__}")
    state: State = json.loads(tokenizer.backend_tokenizer.to_str())
    check_known(state)
    encoded = rows.encode(tokenizer)["input_ids"]
    always = essential_ids(state) | set(tokenizer.all_special_ids) | named_ids(module)
    always |= {number for number in token_ids(state).values() if number < kept.general}
    if kept.words:
        # Many tokenizers write a word that follows a space in pieces of its own.
        texts = [*kept.words, *(f" {word}" for word in kept.words)]
        always.update(*tokenizer(texts, add_special_tokens=False)["input_ids"])
    counts = Counter(chain.from_iterable(encoded))
    stays = kept_ids(state, counts, always, setting, kept)
    new_ids = {old: new for new, old in enumerate(sorted(stays))}
    table = token_table(module)
    assert table is not None, "the check looked it up"
    notes = {
        "tokens_before": table.num_embeddings,
        "tokens_after": len(new_ids),
        "rows_counted": len(encoded),
    }
    keep_tokens_(module, new_ids)
    smaller = shrunken(tokenizer, state, new_ids)
    again = rows.encode(smaller)["input_ids"]
    notes["rows_with_other_pieces"] = sum(
        [new_ids.get(old) for old in before] != after
        for before, after in zip(encoded, again, strict=True)
    )
    return smaller, notes


def kept_ids(
    state: State, counts: Mapping[int, int], always: Collection[int], setting: str, kept: Kept
) -> set[int]:
    """The tokens that stay, with all that BPE builds them from.

    Args:
        state: of the tokenizer.
        counts: occurrences in the rows, by token.
        always: tokens that stay whatever their count.
        setting: the setting, for messages.
        kept: the limits.

    Raises:
        UserError: the tokens that always stay are more than `kept.size`.
    """
    often = [number for number, count in counts.items() if count >= kept.min_count]
    often = sorted(set(often).difference(always), key=lambda number: (-counts[number], number))

    def first(count: int) -> set[int]:
        return with_parts(state, {*always, *often[:count]})

    if kept.size is None:
        return first(len(often))
    size, least = kept.size, len(first(0))
    if least > size:
        raise UserError(
            f"{setting}={size} is fewer than the {least} special tokens and single characters that "
            "this tokenizer needs"
        )
    # Parts of later tokens may be there already, so only trying says how many fit.
    return first(bisect_right(range(len(often) + 1), size, key=lambda n: len(first(n))) - 1)


def named_ids(module: PreTrainedModel) -> set[int]:
    """The token ids in a model's configs and padding.

    Where positions are counted from the id of the padding token, as in RoBERTa, that id must not
    change: all tokens below it are needed too.
    """
    embeddings = token_table(module)
    assert embeddings is not None
    listed = (_token_ids(config).values() for config in _configs(module))
    found = {number for config in listed for numbers in config for number in numbers}
    for part in module.modules():
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            counted = range(part.padding_idx) if part.weight is not embeddings.weight else ()
            found |= {part.padding_idx, *counted}
    # Configs hold numbers of their architecture's first model that other vocabularies do not have.
    return {number for number in found if 0 <= number < embeddings.num_embeddings}


@torch.no_grad()
def keep_tokens_(module: PreTrainedModel, new_ids: Mapping[int, int]) -> None:
    """Drops the rows of all other tokens from input and output embeddings, and updates configs.

    Args:
        module: changes in place, with its configs.
        new_ids: new number by old number, in the old order, without gaps.

    Raises:
        UserError: a token has no row.
    """
    embeddings, output = token_table(module), module.get_output_embeddings()
    assert embeddings is not None
    if max(new_ids) >= embeddings.num_embeddings:
        raise UserError(
            f"the tokenizer has a token {max(new_ids)}, but the embeddings of "
            f"{type(module).__name__} only have {embeddings.num_embeddings} rows"
        )
    rows = torch.tensor(list(new_ids), device=embeddings.weight.device)
    # Encoder-decoders have the table three times: for both halves, and for itself.
    found = (part for part in module.modules() if isinstance(part, nn.Embedding))
    tables = [part for part in found if part.weight is embeddings.weight]
    resize_(embeddings, "weight", embeddings.weight.index_select(0, rows))
    for table in tables:
        table.weight, table.num_embeddings = embeddings.weight, len(rows)
    if isinstance(output, nn.Linear):
        keep_rows_(output, rows)
        module.tie_weights()
    for config in _configs(module):
        for name, numbers in _token_ids(config).items():
            renumbered = [new_ids.get(number, number) for number in numbers]
            listed = isinstance(getattr(config, name), list)
            setattr(config, name, renumbered if listed else renumbered[0])
    module.config.vocab_size = len(new_ids)
    for part in module.modules():
        facts = vars(part)
        if "vocab_size" in facts:
            facts["vocab_size"] = len(new_ids)
        if facts.get("padding_idx") is not None:
            facts["padding_idx"] = new_ids.get(facts["padding_idx"], facts["padding_idx"])


def shrunken(tokenizer: Processor, state: State, new_ids: Mapping[int, int]) -> Processor:
    """A tokenizer of the same class with the kept tokens alone, as it will be read from disk.

    Raises:
        UserError: its class does not take the smaller vocabulary as it is.
    """
    smaller = shrink(state, new_ids)
    with scratch_folder() as folder:
        tokenizer.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(json.dumps(smaller), encoding="utf-8")
        smaller_tokenizer = read_written_processor(folder)
    if json.loads(smaller_tokenizer.backend_tokenizer.to_str()) != smaller:
        raise UserError(f"{type(tokenizer).__name__} does not take a smaller vocabulary as it is")
    return smaller_tokenizer


def _configs(module: PreTrainedModel) -> list[Any]:
    return [module.config, *([module.generation_config] if module.can_generate() else [])]


def _token_ids(config: Any) -> dict[str, list[int]]:
    """The token ids in a config, by attribute name."""
    named = {name: value for name, value in vars(config).items() if name.endswith("_token_id")}
    return {
        name: value if isinstance(value, list) else [value]
        for name, value in named.items()
        if value not in (None, [])
    }
