"""The model that was read back from disk has the logits of the one that was written."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor

from compress.config.errors import UserError
from compress.interfaces import ExportResult, InferenceModel, Split
from compress.measure.latency import fill_shape

LENGTH = 32  # tokens of a row, and the most rows
TOKENS, FEWEST = 1024, 2  # of a batch, so that logits over a vocabulary fit; and its rows


def check_reload(
    exported: ExportResult, reloaded: InferenceModel, rows: Split, lengths: Iterable[int] = ()
) -> None:
    """Checks that the reloaded model has the logits of the exported model.

    Runtimes have kernels of their own for some lengths, of which one may be wrong: `LENGTH` and the
    given ones are checked, each by itself.

    Raises:
        AssertionError: it does not. That is a bug of a runtime or a format, not of the user.
        UserError: rounded activations leave too little of the model.
    """
    for length in dict.fromkeys((LENGTH, *lengths)):
        _check_length(exported, reloaded, rows, length)


def _check_length(
    exported: ExportResult, reloaded: InferenceModel, rows: Split, length: int
) -> None:
    count = max(FEWEST, min(LENGTH, TOKENS // length))
    batch = fill_shape(reloaded, rows, count, length)
    expected, found = (m.predict(batch).float().cpu() for m in (exported.reference, reloaded))
    if exported.rounds_activations:
        share = rounding_share(expected, found)
        if not share <= exported.tolerance:
            raise UserError(
                f"this format changes the logits by {share:.0%} of their spread, expected at most "
                f"{exported.tolerance:.0%}: the model's activations do not tolerate it; use a "
                "quantizer that rounds only weights, such as int8_weight_only"
            )
        return
    allowed = exported.tolerance * max(1.0, float(expected.abs().max()))
    worst = float((found - expected).abs().max())
    if not worst <= allowed:
        raise AssertionError(
            f"logits of the reloaded model differ by up to {worst:g} at {length} tokens, expected "
            f"at most {allowed:g}"
        )


def rounding_share(expected: Float[Tensor, "rows ..."], found: Float[Tensor, "rows ..."]) -> float:
    """RMS difference of the logits, relative to their standard deviation or 1.

    How far rounded activations take single logits depends on the model; what gives the same logits
    whatever it reads is off by 1.
    """
    spread = float((expected - expected.mean(dim=0)).square().mean().sqrt())
    return float((found - expected).square().mean().sqrt()) / max(1.0, spread)
