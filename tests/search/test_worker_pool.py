from __future__ import annotations

import signal

import pytest

from compress.search.job import gpu_environment
from compress.search.worker_pool import WorkerExit


@pytest.mark.parametrize(
    ("code", "words"),
    [(-signal.SIGKILL, "SIGKILL; out of memory?"), (-signal.SIGSEGV, "SIGSEGV"), (7, "code 7")],
)
def test_the_end_of_a_worker_is_put_into_words(code: int, words: str) -> None:
    assert words in str(WorkerExit(code))


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
