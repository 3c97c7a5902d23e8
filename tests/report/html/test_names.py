"""Names beside the points of the page's plots."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.transforms import Bbox

from compress.report.html.names import CLEARANCE, HEIGHT, HIGH, LETTER, LONGEST, WIDE, name_columns

NAN = float("nan")
RUNS = {
    "run": ["combined", "int8", "openvino_int8", "three_layers", "wanda_30", "wanda_50", "untimed"],
    "mb": [11.7, 59.4, 24.2, 18.6, 91.6, 91.6, 40.0],
    "score": [0.842, 0.853, 0.852, 0.837, 0.858, 0.850, 0.84],
    "latency": [0.77, 5.1, 1.6, 0.73, 10.3, 10.3, NAN],
}
RUNS |= {f"score_{end}": [each + by for each in RUNS["score"]] for end, by in
         (("low", -0.02), ("high", 0.02))}  # fmt: skip
TEACHER = {"mb": [91.6], "score": [0.855], "latency": [10.3]}
UNTIMED_CONTROL = {"mb": [0.4], "score": [0.795], "latency": [NAN]}


def spot(value: float, low: float, high: float, side: float) -> float:
    """Where Bokeh draws a value on a logarithmic axis, with a tenth of free space."""
    share = np.log(value / low) / np.log(high / low)
    return float(side * (0.05 + share) / 1.1)


def test_names_are_in_the_frame_off_each_other_and_off_the_points() -> None:
    found = name_columns(RUNS, [TEACHER, UNTIMED_CONTROL], logarithmic_scores=False)
    # The control that was not timed is not drawn here, and widens no axis.
    points = [
        (spot(mb, 11.7, 91.6, WIDE["place_cost"]), spot(ms, 0.73, 10.3, HIGH))
        for mb, ms in zip(RUNS["mb"][:-1], RUNS["latency"][:-1], strict=True)
    ]
    boxes = []
    for row, (x, y) in enumerate(points):
        center = (x + found["right_place_cost"][row], y - found["down_place_cost"][row])
        half = (LETTER * len(RUNS["run"][row]) / 2, HEIGHT / 2)
        boxes.append(Bbox([np.subtract(center, half), np.add(center, half)]))
    for box in boxes:
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= WIDE["place_cost"]
        assert box.y1 <= HIGH
        assert box.padded(CLEARANCE - 0.01).count_contains(points) == 0
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert found["right_place_cost"][6] == found["down_place_cost"][6] == 0, "it is not drawn"


@pytest.mark.parametrize("scale", [True, False])
def test_a_single_run_and_a_long_name(scale: bool) -> None:
    one = {"run": ["x" * 80], "mb": [1.0], "score": [30.0], "latency": [NAN]}
    found = name_columns(one, [], logarithmic_scores=scale)
    assert len(found["name"][0]) <= LONGEST
    assert np.isfinite(found["right_place_size"]).all()
    assert found["right_place_latency"].tolist() == [0]
