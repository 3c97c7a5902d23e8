from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from compress.pruner.components.denoise import (
    Denoise,
    hard_threshold,
    known_noise_threshold,
    marchenko_pastur_median,
    noise_level,
    shrink,
    unknown_noise_threshold,
)

HALF = math.sqrt(marchenko_pastur_median(1.0))  # a median of this means a noise level of 1


def noise(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def test_thresholds_are_the_published_ones() -> None:
    assert known_noise_threshold(1.0) == pytest.approx(4 / math.sqrt(3))
    # Table IV of arXiv:1305.5870.
    published = {0.05: 1.5194, 0.5: 2.1711, 1.0: 2.8582}
    for beta, value in published.items():
        assert unknown_noise_threshold(beta) == pytest.approx(value, abs=3e-4)


@pytest.mark.parametrize("beta", [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
def test_the_polynomial_of_the_paper_is_near(beta: float) -> None:
    """Equation 5 of arXiv:1305.5870."""
    near = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
    assert unknown_noise_threshold(beta) == pytest.approx(near, abs=0.02)


def test_the_square_has_the_median_of_the_quarter_circle() -> None:
    """For β = 1 singular values follow √(4 - s²) / π on [0, 2], whose CDF has a closed form."""
    half = math.sqrt(marchenko_pastur_median(1.0))
    below = (half * math.sqrt(4 - half**2) / 2 + 2 * math.asin(half / 2)) / math.pi
    assert below == pytest.approx(0.5, abs=1e-7)


@pytest.mark.parametrize("shape", [(300, 300), (200, 500)])
def test_the_median_is_that_of_real_noise(shape: tuple[int, int]) -> None:
    rows, columns = shape
    squares = torch.linalg.svdvals(noise(*shape)).square() / columns
    assert float(squares.median()) == pytest.approx(
        marchenko_pastur_median(rows / columns), rel=0.02
    )


def test_the_noise_level_is_estimated() -> None:
    singular = torch.linalg.svdvals(0.3 * noise(200, 500))
    assert noise_level(singular, 0.4) == pytest.approx(0.3 * math.sqrt(500), rel=0.02)


def test_hard_threshold_by_hand() -> None:
    """The median is 1 and ω(1) = 2.858."""
    singular = torch.tensor([10.0, 2.9, 2.8, 1.5, 1.0, 0.9, 0.8, 0.5, 0.1])
    assert hard_threshold(singular, 1.0).tolist() == pytest.approx([10.0, 2.9])


def test_shrinking_by_hand() -> None:
    """For β = 1 and a noise of 1: η(y) = √((y² - 2)² - 4) / y = √(y² - 4), and 0 up to y = 2."""
    singular = torch.tensor([5.0, 2.5, 2.0, HALF, 0.5, 0.4, 0.3], dtype=torch.float64)
    assert shrink(singular, 1.0).tolist() == pytest.approx([math.sqrt(21), 1.5])
    assert shrink(10 * singular, 1.0).tolist() == pytest.approx([10 * math.sqrt(21), 15.0])


@pytest.mark.parametrize(("least", "kept"), [(0, 3), (3, 3), (4, 4), (9, 7)])
def test_so_many_stay_in_any_case(least: int, kept: int) -> None:
    """With a median of 1 the threshold is 2.858 (β = 1): three values are above it."""
    singular = torch.tensor([5.0, 4.0, 3.0, 1.0, 0.5, 0.4, 0.3], dtype=torch.float64)
    assert (
        Denoise(method="hard", min=least).left(singular, 1.0).tolist() == singular[:kept].tolist()
    )


def test_without_noise_nothing_changes() -> None:
    singular = torch.tensor([3.0, 2.0, 0.0, 0.0, 0.0])
    assert shrink(singular, 0.5).tolist() == [3.0, 2.0]


@pytest.mark.parametrize("denoise", [hard_threshold, shrink])
def test_of_noise_alone_hardly_anything_stays(denoise: type) -> None:
    singular = torch.linalg.svdvals(noise(200, 400))
    assert len(denoise(singular, 0.5)) <= 2


def test_shrinking_finds_a_planted_matrix_better_than_cutting() -> None:
    rows, columns, rank = 120, 240, 4
    signal = 1.5 * noise(rows, rank, 1) @ noise(rank, columns, 2) / math.sqrt(rank)
    left, singular, right = torch.linalg.svd(signal + 2 * noise(rows, columns), full_matrices=False)
    beta = rows / columns
    errors = {}
    for denoise in (hard_threshold, shrink):
        kept = denoise(singular, beta)
        assert len(kept) == rank
        found = left[:, :rank] * kept @ right[:rank]
        errors[denoise.__name__] = float((found - signal).norm())
    nothing = float((2 * noise(rows, columns)).norm())
    assert errors["shrink"] < 0.97 * errors["hard_threshold"] < 0.5 * nothing
