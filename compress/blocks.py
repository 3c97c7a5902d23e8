"""Where the layers of a transformer sit, found by the shape of its modules and not by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from compress.settings import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def find_blocks(module: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Name and list of the transformer's layers.

    They are the one `ModuleList` that has as many members as the config has hidden layers, all of
    one class, each with Linear layers inside.

    Raises:
        UserError: there is none, or more than one.
    """
    count = module.config.num_hidden_layers
    found = [
        (name, blocks)
        for name, blocks in module.named_modules()
        if isinstance(blocks, nn.ModuleList)
        and len(blocks) == count
        and len({type(block) for block in blocks}) == 1
        and any(isinstance(part, nn.Linear) for part in blocks[0].modules())
    ]
    if len(found) != 1:
        raise UserError(
            f"{type(module).__name__} has {len(found)} lists of {count} equal layers with Linear "
            "layers inside, expected exactly 1; its architecture is not known yet: teach "
            "compress/blocks.py where its layers sit"
        )
    return found[0]


def block_linears(module: PreTrainedModel) -> dict[str, nn.Linear]:
    """The Linear layers inside the transformer's layers, by full name, in order of execution.

    These hold the compressible weights: embeddings, pooler and classifier are left alone, as in
    the Wanda and SparseGPT papers.
    """
    prefix, blocks = find_blocks(module)
    return {
        f"{prefix}.{name}": part
        for name, part in blocks.named_modules()
        if isinstance(part, nn.Linear)
    }


def keep_blocks_(module: PreTrainedModel, kept: tuple[int, ...]) -> None:
    """Drops every layer but the kept ones, in place, and says so in the config."""
    prefix, blocks = find_blocks(module)
    parent_name, _, attribute = prefix.rpartition(".")
    shorter = nn.ModuleList(blocks[i] for i in kept)
    for index, block in enumerate(shorter):
        for part in block.modules():
            # Decoders index their key-value cache by this number.
            if "layer_idx" in vars(part):
                vars(part)["layer_idx"] = index
    setattr(module.get_submodule(parent_name), attribute, shorter)
    module.config.num_hidden_layers = len(kept)
