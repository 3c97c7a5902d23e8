from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from compress.config.errors import ConfigError, ConfigTypeError
from compress.interfaces import CompressedModel
from compress.measure.sparsity import check_history, live_shapes, live_zeros
from compress.pruner.layers import block_influences, token_influence
from compress.transformer.blocks import known_blocks
from compress.transformer.calibration import calibration_rows
from compress.transformer.stacks import find_stack
from compress.transformer.surgery import keep_blocks_
from tests.pruner.made import Contexts, Teachers, logits, pruner


def layers(drop: int | list[int], by: str = "top", *overrides: str) -> Any:
    return pruner("layers", f"drop={drop}", f"by={by}", *overrides)


def kept(model: CompressedModel) -> list[int]:
    found: list[int] = model.history[-1].notes["kept_layers"]
    return found


def test_influence_by_hand() -> None:
    before = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [1.0, 2.0], [4.0, 3.0]]])
    after = torch.tensor([[[0.0, 2.0], [6.0, 8.0], [-1.0, -2.0], [3.0, 4.0]]])
    # Turned by a right angle, only longer, turned round; and 1 - 24/25.
    expected = torch.tensor([[1.0, 0.0, 2.0, 0.04]])
    assert torch.allclose(token_influence(before, after), expected, atol=1e-6)


