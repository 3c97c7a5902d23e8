"""Stages on architectures of every build: what comes back from disk is what was asked, or refused.

References are made with plain transformers: layers replaced by nothing, units silenced, Linear
weights replaced by the product of their factors, tokens numbered anew.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel, Pruner, Step, Student
from compress.measure.sparsity import check_history
from compress.shaping.vocabulary import keep_tokens_, named_ids
from compress.store.artifact import read_model, write_model
from compress.transformer.blocks import known_blocks, weight_matrix
from compress.transformer.dry_run import check_runs
from compress.transformer.rebuilding import check_rebuilds
from compress.transformer.stacks import block_linears, find_stack
from compress.transformer.stored_modules import LowRankLinear
from tests.configs import settings_of
from tests.pruner.made import pruner
from tests.slow import slow_but
from tests.structures import EVERY, TEXTS, VOCABULARY, context_of, model_of, rows_of, structure
from tests.transformer.test_stacks import LEFT, SEVERAL, WITHOUT_LINEARS

TOLERANCE = 2e-4  # of sums in another order, in outputs of about 1
NO_TOKENIZER = SimpleNamespace(save_pretrained=lambda folder: None)
# Those whose heads and neurons are found: their layers are those of a layout.
KNOWN = ("bert", "roberta", "distilbert", "albert", "big_bird", "roformer", "gpt2", "gpt2_scaled",
         "gpt_neox", "opt", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "vit", "beit",
         "dinov2")  # fmt: skip
# Layers that cannot be kept without those before them, or under other numbers.
REFUSED = {
    "deberta_v2": [[1, 2]],
    "modernbert": [[1, 2]],
    "squeezebert": [[0, 2], [1, 2]],
    "gpt2_scaled": [[0, 2], [1, 2]],
}


def each(quick: tuple[str, ...], names: Any = EVERY) -> list[Any]:
    """All names; those that are not quick are for the slow tests."""
    return slow_but(quick, names)


@torch.no_grad()
def logits(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    found: Tensor = module(**batch).logits
    return found


def batch_of(module: transformers.PreTrainedModel) -> dict[str, Tensor]:
    rows = rows_of(module, 4)
    return rows.collate(None, list(rows.encode(None).remove_columns("length")))


def from_disk(module: transformers.PreTrainedModel, folder: Path) -> transformers.PreTrainedModel:
    step = Step("teacher", {})
    write_model(CompressedModel(module, NO_TOKENIZER, (step,)), folder, "compress.nothing")  # type: ignore[arg-type]
    return read_model(folder)


def pruned(name: str, made: Pruner) -> tuple[CompressedModel, CompressedModel]:
    """The teacher, and what a pruner that accepts its skeleton makes of it."""
    skeleton = made.check(structure(name, "meta"))
    check_runs(skeleton, name)
    check_rebuilds(skeleton, name)
    teacher = model_of(structure(name))
    result = made.prune(teacher, context_of(teacher))
    check_history(result.history, result.module.named_parameters())
    return teacher, result


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize("name", each(("albert", "t5_uneven", "swin", "xlnet")))
def test_every_linear_layer_is_masked_or_the_method_refuses(
    name: str, method: str, tmp_path: Path
) -> None:
    if name in LEFT or name in WITHOUT_LINEARS:
        with pytest.raises(ConfigError, match=r"none inside its layers|would leave \d+%"):
            pruner(method).check(structure(name, "meta"))
        return
    teacher, made = pruned(name, pruner(method))
    for linear, part in block_linears(made.module).items():
        share = float((part.weight == 0).float().mean())
        assert share == pytest.approx(0.5, abs=0.03), linear
    batch = batch_of(teacher.module)
    expected = logits(made.module, batch)
    assert not torch.allclose(expected, logits(teacher.module, batch), atol=1e-3)
    assert torch.equal(logits(from_disk(made.module, tmp_path / "model"), batch), expected)


@pytest.mark.parametrize("weighting", ["none", "input", "activation", "fisher"])
@pytest.mark.parametrize("name", each(("albert", "t5_uneven")))
def test_factors_are_what_their_product_is(name: str, weighting: str, tmp_path: Path) -> None:
    settings = "rank.by=fixed rank.fixed=3 rank.min=1 weighting.damping=0.1 weighting.method="
    lowrank = pruner("lowrank", *f"{settings}{weighting}".split())
    if name in LEFT or name in WITHOUT_LINEARS:
        with pytest.raises(ConfigError, match=r"none inside its layers|would leave \d+%"):
            lowrank.check(structure(name, "meta"))
        return
    teacher, made = pruned(name, lowrank)
    thin = {n: p for n, p in made.module.named_modules() if isinstance(p, LowRankLinear)}
    assert thin
    for linear, part in thin.items():
        weight_matrix(teacher.module.get_submodule(linear)).data.copy_(weight_matrix(part))
    batch = batch_of(teacher.module)
    expected = logits(teacher.module, batch)
    assert torch.allclose(logits(made.module, batch), expected, atol=TOLERANCE)
    reloaded = from_disk(made.module, tmp_path / "model")
    assert torch.equal(logits(reloaded, batch), logits(made.module, batch))


def skip_layers_(module: transformers.PreTrainedModel, kept: list[int]) -> None:
    """Makes the layers that are not kept hand on what they read."""
    stack = find_stack(module)
    if stack.shared:
        module.config.num_hidden_layers = len(kept)
        return

    def idle(forward: Any, *positional: Any, **named: Any) -> Any:
        hidden = positional[0] if positional else named["hidden_states"]
        output = forward(*positional, **named)
        if isinstance(output, dict):  # SqueezeBERT's
            return {**output, "feature_map": hidden}
        return (hidden, *output[1:]) if isinstance(output, (tuple, list)) else hidden

    for index, block in enumerate(stack.blocks):
        if index not in kept:
            forward = block.forward
            block.forward = lambda *args, forward=forward, **named: idle(forward, *args, **named)


@pytest.mark.parametrize("kept", [[0, 1], [0, 2], [1, 2]])
@pytest.mark.parametrize("name", each(("albert", "deberta_v2", "modernbert", "gemma3", "beit")))
def test_a_student_of_some_layers_is_the_teacher_without_the_others(
    name: str, kept: list[int], tmp_path: Path
) -> None:
    student = settings_of("student", "layers", f"student.keep={kept}")
    assert isinstance(student, Student)
    skeleton = structure(name, "meta")
    try:
        made = student.check(skeleton)
        check_runs(made, name)
        check_rebuilds(made, name)
    except UserError:
        # tests/transformer/test_rebuilding.py says why.
        assert name in SEVERAL or kept in REFUSED.get(name, [])
        return
    assert kept not in REFUSED.get(name, [])
    teacher = model_of(structure(name))
    module, _, _ = student.start(context_of(teacher))  # type: ignore[attr-defined]
    batch = batch_of(module)
    skip_layers_(teacher.module, kept)
    assert torch.allclose(logits(module, batch), logits(teacher.module, batch), atol=1e-5)
    assert torch.equal(logits(from_disk(module, tmp_path / "m"), batch), logits(module, batch))


@pytest.mark.parametrize("name", [n for n in EVERY if n not in KNOWN])
def test_heads_neurons_and_channels_of_unknown_layers_are_refused(name: str) -> None:
    for method in ("heads", "neurons", "hidden"):
        with pytest.raises(ConfigError, match=r"expected exactly 1|match no known layout"):
            pruner(method).check(structure(name, "meta"))


@pytest.mark.parametrize("method", ["heads", "neurons"])
@pytest.mark.parametrize("importance", ["activation", "taylor"])
@pytest.mark.parametrize("name", each(("albert", "gemma3"), KNOWN))
def test_what_is_cut_is_what_was_silenced(
    name: str, method: str, importance: str, tmp_path: Path
) -> None:
    settings = ("sparsity=0.5", "round_to=1", f"importance={importance}")
    if (name, method) == ("big_bird", "heads"):
        with pytest.raises(UserError, match=r"cannot run: BigBird.*is invalid for input of size"):
            pruned(name, pruner(method, *settings))
        return
    teacher, made = pruned(name, pruner(method, *settings))
    batch = batch_of(teacher.module)
    for old, new in zip(known_blocks(teacher.module), known_blocks(made.module), strict=True):
        units = old.head_units() if method == "heads" else old.neuron_units()
        before, after = (weight_matrix(b.projection(units.reader)).data for b in (old, new))
        left = {tuple(column) for column in after.T.tolist()}
        gone = [i for i, column in enumerate(before.T.tolist()) if tuple(column) not in left]
        assert len(gone) == before.shape[1] // 2
        before[:, gone] = 0
    expected = logits(teacher.module, batch)
    assert torch.allclose(logits(made.module, batch), expected, atol=1e-5)
    reloaded = from_disk(made.module, tmp_path / "model")
    assert torch.equal(logits(reloaded, batch), logits(made.module, batch))


@pytest.mark.parametrize("name", each(("albert", "t5_uneven", "bart", "xlnet"), TEXTS))
@torch.no_grad()
def test_tokens_are_numbered_anew_in_every_table(name: str, tmp_path: Path) -> None:
    pruner("vocabulary").check(structure(name, "meta"))
    teacher, smaller = structure(name), structure(name)
    kept = sorted({*named_ids(smaller), *range(3), *range(5, VOCABULARY, 2)})
    new_ids = {old: new for new, old in enumerate(kept)}
    tokens = torch.tensor([[*kept[3:15], 2], [*kept[6:18], 2]])
    renumbered = tokens.clone().apply_(lambda number: new_ids[number])
    keep_tokens_(smaller, new_ids)
    assert len(kept) < VOCABULARY - 5
    reloaded = from_disk(smaller, tmp_path / "model")
    for made in (smaller, reloaded):
        found = logits(made, {"input_ids": renumbered})
        assert torch.allclose(found, logits(teacher, {"input_ids": tokens}), atol=1e-6)
    assert sum(w.numel() for w in reloaded.parameters()) < sum(
        w.numel() for w in teacher.parameters()
    )
