"""Quantization in the torch runtime: a transform of modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TorchFormat(ABC):
    """Interface of quantizers that the torch runtime supports.

    Attributes:
        torch_devices: where torch has kernels for the format.
        compiles: whether torch.compile makes one graph of a model in this format.
    """

    torch_devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    compiles: ClassVar[bool] = True

    def check_torch_model(self, model: PreTrainedModel) -> None:  # noqa: B027
        """Raises a UserError if a model does not run in the format; gets its skeleton."""

    def check_torch(self, torch_device: str) -> None:  # noqa: B027
        """Raises a UserError if torch lacks the format's kernels on this machine; mostly none."""

    @abstractmethod
    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Replaces modules, in place, by ones in this format."""
