"""Tokenizers of every kind, made by hand: the library's trainers break ties by hash order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

WORDS = [
    *("glad", "sad", "story", "actor", "dull", "bright", "plot", "music", "slow", "fast"),
    *("warm", "cold", "clever", "silly", "honest", "loud", "quiet", "scene", "camera", "script"),
    *("child", "night", "river", "city", "dream", "money", "road", "winter", "summer", "garden"),
]
CHARACTERS = sorted({*"".join(WORDS), *"0123456789"})
MERGES = 120  # of byte pairs: most words of the list become one piece
BRACKETS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ANGLES = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "bos_token": "<s>",
    "eos_token": "</s>",
}
TEXT_END = {"eos_token": "<|end|>", "bos_token": "<|end|>", "pad_token": "<pad>"}


@dataclass(frozen=True)
class Ends:
    """What a tokenizer puts around a text: names of special tokens, without `_token`."""

    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()


CLASSIFIER = Ends(("cls",), ("sep",))
SEQUENCE_END = Ends(last=("sep",))


def make_tokenizer(
    pieces: str, ends: Ends, *, inputs: Sequence[str], pads: bool, side: str
) -> transformers.PreTrainedTokenizerFast:
    """A fast tokenizer.

    Args:
        pieces: "wordpiece", "bytes" (BPE over bytes) or "unigram".
        ends: what it puts around a text; nothing makes it a decoder's.
        inputs: what it makes of a text.
        pads: whether it has a token for padding.
        side: on which it pads.
    """
    special = _special(pieces, ends)
    made = MAKERS[pieces](list(dict.fromkeys(special.values())))
    named = [special[f"{name}_token"] for name in (*ends.first, *ends.last)]
    if named:
        around = {end: [special[f"{name}_token"] for name in getattr(ends, end)] for end in ENDS}
        template = " ".join([*around["first"], "$A", *around["last"]])
        made.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(each, made.token_to_id(each)) for each in named]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_input_names=list(inputs),
        padding_side=side,
        **{name: token for name, token in special.items() if pads or name != "pad_token"},
    )


ENDS = ("first", "last")


def _special(pieces: str, ends: Ends) -> dict[str, str]:
    if ends == Ends():
        return TEXT_END
    return BRACKETS if pieces == "wordpiece" else ANGLES


def _wordpiece(special: Sequence[str]) -> Tokenizer:
    known = [*special, *CHARACTERS, *(f"##{character}" for character in CHARACTERS), *WORDS]
    made = Tokenizer(models.WordPiece(numbered(known), unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return made


def _bytes(special: Sequence[str]) -> Tokenizer:
    merges = byte_pairs([*WORDS, *(f"Ġ{word}" for word in WORDS)], MERGES)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = [*special, *alphabet, *("".join(pair) for pair in merges)]
    made = Tokenizer(models.BPE(vocab=numbered(known), merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def _unigram(special: Sequence[str]) -> Tokenizer:
    pieces = [*("▁" + word for word in WORDS), "▁", *CHARACTERS]
    scores = [(piece, -float(rank)) for rank, piece in enumerate(pieces, start=1)]
    known = [*((token, 0.0) for token in special), *scores]
    made = Tokenizer(models.Unigram(known, unk_id=special.index("<unk>"), byte_fallback=False))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return made


MAKERS = {"wordpiece": _wordpiece, "bytes": _bytes, "unigram": _unigram}


def byte_pairs(words: Sequence[str], count: int) -> list[tuple[str, str]]:
    """The merges of BPE (Sennrich et al., arXiv:1508.07909, algorithm 1); of equal counts the first
    in the order of text.
    """
    split = [list(word) for word in words]
    merges: list[tuple[str, str]] = []
    for _ in range(count):
        counts = Counter(pair for parts in split for pair in pairwise(parts))
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None:
            break
        merges.append(best)
        split = [_merged(parts, best) for parts in split]
    return merges


def numbered(pieces: Sequence[str]) -> dict[str, int]:
    """A number for each piece, in order."""
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def _merged(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged
