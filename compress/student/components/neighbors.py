"""Augmentation by neighbors in the teacher's table of token embeddings.

Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", arXiv:1909.10351,
Algorithm 1 (appendix), with its p_t (`probability`), N_a (`copies`) and K (`nearest`). Deviations:

- The paper takes the candidates of a word that is one token from a masked language model, those of
  other words from GloVe. Here a word that is one token has its nearest ones in the teacher's own
  embeddings, by cosine, and other words stay: no further model is needed.
- A word is of two or more letters and nothing else, next to no letter, digit or apostrophe:
  numbers and "don't" stay.
- A copy has words in the spelling of the vocabulary; the published code capitalizes them like the
  word that they replace. It also leaves out a list of English stop words, and equal copies.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional

from compress.config.errors import ConfigError, UserError
from compress.config.fields import PositiveInt, Share
from compress.interfaces import CompressedModel
from compress.student.components.augmentation import Augmentation
from compress.transformer.stacks import token_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor

TEXTS = 10_000  # are tokenized at once: the offsets of a token take a hundred bytes
COSINES = 2**25  # are computed at once
APOSTROPHES = "'’"


@dataclass(frozen=True, kw_only=True)
class Neighbors(Augmentation):
    """Adds copies of each text with words replaced by neighbors among the token embeddings.

    Attributes:
        probability: of each word that is one token, that it is replaced.
        nearest: number of nearest words, one of which is drawn.
    """

    probability: Share
    nearest: PositiveInt

    def check(self, teacher: PreTrainedModel) -> None:
        """Raises a ConfigError if a model has no texts, or no table of token embeddings."""
        super().check(teacher)
        if token_table(teacher) is None:
            raise ConfigError(
                f"Neighbors needs a table of token embeddings, {type(teacher).__name__} has none"
            )

    def changed(
        self, texts: Sequence[str], teacher: CompressedModel, generator: torch.Generator
    ) -> list[str]:
        """Copies with words replaced.

        Raises:
            UserError: the tokenizer has too few tokens that are words, or the texts have none.
        """
        words, table = known_words(teacher.tokenizer), token_table(teacher.module)
        name = type(teacher.tokenizer).__name__
        if len(words.spelling) <= self.nearest:
            raise UserError(
                f"Neighbors needs more than nearest={self.nearest} words that are one token, the "
                f"teacher's {name} has {len(words.spelling)}"
            )
        places = words.places(texts, teacher.tokenizer)
        if not len(places):
            raise UserError(f"Neighbors: no word of the rows is one token of the teacher's {name}")
        assert table is not None, "checked before"
        used, which = torch.unique(places[:, 3], return_inverse=True)
        vectors = table.weight.detach()[words.tokens].float()
        near = nearest_rows(vectors, used, self.nearest)
        copies: list[str] = []
        for _ in range(self.copies):
            drawn = torch.randint(self.nearest, (len(places),), generator=generator)
            taken = torch.rand(len(places), generator=generator) < self.probability
            new = near[which, drawn][taken].tolist()
            copies += replaced(texts, places[taken], [words.spelling[word] for word in new])
        return copies


@dataclasses.dataclass(frozen=True)
class Words:
    """The words that are one token of a tokenizer.

    Attributes:
        spelling: of each word.
        tokens: the token of each word, after a space.
        of_token: the word of each token that is spelled like one, else -1.
    """

    spelling: list[str]
    tokens: Int[Tensor, " words"]
    of_token: Int[Tensor, " tokens"]

    def places(self, texts: Sequence[str], tokenizer: Processor) -> Int[Tensor, "places 4"]:
        """Where the texts have one of the words: text, start, end and word, in their order."""
        found = word_tokens(texts, tokenizer)
        found[:, 3] = self.of_token[found[:, 3]]
        return found[found[:, 3] >= 0]


def known_words(tokenizer: Processor) -> Words:
    """The words that are one token where they follow a space.

    That is tried, whatever the tokenizer marks its tokens with ("##", "Ġ", "▁").

    Raises:
        UserError: the tokenizer does not say where its tokens are in a text.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"Neighbors needs a fast tokenizer, got {type(tokenizer).__name__}")
    every = tokenizer.get_vocab().values()
    ids = sorted({*every} - {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder})
    decoded = tokenizer.backend_tokenizer.decode_batch([[number] for number in ids])
    spelled = {n: text.strip() for n, text in zip(ids, decoded, strict=True) if _is_word(text)}
    tried = list(dict.fromkeys(spelled.values()))
    twice = [f"{word} {word}" for word in tried]
    # A second time in one more token: BPE and Unigram can also spell the space by itself.
    once, both = (_token_counts(texts, tokenizer) for texts in (tried, twice))
    tokens = {
        tried[row]: token
        for row, start, _, token in word_tokens(twice, tokenizer).tolist()
        if start > len(tried[row]) and both[row] == once[row] + 1
    }
    index = {word: number for number, word in enumerate(tokens)}
    of_token = torch.full((max(every) + 1,), -1)
    for number, word in spelled.items():
        of_token[number] = index.get(word, -1)
    return Words(list(tokens), torch.tensor(list(tokens.values()), dtype=torch.long), of_token)


