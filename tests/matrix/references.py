"""Plain models changed as a method should change them, by other means than the methods' own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

LINEARS = (nn.Linear, Conv1D)
SAME = 1e-4  # of two rows or columns: their largest difference, beside entries of about 0.2


def linears(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every Linear layer of a model, by name; not an output layer that is the embeddings."""
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    for name, part in module.named_modules():
        if isinstance(part, LINEARS) and id(part.weight) not in tables:
            yield name, part


def layer_linears(module: nn.Module) -> dict[str, nn.Module]:
    """Those inside a list of layers: their names hold a number."""
    return {n: part for n, part in linears(module) if any(p.isdigit() for p in n.split("."))}


def linears_that_count(module: nn.Module, batch: Mapping[str, Tensor]) -> list[str]:
    """Names of the Linear layers that the logits depend on; not on BigBird's pooler."""
    module.zero_grad()
    module(**batch).logits.sum().backward()
    return [name for name, part in linears(module) if part.weight.grad is not None]


def other_matrices(module: nn.Module) -> list[str]:
    """What multiplies activations in the layers besides Linear layers and convolutions, by name.

    Such as the experts of a mixture, which are one tensor; no biases, and no tables of positions.
    """
    found = []
    for name, parameter in module.named_parameters():
        owner = module.get_submodule(name.rpartition(".")[0])
        kinds = (*LINEARS, nn.Embedding, nn.Conv1d, nn.Conv2d)
        inside = any(part.isdigit() for part in name.split("."))
        if inside and parameter.dim() >= 2 and not isinstance(owner, kinds):
            found += [] if "bias" in name or "embed" in name else [name]
    return found


def matrix(part: nn.Module) -> Float[Tensor, "out in"]:
    """What a layer multiplies by, found by what it makes of the identity."""
    weight = part.weight if isinstance(part, LINEARS) else None
    if weight is not None:
        return (weight.T if isinstance(part, Conv1D) else weight).detach()
    columns = _width(part)
    identity = torch.eye(columns)
    with torch.no_grad():
        return (part(identity) - part(torch.zeros(1, columns))).T


def _width(part: nn.Module) -> int:
    inner: Any = getattr(part, "down", part)
    return int(inner.in_features)


@torch.no_grad()
def set_matrix_(part: Any, value: Float[Tensor, "out in"]) -> None:
    """Gives a plain Linear another weight."""
    part.weight.copy_(value.T if isinstance(part, Conv1D) else value)


def with_matrices(
    plain: PreTrainedModel, matrices: dict[str, Float[Tensor, "out in"]]
) -> PreTrainedModel:
    """A plain model that multiplies by these instead."""
    made = copy.deepcopy(plain)
    for name, value in matrices.items():
        set_matrix_(made.get_submodule(name), value)
    return made


@torch.no_grad()
def with_units_zeroed(plain: PreTrainedModel, smaller: PreTrainedModel) -> PreTrainedModel:
    """A plain model that computes what a smaller one should, all shapes being the plain ones.

    A factorized layer's weight becomes its best approximation of that rank. Rows and columns that
    the smaller model lacks, found by comparing weights, are zero.

    Raises:
        ValueError: a weight of the smaller model is no part of the plain one's.
    """
    made = copy.deepcopy(plain)
    for name, part in linears(made):
        other: Any = smaller.get_submodule(name)
        whole, left = matrix(part), matrix(other)
        if hasattr(other, "down"):
            whole = nearest_of_rank(whole, other.down.out_features)
        rows, columns = _kept(name, whole, left)
        zeroed = torch.zeros_like(whole)
        zeroed[rows[:, None], columns] = whole[rows[:, None], columns]
        set_matrix_(part, zeroed)
        bias: Any = part.bias
        if bias is not None:
            bias.copy_(torch.zeros_like(bias).index_copy(0, rows, bias[rows]))
    return made


