"""Factorization of the token embeddings: a narrow table and a projection to the old width.

Lan et al., "ALBERT", arXiv:1909.11942, section 3.1, train such embeddings from scratch. Here they
start as the truncated SVD of the table, with each token's error weighted by its frequency, as in
Chen et al., "GroupReduce", arXiv:1806.06950, section 3.2. Deviations from the latter: one block
holds all tokens; frequencies are those in the rows to learn from, and one is added to each, so that
tokens that never occur count a little.

For frequencies f and a table E, Σ_t f_t ‖E_t − T_t·Pᵀ‖² is smallest when the columns of P are the
first eigenvectors of Eᵀ·diag(f)·E and T = E·P (Eckart and Young, 1936). They come in the order of
their eigenvalues, so that the first columns are the most important.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compress.config.errors import ConfigError
from compress.transformer.stacks import token_table
from compress.transformer.stored_modules import FactorizedEmbedding

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor, Split


def place_factors_(module: PreTrainedModel, width: int) -> tuple[FactorizedEmbedding, nn.Embedding]:
    """Puts a factorized embedding with arbitrary weights in the place of the token table.

    Args:
        module: changes in place.
        width: columns of the narrow table.

    Returns:
        The new module, and the table that it replaces.

    Raises:
        ConfigError: the model has no plain table of its own, or one with fewer columns.
    """
    table = token_table(module)
    if table is None or module.get_input_embeddings() is not table:
        kind = "a factorized one" if table is not None else "none"
        raise ConfigError(
            f"{type(module).__name__} needs a plain table of token embeddings, has {kind}"
        )
    if type(table) is not nn.Embedding or table.max_norm is not None:
        raise ConfigError(f"expected a plain nn.Embedding of tokens, got {table}")
    parameters = module.named_parameters(remove_duplicate=False)
    owners = [name for name, parameter in parameters if parameter is table.weight]
    if len(owners) > 1:
        raise ConfigError(f"the table of tokens is a shared tensor: {', '.join(owners)}")
    if width > table.embedding_dim:
        raise ConfigError(f"the token table has only {table.embedding_dim} columns")
    sizes = (table.num_embeddings, width, table.embedding_dim, table.padding_idx)
    with torch.random.fork_rng(devices=[]), table.weight.device:
        part = FactorizedEmbedding(*sizes).to(table.weight.dtype).train(table.training)
    module.set_submodule(owners[0].removesuffix(".weight"), part)
    return part, table


def token_counts(tokenizer: Processor, rows: Split, tokens: int) -> Float[Tensor, " tokens"]:
    """How often each of the first `tokens` tokens occurs in rows."""
    counts = Counter(chain.from_iterable(rows.encode(tokenizer)["input_ids"]))
    return torch.tensor([float(counts[number]) for number in range(tokens)])


@torch.no_grad()
def factorize_embedding_(
    module: PreTrainedModel, width: int, frequencies: Float[Tensor, " tokens"] | None
) -> float | None:
    """Replaces the token table by its best factors, or by arbitrary ones without frequencies.

    Returns:
        The share of the weighted squared norm that is kept, in [0, 1]; None of arbitrary factors.

    Raises:
        ConfigError: see `place_factors_`.
    """
    part, table = place_factors_(module, width)
    if frequencies is None:
        return None
    factors, share = best_factors(table.weight, width, frequencies + 1)
    for weight, value in zip((part.table.weight, part.projection.weight), factors, strict=True):
        weight.copy_(value)
    return share


def best_factors(
    table: Float[Tensor, "tokens dim"], width: int, frequencies: Float[Tensor, " tokens"]
) -> tuple[tuple[Float[Tensor, "tokens width"], Float[Tensor, "dim width"]], float]:
    """T and P of the formula above, in double precision, and the share of it that they keep."""
    exact = table.double()
    moment = exact.T @ (frequencies.to(exact)[:, None] * exact)
    values, vectors = torch.linalg.eigh(moment)
    columns = vectors[:, -width:].flip(1)
    total = float(values.sum())
    share = float(values[-width:].sum()) / total if total > 0 else 1.0
    return (exact @ columns, columns), share
