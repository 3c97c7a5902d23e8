from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from compress.config.errors import UserError
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, StageContext, Step
from compress.measure.score import predict_all
from compress.measure.sparsity import check_history
from compress.pruner.vocabulary import Vocabulary
from compress.shaping.vocabulary import keep_tokens_, named_ids
from compress.store.artifact import load
from compress.store.cache import StageStore
from compress.task.components.text import TextSplit
from compress.transformer.checkpoint_files import find_model
from compress.transformer.torch_model import TorchModel
from tests.configs import settings_of
from tests.pruner.made import Contexts, Teachers, pruner
from tests.tiny import torch_export

# Without the glad words of the teacher's vocabulary, which lie between these words' numbers.
TEXTS = ["a sad dull film number 10", "sad number 23", "film", "a film a film 10"]


SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def vocabulary(**changes: Any) -> Vocabulary:
    made: Vocabulary = replace(pruner("vocabulary"), **changes)
    return made


def split(texts: list[str]) -> TextSplit:
    rows = pd.DataFrame({"text": texts, "label": [i % 2 for i in range(len(texts))]})
    return TextSplit("train", rows, max_length=32)


def context_with(ctx: StageContext, texts: list[str]) -> StageContext:
    return replace(ctx, data=replace(ctx.data, train=split(texts)))


def logits(model: CompressedModel, texts: list[str] = TEXTS) -> torch.Tensor:
    return predict_all(TorchModel(model.module, model.tokenizer, "cpu"), split(texts), 4)


def names(model: CompressedModel, texts: list[str] = TEXTS) -> list[list[str]]:
    tokenizer = model.tokenizer
    return [
        tokenizer.convert_ids_to_tokens(ids) for ids in split(texts).encode(tokenizer)["input_ids"]
    ]


def moved_specials(kind: str, **config: Any) -> CompressedModel:
    """A tiny model whose special tokens come after others that no text uses."""
    listed = ["never", "[PAD]", "used", "b", "[UNK]", "f", "##a", "##b", "##f", "[SEP]"]
    listed += ["ever", "a", "[CLS]", "film", "odd", "sad"]
    ids = {name: number for number, name in enumerate(listed)}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.RobertaProcessing(("[SEP]", 9), ("[CLS]", 12))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    settings = transformers.AutoConfig.for_model(
        kind, num_hidden_layers=2, vocab_size=20, pad_token_id=1, **sizes, **config
    )
    transformers.set_seed(0)
    module = transformers.AutoModelForSequenceClassification.from_config(settings).eval()
    return CompressedModel(module, tokenizer, (Step("teacher", {}),))


