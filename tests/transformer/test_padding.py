from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
from transformers import PreTrainedTokenizerFast

from compress.config.errors import UserError
from compress.interfaces import Split, TrainingData
from compress.measure.score import predict_all
from compress.task.components.text import TextSplit
from compress.transformer.padding import fit_padding_
from compress.transformer.torch_model import TorchModel
from tests.checkpoints import CONFIGS, DECODERS, logits_alone, save_checkpoint, small_tokenizer

# They mix neighboring tokens regardless of the mask.
MIXES = ("convbert", "fnet", "funnel", "mobilebert")
NO_PADDING: list[tuple[str, dict[str, Any], str | None]] = [
    ("llama", {"frame": False}, "[SEP]"),
    ("gpt2", {"frame": False}, "[SEP]"),
    ("llama", {"frame": False, "eos_token": None, "bos_token": "[CLS]"}, "[CLS]"),
    ("bert", {"bos_token": "[CLS]"}, "[CLS]"),  # [SEP], its eos_token, ends each row
    ("llama", {"eos_token": None, "cls_token": None, "sep_token": None, "frame": False}, None),
]


def rows_of(*texts: str) -> TextSplit:
    rows = pd.DataFrame([(text, 0) for text in texts], columns=["text", "label"])
    return TextSplit("some", rows, max_length=48)


@pytest.fixture
def rows() -> TextSplit:
    """Of all lengths from one word to ten."""
    words = ["a", "glad", "bright", "film", "with", "a", "good", "end", "number", "3"]
    return rows_of(*(" ".join(words[:count]) for count in range(1, 11)))


def fitted(folder: Path, rows: Split) -> tuple[Any, PreTrainedTokenizerFast, dict[str, Any]]:
    module = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return module, tokenizer, fit_padding_("it", module, tokenizer, rows)


def check_rows(
    module: Any, tokenizer: Any, rows: TextSplit, plain: tuple[Any, PreTrainedTokenizerFast]
) -> None:
    """Logits in batches of eight equal plain transformers' logits of each row alone."""
    alone = logits_alone(*plain, list(zip(*rows.columns, strict=True)))
    found = predict_all(TorchModel(module, tokenizer, "cpu"), rows, 8)
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)
    assert float(alone.std()) > 0.05


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", sorted(set(CONFIGS) - {*MIXES, "nystromformer", "mpnet"}))
def test_a_row_says_in_any_batch_what_it_says_alone(
    architecture: str, side: str, rows: TextSplit, tmp_path: Path
) -> None:
    tokenizer = small_tokenizer(frame=architecture not in DECODERS, padding_side=side)
    plain = save_checkpoint(tmp_path, architecture, tokenizer=tokenizer)
    module, found, notes = fitted(tmp_path, rows)
    check_rows(module, found, rows, (plain, tokenizer))
    # What was chosen is written with the tokenizer.
    found.save_pretrained(tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again.padding_side == notes.get("padding_side", side)
    fixed = {"xlnet": {"left"}, "llama": {side}, "gpt_neox": {side}}
    assert again.padding_side in fixed.get(architecture, {"right"})


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        *((name, "depend on the padding of a row; they change by ") for name in MIXES),
        ("nystromformer", "it cannot read the task's rows: RuntimeError: "),
    ],
)
def test_a_model_that_mixes_padding_in_or_takes_no_such_length_is_refused(
    architecture: str, reason: str, rows: TextSplit, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, architecture)
    with pytest.raises(UserError, match=reason) as caught:
        fitted(tmp_path, rows)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("architecture", "settings", "token"), NO_PADDING)
def test_a_tokenizer_without_padding_gets_a_token_that_ends_no_row(
    architecture: str, settings: dict[str, Any], token: str | None, rows: TextSplit, tmp_path: Path
) -> None:
    tokenizer = small_tokenizer(pad=None, **settings)
    plain = save_checkpoint(tmp_path, architecture, tokenizer=tokenizer)
    if token is None:
        with pytest.raises(UserError, match="has no padding token, and a row ends with each sp"):
            fitted(tmp_path, rows)
        return
    module, found, notes = fitted(tmp_path, rows)
    assert notes["pad_token"] == found.pad_token == token
    assert module.config.pad_token_id == found.pad_token_id
    check_rows(module, found, rows, (plain, tokenizer))


