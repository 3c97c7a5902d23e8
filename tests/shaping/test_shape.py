"""Every size on every architecture: what is foreseen, what is made, what is kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.errors import ConfigError
from compress.measure.score import predict_all
from compress.serve.folder import PACKED_WEIGHTS, PLAIN_WEIGHTS
from compress.store.artifact import load
from compress.transformer.blocks import known_blocks, weight_matrix
from compress.transformer.positions import position_count
from compress.transformer.residual import residual_norms
from compress.transformer.stacks import find_stack
from tests.configs import settings_of
from tests.pruner.made import Contexts, Teachers, logits, skeleton
from tests.shaping.made import (
    AXES,
    WHERE,
    largest_difference,
    noisy,
    shape,
    shaped,
    sizes_of,
    student,
)
from tests.slow import slow_but
from tests.tiny import torch_export

ARCHITECTURES = (
    *("bert", "roberta", "distilbert", "electra", "mpnet", "gpt2", "opt", "gpt_neox", "llama"),
    "vit",
)
NO_TABLE = "has no table of positions beside its token embeddings"
REFUSED = {
    ("heads", "mpnet"): "heads of MPNet cannot be cut: its blocks share one position bias",
    ("positions", "llama"): NO_TABLE,
    ("positions", "gpt_neox"): NO_TABLE,
    ("positions", "vit"): NO_TABLE,
    ("embedding", "vit"): "needs a plain table of token embeddings, has none",
    ("vocabulary", "vit"): "needs a model that reads tokens",
}
PAIRS = [(axis, name) for axis in AXES if axis != "all" for name in ARCHITECTURES]
PAIRS += [("all", name) for name in ("bert", "roberta", "distilbert", "electra", "gpt2", "opt")]
QUICK = [pair for pair in PAIRS if pair[1] in ("bert", "gpt2") or pair in REFUSED]


# Two of the tiny Llama's four queries share a key; OPT has ReLU as it is.
OTHER_SIZES = {("heads", "llama"): {"heads": 2}, ("activation", "opt"): {"activation": "gelu"}}


@pytest.mark.parametrize(("axis", "architecture"), slow_but(QUICK, PAIRS))
def test_a_shape_is_foreseen_made_and_read_back(
    axis: str, architecture: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = noisy(teachers(architecture))
    before = {name: value.clone() for name, value in teacher.module.state_dict().items()}
    made, ctx = student(**OTHER_SIZES.get((axis, architecture), AXES[axis])), context(teacher)
    if (axis, architecture) in REFUSED:
        with pytest.raises(ConfigError, match=REFUSED[axis, architecture]) as refusal:
            made.check(skeleton(teacher))
        assert f"student.shape.{axis}" in str(refusal.value)
        return
    foreseen, small = made.check(skeleton(teacher)), made.distill(ctx)
    assert all(torch.equal(before[n], v) for n, v in teacher.module.state_dict().items())
    assert made.foresees_shapes() == ("vocabulary" not in AXES[axis])
    if made.foresees_shapes():
        assert sizes_of(foreseen) == sizes_of(small.module)
    moved = largest_difference(logits(student().distill(ctx), ctx), logits(small, ctx))
    assert moved == 0 if axis == "positions" else moved > 1e-6
    torch_export(small, settings_of("quantizer", "none"), tmp_path / "model")  # type: ignore[arg-type]
    reloaded = load(tmp_path / "model")
    assert torch.equal(predict_all(reloaded, ctx.data.validation, 4), logits(small, ctx))
    if axis in ("vocabulary", "all"):
        assert reloaded.tokenizer.get_vocab() == small.tokenizer.get_vocab()
        assert len(reloaded.tokenizer) == 62
    if axis in ("positions", "all"):
        assert position_count(small.module) == reloaded.tokenizer.model_max_length == 40


def test_every_size_is_that_of_the_model(teachers: Teachers, context: Contexts) -> None:
    model = teachers("bert")
    module = shaped(model, context(model), **AXES["all"]).module
    for block in known_blocks(module):
        assert (block.heads, block.neurons, block.width) == (1, 20, 12)
        assert type(block.module.intermediate.intermediate_act_fn) is torch.nn.ReLU
    embeddings = module.bert.embeddings
    assert embeddings.word_embeddings.table.weight.shape == (62, 6)
    assert embeddings.word_embeddings.projection.weight.shape == (12, 6)
    assert embeddings.position_embeddings.weight.shape == (40, 12)
    config = module.config
    assert (config.vocab_size, config.max_position_embeddings) == (62, 40)
    assert config.hidden_act == "relu"


@pytest.mark.parametrize("axis", ["heads", "neurons"])
@pytest.mark.parametrize("importance", ["l1", "taylor", "activation"])
def test_units_that_are_zero_go_and_nothing_changes(
    axis: str, importance: str, teachers: Teachers, context: Contexts
) -> None:
    model = noisy(teachers("bert"))
    ctx, kept = context(model), AXES[axis][axis]
    for number, block in enumerate(known_blocks(model.module)):
        units = block.head_units() if axis == "heads" else block.neuron_units()
        order = torch.randperm(units.count, generator=torch.Generator().manual_seed(number))
        gone = order[kept:]
        with torch.no_grad():
            weight_matrix(block.projection(units.reader))[:, units.columns[gone].flatten()] = 0
            for path, rows in units.rows.items():
                weight_matrix(block.projection(path))[rows[gone].flatten()] = 0
    small = shaped(model, ctx, importance=importance, **AXES[axis])
    assert largest_difference(logits(model, ctx), logits(small, ctx)) < 1e-5


def test_the_quietest_channels_go(teachers: Teachers, context: Contexts) -> None:
    model = teachers("bert")
    quiet = [0, 5, 10, 15]
    with torch.no_grad():
        for norm in residual_norms(model.module).values():
            norm.get_parameter("weight")[quiet] = 0.01
    narrow = shaped(model, context(model), hidden=12)
    whole = model.module.bert.embeddings.word_embeddings.weight
    table = narrow.module.bert.embeddings.word_embeddings.weight
    kept = [next(i for i in range(16) if torch.equal(whole[:, i], column)) for column in table.T]
    assert sorted(kept) == [i for i in range(16) if i not in quiet]


def test_sizes_that_a_model_has_only_sort_it(teachers: Teachers, context: Contexts) -> None:
    model = noisy(teachers("bert"))
    ctx = context(model)
    same = shaped(model, ctx, heads=2, neurons=32, hidden=16, positions=512, vocabulary=1000)
    assert sizes_of(same.module).keys() == sizes_of(model.module).keys()
    assert largest_difference(logits(model, ctx), logits(same, ctx)) < 1e-5


def test_no_size_changes_nothing(teachers: Teachers, context: Contexts) -> None:
    model = teachers("bert")
    same = shaped(model, context(model))
    state = same.module.state_dict()
    assert all(torch.equal(state[n], v) for n, v in model.module.state_dict().items())
    assert same.tokenizer is model.tokenizer
    assert same.history[-1].notes == {}


@pytest.mark.parametrize(
    ("sizes", "weights"),
    [
        ({"neurons": 20, "activation": "relu", "positions": 40, "vocabulary": 62}, PLAIN_WEIGHTS),
        ({"heads": 1, "hidden": 8, "neurons": 20}, PLAIN_WEIGHTS),  # one head of eight
        ({"hidden": 12}, PACKED_WEIGHTS),  # two heads of eight
        ({"embedding": 6}, PACKED_WEIGHTS),
    ],
)
def test_plain_transformers_loads_what_a_config_can_say(
    sizes: dict[str, Any], weights: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    model = noisy(teachers("bert"))
    small = shaped(model, context(model), **sizes)
    torch_export(small, settings_of("quantizer", "none"), tmp_path / "m")  # type: ignore[arg-type]
    assert (tmp_path / "m" / weights).is_file()
    if weights == PLAIN_WEIGHTS:
        plain = type(small.module).from_pretrained(tmp_path / "m")
        theirs = plain(**small.module.dummy_inputs).logits
        assert torch.equal(theirs, small.module(**small.module.dummy_inputs).logits)


@pytest.mark.parametrize(
    ("sizes", "architecture", "message"),
    [
        ({"heads": 3}, "bert", r"heads=3: the model has only 2 heads in bert\.encoder\.layer\.0"),
        ({"heads": 1}, "llama", "heads=1: expected a multiple of 2, as many queries as share a"),
        ({"neurons": 33}, "bert", "neurons=33: the model has only 32 neurons in"),
        ({"hidden": 17}, "bert", "hidden=17: the model has only 16 channels"),
        ({"embedding": 17}, "bert", "embedding=17: the token table has only 16 columns"),
        ({"hidden": 12, "embedding": 13}, "bert", "embedding=13: the token table has only 12"),
        ({"vocabulary": 1001}, "bert", "vocabulary must be at most the 1000 tokens that there"),
        ({"positions": 513}, "bert", "positions=513: the model has only 512 positions"),
        ({"positions": 512}, "roberta", "positions=512: the model has only 511 positions"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    sizes: dict[str, Any], architecture: str, message: str, teachers: Teachers
) -> None:
    with pytest.raises(ConfigError, match=rf"^student\.shape\.{message}"):
        shape(**sizes).check(skeleton(teachers(architecture)), WHERE)


def test_layers_of_unknown_projections_are_refused(teachers: Teachers) -> None:
    module = teachers("bert").module
    for block in find_stack(module).blocks:
        block.extra = torch.nn.Linear(16, 16)
    for axis in ("heads", "neurons", "hidden"):
        with pytest.raises(ConfigError, match=rf"student\.shape\.{axis}=.* no known layout"):
            shape(**AXES[axis]).check(module, WHERE)


def test_a_vocabulary_below_what_a_tokenizer_needs_is_refused(
    teachers: Teachers, context: Contexts
) -> None:
    model = teachers("bert")
    with pytest.raises(Exception, match=r"student\.shape\.vocabulary=9 is fewer than the \d+ spe"):
        shaped(model, context(model), vocabulary=9)
