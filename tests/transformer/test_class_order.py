from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from compress.config.errors import UserError
from compress.core.problem import Problem
from compress.problem.classification import Classification
from compress.problem.multi_label import MultiLabel
from compress.problem.regression import Regression
from compress.transformer.class_order import class_order, reorder_outputs_
from tests.checkpoints import CONFIGS, save_checkpoint, small_tokenizer
from tests.tiny import tiny_image_model

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
MANY = tuple(f"kind {index}" for index in range(20))


def config_of(names: tuple[str, ...], kind: str | None = None) -> transformers.BertConfig:
    return transformers.BertConfig(id2label=dict(enumerate(names)), problem_type=kind)


@pytest.mark.parametrize(
    ("theirs", "ours", "order"),
    [
        (("sad", "glad"), ("sad", "glad"), (0, 1)),
        (("glad", "sad"), ("sad", "glad"), (1, 0)),
        (("POSITIVE", "NEGATIVE"), ("negative", "positive"), (1, 0)),
        ((" Glad ", "sad"), ("glad", "Sad"), (0, 1)),
        (("c", "a", "b"), ("a", "b", "c"), (1, 2, 0)),
        (("a", "A"), ("A", "a"), (1, 0)),
        (("2", "0", "1"), ("0", "1", "2"), (1, 2, 0)),
        (("LABEL_1", "LABEL_0"), ("LABEL_0", "LABEL_1"), (1, 0)),
        (("straße", "weg"), ("Weg", "STRASSE"), (1, 0)),
        (MANY[::-1], MANY, tuple(range(19, -1, -1))),
    ],
)
def test_equal_names_are_put_in_order(
    theirs: tuple[str, ...], ours: tuple[str, ...], order: tuple[int, ...]
) -> None:
    found = class_order("it", config_of(theirs), Classification(ours).config())
    assert found == (order, True)
    assert class_order("it", config_of(theirs), MultiLabel(ours).config()) == found


def test_names_that_transformers_gives_are_known_for_what_they_are() -> None:
    config = transformers.BertConfig(num_labels=3)
    found = class_order("it", config, Classification(("a", "b", "c")).config())
    assert found == ((0, 1, 2), False)


@pytest.mark.parametrize(
    ("theirs", "kind", "problem", "reason"),
    [
        (("cat", "dog"), None, Classification(("a", "b")), "it has the classes cat, dog, expected"),
        (("a", "c"), None, Classification(("a", "b")), "it has the classes a, c, .* a, b"),
        (("0", "1"), None, Classification(("a", "b")), "it has the classes 0, 1, .* a, b"),
        (("a", "b"), None, Classification(("0", "1")), "it has the classes a, b, .* 0, 1"),
        (("a", "A"), None, Classification(("a", "b")), "it has the classes"),
        (("LABEL_1", "LABEL_0"), None, Classification(("a", "b")), "it has the classes"),
        (("a",), None, Classification(("a", "b")), r"no head for 2 classes \(a, b\), but .* 1 \(a"),
        (("a", "b", "c"), None, Classification(("a", "b")), "no head for 2 classes"),
        (MANY, None, Classification(("a", "b")), "kind 7, … 20 in all"),
        (("a", "b"), None, Regression("stars"), r"no head for 1 classes \(stars\)"),
        (("a", "b"), "regression", Classification(("a", "b")), "problem_type regression, the"),
        (("a", "b"), SINGLE, MultiLabel(("a", "b")), "problem_type single"),
        (("a", "b"), MULTI, Classification(("a", "b")), "problem_type multi"),
    ],
)
def test_other_outputs_are_refused(
    theirs: tuple[str, ...], kind: str | None, problem: Problem, reason: str
) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        class_order("it", config_of(theirs, kind), problem.config())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [None, "regression"])
def test_one_number_needs_no_name(kind: str | None) -> None:
    config = config_of(("LABEL_0",), kind)
    assert class_order("it", config, Regression("stars").config()) == ((0,), True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id2label": {0: "a", 2: "b"}}, r"id2label of config\.json must number its names from 0"),
        ({"label2id": {"b": 0, "a": 1}}, "id2label and label2id of config"),
    ],
)
def test_names_with_a_gap_or_other_numbers_are_refused(
    change: dict[str, object], reason: str
) -> None:
    config = config_of(("a", "b"))
    vars(config).update(change)
    with pytest.raises(UserError, match=reason):
        class_order("it", config, Classification(("a", "b")).config())


@pytest.mark.parametrize("architecture", sorted(set(CONFIGS) - {"nystromformer"}))
def test_logits_change_places_and_nothing_else(architecture: str, tmp_path: Path) -> None:
    """Of heads that are one projection, two, a convolution's transpose, and one a token."""
    module = save_checkpoint(tmp_path, architecture, names=("a", "b", "c"))
    texts = ["a glad bright film number 3", "with sad dull end number 7"]
    batch = dict(small_tokenizer()(texts, return_tensors="pt"))
    with torch.no_grad():
        before = module(**batch).logits
    reorder_outputs_("it", module, (2, 0, 1), batch)
    with torch.no_grad():
        torch.testing.assert_close(module(**batch).logits, before[:, [2, 0, 1]])
    assert float((before - before.roll(1, dims=1)).abs().min()) > 1e-3


def test_images_too() -> None:
    model = tiny_image_model("vit")
    batch = {"pixel_values": torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))}
    with torch.no_grad():
        before = model.module(**batch).logits
        reorder_outputs_("it", model.module, (1, 0), batch)
        torch.testing.assert_close(model.module(**batch).logits, before.flip(1))


def test_logits_of_two_projections_are_refused(tmp_path: Path) -> None:
    module = save_checkpoint(tmp_path)
    plain, other = module.classifier, torch.nn.Linear(16, 2)

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList([plain, other])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return sum(part(x) for part in self.parts)  # type: ignore[return-value]

    module.classifier = Both()
    batch = dict(small_tokenizer()(["a sad film"], return_tensors="pt"))
    with pytest.raises(UserError, match="computes its logits with more than one projection"):
        reorder_outputs_("it", module, (1, 0), batch)
