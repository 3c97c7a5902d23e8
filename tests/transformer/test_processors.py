from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from compress.config.errors import UserError
from compress.transformer.pretrained import load_skeleton
from compress.transformer.processors import (
    OF_THE_PROCESS,
    read_processor,
    read_tokenizer,
    write_processor,
)
from tests.checkpoints import save_checkpoint, small_tokenizer
from tests.tiny import tiny_image_model

OFFLINE = "transformers.tokenization_utils_base.is_offline_mode"


def change(path: Path, **values: Any) -> None:
    """Sets keys of a JSON file; takes those away that are None."""
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def config_alone(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def cut(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text()[:500])


def no_json(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("[")


def nothing_in_it(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def longer(folder: Path) -> None:
    tokenizer = small_tokenizer()
    tokenizer.add_tokens(["sequel"])
    tokenizer.save_pretrained(folder)


def unknown_special(folder: Path) -> None:
    change(folder / "tokenizer_config.json", mask_token="[MASK]")


def padding_beyond(folder: Path) -> None:
    change(folder / "config.json", pad_token_id=99)


def half_of_two(folder: Path) -> None:
    no_tokenizer(folder)
    change(folder / "config.json", model_type="roberta", pad_token_id=0)
    (folder / "vocab.json").write_text('{"<s>": 0, "<pad>": 1, "a": 2}')


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (no_tokenizer, r"holds no tokenizer \(tokenizer.json, vocab.txt, tokenizer.model, …\)"),
        (config_alone, "holds no tokenizer"),
        (cut, "has a damaged tokenizer: "),
        (no_json, "has a damaged tokenizer: "),
        (nothing_in_it, "has a damaged tokenizer: "),
        (longer, r"has 1 tokens, such as 'sequel', beyond the 38 that BertForSequenceClassifica"),
        (unknown_special, r"has 1 tokens, such as '\[MASK\]', beyond the 38"),
        (padding_beyond, r"has no usable config: .*[Pp]adding|pad_token_id 99, beyond the 38"),
        (half_of_two, "has a damaged tokenizer: `vocab` and `merges` must"),
    ],
)
def test_a_tokenizer_that_does_not_serve_is_refused_before_weights_are_read(
    spoil: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path)
    spoil(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=reason) as caught:
        load_skeleton(tmp_path, "classifier")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "t5", "albert", "gpt2", "xlnet"])
def test_no_class_makes_up_a_vocabulary(architecture: str, tmp_path: Path) -> None:
    """transformers does: five tokens for a BERT, 104 for a T5."""
    save_checkpoint(tmp_path, architecture)
    no_tokenizer(tmp_path)
    with pytest.raises(UserError, match="holds no tokenizer"):
        read_tokenizer(tmp_path)


def test_a_padding_token_beyond_the_embeddings_is_refused(tmp_path: Path) -> None:
    """Also where no module is made with it."""
    save_checkpoint(tmp_path, "gpt2", tokenizer=small_tokenizer(frame=False), pad_token_id=99)
    with pytest.raises(UserError, match=r"config\.json has pad_token_id 99, beyond the 38 tokens"):
        load_skeleton(tmp_path, "classifier")


def test_a_vocabulary_without_a_fast_file_is_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path)
    no_tokenizer(tmp_path)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = read_processor(tmp_path, load_skeleton(tmp_path, "classifier"))
    assert tokenizer("good film")["input_ids"] == [2, 5, 6, 3]


def test_more_embeddings_than_tokens_are_fine(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, vocab_size=64)
    load_skeleton(tmp_path, "classifier")


