from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.training.functions import TrainingFunctions, check_dropout
from compress.transformer.dry_run import any_batch
from tests.architectures import class_of
from tests.pruner.made import Teachers
from tests.sizes import ARCHITECTURES


def in_training(name: str, **changed: Any) -> Any:
    """A model of an architecture as it is in training, with stochastic depth off."""
    spec = ARCHITECTURES[name]
    config = transformers.AutoConfig.for_model(spec.kind, **{**spec.sizes, **changed})
    for each in ("drop_path_rate", "layerdrop", "encoder_layerdrop", "decoder_layerdrop"):
        if hasattr(config, each):
            setattr(config, each, 0.0)
    config.decoder_start_token_id = 0
    return class_of(config, spec)(config).train()


def logits(model: Any, dropout: float | None) -> Tensor:
    with torch.no_grad(), TrainingFunctions(dropout):
        output = model(**any_batch(model))
        found: Tensor = output["logits" if "logits" in output else "last_hidden_state"]
        return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_dropout_means_none_in_any_architecture(name: str) -> None:
    model = in_training(name)
    assert torch.equal(logits(model, 0.0), logits(model, 0.0))


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize(
    ("name", "changed"),
    [("bert", {}), ("distilbert", {"seq_classif_dropout": 0.1}), ("gpt2", {}), ("roberta", {})],
)
def test_another_probability_takes_the_place_of_its_own(
    name: str, changed: dict[str, Any], kernel: str
) -> None:
    """All that these models have of their own are 0.1."""
    model = in_training(name, attn_implementation=kernel, **changed)
    found = {}
    for dropout in (None, 0.1, 0.3):
        torch.manual_seed(0)
        found[dropout] = logits(model, dropout)
    assert torch.equal(found[None], found[0.1])
    assert not torch.equal(found[None], found[0.3])
    assert torch.equal(logits(model.eval(), 0.3), logits(model, None))


def test_a_dropout_of_0_stays_0() -> None:
    model = in_training("vit")
    assert torch.equal(logits(model, None), logits(model, 0.3))


def test_a_dropout_that_is_not_there_is_refused(teachers: Teachers) -> None:
    check_dropout(teachers("bert").module, 0.2, "X")
    llama = copy.deepcopy(teachers("llama").module).to("meta")
    for harmless in (None, 0.0):
        check_dropout(llama, harmless, "X")
    with pytest.raises(
        ConfigError, match=r"^dropout of X must be null or 0: Llama.* none; got 0.2"
    ):
        check_dropout(llama, 0.2, "X")


def attention(dropout: float = 0.0, masked: bool = True) -> list[Tensor]:
    """Of bfloat16 rows: the outputs and the gradients of queries, keys and values."""
    drawn = torch.randn(3, 2, 4, 9, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    parts = [part.detach().requires_grad_() for part in drawn]
    mask = torch.zeros(2, 1, 9, 9).bfloat16()
    mask[0, :, :, 7:] = torch.finfo(torch.bfloat16).min
    torch.manual_seed(0)
    output = functional.scaled_dot_product_attention(
        *parts, attn_mask=mask if masked else None, dropout_p=dropout, is_causal=not masked
    )
    output.float().square().sum().backward()
    return [output.detach(), *(part.grad for part in parts if part.grad is not None)]


class Types(TorchFunctionMode):
    """The type of the queries of every call of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.dtype] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.scaled_dot_product_attention:
            self.seen.append(args[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("mixed", [True, False])
def test_attention_without_dropout_is_computed_in_float32(masked: bool, mixed: bool) -> None:
    with sdpa_kernel(SDPBackend.MATH):
        rounded = attention(masked=masked)
    mixing = torch.autocast("cpu", torch.bfloat16, enabled=mixed)
    with Types() as types, TrainingFunctions(None), mixing:
        found = attention(masked=masked)
    assert types.seen == [torch.float32]
    drawn = torch.randn(3, 2, 4, 9, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    query, key, value = drawn.double()
    scores = query @ key.transpose(-1, -2) / 8**0.5
    hidden = torch.ones(9, 9).triu(1).bool().expand(2, 1, 9, 9).clone()
    if masked:
        hidden[:] = False
        hidden[0, :, :, 7:] = True
    exact = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1) @ value
    assert {part.dtype for part in found} == {torch.bfloat16}
    assert torch.allclose(found[0].double(), exact, atol=0, rtol=2**-8)
    for ours, theirs in zip(found, rounded, strict=True):
        assert torch.allclose(ours, theirs, atol=0.1, rtol=0.05)


def test_attention_with_dropout_and_without_gradients_is_left_alone(
    teacher: CompressedModel,
) -> None:
    plain = attention(dropout=0.3)
    with TrainingFunctions(None):
        assert all(map(torch.equal, plain, attention(dropout=0.3)))
    batch = {"input_ids": torch.tensor([[5, 6, 7]])}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = teacher.module(**batch).logits
        with TrainingFunctions(0.0):
            assert torch.equal(teacher.module(**batch).logits, before)
