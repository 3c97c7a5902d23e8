"""Checks early whether an architecture can be exported to ONNX."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from compress.config.errors import ConfigError, UserError, first_line
from compress.runtime.components.onnx_export import export_program
from compress.transformer.dry_run import any_batch, weightless

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

log = logging.getLogger(__name__)

# protobuf's own; larger graphs keep their weights in files beside them, which nothing here does.
LARGEST_GRAPH = 2**31 - 1
# Of rotary positions, whose frequencies change beyond some length of a text.
BY_LENGTH = ("dynamic", "longrope")
# Model types in transformers whose graphs give the logits of plain transformers: see
# docs/architectures.md, whose script tries each.
EXPORTABLE = frozenset(
    (
        *("albert", "bart", "beit", "bert", "big_bird", "bloom", "camembert", "convbert"),
        *("convnext", "deberta", "deberta-v2", "deit", "dinov2", "distilbert", "electra"),
        *("falcon", "fnet", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "llama", "mistral"),
        *("mobilebert", "modernbert", "mpnet", "nystromformer", "opt", "phi", "phi3", "qwen2"),
        *("qwen3", "resnet", "roberta", "roformer", "segformer", "squeezebert", "swin"),
        *("t5", "vit", "xlm-roberta"),
    )
)
FIXED_LENGTH = "torch.export cannot leave the length of its texts open"
NOT_EXPORTABLE = {
    "funnel": FIXED_LENGTH,
    "longformer": FIXED_LENGTH,
    "xlnet": "torch's exporter has no operator for a number minus a tensor",
    "mixtral": "ONNX has no operator for the product with the experts of each token",
}


def check_exportable(model: PreTrainedModel, runtime: str) -> None:
    """Raises a UserError if a skeleton cannot be exported to ONNX, or is too large for a file.

    An unknown architecture is exported once with weights of zero, which takes seconds.
    """
    size = sum(4 * parameter.numel() for parameter in model.parameters())
    if size >= LARGEST_GRAPH:
        raise UserError(f"an ONNX file holds less than 2 GB, this model has {size / 1e9:.1f} GB")
    kind = model.config.model_type
    reason = NOT_EXPORTABLE.get(kind) or _rotation(model.config)
    if reason is None and kind not in EXPORTABLE:
        reason = _failure(model)
    if reason is not None:
        raise ConfigError(
            f"{type(model).__name__} is not supported by the {runtime} runtime: {reason}; "
            "supported: torch (device=cpu)"
        )


def _rotation(config: PreTrainedConfig) -> str | None:
    """What a graph cannot have of a model's rotary positions; None if nothing."""
    found = getattr(config, "rope_parameters", None) or {}
    kinds = [found] if "rope_type" in found else [each for each in found.values() if each]
    for name in (each.get("rope_type") for each in kinds if isinstance(each, dict)):
        if name in BY_LENGTH:
            return f"its rotary frequencies depend on the length of a text (rope_type={name})"
    return None


def _failure(model: PreTrainedModel) -> str | None:
    """The error of a trial export; None if it succeeds."""
    log.info("testing the export of %s: unknown architecture", type(model).__name__)
    try:
        export_program(weightless(model), any_batch(model))
    except Exception as error:  # whatever the exporter, or the model's own code, raises
        return f"it cannot be exported to ONNX: {first_line(error.__cause__ or error)}"
    return None
