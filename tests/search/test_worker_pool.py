from __future__ import annotations

import pytest

from compress.search.job import gpu_environment


@pytest.mark.parametrize(
    ("named", "place", "found"),
    [
        ("0,1", 0, {"CUDA_VISIBLE_DEVICES": "0"}),
        ("0,1", 1, {"CUDA_VISIBLE_DEVICES": "1"}),
        ("4,7", 2, {"CUDA_VISIBLE_DEVICES": "4"}),
        ("3", 1, {}),
        ("", 0, {}),
    ],
)
def test_each_worker_has_a_gpu_where_there_are_several(
    named: str, place: int, found: dict[str, str]
) -> None:
    assert gpu_environment(place, {"CUDA_VISIBLE_DEVICES": named}) == found
