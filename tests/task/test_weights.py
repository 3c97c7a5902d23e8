from __future__ import annotations

import pytest

from compress.config.errors import ConfigError
from compress.task.components.weights import Weights, check_weights, class_weights, weights_words

NAMES, BALANCED = ("0", "sad"), (0.5, 2.0)


@pytest.mark.parametrize(
    ("weights", "found", "words"),
    [
        (None, None, ""),
        (
            "balanced",
            (0.5, 2.0),
            "balanced on the train rows: 0 0.5, sad 2",
        ),
        ((1.0, 3.0), (1.0, 3.0), "as given: 0 1, sad 3"),
        # As Hydra reads {sad: 3, 0: 1}.
        ({"sad": 3.0, 0: 1.0}, (1.0, 3.0), "as given: 0 1, sad 3"),
    ],
)
def test_weights_follow_the_classes(
    weights: Weights, found: tuple[float, ...] | None, words: str
) -> None:
    made = class_weights(weights, NAMES, BALANCED)
    assert made == found
    told = f"; weighted in the loss, {words}" if words else ""
    assert weights_words(weights, NAMES, made) == told


def test_many_weights_are_not_all_told() -> None:
    names = [f"class {i}" for i in range(77)]
    words = weights_words((1.0,) * 77, names, (1.0,) * 77)
    assert words.endswith("class 11 1 and 65 more")


@pytest.mark.parametrize("weight", [1e39, 1e-46, float("inf"), float("nan"), 0.0, -1.0])
def test_weights_that_float32_has_not_are_refused(weight: float) -> None:
    for weights in ((1.0, weight), {"a": 1.0, "b": weight}):
        with pytest.raises(ConfigError, match="must each be > 0 and finite in float32, got"):
            check_weights("Csv.class_weights", weights)
