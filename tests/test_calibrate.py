from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from compress.blocks import find_blocks
from compress.calibrate import calibration_rows, walk_blocks
from compress.interfaces import CompressedModel, StageContext


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama", "opt", "gpt_neox"])
@torch.no_grad()
def test_a_block_gets_what_the_changed_blocks_before_it_put_out(
    architecture: str,
    teachers: Callable[[str], CompressedModel],
    context: Callable[[CompressedModel], StageContext],
) -> None:
    teacher = teachers(architecture)
    rows = context(teacher).data.calibration
    module = teacher.module
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    seen: list[list[Tensor]] = []

    def visit(_: str, block: nn.Module, run: Callable[[], Iterator[None]]) -> None:
        found: list[Tensor] = []
        handle = block.register_forward_pre_hook(
            lambda _, args, named: found.append((args or [named["hidden_states"]])[0].clone()),
            with_kwargs=True,
        )
        for _ in run():
            pass
        handle.remove()
        seen.append(found)
        for weight in block.parameters():
            weight.mul_(1.5)

    cached = module.config.use_cache if architecture != "bert" else None
    walk_blocks(module, teacher.tokenizer, rows, visit)
    _, blocks = find_blocks(module)
    expected: list[list[Tensor]] = [[] for _ in blocks]
    for block, found in zip(blocks, expected, strict=True):
        block.register_forward_pre_hook(
            lambda _, args, named, found=found: found.append(
                (args or [named["hidden_states"]])[0].clone()
            ),
            with_kwargs=True,
        )
    for row in calibration_rows(module, teacher.tokenizer, rows):
        module(**row)
    for block in blocks:
        block._forward_pre_hooks.clear()
    module.load_state_dict(before)
    for ours, theirs in zip(seen, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.allclose(a, b, atol=1e-5)
    assert cached is None or module.config.use_cache == cached