@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra", "mpnet", "gpt2", "llama"])
def test_train_rows_keep_their_pieces_and_their_logits(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    before = dict(teacher.tokenizer.get_vocab())
    ctx = context_with(context(teacher), TEXTS)
    pruned = vocabulary().prune(teacher, ctx)
    assert teacher.tokenizer.get_vocab() == before
    after = pruned.tokenizer.get_vocab()
    assert {"glad", "bright"} <= before.keys() - after.keys()
    assert after["10"] < before["10"]
    assert names(pruned) == names(teacher)
    assert torch.equal(logits(pruned), logits(teacher))
    count = pruned.module.get_input_embeddings().num_embeddings
    assert count == len(after) == pruned.module.config.vocab_size
    notes = pruned.history[-1].notes
    assert notes["tokens_before"] == 1000
    assert notes["tokens_after"] == count
    assert notes["rows_with_other_pieces"] == 0
    [(name, (rows, _))] = pruned.history[-1].expected_shapes.items()
    assert name.endswith(("word_embeddings.weight", "wte.weight", "embed_tokens.weight"))
    assert rows == count
    check_history(pruned.history, pruned.module.named_parameters())
    # Words that were dropped are spelled, and run.
    [[_, *glad, _]] = names(pruned, ["glad"])
    assert glad == ["g", "##l", "##a", "##d"]
    assert logits(pruned, ["a glad film of another kind ☃"]).isfinite().all()


def test_words_of_both_texts_of_a_pair_are_kept(
    teacher: CompressedModel, context: Contexts
) -> None:
    rows = pd.DataFrame({"text": ["a sad"] * 2, "second": ["good end", "dull"], "label": [0, 1]})
    ctx = context(teacher)
    ctx = replace(ctx, data=replace(ctx.data, train=TextSplit("train", rows, max_length=32)))
    kept = vocabulary().prune(teacher, ctx).tokenizer.get_vocab()
    assert {"sad", "good", "end", "dull"} <= kept.keys()
    assert "glad" not in kept


def test_the_small_model_and_tokenizer_are_read_back(
    teacher: CompressedModel, context: Contexts, device: Cpu, tmp_path: Path
) -> None:
    ctx = context_with(context(teacher), TEXTS)
    settings = vocabulary()
    store = StageStore(tmp_path / "store", device, seed=0)
    stored = store.model("pruner", settings, {}, lambda: settings.prune(teacher, ctx))
    assert torch.equal(logits(stored), logits(teacher))
    again = transformers.AutoTokenizer.from_pretrained(stored.folder)
    assert again.get_vocab() == stored.tokenizer.get_vocab()
    assert again("a sad film")["input_ids"] == stored.tokenizer("a sad film")["input_ids"]
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(stored.folder)
    assert loaded.get_input_embeddings().num_embeddings == len(again)
    quantizer = settings_of("quantizer", "none")
    torch_export(stored, quantizer, tmp_path / "model")
    assert torch.equal(predict_all(load(tmp_path / "model"), split(TEXTS), 4), logits(teacher))


def test_special_tokens_that_move_are_known_by_their_new_numbers(context: Contexts) -> None:
    model = moved_specials("bert", bos_token_id=12, eos_token_id=50256)
    rows = ["sad film", "a", "sad b sad b"]
    pruned = vocabulary().prune(model, context_with(context(model), rows))
    expected = [
        "[PAD]",
        "b",
        "[UNK]",
        "f",
        "##a",
        "##b",
        "##f",
        "[SEP]",
        "a",
        "[CLS]",
        "film",
        "sad",
    ]
    assert pruned.tokenizer.get_vocab() == {name: i for i, name in enumerate(expected)}
    assert pruned.tokenizer("sad film")["input_ids"] == [9, 11, 10, 7]
    assert pruned.tokenizer.pad_token_id == 0
    module = pruned.module
    config = module.config
    # 50256 never was a token of this model; it stays what it is.
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 9, 50256)
    assert module.get_input_embeddings().padding_idx == 0
    assert torch.equal(logits(pruned, rows), logits(model, rows))
    assert not torch.equal(logits(pruned, rows[:1]), logits(pruned, rows[1:2]))


def test_positions_that_count_from_the_padding_token_do_not_move(context: Contexts) -> None:
    model = moved_specials("roberta", bos_token_id=None, eos_token_id=None)
    assert model.tokenizer.convert_tokens_to_ids(["never", "[PAD]", "used", "b"]) == [0, 1, 2, 3]
    rows = ["sad film", "a", "sad b sad b"]
    pruned = vocabulary().prune(model, context_with(context(model), rows))
    ids = pruned.tokenizer.get_vocab()
    assert (ids["never"], ids["[PAD]"], ids["b"]) == (0, 1, 2)
    assert pruned.module.config.pad_token_id == 1
    assert torch.equal(logits(pruned, rows), logits(model, rows))


def test_named_ids_by_hand() -> None:
    assert named_ids(moved_specials("bert", eos_token_id=[3, 99]).module) == {1, 3}
    roberta = moved_specials("roberta", bos_token_id=5, eos_token_id=7).module
    assert named_ids(roberta) == {0, 1, 5, 7}