@pytest.mark.parametrize(
    ("architecture", "theirs", "changes"),
    [
        ("llama", None, {"pad_token_id": 0}),
        ("gpt2", -1, {"pad_token_id": 0}),
        ("bert", None, {"pad_token_id": 0}),
        # They do not look for it, or find the last token from the other side.
        ("bert", 7, {}),
        ("t5", 7, {}),
        ("llama", 7, {"padding_side": "left"}),
        ("gpt2", 7, None),
    ],
)
def test_a_config_with_another_padding_token_than_the_tokenizer(
    architecture: str, theirs: int | None, changes: dict[str, Any] | None, rows: TextSplit,
    tmp_path: Path,
) -> None:  # fmt: skip
    tokenizer = small_tokenizer(frame=architecture not in DECODERS)
    plain = save_checkpoint(tmp_path, architecture, tokenizer=tokenizer, pad_token_id=theirs)
    if changes is None:
        with pytest.raises(UserError, match=r"json has pad_token_id 7, the tokenizer pads with 0"):
            fitted(tmp_path, rows)
        return
    module, found, notes = fitted(tmp_path, rows)
    check_rows(module, found, rows, (plain, tokenizer))
    assert notes == changes


@pytest.mark.parametrize("architecture", ["roberta", "mpnet"])
def test_positions_that_are_counted_from_another_token_are_refused(
    architecture: str, rows: TextSplit, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, architecture, pad_token_id=1)
    with pytest.raises(UserError, match=r"counts positions from padding token 1, its tokenizer pa"):
        fitted(tmp_path, rows)


@pytest.mark.parametrize(
    ("architecture", "size", "refused"),
    [("bert", 2, False), ("bert", 1, True), ("roberta", 1, True), ("distilbert", 0, False)],
)
def test_token_types_beyond_the_table_are_refused(
    architecture: str, size: int, refused: bool, tmp_path: Path
) -> None:
    texts = [("a sad film", "a good end"), ("glad", "a bright film with a good end")]
    table = pd.DataFrame([(*pair, 0) for pair in texts], columns=["text", "second", "label"])
    pairs = TextSplit("pairs", table, max_length=48)
    types = {"type_vocab_size": size} if size else {}
    tokenizer = small_tokenizer(types=True)
    save_checkpoint(tmp_path, architecture, tokenizer=tokenizer, **types)
    if refused:
        with pytest.raises(UserError, match=r"the task's rows the token type 1, \w+ has 1 "):
            fitted(tmp_path, pairs)
    else:
        fitted(tmp_path, pairs)


def test_rows_of_one_length_need_no_padding(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "fnet")
    assert fitted(tmp_path, rows_of("a sad film", "a glad film"))[2] == {}


def test_rows_of_no_token_are_refused(tmp_path: Path) -> None:
    tokenizer = small_tokenizer(frame=False)
    save_checkpoint(tmp_path, "llama", tokenizer=tokenizer)
    with pytest.raises(UserError, match="produces no tokens for any of the task's rows"):
        fitted(tmp_path, rows_of(" ", "  "))


def test_weights_that_are_not_numbers_are_refused(rows: TextSplit, tmp_path: Path) -> None:
    module = save_checkpoint(tmp_path)
    with torch.no_grad():
        module.classifier.weight[0, 0] = float("nan")
    module.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has damaged weights: its logits are not finite"):
        fitted(tmp_path, rows)


def test_the_rows_of_the_task_are_those_that_are_tried(data: TrainingData, tmp_path: Path) -> None:
    """Two lengths are enough to see what padding does."""
    save_checkpoint(tmp_path, "gpt2", tokenizer=small_tokenizer(frame=False, padding_side="left"))
    assert fitted(tmp_path, data.calibration)[2] == {"padding_side": "right"}
