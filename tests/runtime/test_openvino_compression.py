from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from compress.config.errors import UserError
from compress.runtime.components.openvino_compression import (
    _hits,
    fitting_group,
    import_nncf,
)


@pytest.mark.parametrize(
    ("columns", "asked", "group"),
    [
        (384, 64, 64),
        (352, 64, 44),  # 11 heads of 32: 8 groups, as 64 and 63 … 45 do not divide it
        (40, 64, 40),
        (64, 64, 64),
        (96, 64, 48),
    ],
)
def test_groups_divide_a_row(columns: int, asked: int, group: int) -> None:
    assert fitting_group("layer", columns, asked) == group


def test_a_row_that_only_tiny_groups_divide_is_refused() -> None:
    with pytest.raises(UserError, match="dense has 97 columns"):
        fitting_group("dense", 97, 64)


def test_hits_by_hand() -> None:
    logits = {"a": [0.1, 0.9], "b": [0.3, 0.2], "c": [0.0, 1.0]}

    def compiled(row: Any) -> list[Any]:
        return [np.array([logits[row]])]

    assert _hits([1, 1, 1])(compiled, ["a", "b", "c"]) == (2 / 3, [1.0, 0.0, 1.0])


@pytest.mark.skipif(find_spec("nncf") is None, reason="NNCF is not installed")
def test_nncf_is_silenced_and_nobody_elses_handler_is(caplog: pytest.LogCaptureFixture) -> None:
    """Pytest, too, hangs its handler on a logger that hands nothing on, as NNCF's does."""
    logger, handler = logging.getLogger("nncf"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        import_nncf()
    finally:
        logger.removeHandler(handler)
    assert not logger.isEnabledFor(logging.WARNING)
    assert handler.level == logging.NOTSET
    logging.getLogger("compress").warning("heard")
    assert caplog.messages == ["heard"]