def word_tokens(texts: Sequence[str], tokenizer: Processor) -> Int[Tensor, "found 4"]:
    """Each token that is a whole word of letters: text, start, end and token, in their order."""
    found = [torch.zeros(0, 4, dtype=torch.long)]
    for first in range(0, len(texts), TEXTS):
        some = _word_tokens(texts[first : first + TEXTS], tokenizer)
        found.append(torch.from_numpy(some + np.array([first, 0, 0, 0])))
    return torch.cat(found)


def nearest_rows(
    vectors: Float[Tensor, "rows dim"], asked: Int[Tensor, " asked"], count: int
) -> Int[Tensor, "asked count"]:
    """The rows with the highest cosine to each row asked for, without itself; ascending."""
    unit = functional.normalize(vectors)
    found = []
    for some in torch.split(asked, max(1, COSINES // len(vectors))):
        cosines = unit[some] @ unit.T
        cosines[torch.arange(len(some)), some] = -torch.inf
        found.append(cosines.topk(count).indices.sort().values)
    return torch.cat(found)


def replaced(
    texts: Sequence[str], places: Int[Tensor, "places 4"], words: Sequence[str]
) -> list[str]:
    """The texts with another word at each place."""
    changed = list(texts)
    # From right to left, so that the places that follow stay right.
    for (row, start, end, _), word in zip(places.flip(0).tolist(), reversed(words), strict=True):
        changed[row] = changed[row][:start] + word + changed[row][end:]
    return changed


def _token_counts(texts: Sequence[str], tokenizer: Processor) -> list[int]:
    if not texts:  # of which transformers makes an error
        return []
    return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def _word_tokens(texts: Sequence[str], tokenizer: Processor) -> Int[np.ndarray, "found 4"]:
    encoded = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    ids, spans = encoded["input_ids"], encoded["offset_mapping"]
    rows = np.repeat(np.arange(len(texts)), [len(tokens) for tokens in ids])
    tokens = np.fromiter(chain.from_iterable(ids), np.int64)
    # All texts in one, with a character before, between and after them.
    joined = "\n".join(["", *texts, ""])
    first = np.cumsum([1, *(len(text) + 1 for text in texts)])[rows]
    start, end = first + np.array([*chain.from_iterable(spans)], np.int64).reshape(-1, 2).T
    codes, where = np.unique(
        np.frombuffer(joined.encode("utf-32-le"), np.uint32), return_inverse=True
    )
    space, inside, joins = (
        np.array([test(chr(code)) for code in codes])[where]
        for test in (str.isspace, _in_word, _joins)
    )
    while (leading := space[start] & (start < end)).any():  # in a token that begins with a space
        start = start + leading
    counted = np.cumsum([0, *inside])
    whole = (start < end) & (counted[end] - counted[start] == end - start)
    whole &= ~(joins[start - 1] | joins[end])
    places: Int[np.ndarray, "tokens 4"]
    places = np.stack([rows, start - first, end - first, tokens], axis=1)[whole]
    return places


def _is_word(text: str) -> bool:
    """Whether a token is spelled as a word, perhaps after a space."""
    word = text.strip()
    word = text.strip()
    return len(word) > 1 and word[0].isalpha() and all(map(_in_word, word))


def _in_word(character: str) -> bool:
    """Whether it is a letter, or a mark of one as vowels are in Indic scripts."""
    return unicodedata.category(character)[0] in "LM"


def _joins(character: str) -> bool:
    """Whether a word goes on with it."""
    return unicodedata.category(character)[0] in "LMN" or character in APOSTROPHES
