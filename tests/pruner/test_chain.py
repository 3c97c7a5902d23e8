from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.errors import ConfigError, ConfigTypeError, UserError
from compress.interfaces import CompressedModel, Pruner
from compress.measure.sparsity import check_history, live_zeros
from compress.pruner.chain import Chain
from compress.transformer.blocks import block_linears, known_blocks
from compress.transformer.stored_modules import LowRankLinear
from tests.configs import changed, settings_of
from tests.pruner.made import Contexts, assert_trained_with_zeros_held, pruner, round_trip, skeleton


def step(name: str, **settings: Any) -> Pruner:
    made: Pruner = changed(pruner(name), **settings)
    return made


def chain(order: list[str] | None = None, **steps: Any) -> Chain:
    made: Chain = replace(pruner("chain"), steps=steps, order=order)
    return made


def steps_of(model: CompressedModel) -> list[str]:
    return [made.settings["kind"] for made in model.history[1:]]


def test_each_step_works_on_what_the_one_before_left(
    teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    lowrank, sparse = step("lowrank", scope="ffn"), step("magnitude")
    made = chain(a=lowrank, b=sparse).prune(teacher, ctx)
    by_hand = sparse.prune(lowrank.prune(teacher, ctx), ctx)
    assert steps_of(made) == ["LowRank", "Magnitude"]
    states = [model.module.state_dict() for model in (made, by_hand)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    check_history(made.history, made.module.named_parameters())


def test_order_is_respected_and_matters(teacher: CompressedModel, context: Contexts) -> None:
    steps = {"thin": step("lowrank", scope="ffn"), "sparse": step("magnitude", scope="ffn")}
    zeros = {}
    for order in (["thin", "sparse"], ["sparse", "thin"]):
        made = chain(order, **steps).prune(teacher, context(teacher))
        names = {"thin": "LowRank", "sparse": "Magnitude"}
        assert steps_of(made) == [names[name] for name in order]
        zeros[order[0]] = sum(live_zeros(made.history).values())
        check_history(made.history, made.module.named_parameters())
    assert zeros["sparse"] == 0, "the product of two factors has no zeros, so none are expected"
    assert zeros["thin"] > 0


def test_order_can_leave_steps_out(teacher: CompressedModel, context: Contexts) -> None:
    steps = {"thin": step("lowrank"), "sparse": step("magnitude")}
    assert steps_of(chain(["sparse"], **steps).prune(teacher, context(teacher))) == ["Magnitude"]


def test_zeros_are_counted_again_after_a_cut(teacher: CompressedModel, context: Contexts) -> None:
    made = chain(sparse=step("wanda", sparsity=0.5), cut=step("neurons", sparsity=0.25)).prune(
        teacher, context(teacher)
    )
    before, after = (live_zeros(made.history[:end]) for end in (2, 3))
    cut = [
        path for path in before if "intermediate" in path or path.endswith("3.output.dense.weight")
    ]
    for name, linear in block_linears(made.module).items():
        found = int((linear.weight == 0).sum())
        assert after[f"{name}.weight"] == found > 0
    assert all(after[name] < before[name] for name in cut)
    check_history(made.history, made.module.named_parameters())


def test_thin_layers_heads_neurons_and_int8_survive_the_disk(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    ctx = context(teacher)
    made = step("chain").prune(teacher, ctx)
    assert steps_of(made) == ["LowRank", "Heads", "Neurons"]
    for block in known_blocks(made.module):
        assert (block.heads, block.neurons) == (1, 28)
        assert isinstance(block.projection(block.layout.down), LowRankLinear)
    round_trip(made, ctx, "int8_dynamic", tmp_path / "model")


def test_a_layer_that_was_cut_can_be_factorized(
    teacher: CompressedModel, context: Contexts
) -> None:
    """The expected shapes of a bias and a weight end when both move into two factors."""
    made = chain(cut=step("heads"), thin=step("lowrank", scope="attention")).prune(
        teacher, context(teacher)
    )
    check_history(made.history, made.module.named_parameters())


def test_a_step_is_checked_on_the_shapes_that_earlier_ones_leave(teacher: CompressedModel) -> None:
    twice = chain(first=step("lowrank"), second=step("lowrank", sparsity=0.8))
    with pytest.raises(ConfigError, match=r"Chain\.steps\.second\b.* factorized already"):
        twice.check(skeleton(teacher))
    pattern = step("wanda", pattern="2:4")
    cut = step("neurons", sparsity=0.06, round_to=2)
    reason = r"Chain\.steps\.sparse: .* rows of 30 weights, expected a multiple of 4"
    with pytest.raises(ConfigError, match=reason):
        chain(cut=cut, sparse=pattern).check(skeleton(teacher))
    shapes = chain(sparse=pattern, cut=cut).check(skeleton(teacher))
    assert {block.neurons for block in known_blocks(shapes)} == {30}


def test_a_step_is_checked_again_on_the_shapes_that_there_are(
    teacher: CompressedModel, context: Contexts
) -> None:
    thin = step("lowrank", rank=dict(by="energy", energy=0.01, max=4), scope="ffn")
    chained = chain(thin=thin, sparse=step("wanda", pattern="2:4"))
    chained.check(skeleton(teacher))  # rank 4 stands in; the real one is 1
    with pytest.raises(ConfigError, match=r"Chain\.steps\.sparse: .* rows of 1 weights"):
        chained.prune(teacher, context(teacher))


def test_a_mistake_in_a_step_names_it(teacher: CompressedModel, context: Contexts) -> None:
    chained = chain(
        fine=step("magnitude"), thin=step("lowrank", rank=dict(by="energy", energy=1.0))
    )
    with pytest.raises(UserError, match=r"Chain\.steps\.thin: LowRank .* layers in scope whole"):
        chained.prune(teacher, context(teacher))


def test_recovery_comes_last_and_holds_every_mask(
    teacher: CompressedModel, context: Contexts
) -> None:
    bare_chain = chain(thin=step("lowrank", scope="ffn"), sparse=step("magnitude"))
    bare = bare_chain.prune(teacher, context(teacher))
    learning = replace(bare_chain.recovery, epochs=1, learning_rate=0.01, batch_size=8)
    trained = replace(bare_chain, recovery=learning).prune(teacher, context(teacher))
    assert steps_of(bare) == ["LowRank", "Magnitude"]
    assert steps_of(trained) == ["LowRank", "Magnitude", "Chain"]
    assert trained.history[-1].settings["recovery"]["epochs"] == 1.0
    assert_trained_with_zeros_held(bare.module, trained.module)
    assert trained.digest == ""
    check_history(trained.history, trained.module.named_parameters())


def test_two_orders_of_the_same_steps_are_two_cache_keys() -> None:
    a, b = step("magnitude"), step("wanda")
    assert chain(a=a, b=b).describe() != chain(b=b, a=a).describe()
    assert chain(a=a, b=b).describe() != chain(["b", "a"], a=a, b=b).describe()


def test_the_yaml_can_be_changed_step_by_step() -> None:
    made = settings_of(
        "pruner", "chain", "+pruner@pruner.steps.sparse=wanda", "pruner.steps.sparse.sparsity=0.3",
        "pruner.steps.lowrank.recovery.epochs=2", "pruner.order=[neurons,lowrank,sparse]",
    )  # fmt: skip
    assert isinstance(made, Chain)
    assert list(made.steps) == ["lowrank", "heads", "neurons", "sparse"]
    described = {name: made.steps[name].describe() for name in made.steps}
    assert described["sparse"]["sparsity"] == 0.3
    assert [described[n]["recovery"]["epochs"] for n in ("lowrank", "heads")] == [2.0, 0.0]
    assert made.recovery.epochs == 0
    assert made.order == ("neurons", "lowrank", "sparse")


def test_bad_chains_are_refused() -> None:
    a = step("magnitude")
    with pytest.raises(ConfigError, match=r"Chain\.order must .* got \[\]; .* there are no steps"):
        chain()
    with pytest.raises(
        ConfigError, match=r"Chain\.steps\.b must be .* other than chain .* got Chain"
    ):
        chain(a=a, b=chain(a=a))
    with pytest.raises(ConfigError, match=r"Chain\.steps\.b must be .* got NoPruner"):
        chain(a=a, b=step("none"))
    for order in ([], ["a", "a"], ["a", "c"]):
        with pytest.raises(ConfigError, match=r"each once, got .* expected names from a, b"):
            chain(order, a=a, b=a)
    with pytest.raises(ConfigTypeError, match=r"Chain\.steps\.b must be a Pruner, got"):
        chain(a=a, b=settings_of("quantizer", "none"))
