"""Vocabulary trimming: drop the tokens that the task does not use, with their embeddings.

Abdaoui, Pradel, Sigel, "Load What You Need: Smaller Versions of Multilingual BERT",
arXiv:2010.05609; Ushio, Zhou, Camacho-Collados, "An Efficient Multilingual Language Model
Compression through Vocabulary Trimming", arXiv:2305.15020. More than half of a small model's
bytes are embeddings: 30,522 rows of 384 numbers in MiniLM-L6.

Deviations: the papers count tokens in a corpus of a language; here they are counted in the task's
train rows, and the first entries of the vocabulary or a list of words can be added. Beside special
and added tokens, every token of one character or byte stays, to spell the words of rows that are
yet to come, and all that BPE builds a kept token from (see `compress.transformer.tokenizers`).

With `min_count=1` the model computes the same numbers as before on every train row, but for two
cases: a row cut at the task's `max_length` amid a word of BPE or Unigram, because what was cut off
is not counted; and a word that WordPiece did not know, if a character of it is a token only
together with others. The rows whose pieces differ are counted in the notes.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from pydantic.dataclasses import dataclass
from torch import nn

from compress.config.errors import ConfigError, UserError, first_line
from compress.config.fields import NotNegativeInt, PositiveInt
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.system.files import scratch_folder
from compress.system.sources import file_digest
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


@dataclass(frozen=True, kw_only=True)
class Vocabulary(BasePruner):
    """Keeps the tokens that the train rows use, and shrinks tokenizer and embeddings to them.

    Attributes:
        min_count: tokens with at least this many occurrences in the train rows are kept.
        general: number of the first entries of the vocabulary to keep as well. BPE lists its tokens
            in the order in which it learned them, WordPiece and Unigram by frequency, after special
            and (in BERT: 994) unused ones.
        words: path of a text file with one word per line, whose tokens are kept as well; null for
            none.
    """

    min_count: PositiveInt
    general: NotNegativeInt
    words: str | None

    def content_digest(self) -> str:
        """Digest of the list of words."""
        return "" if self.words is None else file_digest(Path(self.words))

    def foresees_shapes(self) -> bool:
        """No: the task's rows say which tokens are kept."""
        return False

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The same skeleton: which tokens stay is known once the rows are read.

        Raises:
            ConfigError: the model reads no tokens, or predicts them, has fewer than `general`, or
                the list of words cannot be read or is empty.
        """
        if head_of(skeleton) == "language_model":
            raise ConfigError(
                f"with pruner=vocabulary a {type(skeleton).__name__} predicts other tokens than "
                "the teacher, and perplexities of different tokens do not compare"
            )
        embeddings = token_table(skeleton)
        if embeddings is None:
            raise ConfigError(
                "pruner=vocabulary needs a model that reads tokens, got "
                f"{type(skeleton).__name__}, which has no table of token embeddings"
            )
        if self.general > embeddings.num_embeddings:
            raise ConfigError(
                f"Vocabulary.general must be at most the {embeddings.num_embeddings} tokens that "
                f"there are, got {self.general}"
            )
        self._listed_words()
        # Whatever tokens go, what has to follow them is the same.
        smaller, count = copy.deepcopy(skeleton), embeddings.num_embeddings
        keep_tokens_(smaller, {number: number for number in range(max(count - 1, 1))})
        check_runs(smaller, "the model with fewer tokens")
        check_rebuilds(smaller, "the model with fewer tokens")
        return skeleton

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Drops tokens from the tokenizer and their rows from the embeddings.

        Raises:
            UserError: the tokenizer is of a kind that cannot be shrunk.
        """
        tokenizer, module = work.tokenizer, work.module
        if not isinstance(tokenizer, transformers.PreTrainedTokenizerFast):
            raise UserError(
                f"pruner=vocabulary needs a fast tokenizer, got {type(tokenizer).__name__}"
            )
        state: State = json.loads(tokenizer.backend_tokenizer.to_str())
        check_known(state)
        rows = ctx.data.train.encode(tokenizer)["input_ids"]
        kept = self._used(tokenizer, rows) | essential_ids(state) | set(tokenizer.all_special_ids)
        kept |= {number for number in token_ids(state).values() if number < self.general}
        kept = with_parts(state, kept | named_ids(module))
        new_ids = {old: new for new, old in enumerate(sorted(kept))}
        embeddings = module.get_input_embeddings()
        work.notes["tokens_before"] = embeddings.num_embeddings
        work.notes["tokens_after"] = len(new_ids)
        keep_tokens_(module, new_ids)
        work.expect_shapes([next(n for n, part in module.named_modules() if part is embeddings)])
        work.tokenizer = shrunken(tokenizer, state, new_ids)
        again = ctx.data.train.encode(work.tokenizer)["input_ids"]
        work.notes["rows_with_other_pieces"] = sum(
            [new_ids.get(old) for old in before] != after
            for before, after in zip(rows, again, strict=True)
        )

    def _used(self, tokenizer: Processor, rows: Sequence[Sequence[int]]) -> set[int]:
        """Tokens with at least `min_count` occurrences, and the tokens of the listed words."""
        counts = Counter(chain.from_iterable(rows))
        used = {number for number, count in counts.items() if count >= self.min_count}
        if words := self._listed_words():
            # Many tokenizers write a word that follows a space in pieces of its own.
            texts = [*words, *(f" {word}" for word in words)]
            used.update(*tokenizer(texts, add_special_tokens=False)["input_ids"])
        return used

    def _listed_words(self) -> list[str]:
        if self.words is None:
            return []
        where = f"Vocabulary.words must be a text file with one word per line, got {self.words}"
        try:
            lines = Path(self.words).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: {first_line(error)}") from error
        words = [line.strip() for line in lines if line.strip()]
        if not words:
            raise ConfigError(f"{where}: it has none")
        return words


def named_ids(module: PreTrainedModel) -> set[int]:
    """The token ids in a model's configs and padding.

    Where positions are counted from the id of the padding token, as in RoBERTa, that id must not
    change: all tokens below it are needed too.
    """
    embeddings = module.get_input_embeddings()
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
    embeddings, output = module.get_input_embeddings(), module.get_output_embeddings()
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
