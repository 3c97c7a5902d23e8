"""Vocabularies by hand, and vocabularies learned from this repository's own prose."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from compress.config.errors import UserError
from compress.transformer.tokenizers import (
    State,
    check_known,
    essential_ids,
    merge_path,
    shrink,
    token_ids,
    with_parts,
)
from tests.configs import ROOT

LINES = [line for line in (ROOT / "LICENSE").read_text().splitlines() if line]
TRAIN, OTHERS = LINES[::2], LINES[1::2]


def shrunken(whole: Tokenizer, used: Iterable[str], *, closed: bool = True) -> Tokenizer:
    """A tokenizer with these tokens and those that any needs."""
    state = json.loads(whole.to_str())
    ids = token_ids(state)
    kept = essential_ids(state) | {ids[token] for token in used}
    return rebuilt(state, with_parts(state, kept) if closed else kept)


def rebuilt(state: State, kept: Iterable[int]) -> Tokenizer:
    new_ids = {old: new for new, old in enumerate(sorted(kept))}
    return Tokenizer.from_str(json.dumps(shrink(state, new_ids)))


def pieces(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[str]]:
    return [tokenizer.encode(text).tokens for text in texts]


def used_tokens(tokenizer: Tokenizer, texts: Iterable[str]) -> set[str]:
    return {token for row in pieces(tokenizer, texts) for token in row}


def word_piece() -> Tokenizer:
    names = ["bab", "[UNK]", "a", "b", "##a", "##b", "ab", "##ab", "aba", "[SEP]"]
    vocabulary = {name: number for number, name in enumerate(names)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", special_tokens=[("[SEP]", 9)]
    )
    made.add_special_tokens(["[SEP]"])
    made.enable_truncation(3)
    return made


def test_word_piece_by_hand() -> None:
    whole = word_piece()
    state = json.loads(whole.to_str())
    before = copy.deepcopy(state)
    # [UNK], a, b, ##a, ##b and the added [SEP]; not bab, ab, ##ab, aba.
    assert essential_ids(state) == {1, 2, 3, 4, 5, 9}
    small = rebuilt(state, {1, 2, 3, 4, 5, 8, 9})
    assert state == before
    expected = {"[UNK]": 0, "a": 1, "b": 2, "##a": 3, "##b": 4, "aba": 5, "[SEP]": 6}
    assert small.get_vocab() == expected
    assert small.truncation is None
    assert small.encode("aba").ids == [5, 6]
    assert small.encode("bab").tokens == ["b", "##a", "##b", "[SEP]"]
    assert small.encode("abab abc").tokens == ["aba", "##b", "[UNK]", "[SEP]"]
    whole.no_truncation()
    assert whole.encode("bab abab").tokens == ["bab", "aba", "##b", "[SEP]"]


def test_merge_path_by_hand() -> None:
    ranks = {("t", "h"): 0, ("h", "e"): 1, ("th", "e"): 2, ("t", "he"): 3}
    assert merge_path("the", ranks) == ["th", "the"]
    # The last merge to give the token is not the one that is taken: "he" would be kept for nothing.
    assert merge_path("the", {**ranks, ("h", "e"): -1}) == ["he", "the"]
    assert merge_path("thx", ranks) == []
    assert merge_path("", ranks) == []
    # Of equal pairs the leftmost is joined first.
    assert merge_path("aaa", {("a", "a"): 0, ("aa", "a"): 1}) == ["aa", "aaa"]
    assert merge_path("aaa", {("a", "a"): 0, ("a", "aa"): 1}) == []


def hand_bpe(**settings: str | bool) -> Tokenizer:
    names = ["<unk>", "t", "h", "e", "n", "he", "th", "the", "then", "en"]
    merges = [("h", "e"), ("t", "h"), ("th", "e"), ("t", "he"), ("the", "n"), ("e", "n")]
    vocabulary = {name: number for number, name in enumerate(names)}
    return Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", **settings))


def test_bpe_keeps_what_a_token_is_built_from() -> None:
    whole = hand_bpe()
    assert whole.encode("then").tokens == ["then"]
    small = shrunken(whole, ["then"])
    # then ← the + n ← t + he ← h + e. Neither th nor en is on the way.
    expected = {"<unk>": 0, "t": 1, "h": 2, "e": 3, "n": 4, "he": 5, "the": 6, "then": 7}
    assert small.get_vocab() == expected
    assert json.loads(small.to_str())["model"]["merges"] == [
        ["h", "e"],
        ["t", "he"],
        ["the", "n"],
    ]
    assert small.encode("then").tokens == ["then"]
    assert small.encode("hen").tokens == ["he", "n"]
    assert small.encode("enx").tokens == ["e", "n", "<unk>"]
    assert shrunken(whole, ["then"], closed=False).encode("then").tokens == ["t", "h", "e", "n"]


def test_a_token_that_no_merge_reaches_brings_nothing_along() -> None:
    """As in Llama 3, where a word that is a token by itself needs no merges."""
    whole = hand_bpe(ignore_merges=True)
    state = json.loads(whole.to_str())
    state["model"]["merges"].remove(["e", "n"])
    small = rebuilt(state, with_parts(state, essential_ids(state) | {9}))
    assert set(small.get_vocab()) == {"<unk>", "t", "h", "e", "n", "en"}
    assert small.encode("en").tokens == ["en"]


def test_bpe_with_marks_for_the_inside_and_the_end_of_a_word() -> None:
    names = ["a", "b", "##a", "##b", "##b</w>", "##a</w>", "ab", "##bb</w>", "abb</w>", "##ba</w>"]
    merges = [("##b", "##b</w>"), ("a", "##bb</w>"), ("a", "##b"), ("##b", "##a</w>")]
    vocabulary = {name: number for number, name in enumerate(names)}
    marks = {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"}
    whole = Tokenizer(models.BPE(vocabulary, merges, **marks))
    assert whole.encode("abb").tokens == ["abb</w>"]
    small = shrunken(whole, ["abb</w>"])
    assert set(small.get_vocab()) == {*names} - {"ab", "##ba</w>"}
    assert pieces(small, ["abb", "aba"]) == [["abb</w>"], ["a", "##b", "##a</w>"]]


def learned_merges(words: Iterable[list[str]], count: int) -> list[tuple[str, str]]:
    """A BPE trainer whose ties are broken by the alphabet."""
    rows, merges = [list(word) for word in words], []
    for _ in range(count):
        pairs = Counter(pair for row in rows for pair in pairwise(row))
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for row in rows:
            while (
                at := next((i for i, p in enumerate(pairwise(row)) if p == best), None)
            ) is not None:
                row[at : at + 2] = ["".join(best)]
    return merges


def byte_level() -> Tokenizer:
    """As of GPT-2 and RoBERTa."""
    cutter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = [list(word) for line in LINES for word, _ in cutter.pre_tokenize_str(line)]
    merges = learned_merges(words, 150)
    names = ["<s>", "</s>", *sorted(cutter.alphabet()), *map("".join, merges), "<mask>"]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    made = Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer, made.decoder = cutter, decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    made.add_special_tokens(["<s>", "</s>", AddedToken("<mask>", lstrip=True)])
    return made


def llama_like() -> Tokenizer:
    """No words, every pair that makes a token is a merge, unknown characters become bytes."""
    texts = ["▁" + line.replace(" ", "▁") for line in LINES]
    learned = ["".join(pair) for pair in learned_merges([list(text) for text in texts], 150)]
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    names = ["<unk>", "<s>", *bytes_, *learned, *sorted({c for text in texts for c in text})]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    merges = [
        (name[:at], name[at:])
        for name in dict.fromkeys(learned)
        for at in range(1, len(name))
        if name[:at] in vocabulary and name[at:] in vocabulary
    ]
    made = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    made.decoder = decoders.Fuse()
    made.add_special_tokens(["<unk>", "<s>"])
    return made


@pytest.mark.parametrize("make", [byte_level, llama_like])
def test_bpe_cuts_real_text_as_before(make: Callable[[], Tokenizer]) -> None:
    whole = make()
    used = used_tokens(whole, TRAIN)
    small = shrunken(whole, used)
    assert small.get_vocab_size() < whole.get_vocab_size()
    assert pieces(small, TRAIN) == pieces(whole, TRAIN)
    # Some tokens are only on the way to used ones; without them the pieces would be others.
    assert set(small.get_vocab()) > used
    assert pieces(shrunken(whole, used, closed=False), TRAIN) != pieces(whole, TRAIN)
    # Text that was not counted falls into other pieces, and none is lost.
    assert pieces(small, OTHERS) != pieces(whole, OTHERS)
    assert [small.decode(small.encode(text).ids) for text in OTHERS] == [
        whole.decode(whole.encode(text).ids) for text in OTHERS
    ]
    names = {number: name for name, number in small.get_vocab().items()}
    assert [names[i] for i in small.encode("é").ids] == whole.encode("é").tokens


def unigram() -> Tokenizer:
    scores = [("zz", -40.0), ("<unk>", 0.0), ("qb", -15.0), ("c", -15.0), ("bc", -1.0)]
    scores += [("b", -9.0), ("cb", -20.0), ("z", -2.0)]
    return Tokenizer(models.Unigram(scores, unk_id=1, byte_fallback=False))


def test_unigram_by_hand() -> None:
    whole = unigram()
    small = shrunken(whole, ["qb", "c", "bc"])
    # "cb" goes. "zz" has the lowest score, from which that of unknown characters is made.
    assert small.get_vocab() == {
        "zz": 0,
        "<unk>": 1,
        "qb": 2,
        "c": 3,
        "bc": 4,
        "b": 5,
        "z": 6,
    }
    # qb + c = -30 against <unk> + bc = (-40 - 10) - 1.
    assert pieces(small, ["qbc", "bc"]) == pieces(whole, ["qbc", "bc"]) == [["qb", "c"], ["bc"]]
    assert whole.encode("cb").tokens == ["cb"]
    assert small.encode("cb").tokens == ["c", "b"]
    state = json.loads(whole.to_str())
    assert rebuilt(state, {1, 2, 3, 4, 5, 7}).encode("qbc").ids == [0, 3]


def test_the_unknown_token_of_unigram_moves_with_its_number() -> None:
    state = json.loads(unigram().to_str())
    small = rebuilt(state, {1, 2, 3})
    assert json.loads(small.to_str())["model"]["unk_id"] == 0
    assert small.encode("x").ids == [0]


def test_post_processors_get_the_new_numbers() -> None:
    state = json.loads(word_piece().to_str())
    template = state["post_processor"]
    ends = {"type": "BertProcessing", "sep": ["[SEP]", 9], "cls": ["bab", 0]}
    state["post_processor"] = {
        "type": "Sequence",
        "processors": [template, ends, {"type": "ByteLevel"}],
    }
    assert 0 in essential_ids(state)
    new_ids = {old: new for new, old in enumerate([0, 1, 2, 3, 4, 5, 9])}
    made = shrink(state, new_ids)["post_processor"]["processors"]
    assert made[0]["special_tokens"]["[SEP]"]["ids"] == [6]
    assert made[1] == {"type": "BertProcessing", "sep": ["[SEP]", 6], "cls": ["bab", 0]}
    assert made[2] == {"type": "ByteLevel"}


def test_what_is_not_known_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(UserError, match=r"WordLevel .* allowed: WordPiece, BPE, Unigram"):
        check_known(json.loads(words.to_str()))
    state = json.loads(word_piece().to_str())
    state["post_processor"] = {"type": "Other"}
    with pytest.raises(UserError, match=r"Other post-processor .* allowed: TemplateProcessing"):
        check_known(state)