@pytest.mark.parametrize("tied", [True, False])
def test_output_embeddings_keep_the_same_rows(tied: bool) -> None:
    config = transformers.LlamaConfig(
        hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=1,
        vocab_size=20, eos_token_id=[4, 7], tie_word_embeddings=tied,
    )  # fmt: skip
    module = transformers.LlamaForCausalLM(config)
    before = module.get_output_embeddings().weight.detach().clone()
    kept = [0, 1, 3, 4, 7, 19]
    keep_tokens_(module, {old: new for new, old in enumerate(kept)})
    head, table = module.get_output_embeddings().weight, module.get_input_embeddings().weight
    assert torch.equal(head, before[kept])
    assert (head is table) is tied
    assert module(torch.tensor([[0, 4]])).logits.shape == (1, 2, 6)
    assert module.config.eos_token_id == module.generation_config.eos_token_id == [3, 4]
    assert module.model.vocab_size == 6


def kept_words(model: CompressedModel, ctx: StageContext, settings: Vocabulary) -> set[str]:
    made = settings.prune(model, ctx)
    assert made.history[-1].notes["tokens_after"] == len(made.tokenizer)
    return {name for name in made.tokenizer.get_vocab() if name.isalnum() and len(name) > 1}


def test_what_each_setting_keeps(context: Contexts, tmp_path: Path) -> None:
    model = moved_specials("bert")
    rows = ["sad film", "sad a", "ever a"]
    ctx = context_with(context(model), rows)
    assert kept_words(model, ctx, vocabulary()) == {"sad", "film", "ever"}
    assert kept_words(model, ctx, vocabulary(min_count=2)) == {"sad"}
    assert kept_words(model, ctx, vocabulary(min_count=3)) == set()
    assert kept_words(model, ctx, vocabulary(min_count=3, general=2)) == {"never"}
    assert kept_words(model, ctx, vocabulary(min_count=3, general=3)) == {"never", "used"}
    needed = len(vocabulary(min_count=3).prune(model, ctx).tokenizer)
    assert kept_words(model, ctx, vocabulary(size=needed)) == set()
    assert kept_words(model, ctx, vocabulary(size=needed + 1)) == {"sad"}
    # Of "film" and "ever", which occur once, the earlier token.
    assert kept_words(model, ctx, vocabulary(size=needed + 2)) == {"sad", "ever"}
    assert kept_words(model, ctx, vocabulary(size=needed + 2, min_count=2)) == {"sad"}
    with pytest.raises(UserError, match=f"vocabulary={needed - 1} is fewer than the {needed} spec"):
        vocabulary(size=needed - 1).prune(model, ctx)
    words = tmp_path / "words.txt"
    words.write_text("odd\n\n film \n")
    assert kept_words(model, ctx, vocabulary(min_count=3, words=str(words))) == {"odd", "film"}
    # "sad", "film" and "ever" are spelled: in rows 0 and 2 a word is rarer than asked.
    assert (
        vocabulary(min_count=2).prune(model, ctx).history[-1].notes["rows_with_other_pieces"] == 2
    )


def test_the_content_of_the_word_list_is_part_of_the_digest(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    settings = vocabulary(words=str(words))
    words.write_text("one")
    digest = settings.content_digest()
    words.write_text("two")
    assert settings.content_digest() != digest
    assert vocabulary().content_digest() == ""


def test_the_tokenizer_of_minilm(context: Contexts) -> None:
    folder = find_model("sentence-transformers/all-MiniLM-L6-v2")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.BertConfig(
        hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=16
    )
    module = transformers.BertForSequenceClassification(config).eval()
    model = CompressedModel(module, tokenizer, (Step("teacher", {}),))
    rows = ["An unforgettably naïve film, qzx!", "cool☃ 漢字 [MASK] isn't", "rewardingly odd"]
    pruned = vocabulary().prune(model, context_with(context(model), rows))
    assert names(pruned, rows) == names(model, rows)
    assert torch.equal(logits(pruned, rows), logits(model, rows))
    # Of its 30,522 tokens 997 are a character, and 997 one inside a word.
    assert 1994 < len(pruned.tokenizer) < 2050
    assert pruned.tokenizer.tokenize("zebra") == ["z", "##e", "##b", "##r", "##a"]
