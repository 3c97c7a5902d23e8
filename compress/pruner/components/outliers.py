"""How many weights each layer loses: fewer where more of them stand out.

Yin et al., "Outlier Weighed Layerwise Sparsity (OWL)", arXiv:2310.05175, section 3.2. A weight
stands out if its score |W_ij| · ‖X_j‖₂ is above M times the mean of its layer's, all Linear layers
of a transformer layer together, in the dense model. As in the reference implementation, the shares
of outliers are stretched to a range of 2λ, and their mean is taken out. Deviation: that mean is
weighted by the layers' numbers of weights, so that layers of unequal sizes keep the sparsity that
was asked for.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import ConfigError
from compress.config.fields import Positive
from compress.interfaces import StageContext
from compress.pruner.components.base import PruningState
from compress.pruner.components.mask_pruner import SparsePruner
from compress.transformer.blocks import weight_matrix
from compress.transformer.calibration import Run, Unit, calibrate_layerwise, input_norms
from compress.transformer.stacks import Linear


@dataclass(frozen=True, kw_only=True)
class OutlierWeighed(SparsePruner, ABC):
    """A pruner whose layers may differ in sparsity.

    Attributes:
        owl: λ, by how much a layer's sparsity may differ from `sparsity` (0.08 in the paper, at
            sparsities of 0.7); 0 gives all layers the same. It reads the calibration rows once
            more.
        owl_multiple: M, of the mean score of a layer, above which a weight stands out (5 or 7 in
            the paper).
    """

    owl: Annotated[float, Field(ge=0, lt=0.5)]
    owl_multiple: Positive

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        name = type(self).__name__
        if self.owl and self.pattern:
            raise ConfigError(f"{name}.owl gives layers unequal shares, pattern equal ones")
        reach = min(self.sparsity, 1 - self.sparsity) / 2
        if self.owl and self.owl >= reach:
            raise ConfigError(
                f"{name}.owl must be below {reach:g} with sparsity={self.sparsity:g}, got "
                f"{self.owl:g}: a layer could lose nothing or all"
            )

    def sparsities(
        self, work: PruningState, ctx: StageContext, linears: Mapping[str, Linear]
    ) -> dict[str, float]:
        """Of each Linear; see the module's description."""
        if not self.owl:
            return super().sparsities(work, ctx, linears)
        layers: list[list[str]] = []
        shares: list[float] = []

        def visit(unit: Unit, run: Run) -> None:
            found = {name: part for name, part in unit.linears.items() if name in linears}
            if found:
                norms = input_norms(found, run)
                scores = [weight_matrix(found[n]).abs() * norm for n, norm in norms.items()]
                layers.append(list(norms))
                shares.append(outlier_share(scores, self.owl_multiple))

        calibrate_layerwise(work.module, work.tokenizer, ctx.data.calibration, visit)
        sizes = [sum(linears[name].weight.numel() for name in names) for names in layers]
        each = layer_sparsities(shares, sizes, self.sparsity, self.owl)
        work.notes["owl_sparsities"] = each
        even = super().sparsities(work, ctx, linears)
        return even | {
            name: sparsity for names, sparsity in zip(layers, each, strict=True) for name in names
        }


def outlier_share(scores: Sequence[Float[Tensor, "out in"]], multiple: float) -> float:
    """The share of scores above so many times the mean of all."""
    count = sum(score.numel() for score in scores)
    mean = sum(float(score.sum()) for score in scores) / count
    return sum(int((score > multiple * mean).sum()) for score in scores) / count


def layer_sparsities(
    shares: Sequence[float], sizes: Sequence[int], sparsity: float, reach: float
) -> list[float]:
    """The sparsity of each layer, lower where more stands out.

    Args:
        shares: of outliers in each layer.
        sizes: numbers of weights.
        sparsity: of all layers together.
        reach: λ: the layers' sparsities differ by 2λ.
    """
    low, high = min(shares), max(shares)
    spread = high - low
    raised = [2 * reach * (share - low) / spread if spread else 0.0 for share in shares]
    mean = sum(r * size for r, size in zip(raised, sizes, strict=True)) / sum(sizes)
    return [sparsity - (each - mean) for each in raised]