def nearest_of_rank(weight: Float[Tensor, "out in"], rank: int) -> Float[Tensor, "out in"]:
    """The nearest matrix of a rank (Eckart & Young 1936)."""
    left, singular, right = torch.linalg.svd(weight.double(), full_matrices=False)
    made: Tensor = (left[:, :rank] * singular[:rank]) @ right[:rank]
    return made.to(weight.dtype)


def _kept(
    name: str, whole: Float[Tensor, "out in"], left: Float[Tensor, "rows columns"]
) -> tuple[Int[Tensor, " rows"], Int[Tensor, " columns"]]:
    """Which rows and columns of the whole are left; methods take away one of the two."""
    rows, columns = torch.arange(len(whole)), torch.arange(whole.shape[1])
    if len(left) < len(whole):
        rows = _matches(name, left, whole)
    if left.shape[1] < whole.shape[1]:
        columns = _matches(name, left.T, whole[rows].T)
    worst = float((whole[rows[:, None], columns] - left).abs().max())
    if worst > SAME:
        raise ValueError(f"{name} is off by {worst:.2g} from what was left of it")
    return rows, columns


def _matches(
    name: str, left: Float[Tensor, "k n"], whole: Float[Tensor, "m n"]
) -> Int[Tensor, " k"]:
    found = torch.cdist(left, whole).argmin(dim=1)
    if len(set(found.tolist())) < len(found):
        raise ValueError(f"{name} holds a row or column twice")
    return found


def with_layers_skipped(plain: PreTrainedModel, shorter: PreTrainedModel) -> PreTrainedModel:
    """A plain model whose layers that a shorter one lacks hand on what they get.

    Where all layers are one that runs several times, it runs fewer times.

    Raises:
        ValueError: nothing is shorter, or a layer of the shorter model is none of the plain one's.
    """
    made = copy.deepcopy(plain)
    skipped = list(_lost(plain, shorter))
    if not skipped:
        return _run_fewer_times(plain, shorter.config.num_hidden_layers)
    for name in skipped:
        _skip_(made.get_submodule(name))
    return made


def _run_fewer_times(plain: PreTrainedModel, times: int) -> PreTrainedModel:
    config = copy.deepcopy(plain.config)
    if times >= config.num_hidden_layers:
        raise ValueError("no list of layers is shorter than it was")
    config.num_hidden_layers = times
    made = type(plain)(config).eval()
    made.load_state_dict(plain.state_dict())
    return made


def _lost(plain: PreTrainedModel, shorter: PreTrainedModel) -> Iterator[str]:
    """Names of the layers that are gone, found by comparing the weights of those that stay."""
    present = dict(shorter.named_modules())
    for name, layers in plain.named_modules():
        left: Any = present.get(name)  # lists inside a layer go with it
        if isinstance(layers, nn.ModuleList) and left is not None and len(left) < len(layers):
            stays = [_same_layer(name, layer, layers) for layer in left]
            if stays != sorted(set(stays)):
                raise ValueError(f"{name} has its layers in the order {stays}")
            yield from (f"{name}.{i}" for i in range(len(layers)) if i not in stays)


def _same_layer(name: str, layer: nn.Module, layers: nn.ModuleList) -> int:
    ours = dict(layer.named_parameters())
    for index, other in enumerate(layers):
        theirs = dict(other.named_parameters())
        # T5's first layer alone has the positions of all, so that another takes them over.
        both = [path for path in ours if path in theirs]
        if both and all(torch.equal(ours[path], theirs[path]) for path in both):
            return index
    raise ValueError(f"a layer in {name} is none that was there before")


def _skip_(layer: Any) -> None:
    """Makes a layer return its input. No hook: SqueezeBERT calls `forward` itself."""
    forward = layer.forward

    def skipped(*args: Any, **named: Any) -> Any:
        output, hidden = forward(*args, **named), args[0] if args else named["hidden_states"]
        if isinstance(output, dict):
            return {key: hidden if key == "feature_map" else output[key] for key in output}
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    layer.forward = skipped