@pytest.mark.parametrize("architecture", ["bert", "vit", "llama"])
def test_influences_are_those_of_the_hidden_states(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    rows = context(teacher).data.calibration
    expected: list[torch.Tensor] = []
    for row in calibration_rows(teacher.module, teacher.tokenizer, rows):
        with torch.no_grad():
            states = teacher.module(**row, output_hidden_states=True).hidden_states
        # After the last layer of a decoder transformers shows the final norm's output.
        pairs = [(states[i], states[i + 1]) for i in range(3)]
        cosines = [torch.nn.functional.cosine_similarity(x, y, dim=-1).flatten() for x, y in pairs]
        expected.append(1 - torch.stack(cosines))
    blocks = find_stack(teacher.module).blocks
    hooks = [len(block._forward_hooks) for block in blocks]
    found = block_influences(teacher.module, teacher.tokenizer, rows)
    assert [len(block._forward_hooks) for block in blocks] == hooks, "none is left behind"
    assert len(found) == 4
    assert found[:3] == pytest.approx(torch.cat(expected, dim=1).mean(dim=1).tolist(), abs=1e-6)


@pytest.mark.parametrize("architecture", ["vit", "gpt2", "llama"])
def test_a_layer_that_does_nothing_goes_and_is_not_missed(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    idle = known_blocks(teacher.module)[1]
    for path in (idle.layout.output, idle.layout.down):
        for parameter in idle.projection(path).parameters():
            torch.nn.init.zeros_(parameter)
    ctx = context(teacher)
    pruned = layers(1, "importance").prune(teacher, ctx)
    assert kept(pruned) == [0, 2, 3]
    influences = pruned.history[-1].notes["block_influences"]
    assert influences[1] == pytest.approx(0, abs=1e-6)
    assert min(influences[0], influences[2], influences[3]) > 1e-5
    assert torch.equal(logits(teacher, ctx), logits(pruned, ctx))
    assert not torch.equal(logits(teacher, ctx), logits(layers(1, "top").prune(teacher, ctx), ctx))


@pytest.mark.parametrize(
    ("drop", "by", "expected"),
    [
        (1, "top", [0, 1, 2]),
        (3, "top", [0]),
        (2, "even", [0, 3]),
        (1, "even", [0, 2, 3]),
        ([1], "top", [0, 2, 3]),
        ([0, 2], "importance", [1, 3]),
    ],
)
def test_kept_layers_and_their_weights(
    drop: int | list[int],
    by: str,
    expected: list[int],
    teacher: CompressedModel,
    context: Contexts,
) -> None:
    pruned = layers(drop, by).prune(teacher, context(teacher))
    assert kept(pruned) == expected
    assert "block_influences" not in pruned.history[-1].notes, "a list is not measured"
    assert pruned.module.config.num_hidden_layers == len(expected)
    old, new = known_blocks(teacher.module), known_blocks(pruned.module)
    for index, block in zip(expected, new, strict=True):
        before, after = old[index].module.state_dict(), block.module.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("sparsity", "depth", "count"),
    [(0.3, 6, 2), (0.25, 6, 2), (0.24, 6, 1), (0.01, 6, 1), (0.5, 4, 2), (0.9, 12, 11)],
)
def test_the_nearest_number_of_layers_goes_and_one_at_least(
    sparsity: float, depth: int, count: int
) -> None:
    made = pruner("layers", f"sparsity={sparsity}")
    assert made._kept([0.0] * depth) == tuple(range(depth - count))


@pytest.mark.parametrize(("sparsity", "depth"), [(0.9, 4), (0.3, 1)])
def test_one_layer_must_stay(sparsity: float, depth: int) -> None:
    made = pruner("layers", f"sparsity={sparsity}")
    with pytest.raises(ConfigError, match=rf"sparsity={sparsity}: the model has {depth} layers"):
        made._kept([0.0] * depth)


def test_of_equal_influences_the_later_layer_goes() -> None:
    assert layers(2, "importance")._kept([0.1, 0.3, 0.1, 0.1]) == (0, 1)


@pytest.mark.parametrize("scope", ["all", "*.2.*", "*.3.*"])
def test_expectations_follow_the_layers_to_their_new_names(
    scope: str, teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    masked = pruner("wanda", f"scope='{scope}'").prune(teacher, ctx)
    pruned = layers([0, 2]).prune(masked, ctx)
    check_history(pruned.history, pruned.module.named_parameters())
    # Layer 3 is now layer 1, with its expected zeros; layer 2 is gone, with its own.
    zeros = {name: count for name, count in live_zeros(pruned.history).items() if count}
    prefix = "bert.encoder.layer"
    query = f"{prefix}.1.attention.self.query.weight"
    assert (query in zeros) == (scope != "*.2.*")
    assert zeros.get(query, 128) == 128
    assert not any(name.startswith((f"{prefix}.2", f"{prefix}.3")) for name in zeros)
    shapes = live_shapes(pruned.history)
    assert shapes[query] == (16, 16)
    assert shapes[f"{prefix}.3.output.dense.weight"] is None
    if zeros:
        with torch.no_grad():
            pruned.module.get_parameter(query)[:] = 1.0
        with pytest.raises(AssertionError, match=r"query\.weight has 0 zeros, 128 were expected"):
            check_history(pruned.history, pruned.module.named_parameters())


def test_a_layer_too_many_breaks_the_expectation(
    teacher: CompressedModel, context: Contexts
) -> None:
    pruned = layers(1).prune(teacher, context(teacher))
    check_history(pruned.history, pruned.module.named_parameters())
    with pytest.raises(AssertionError, match="None was expected"):
        check_history(pruned.history, teacher.module.named_parameters())


def test_recovery_holds_the_masks_of_layers_that_moved(
    teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    masked = pruner("wanda", "scope='*.3.*'").prune(teacher, ctx)
    recovery = ("epochs=1", "learning_rate=0.01", "batch_size=8")
    trained = layers([0], "top", *(f"recovery.{word}" for word in recovery))
    bare, other = (each.prune(masked, ctx).module for each in (layers([0]), trained))
    before, after = (known_blocks(m)[2].projection("output.dense").weight for m in (bare, other))
    assert int((before == 0).sum()) == 256
    assert torch.equal(before == 0, after == 0)
    assert not torch.equal(before, after)


def test_check_predicts_and_refuses_what_the_model_has_not_got(teacher: CompressedModel) -> None:
    with pytest.raises(
        ConfigError, match=r"Layers.drop=4: the model has 4 layers, 0 to 3, and one"
    ):
        layers(4).check(teacher.module)
    with pytest.raises(ConfigError, match=r"Layers.drop=\[0, 1, 2, 3\]: the model has 4 layers"):
        layers([0, 1, 2, 3]).check(teacher.module)
    with pytest.raises(ConfigError, match=r"Layers.drop=\[1, 4\]: the model has 4 layers"):
        layers([1, 4]).check(teacher.module)
    skeleton = layers(3, "importance").check(teacher.module.to("meta"))
    assert len(known_blocks(skeleton)) == 1


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (0, "at least 1 layer, got 0; pruner=none drops none"),
        (-1, "at least 1 layer, got -1"),
        ([], r"ascending order, each once, from 0 on, got \[\]"),
        ([1, 1], r"got \[1, 1\]"),
        ([2, 1], r"got \[2, 1\]"),
        ([-1, 1], r"got \[-1, 1\]"),
    ],
)
def test_bad_numbers_are_refused(drop: int | list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layers(drop)


def test_bad_words_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"pruner\.by must be one of top, even, importance; got last"
    ):
        layers(1, "last")
    with pytest.raises(ConfigTypeError, match=r"pruner\.drop must be an integer or a list"):
        pruner("layers", "drop=half")


def test_each_kept_layer_keeps_its_kind_of_attention(tmp_path: Path) -> None:
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    config = transformers.Qwen2Config(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_labels=2,
        num_attention_heads=2, num_key_value_heads=1, pad_token_id=0, layer_types=kinds,
        use_sliding_window=True, sliding_window=2,
    )  # fmt: skip
    module = transformers.Qwen2ForSequenceClassification(config).eval()
    keep_blocks_(module, (1, 3))
    assert module.config.layer_types == ["sliding_attention", "full_attention"]
    assert module(torch.tensor([[1, 2, 3, 4]])).logits.isfinite().all()
    module.config.save_pretrained(tmp_path)  # transformers counts them when it writes
    assert (
        transformers.AutoConfig.from_pretrained(tmp_path).layer_types == module.config.layer_types
    )
