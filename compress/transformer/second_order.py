"""Inverse Hessians of layer-wise least squares, as pruning and rounding by columns use them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def inverse_factor_(moment: Float[Tensor, "n n"], damping: float) -> Float[Tensor, "n n"]:
    """U of H⁻¹ = UᵀU, upper triangular, with H = moment + damping · mean(diagonal) · I.

    It takes the moment's place in memory: a layer's Hessian is the largest tensor of its block.

    Row i of U, from its diagonal on, is row i of the inverse Hessian of the columns from i on,
    divided by √[H⁻¹]_ii: all the inverses of the algorithm in one factor (section 3.3).

    Raises:
        torch.linalg.LinAlgError: H is not positive definite.
    """
    diagonal = moment.diagonal()
    diagonal.add_(damping * float(diagonal.mean()))
    torch.linalg.cholesky(moment, out=moment)
    torch.cholesky_inverse(moment, out=moment)
    torch.linalg.cholesky(moment, upper=True, out=moment)
    return moment
