"""Sizes on architectures of every build: the cut model is read back as it was, or refused."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, Step
from compress.store.artifact import read_model, write_model
from tests.shaping.made import AXES, WHERE, shape, sizes_of
from tests.slow import slow_but
from tests.structures import EVERY, context_of, model_of, rows_of, structure

AXIS_NAMES = ("positions", "hidden", "heads", "neurons", "embedding", "activation")
QUICK = ("bert", "albert", "deberta_v2", "big_bird", "gemma2", "bart")
WORKS = {  # on all of these; what else works is for docs to say
    "bert": AXIS_NAMES,
    "roberta": AXIS_NAMES,
    "distilbert": AXIS_NAMES,
    "albert": AXIS_NAMES,
    "gpt2": AXIS_NAMES,
    "opt": AXIS_NAMES,
    "llama": ("hidden", "heads", "neurons", "embedding", "activation"),
}


def a_tokenizer() -> Any:
    return SimpleNamespace(model_max_length=66, init_kwargs={}, save_pretrained=lambda folder: None)


@pytest.mark.parametrize("axis", AXIS_NAMES)
@pytest.mark.parametrize("name", slow_but(QUICK, EVERY))
def test_a_cut_model_is_read_back_or_refused(name: str, axis: str, tmp_path: Path) -> None:
    sizes = {"heads": 2} if axis == "heads" else AXES[axis]
    made = shape(importance="activation", **sizes)
    model = model_of(structure(name))
    refusal, foreseen = "", structure(name, "meta")
    try:
        made.check(foreseen, WHERE)
    except UserError as error:
        refusal = str(error)
    if refusal:
        assert axis not in WORKS.get(name, ())
        assert refusal.startswith("student.shape")
        return
    module = copy.deepcopy(model.module)
    tokenizer, _ = made.apply_(module, a_tokenizer(), context_of(model), WHERE)
    assert sizes_of(foreseen) == sizes_of(module)
    write_model(CompressedModel(module, tokenizer, (Step("student", {}),)), tmp_path / "m", "torch")
    rows = rows_of(module)
    encoded = rows.encode(None).remove_columns("length")
    batch = rows.collate(None, [encoded[row] for row in range(len(rows))])
    with torch.no_grad():
        ours, theirs = (each(**batch).logits for each in (module, read_model(tmp_path / "m")))
    assert torch.equal(ours, theirs)
    assert ours.isfinite().all()
