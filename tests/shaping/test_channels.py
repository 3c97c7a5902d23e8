from __future__ import annotations

import torch

from compress.shaping.channels import activation_sum, l1_sum


def test_formulas_by_hand() -> None:
    outputs = torch.tensor([[[1.0, -2.0, 0.0], [-3.0, 2.0, 0.5]]])
    assert activation_sum(outputs).tolist() == [4.0, 4.0, 0.5]  # their plain sums: -2, 0, 0.5
    assert l1_sum(torch.tensor([[1.0, -2.0], [0.5, 0.0]])).tolist() == [1.5, 2.0]