def test_a_special_token_that_the_class_adds_by_itself_is_left_out(tmp_path: Path) -> None:
    """Qwen's class has an unknown token of its own, which is in no file."""
    save_checkpoint(tmp_path, "llama", tokenizer=small_tokenizer(frame=False))
    vocabulary = {"[PAD]": 0, "a": 1, "b": 2, "ab": 3, "[SEP]": 4}
    made = transformers.Qwen2Tokenizer(
        vocab=vocabulary, merges=[("a", "b")], pad_token="[PAD]", eos_token="[SEP]", unk_token=None
    )
    no_tokenizer(tmp_path)
    made.save_pretrained(tmp_path)
    change(tmp_path / "tokenizer_config.json", unk_token=None)
    change(tmp_path / "config.json", vocab_size=5)
    assert max(read_tokenizer(tmp_path).get_vocab().values()) == 5
    tokenizer = read_processor(tmp_path, load_skeleton(tmp_path, "classifier"))
    assert sorted(tokenizer.get_vocab().values()) == [0, 1, 2, 3, 4]
    write_processor(tokenizer, tmp_path / "again")
    assert read_tokenizer(tmp_path / "again").get_vocab() == tokenizer.get_vocab()


def test_inputs_that_the_model_does_not_take_are_left_out(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "distilbert", tokenizer=small_tokenizer(types=True))
    tokenizer = read_processor(tmp_path, load_skeleton(tmp_path, "classifier"))
    assert set(tokenizer("a film")) == {"input_ids", "attention_mask"}
    write_processor(tokenizer, tmp_path / "again")
    assert set(read_tokenizer(tmp_path / "again")("a film")) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("spoil", ["absent", "cut", "wrong"])
def test_an_image_processor_that_does_not_serve_is_refused(spoil: str, tmp_path: Path) -> None:
    model = tiny_image_model("vit")
    model.module.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    reason = "has a damaged image processor: "
    if spoil == "absent":
        path.unlink()
        reason = r"holds no image processor \(preprocessor_config.json, processor_config.json\)"
    elif spoil == "cut":
        path.write_text(path.read_text()[:20])
    else:
        change(path, image_processor_type="NoSuchProcessor")
    with pytest.raises(UserError, match=reason) as caught:
        load_skeleton(tmp_path, "classifier")
    assert "\n" not in str(caught.value)


def test_the_same_bytes_are_written_whatever_a_processor_was_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after it has cut and padded, and from settings that hold those of another process."""
    save_checkpoint(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "deep" / "b")
    # These would shape the tokenizer, or are refused.
    others = {"trust_remote_code", "device_map", "use_auth_token"}
    foreign = dict.fromkeys(OF_THE_PROCESS - others, "/somewhere")
    change(tmp_path / "deep" / "b" / "tokenizer_config.json", **foreign)
    found = []
    for number, (name, offline) in enumerate([("a", False), ("a", True), ("deep/b", True)]):
        monkeypatch.setattr(
            "transformers.tokenization_utils_base.is_offline_mode", lambda v=offline: v
        )
        tokenizer = read_tokenizer(tmp_path / name)
        if number:
            tokenizer(["a sad film", "a"], truncation=True, padding=True, max_length=3)
        out = tmp_path / f"out{number}"
        out.mkdir()
        write_processor(tokenizer, out)
        found.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert found[0] == found[1] == found[2]
    assert not OF_THE_PROCESS & set(json.loads(found[0]["tokenizer_config.json"]))


def test_images_are_written_alike_too(tmp_path: Path) -> None:
    model = tiny_image_model("vit")
    model.module.save_pretrained(tmp_path / "a")
    found = []
    model.tokenizer.save_pretrained(tmp_path / "a")
    for name in ("a", "b"):
        processor = read_processor(tmp_path / name, model.module)
        target = tmp_path / chr(ord(name) + 1)
        target.mkdir()
        write_processor(processor, target)
        found.append((target / "preprocessor_config.json").read_bytes())
    assert found[0] == found[1]
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    again = read_processor(tmp_path / "c", model.module)
    pixels = [p(image, return_tensors="pt")["pixel_values"] for p in (again, model.tokenizer)]
    assert torch.equal(*pixels)
